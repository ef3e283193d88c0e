#!/usr/bin/env python3
# write.py - what train.py learnt as a model file
#
#     scripts/distill/write.py CUT.gguf IN.npz OUT.gguf
#
# SPDX-License-Identifier: PostgreSQL
import math
import struct
import sys

import numpy as np

from gguf import Q4_1, Gguf, layer_matrices


def write(cut, trained, out):
    """CUT with the trained matrices in Q4_1, of the same order of neurons."""
    gguf, z = Gguf(cut), np.load(trained)
    blocks, at, new = z["blocks"], 0, {}
    for i in range(gguf.keys["deepseek.block_count"]):
        name = f"blk.{i}.".__add__
        for kind, matrix in layer_matrices(gguf, i).items():
            rows, columns = matrix.shape
            part = blocks[at:at + rows * columns // 32].reshape(rows, columns // 32, 20)
            at += rows * columns // 32
            split = {"qkv": ("attn_q", "attn_k", "attn_v"), "o": ("attn_output",),
                     "gate_up": ("ffn_gate_shexp", "ffn_gate_exps", "ffn_up_shexp", "ffn_up_exps")}.get(kind)
            for target in split or ():
                n = math.prod(gguf.tensors[name(target + ".weight")][0][:-1])
                new[name(target + ".weight")], part = part[:n], part[n:]
            if kind == "down":
                n_experts, _, width = gguf.tensors[name("ffn_down_exps.weight")][0]
                shared = columns // 32 - n_experts * width // 32
                new[name("ffn_down_shexp.weight")] = part[:, :shared]
                routed = part[:, shared:].reshape(rows, n_experts, -1, 20)
                new[name("ffn_down_exps.weight")] = routed.transpose(1, 0, 2, 3)
        for target, key in (("ffn_gate_inp", "router"), ("attn_norm", "norm1"), ("ffn_norm", "norm2")):
            new[name(target + ".weight")] = z[key][i]
    new["output_norm.weight"] = z["norm"]
    data, infos = bytearray(), bytearray()
    for name, (shape, kind, _) in gguf.tensors.items():
        raw = np.ascontiguousarray(new[name]).tobytes() if name in new else gguf.raw(name)
        kind = Q4_1 if name in new and new[name].dtype == np.uint8 else kind
        infos += struct.pack("<Q", len(name)) + name.encode() + struct.pack("<I", len(shape))
        infos += struct.pack(f"<{len(shape)}QIQ", *shape[::-1], kind, len(data))
        data += raw + bytes(-len(raw) % gguf.alignment)
    head = gguf.bytes[:gguf.end_of_keys] + infos
    with open(out, "wb") as file:
        file.write(head + bytes(-len(head) % gguf.alignment) + data)


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit("usage: write.py CUT.gguf IN.npz OUT.gguf")
    write(*sys.argv[1:])
