// fim-model.js - a copy of a model whose vocabulary says that it can fill holes
//
//     node tests/lsp/fim-model.js FROM.gguf TO.gguf PREFIX SUFFIX MIDDLE
//
// The three are token ids. The model has not learned them; it shows which prompt
// the server builds. New keys go to the front of the file's metadata, padded so
// that the tensors stay aligned.
//
// SPDX-License-Identifier: PostgreSQL
"use strict";
const fs = require("node:fs");

const text = (s) => {
    const size = Buffer.alloc(8);
    size.writeBigUInt64LE(BigInt(Buffer.byteLength(s)));
    return Buffer.concat([size, Buffer.from(s)]);
};
const u32 = (n) => { const bytes = Buffer.alloc(4); bytes.writeUInt32LE(n); return bytes; };

const keyOf = (part) => `tokenizer.ggml.fim_${part}_token_id`;
const write = (to, ...parts) => {
    fs.writeFileSync(to + ".new", Buffer.concat(parts));
    fs.renameSync(to + ".new", to);
};

// A copy without such keys; in a model that has none a plain copy.
function makePlainModel(from, to) {
    const file = fs.readFileSync(from);
    for (const part of ["pre", "suf", "mid"]) {
        const at = file.indexOf(text(keyOf(part)));
        if (at >= 0)
            file.write("X", at + 8);
    }
    write(to, file);
}

function makeFimModel(from, to, ids) {
    const UINT32 = 4, STRING = 8, HEADER = 24, ALIGNMENT = 32;
    const file = fs.readFileSync(from);
    if (file.toString("latin1", 0, 4) !== "GGUF")
        throw new Error(`${from} is no GGUF file`);
    const parts = ["pre", "suf", "mid"], found = parts.map((part) => file.indexOf(text(keyOf(part))));
    if (found.every((at) => at >= 0)) {     // it has them: the ids change
        found.forEach((at, i) => file.writeUInt32LE(ids[i], at + text(keyOf(parts[i])).length + 4));
        const order = text("dsr1.fim_order"), at = file.indexOf(order);
        if (at >= 0)                        // and the suffix comes second
            file.write("psm", at + order.length + 4 + 8);
        write(to, file);
        return;
    }
    const keys = parts.map((part, i) => Buffer.concat([text(keyOf(part)), u32(UINT32), u32(ids[i])]));
    const filler = (n) => Buffer.concat([text("test.filler"), u32(STRING), text("x".repeat(n))]);
    const size = Buffer.concat([...keys, filler(0)]).length;
    const added = Buffer.concat([...keys, filler((ALIGNMENT - size % ALIGNMENT) % ALIGNMENT)]);
    const header = Buffer.from(file.subarray(0, HEADER));
    header.writeBigUInt64LE(header.readBigUInt64LE(16) + 4n, 16);
    write(to, header, added, file.subarray(HEADER));
}

module.exports = {makeFimModel, makePlainModel};
if (require.main === module)
    makeFimModel(process.argv[2], process.argv[3], process.argv.slice(4).map(Number));
