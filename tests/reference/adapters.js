// adapters.js - hold dsr1 against what llama.cpp said with adapters that dsr1 trained
//
// tests/golden/adapters, made by adapters.mjs --record: adapters for tiny golden models, on attention, MLA's output, dense
// layers, shared and routed experts and routers, and llama.cpp's log-probabilities of every position with them.
//
// SPDX-License-Identifier: PostgreSQL
"use strict";
const {spawnSync} = require("node:child_process");
const {mkdtempSync, readFileSync, rmSync} = require("node:fs");
const {join} = require("node:path");
const {tmpdir} = require("node:os");

const TOLERANCE = 1e-3;     // seen: 4e-5

function floats(path) {
    const bytes = readFileSync(path);
    return new Float32Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length));
}

function largestGap(logits, reference, vocabulary) {
    let worst = logits.length === reference.length ? 0 : Infinity;
    for (let r = 0; r < logits.length; r += vocabulary) {
        const row = logits.subarray(r, r + vocabulary), best = row.reduce((a, b) => Math.max(a, b));
        const total = Math.log(row.reduce((sum, x) => sum + Math.exp(x - best), 0));
        row.forEach((x, i) => {
            const gap = Math.abs(x - best - total - reference[r + i]);
            worst = gap <= worst ? worst : gap;
        });
    }
    return worst;
}

module.exports = (program, top, claim) => {
    const folder = join(top, "tests/golden/adapters"), work = mkdtempSync(join(tmpdir(), "dsr1-adapters-"));
    try {
        for (const {name, tokens} of JSON.parse(readFileSync(join(folder, "index.json"), "utf8"))) {
            const file = join(work, "logits.f32");
            const result = spawnSync(program, ["logits", "-m", join(top, `tests/golden/models/${name}.gguf`), "--adapter",
                                               join(folder, `${name}.gguf`), "--all", "--tokens", tokens.join(","), "-o", file]);
            const said = result.status === 0 ? "" : String(result.stderr);
            const gap = said || largestGap(floats(file), floats(join(folder, `${name}.f32`)), floats(file).length / tokens.length);
            claim(`${name} with an adapter: log-probabilities are llama.cpp's within ${TOLERANCE}`,
                  gap <= TOLERANCE ? "" : `they differ by ${gap}`);
        }
    } finally {
        rmSync(work, {recursive: true});
    }
};
