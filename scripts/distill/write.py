#!/usr/bin/env python3
# write.py - what train.py learnt as a model file
#
#     scripts/distill/write.py CUT.gguf IN.npz OUT.gguf
#
# SPDX-License-Identifier: PostgreSQL
import struct
import sys

import numpy as np

from gguf import Q4_1, Gguf, layer_tensors


def write(cut, trained, out):
    """CUT with the trained matrices in Q4_1, of the same order of neurons."""
    gguf, z = Gguf(cut), np.load(trained)
    blocks, new = z["blocks"], {}
    for i in range(gguf.keys["deepseek.block_count"]):
        tensors, n = layer_tensors(gguf, i, blocks)
        new.update(tensors)
        blocks = blocks[n:]
        for target, key in (("ffn_gate_inp", "router"), ("attn_norm", "norm1"), ("ffn_norm", "norm2")):
            new[f"blk.{i}.{target}.weight"] = z[key][i]
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
