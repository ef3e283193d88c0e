// models.mjs - hold dsr1 against llama.cpp on many small models with random weights
//
//     npm install --ignore-scripts --omit=optional node-llama-cpp@3.22.1 @node-llama-cpp/linux-x64@3.22.1
//     node /path/to/dsr1/tests/reference/models.mjs --bin /path/to/dsr1/build/bin [--only REGEX] [--keep] [--verbose]
//     node .../models.mjs --bin .../build/bin --random 500 [--seed 7]      shapes by chance
//     node .../models.mjs --bin .../build/bin --record tests/golden/shapes       what tests/reference/run compares with
//
// Run it where the package is installed, after `make all bench-tools`. Each case
// of model-cases.mjs is written by mkmodel, evaluated by both on one random
// prompt, and compared by log-probability at every position, with f32 caches on
// both sides. dsr1 must also give the same bits token by token, with unpacked
// weights and with 16 threads. Where llama.cpp refuses a file, dsr1 may refuse it
// or run it. Prints a table; exit status 1 when something is wrong.
//
// SPDX-License-Identifier: PostgreSQL
import {spawn, spawnSync} from "node:child_process";
import {existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync} from "node:fs";
import {createRequire} from "node:module";
import {tmpdir} from "node:os";
import {join, resolve} from "node:path";
import {createInterface} from "node:readline";
import {fileURLToPath, pathToFileURL} from "node:url";
import {cases as named, randomCase} from "./model-cases.mjs";

// Two nearly equal experts may swap at one position, and all that follow see it: then another prompt decides.
const PROMPTS = 3;

// ---- llama.cpp, in a process of its own: it aborts on some files ----

async function evaluate(llama, path) {
    const tokens = JSON.parse(readFileSync(path + ".tokens", "utf8"));
    const model = await llama.loadModel({modelPath: path, useMmap: true});
    try {
        const context = await model.createContext({contextSize: Math.max(256, tokens.length + 8), batchSize: 128, threads: 1, flashAttention: false,
                                                   experimentalKvCacheKeyType: "F32",
                                                   experimentalKvCacheValueType: "F32"});
        const output = await context.getSequence()
            .controlledEvaluate(tokens.map((token) => [token, {generateNext: {probabilities: true}}]));
        const rows = output.map((o) => o.next.probabilities);
        const all = new Float32Array(rows.length * rows[0].size);
        rows.forEach((row, r) => row.forEach((p, id) => {
            all[r * row.size + id] = Math.log(p);
        }));
        writeFileSync(path + ".reference", all);
        await context.dispose();
    } finally {
        await model.dispose();
    }
}

async function child() {
    const require = createRequire(pathToFileURL(process.cwd() + "/"));
    const {getLlama} = await import(pathToFileURL(require.resolve("node-llama-cpp")));
    const llama = await getLlama({gpu: false, build: "never", skipDownload: true, maxThreads: 2, logLevel: "error"});
    for await (const path of createInterface({input: process.stdin})) {
        let problem = "";
        try {
            await evaluate(llama, path);
        } catch (error) {
            problem = error.message || String(error);
        }
        process.stdout.write(JSON.stringify({path, problem}) + "\n");
    }
    process.exit(0);
}

class Reference {
    start() {
        this.process = spawn(process.execPath, [fileURLToPath(import.meta.url), "--child"],
                             {stdio: ["pipe", "pipe", "pipe"]});
        this.lines = createInterface({input: this.process.stdout})[Symbol.asyncIterator]();
        this.process.stderr.on("data", (data) => { this.said = (this.said + data).slice(-2000); });
        this.process.stdin.on("error", () => {});
    }
    async ask(path) {
        if (!this.process)
            this.start();
        this.said = "";
        this.process.stdin.write(path + "\n");
        const line = await this.lines.next();
        if (!line.done)
            return JSON.parse(line.value).problem || "";
        this.process = undefined;
        return "aborts: " + (/ASSERT[^\n]*/.exec(this.said) ?? [""])[0];
    }
    stop() {
        this.process?.stdin.end();
    }
}

// ---- dsr1 ----

function ours(bin, path, tokens, more, environment = {}) {
    const file = path + ".logits";
    const args = ["logits", "-m", path, "--all", "--tokens", tokens.join(","), "-o", file, ...more];
    const result = spawnSync(join(bin, "dsr1"), args, {env: {...process.env, ...environment}});
    if (result.status !== 0)
        return {problem: String(result.stderr).trim() || `ended by ${result.signal}`, crashed: result.signal !== null};
    return {bytes: readFileSync(file)};
}

function logProbabilities(bytes, vocabulary) {
    const rows = new Float32Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length));
    for (let r = 0; r < rows.length; r += vocabulary) {
        const row = rows.subarray(r, r + vocabulary);
        const best = row.reduce((a, b) => Math.max(a, b));
        const sum = row.reduce((total, x) => total + Math.exp(x - best), 0);
        row.forEach((x, i) => { row[i] = x - best - Math.log(sum); });
    }
    return rows;
}

// ---- Comparing ----

const top = (row) => row.reduce((best, x, i) => x > row[best] ? i : best, 0);

function compare(a, b, vocabulary) {
    let worst = 0, total = 0, cosine = 1, same = 0;
    const n = a.length / vocabulary;
    for (let r = 0; r < a.length; r += vocabulary) {
        const x = a.subarray(r, r + vocabulary), y = b.subarray(r, r + vocabulary);
        // Probabilities came as floats: below 1e-37 digits are missing, or all is zero.
        for (let i = 0; i < vocabulary; i++)
            if (y[i] < -85 && x[i] < -80)
                y[i] = x[i];
        const mx = x.reduce((s, v) => s + v, 0) / vocabulary, my = y.reduce((s, v) => s + v, 0) / vocabulary;
        let xy = 0, xx = 0, yy = 0;
        for (let i = 0; i < vocabulary; i++) {
            const gap = Math.abs(x[i] - y[i]);
            worst = !(gap <= worst) ? gap : worst;
            total += gap;
            xy += (x[i] - mx) * (y[i] - my);
            xx += (x[i] - mx) ** 2;
            yy += (y[i] - my) ** 2;
        }
        cosine = Math.min(cosine, xy / Math.sqrt(xx * yy));
        same += top(x) === top(y);
    }
    return {worst, mean: total / a.length, cosine, same: same / n};
}

// tests/golden/models/README.md: f32 models differ by 1e-3 at most, up to position 10000. In quantised ones each engine rounds activations its
// own way, and near ties between experts go either way; both are held against the same weights in f32, and dsr1 may
// be as far from that as llama.cpp is, and half as far again.
function verdict(d, ours, theirs) {
    if (!ours)
        return d.worst <= 4e-3 && d.cosine > 0.99999 && d.same === 1;
    return ours.mean <= 1.5 * theirs.mean + 0.01;
}

function generator(seed) {
    let state = seed * 2654435761 % 4294967296;
    return (n) => (state = (state * 1664525 + 1013904223) % 4294967296, Math.floor(state / 4294967296 * n));
}

function prompt(seed, n) {
    const draw = generator(seed);
    return Array.from({length: n ?? 24 + draw(37)}, () => draw(256));
}

// The same weights, each matrix in f32, as dsr1 sees them.
function exact(bin, path, tokens, vocabulary) {
    const twin = path + ".f32.gguf";
    const made = spawnSync(join(bin, "dsr1"), ["quantize", path, twin, "f32", "--again"]);
    if (made.status !== 0)
        throw new Error(`dsr1 quantize: ${made.stderr}`);
    const result = ours(bin, twin, tokens, ["-t", "2"]);
    rmSync(twin);
    rmSync(twin + ".logits", {force: true});
    return logProbabilities(result.bytes, vocabulary);
}

async function run(bin, reference, path, args, more, seed) {
    const quantised = /--type|--tensor-type/.test(args);
    const made = spawnSync(join(bin, "mkmodel"), [...(args.includes("--type ") ? args : args + " --type F32").split(" ")
        .filter(Boolean), path]);
    if (made.status !== 0)
        return {bad: true, text: `mkmodel: ${made.stderr}`};
    const tokens = prompt(seed, more.tokens);
    writeFileSync(path + ".tokens", JSON.stringify(tokens));
    const theirs = await reference.ask(path), mine = ours(bin, path, tokens, ["-t", "2"]);
    if (mine.crashed)
        return {bad: true, text: mine.problem};
    if (mine.problem)
        return {bad: !theirs && !more.lacks, text: `${theirs ? "both refuse" : "only dsr1 refuses"}: ${mine.problem}`, theirs};
    const others = [[["--step", "-t", "1"], {}], [["--chunk", "5", "-t", "16"], {DSR1_PACK: "off"}]];
    for (const [options, environment] of others) {
        const other = ours(bin, path, tokens, options, environment);
        if (other.problem || other.bytes.compare(mine.bytes) !== 0)
            return {bad: true, text: `other bits with ${options.join(" ")} ${JSON.stringify(environment)} ${other.problem ?? ""}`};
    }
    const vocabulary = mine.bytes.length / 4 / tokens.length, rows = logProbabilities(mine.bytes, vocabulary);
    if (!rows.every(Number.isFinite))
        return {bad: true, text: "logits that are no numbers"};
    if (theirs)
        return {bad: false, text: `llama.cpp ${theirs}`, theirs};
    const reply = new Float32Array(readFileSync(path + ".reference").buffer.slice(0));
    const d = compare(rows, reply, vocabulary);
    const show = (what, x) => `${what}max ${x.worst.toExponential(1)} mean ${x.mean.toExponential(1)} cosine ` +
        `${x.cosine.toFixed(6)} best the same ${(100 * x.same).toFixed(0).padStart(3)} %`;
    if (!quantised)
        return {bad: !verdict(d), d, text: show("", d)};
    const truth = exact(bin, path, tokens, vocabulary);
    const mine32 = compare(rows, truth, vocabulary), theirs32 = compare(reply, truth, vocabulary);
    return {bad: !verdict(d, mine32, theirs32), d, text: `${show("", d)}; from f32 ${mine32.mean.toExponential(1)}, ` +
        `llama.cpp ${theirs32.mean.toExponential(1)}`};
}

// mkmodel writes the same bytes everywhere, so that the answers are all there is to keep.
async function record(bin, folder, work) {
    const reference = new Reference(), list = [];
    for (const [index, [name, args, more = {}]] of named.entries()) {
        if (!more.golden)
            continue;
        const path = join(work, `${index}.gguf`), tokens = prompt(index + 1, 16), file = name.replace(/[^a-z0-9]+/gi, "-") + ".f32";
        const made = args.includes("--type ") ? args : args + " --type F32";
        spawnSync(join(bin, "mkmodel"), [...made.split(" "), path]);
        writeFileSync(path + ".tokens", JSON.stringify(tokens));
        const problem = await reference.ask(path);
        if (problem)
            throw new Error(`${name}: llama.cpp ${problem}`);
        writeFileSync(join(folder, file), readFileSync(path + ".reference"));
        list.push(JSON.stringify({name, args: made, file, tokens}));
    }
    reference.stop();
    writeFileSync(join(folder, "index.json"), `[\n${list.join(",\n")}\n]\n`);
}

async function main(words) {
    const option = (name) => words.includes(name) ? words[words.indexOf(name) + 1] : undefined;
    const bin = resolve(option("--bin") ?? "build/bin"), only = new RegExp(option("--only") ?? "", "i");
    if (!existsSync(join(bin, "mkmodel")))
        throw new Error(`no mkmodel in ${bin}: make all bench-tools`);
    const chance = generator(Number(option("--seed") ?? 1));
    const cases = option("--random") ? Array.from({length: Number(option("--random"))}, () => randomCase(chance)) : named;
    const work = mkdtempSync(join(tmpdir(), "dsr1-models-")), reference = new Reference();
    const count = {same: 0, both: 0, more: 0, less: 0, bad: 0};
    if (option("--record")) {
        await record(bin, resolve(option("--record")), work);
        rmSync(work, {recursive: true});
        return;
    }
    try {
        for (const [index, [name, args, more = {}]] of cases.entries()) {
            if (!only.test(name))
                continue;
            const path = join(work, `${index}.gguf`);
            let result = {bad: true, d: {}};
            for (let prompts = 0; prompts < PROMPTS && result.bad && result.d; prompts++)
                result = await run(bin, reference, path, args, more, index + 1 + 1000 * prompts);
            const kind = result.bad ? "bad" : result.d ? "same" : result.text.startsWith("both") ? "both" :
                result.text.startsWith("only") ? "less" : "more";
            count[kind]++;
            console.log(`${result.bad ? "BAD" : "ok "} ${name.padEnd(44)} ${result.text}`);
            if (result.bad && option("--random"))
                console.log(`        ${args}`);
            if (words.includes("--verbose") && result.theirs)
                console.log(`        llama.cpp: ${result.theirs}`);
            if (!words.includes("--keep"))
                for (const end of ["", ".tokens", ".reference", ".logits"])
                    rmSync(path + end, {force: true});
        }
    } finally {
        reference.stop();
        if (!words.includes("--keep"))
            rmSync(work, {recursive: true});
    }
    console.log(`${count.same} agree, ${count.both} refused by both, ${count.more} run by dsr1 only, ` +
                `${count.less} refused by dsr1 only (as known), ${count.bad} wrong`);
    process.exitCode = count.bad ? 1 : 0;
}

if (process.argv[2] === "--child")
    await child();
else
    await main(process.argv.slice(2));
