// shapes.js - hold dsr1 against what llama.cpp answered on small models with random weights
//
// tests/golden/shapes (made by models.mjs --record) has log-probabilities of every
// position, with an f32 cache; mkmodel writes the models here and now. A model
// must give the same bits token by token, and with unpacked weights on 16 threads.
// Files that would be computed differently must be refused, with a reason.
//
// SPDX-License-Identifier: PostgreSQL
"use strict";
const {spawnSync} = require("node:child_process");
const {mkdtempSync, readFileSync, rmSync} = require("node:fs");
const {dirname, join} = require("node:path");
const {tmpdir} = require("node:os");

const F32_TOLERANCE = 1e-3;     // seen: 4e-5
const MIXED_TOLERANCE = 0.2;    // some matrices in 8 bits; seen: 0.04

const refused = [
    ["an array of the wrong length", "tiny-llama --set attention.head_count_kv=u32[]:2,2", /2 values for 3 layers/],
    ["layers of different widths", "tiny-llama --set feed_forward_length=u32[]:96,96,64", /differs between layers/],
    ["tokens that see what follows", "tiny-llama --set attention.causal=bool:false", /attention\.causal/],
    ["an unknown rope scaling", "tiny-llama --rope-scaling circular", /rope scaling "circular"/],
    ["a temperature by position", "tiny-dsv3 --set attention.temperature_scale=f32:0.1", /temperature_scale/],
    ["a window that shows nothing", "tiny-gpt-oss --set attention.sliding_window=u32:0", /sliding_window/],
    ["a rotary base for some layers", "tiny-gpt-oss --set rope.freq_base_swa=f32:1000", /freq_base_swa/],
    ["a division by zero", "tiny-granite --set logit_scale=f32:0", /logit_scale/],
    ["a shared expert without its gate", "tiny-qwen2moe --without ffn_gate_inp_shexp.weight", /ffn_gate_inp_shexp/],
];

function logProbabilities(row) {
    const best = row.reduce((a, b) => Math.max(a, b));
    const sum = row.reduce((total, x) => total + Math.exp(x - best), 0);
    return row.map((x) => x - best - Math.log(sum));
}

function floats(bytes) {
    return new Float32Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length));
}

function largestGap(logits, reference, vocabulary) {
    let worst = 0;
    for (let r = 0; r < logits.length; r += vocabulary)
        logProbabilities(logits.subarray(r, r + vocabulary)).forEach((x, i) => {
            const gap = Math.abs(x - reference[r + i]);
            worst = gap <= worst ? worst : gap;
        });
    return worst;
}

class Shapes {
    constructor(program, claim) {
        this.program = program;
        this.claim = claim;
        this.work = mkdtempSync(join(tmpdir(), "dsr1-shapes-"));
    }

    make(args) {
        const path = join(this.work, "model.gguf");
        const made = spawnSync(join(dirname(this.program), "mkmodel"), [...args.split(" "), path]);
        if (made.status !== 0)
            throw new Error(`mkmodel ${args}: ${made.error ?? made.stderr}`);
        return path;
    }

    logits(model, tokens, more, environment = {}) {
        const file = join(this.work, "logits.f32");
        const result = spawnSync(this.program, ["logits", "-m", model, "--all", "--tokens", tokens.join(","), "-o", file,
                                                ...more], {env: {...process.env, ...environment}});
        return {status: result.status, said: String(result.stderr), bytes: result.status === 0 ? readFileSync(file) : null};
    }

    same(folder, {name, args, file, tokens}) {
        const model = this.make(args), first = this.logits(model, tokens, ["-t", "2"]);
        this.claim(`${name}: runs`, first.bytes ? "" : first.said);
        if (!first.bytes)
            return;
        const reference = floats(readFileSync(join(folder, file))), logits = floats(first.bytes);
        const gap = largestGap(logits, reference, logits.length / tokens.length);
        const tolerance = args.includes("--tensor-type") ? MIXED_TOLERANCE : F32_TOLERANCE;
        this.claim(`${name}: log-probabilities agree within ${tolerance}`,
                   logits.length === reference.length && gap <= tolerance ? "" : `they differ by ${gap}`);
        const step = this.logits(model, tokens, ["--step", "-t", "1"]);
        this.claim(`${name}: the same bits token by token`, step.bytes?.equals(first.bytes) ? "" : step.said || "others");
        const many = this.logits(model, tokens, ["--chunk", "5", "-t", "16"], {DSR1_PACK: "off"});
        this.claim(`${name}: the same bits unpacked, on 16 threads`,
                   many.bytes?.equals(first.bytes) ? "" : many.said || "others");
    }

    run(folder) {
        try {
            for (const shape of JSON.parse(readFileSync(join(folder, "index.json"), "utf8")))
                this.same(folder, shape);
            for (const [what, args, reason] of refused) {
                const result = this.logits(this.make(`${args} --type F32`), [1, 2, 3], []);
                this.claim(`a model with ${what} is refused`,
                           result.status === 1 && reason.test(result.said) ? "" : `status ${result.status}: ${result.said}`);
            }
        } finally {
            rmSync(this.work, {recursive: true});
        }
    }
}

module.exports = (program, folder, claim) => new Shapes(program, claim).run(folder);
