# gguf.py - keys and tensors of a model in experts
#
# SPDX-License-Identifier: PostgreSQL
import math
import struct

import numpy as np

F32, F16, Q4_1, Q8_0 = 0, 1, 3, 8
BLOCK = {F32: (1, 4), F16: (1, 2), Q4_1: (32, 20), Q8_0: (32, 34)}         # weights, bytes


class Gguf:
    """Keys and tensors of a file, where they lie."""
    SIZES = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}

    def __init__(self, path):
        with open(path, "rb") as file:
            self.bytes = file.read()
        self.at, self.keys, self.tensors = 8, {}, {}
        n_tensors, n_keys = self.value(10), self.value(10)
        for _ in range(n_keys):
            key = self.value(8)
            self.keys[key] = self.value(self.value(4))
        self.end_of_keys = self.at
        for _ in range(n_tensors):
            name = self.value(8)
            shape = [self.value(10) for _ in range(self.value(4))]
            self.tensors[name] = (shape[::-1], self.value(4), self.value(10))
        alignment = self.keys.get("general.alignment", 32)
        self.data = -(-self.at // alignment) * alignment
        self.alignment = alignment

    def value(self, kind):
        if kind == 8:
            n = self.value(10)
            self.at += n
            return self.bytes[self.at - n:self.at].decode("utf-8", "replace")
        if kind == 9:
            element, n = self.value(4), self.value(10)
            return [self.value(element) for _ in range(n)]
        form = "<" + self.SIZES[kind]
        self.at += struct.calcsize(form)
        return struct.unpack_from(form, self.bytes, self.at - struct.calcsize(form))[0]

    def raw(self, name):
        shape, kind, offset = self.tensors[name]
        size = math.prod(shape) // BLOCK[kind][0] * BLOCK[kind][1]
        return self.bytes[self.data + offset:self.data + offset + size]

    def floats(self, name):
        shape, kind, _ = self.tensors[name]
        raw = np.frombuffer(self.raw(name), np.uint8).reshape(-1, BLOCK[kind][1])
        half = lambda i: raw[:, i:i + 2].copy().view(np.float16).astype(np.float32)
        if kind in (F32, F16):
            weights = raw.copy().view(np.float32 if kind == F32 else np.float16)
        elif kind == Q8_0:
            weights = half(0) * raw[:, 2:].view(np.int8)
        else:
            weights = half(0) * np.concatenate([raw[:, 4:] & 15, raw[:, 4:] >> 4], 1) + half(2)
        return np.ascontiguousarray(weights, np.float32).reshape(shape)


# A layer's matrices that learn, before ffn_down: tensors whose rows stand one behind the other, shared neurons first.
STACKED = {"qkv": ("attn_q", "attn_k", "attn_v"), "o": ("attn_output",),
           "gate_up": ("ffn_gate_shexp", "ffn_gate_exps", "ffn_up_shexp", "ffn_up_exps")}


def layer_matrices(gguf, i):
    """Of layer i: those of STACKED, and down, with columns of shared neurons, then of one expert after the other."""
    def rows(name):
        x = gguf.floats(f"blk.{i}.{name}.weight")
        return x.reshape(-1, x.shape[-1])

    down = gguf.floats(f"blk.{i}.ffn_down_exps.weight")
    experts = down.transpose(1, 0, 2).reshape(down.shape[1], -1)
    return {**{kind: np.concatenate([rows(name) for name in names]) for kind, names in STACKED.items()},
            "down": np.concatenate([rows("ffn_down_shexp"), experts], 1)}


def layer_tensors(gguf, i, blocks):
    """The other way: the Q4_1 blocks of layer i's matrices [n, 20] to tensors by name, and how many blocks they took."""
    at, found = 0, {}

    def take(name):
        nonlocal at
        n = math.prod(gguf.tensors[name][0]) // BLOCK[Q4_1][0]
        at += n
        return blocks[at - n:at]

    for names in STACKED.values():
        for name in names:
            found[f"blk.{i}.{name}.weight"] = take(f"blk.{i}.{name}.weight")
    shared, experts = (f"blk.{i}.ffn_down_{kind}.weight" for kind in ("shexp", "exps"))
    n_experts, rows, width = gguf.tensors[experts][0]
    down = np.concatenate([take(shared), take(experts)]).reshape(rows, -1, BLOCK[Q4_1][1])
    n_routed = n_experts * width // BLOCK[Q4_1][0]
    found[shared] = down[:, :-n_routed]
    found[experts] = down[:, -n_routed:].reshape(rows, n_experts, -1, BLOCK[Q4_1][1]).transpose(1, 0, 2, 3)
    return found, at
