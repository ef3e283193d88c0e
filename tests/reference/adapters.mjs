// adapters.mjs - what llama.cpp says with adapters that dsr1 trained: tests/golden/adapters
//
//     node /path/to/dsr1/tests/reference/adapters.mjs --bin /path/to/dsr1/build/bin --record tests/golden/adapters
//
// Run it where node-llama-cpp is installed (models.mjs). Trains a small adapter on each of some tiny models, evaluates the
// model's golden prompt with it in llama.cpp, and writes adapter and log-probabilities. The adapters stay in the
// repository, because training rounds differently on different CPUs. Without --record it only compares.
//
// SPDX-License-Identifier: PostgreSQL
import {spawnSync} from "node:child_process";
import {mkdirSync, mkdtempSync, readFileSync, writeFileSync} from "node:fs";
import {createRequire} from "node:module";
import {tmpdir} from "node:os";
import {dirname, join, resolve} from "node:path";
import {fileURLToPath, pathToFileURL} from "node:url";

const top = join(dirname(fileURLToPath(import.meta.url)), "..", "..");
const option = (name) => process.argv.includes(name) ? resolve(process.argv[process.argv.indexOf(name) + 1]) : undefined;
const bin = option("--bin"), record = option("--record"), folder = record ?? mkdtempSync(join(tmpdir(), "dsr1-adapters-"));

// llama.cpp leaves adapters of deepseek2's absorbed attention out in some versions: there they are on all else.
const cases = [
    ["deepseek-f32", ["--lora", "all", "--router"]],
    ["dsv3-f32", ["--lora", "ffn,shared,experts,o", "--router"]],
    ["llama3-f32", ["--lora", "all"]],
    ["qwen2-f32", ["--lora", "all"]],
];

const require = createRequire(pathToFileURL(process.cwd() + "/"));
const {getLlama} = await import(pathToFileURL(require.resolve("node-llama-cpp")));
const llama = await getLlama({gpu: false, build: "never", skipDownload: true, maxThreads: 2, logLevel: "error"});

async function evaluate(path, adapter, tokens) {
    const model = await llama.loadModel({modelPath: path, useMmap: true});
    const context = await model.createContext({contextSize: 256, batchSize: 128, threads: 1, flashAttention: false,
                                               lora: adapter ? {adapters: [{filePath: adapter, scale: 1}]} : undefined,
                                               experimentalKvCacheKeyType: "F32", experimentalKvCacheValueType: "F32"});
    const output = await context.getSequence()
        .controlledEvaluate(tokens.map((token) => [token, {generateNext: {probabilities: true}}]));
    const rows = output.map((o) => o.next.probabilities), all = new Float32Array(rows.length * rows[0].size);
    rows.forEach((row, r) => row.forEach((p, id) => { all[r * row.size + id] = Math.log(p); }));
    await context.dispose();
    await model.dispose();
    return all;
}

function dsr1(...args) {
    const result = spawnSync(join(bin, "dsr1"), args);
    if (result.status !== 0)
        throw new Error(`dsr1 ${args.join(" ")}: ${result.stderr}`);
}

const gap = (a, b) => a.reduce((worst, x, i) => Math.max(worst, Math.abs(x - b[i])), 0);

mkdirSync(folder, {recursive: true});
const index = [];
for (const [name, kinds] of cases) {
    const model = join(top, `tests/golden/models/${name}.gguf`), adapter = join(folder, `${name}.gguf`);
    const tokens = /^prompt (.*)$/m.exec(readFileSync(model.replace(/gguf$/, "txt"), "utf8"))[1].trim().split(" ").map(Number);
    dsr1("sft", "-q", "-m", model, "--data", join(top, "tests/train/policy_table.py"), "-o", adapter, ...kinds, "--rank", "2",
         "--alpha", "4", "--lr", "0.03", "--steps", "12", "--seq", "64", "--batch", "4");
    const plain = await evaluate(model, undefined, tokens), theirs = await evaluate(model, adapter, tokens);
    const file = join(folder, "ours.f32");
    dsr1("logits", "-m", model, "--adapter", adapter, "--all", "--tokens", tokens.join(","), "-o", file);
    const bytes = readFileSync(file), ours = new Float32Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length));
    const vocabulary = ours.length / tokens.length;
    for (let r = 0; r < ours.length; r += vocabulary) {
        const row = ours.subarray(r, r + vocabulary), best = row.reduce((a, b) => Math.max(a, b));
        const sum = row.reduce((total, x) => total + Math.exp(x - best), 0);
        row.forEach((x, i) => { row[i] = x - best - Math.log(sum); });
    }
    console.log(`${name}: the adapter changes ${gap(plain, theirs).toFixed(2)}, dsr1 and llama.cpp differ by ${gap(ours, theirs).toExponential(1)}`);
    if (record)
        writeFileSync(join(folder, `${name}.f32`), theirs);
    index.push({name, tokens});
}
if (record)
    writeFileSync(join(folder, "index.json"), JSON.stringify(index) + "\n");
process.exit(0);
