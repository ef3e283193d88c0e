// compare.mjs - dsr1 beside llama.cpp on the same model, the same machine, minutes apart
//
//     npm install --ignore-scripts --omit=optional node-llama-cpp@3.22.1 @node-llama-cpp/linux-x64@3.22.1
//     node /path/to/dsr1/bench/compare.mjs /path/to/dsr1/build/bin/dsr1 MODEL.gguf [THREADS]
//
// Run it where the package is installed. Prompts of 512 tokens, 64 tokens of
// generation, one request at a time; the best of three. llama.cpp is driven from
// JavaScript here, which costs it a little in decode.
//
// SPDX-License-Identifier: PostgreSQL
import {spawnSync} from "node:child_process";
import {createRequire} from "node:module";
import {pathToFileURL} from "node:url";

const [program, modelPath, threadsText = "2"] = process.argv.slice(2);
const threads = Number(threadsText);
const PROMPT = 512, DECODE = 64, ROUNDS = 3;

const require = createRequire(pathToFileURL(process.cwd() + "/"));
const {getLlama} = await import(pathToFileURL(require.resolve("node-llama-cpp")));

async function reference() {
    const llama = await getLlama({gpu: false, build: "never", skipDownload: true, maxThreads: threads, logLevel: "error"});
    const model = await llama.loadModel({modelPath});
    const context = await model.createContext({contextSize: 1024, batchSize: PROMPT, threads});
    const sequence = context.getSequence();
    const best = {prefill: 0, decode: 0};
    for (let round = 0; round < ROUNDS; round++) {
        const tokens = Array.from({length: PROMPT}, (_, i) => 1000 + (i * 7919 + round * 104729) % 20000);
        await sequence.clearHistory();
        let start = process.hrtime.bigint();
        await sequence.evaluateWithoutGeneratingNewTokens(tokens);
        best.prefill = Math.max(best.prefill, PROMPT / (Number(process.hrtime.bigint() - start) / 1e9));

        await sequence.clearHistory();
        let n = 0;
        for await (const _ of sequence.evaluate(tokens.slice(0, 16), {temperature: 0, yieldEogToken: true})) {
            if (n++ === 0)
                start = process.hrtime.bigint();
            if (n > DECODE)
                break;
        }
        best.decode = Math.max(best.decode, DECODE / (Number(process.hrtime.bigint() - start) / 1e9));
    }
    await context.dispose();
    await model.dispose();
    await llama.dispose();
    return best;
}

function ours() {
    const args = ["bench", "-m", modelPath, "-p", String(PROMPT), "-n", String(DECODE), "-b", "1", "-t", String(threads),
                  "-r", String(ROUNDS), "--json"];
    const result = spawnSync(program, args);
    if (result.status !== 0)
        throw new Error(`dsr1 bench: ${result.stderr}`);
    const report = JSON.parse(result.stdout);
    return {prefill: report.prefill[0].tok_s, decode: report.decode[0].tok_s};
}

const theirs = await reference(), mine = ours();
for (const what of ["prefill", "decode"])
    console.log(`${what.padEnd(8)} dsr1 ${mine[what].toFixed(1).padStart(8)} tokens/s   llama.cpp ` +
                `${theirs[what].toFixed(1).padStart(8)} tokens/s   ratio ${(mine[what] / theirs[what]).toFixed(2)}`);
