// compare.mjs - dsr1 beside builds of llama.cpp and its relatives: the same file, the same threads, in turns
//
//     node bench/compare.mjs --ours build/bin/dsr1 --peer NAME=FOLDER[,FLAG..][;FLAG..] ... -m MODEL.gguf [OPTION]...
//
// FOLDER holds a peer's llama-bench and llama-batched-bench. FLAGs are given to the first, or, behind the semicolon, to
// the second, which is not told the same ("mla=3" is "-mla 3", "rtr" is "-rtr"). A pair is one run of ours and one of
// each peer, minutes apart at most: on a shared machine only such figures can be compared. The result is one JSON
// object with every figure, and the median over the pairs of ours over the best peer's. Peers run in a folder of their
// own, which is removed with the logs that they leave.
//
//     -t N            threads (2)
//     -p N,..         prompts (512)
//     -n N            tokens to generate (32)
//     -b N,..         requests at once (1); from 2 on llama-batched-bench answers, behind prompts of 16 tokens
//     --pairs N       pairs (3)
//     --add FILE      go on with the pairs in FILE, and leave all of them there: many short runs make a long one
//     --ours-env, --peer-env NAME=VALUE   for the one or the others, such as DSR1_CPU=avx2
//     --memory PROGRAM   build/bench/bench_memory, which says before and behind every program what memory gives, in
//                     "memory" of each pair: a shared machine may change in between
//
// SPDX-License-Identifier: PostgreSQL
import {spawnSync} from "node:child_process";
import {existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync} from "node:fs";
import {cpus, tmpdir} from "node:os";
import {join, resolve} from "node:path";

const o = {threads: 2, prompts: [512], n: 32, batches: [1], pairs: 3, peers: [], oursEnv: {}, peerEnv: {}};
const numbers = (text) => text === "" ? [] : text.split(",").map(Number);
const assign = (to) => (text) => { const [name, ...value] = text.split("="); to[name] = value.join("="); };
const flagsOf = (text) => text.split(",").filter(Boolean).flatMap((flag) => {
    const [name, ...value] = flag.split("=");
    return [name.length > 4 ? `--${name}` : `-${name}`, ...value];
});
const options = {
    "--ours": (v) => o.ours = v, "-m": (v) => o.model = resolve(v), "-t": (v) => o.threads = Number(v),
    "-p": (v) => o.prompts = numbers(v), "-n": (v) => o.n = Number(v), "-b": (v) => o.batches = numbers(v),
    "--pairs": (v) => o.pairs = Number(v), "--add": (v) => o.file = v, "--memory": (v) => o.memory = resolve(v),
    "--ours-env": assign(o.oursEnv), "--peer-env": assign(o.peerEnv),
    "--peer": (v) => {
        const [, name, folder, flags, batched] = /^([^=]+)=([^,;]+),?([^;]*);?(.*)$/.exec(v);
        o.peers.push({name, folder: resolve(folder), flags: flagsOf(flags), batchedFlags: flagsOf(batched)});
    },
};
if (process.argv.slice(2).some((word) => word === "-h" || word === "--help")) {
    const text = readFileSync(process.argv[1], "utf8");
    console.log(text.slice(0, text.indexOf("\n//\n// SPDX")).replace(/^\/\/ ?/gm, ""));
    process.exit(0);
}
for (let i = 2; i < process.argv.length; i += 2) {
    if (!options[process.argv[i]] || process.argv[i + 1] === undefined) {
        console.error(`compare: what is ${process.argv[i]}?`);
        process.exit(2);
    }
    options[process.argv[i]](process.argv[i + 1]);
}
if (!o.ours || !o.model) {
    console.error("compare: --ours PROGRAM and -m MODEL are wanted");
    process.exit(2);
}

function run(program, args, env, cwd) {
    const options = {cwd, env: {...process.env, ...env}, encoding: "utf8", maxBuffer: 1 << 26};
    const result = spawnSync(program, args.map(String), options);
    if (result.status !== 0)
        throw new Error(`${program} ${args.join(" ")}: ${result.stderr.slice(-2000)}`);
    return result;
}

// Figures are named pN (a prompt of N tokens) and bN (N requests that generate), in tokens a second.
function ours() {
    const args = ["bench", "-m", o.model, "-n", Math.max(o.n, 2), "-t", o.threads, "-r", 1, "--json"];
    const {stdout} = run(o.ours, [...args, "-p", o.prompts.join() || "1", "-b", o.batches.join() || "1"], o.oursEnv);
    const report = JSON.parse(stdout);
    const figures = {};
    for (const {tokens, tok_s} of report.prefill)
        if (o.prompts.includes(tokens))
            figures[`p${tokens}`] = tok_s;
    for (const {batch, tok_s} of report.decode)
        if (o.batches.includes(batch))
            figures[`b${batch}`] = tok_s;
    return figures;
}

const peersFolder = mkdtempSync(join(tmpdir(), "compare-"));
process.on("exit", () => rmSync(peersFolder, {recursive: true}));

function bench(peer, figures) {
    const single = o.batches.includes(1);
    if (o.prompts.length === 0 && !single)
        return;
    const args = ["-m", o.model, "-t", o.threads, "-r", 1, "-o", "json", "-n", single ? o.n : 0, ...peer.flags];
    const {stdout} = run(join(peer.folder, "llama-bench"), [...args, "-p", o.prompts.join() || 0], o.peerEnv, peersFolder);
    for (const row of JSON.parse(stdout.slice(stdout.indexOf("["))))
        figures[row.n_gen ? "b1" : `p${row.n_prompt}`] = row.avg_ts;
}

function batchedBench(peer, figures) {
    const batches = o.batches.filter((n) => n > 1);
    if (batches.length === 0)
        return;
    const context = Math.max(...batches) * (16 + o.n) + 64;
    const args = ["-m", o.model, "-t", o.threads, "-tb", o.threads, "-c", context, "-b", 2048, "-npp", 16, "-ntg", o.n];
    // One peer writes its table to one stream, another to the other.
    const {stdout, stderr} = run(join(peer.folder, "llama-batched-bench"),
                                 [...args, "-npl", batches.join(), ...peer.batchedFlags], o.peerEnv, peersFolder);
    for (const line of `${stdout}\n${stderr}`.split("\n")) {
        const cells = line.split("|").map((c) => Number(c));
        if (cells.length > 8 && cells[3] > 0)
            figures[`b${cells[3]}`] = cells[8];
    }
}

const memory = () => o.memory ? [JSON.parse(run(o.memory, [o.threads], {}).stdout).gb_s] : [];

const median = (values) => {
    const sorted = [...values].sort((a, b) => a - b), half = sorted.length >> 1;
    return sorted.length % 2 ? sorted[half] : (sorted[half - 1] + sorted[half]) / 2;
};

const pairs = o.file && existsSync(o.file) ? JSON.parse(readFileSync(o.file, "utf8")).pairs : [];
for (let i = 0; i < o.pairs; i++) {
    const before = memory(), pair = {ours: ours()};
    pair.memory = {ours: [...before, ...memory()]};
    for (const peer of o.peers) {
        pair[peer.name] = {};
        bench(peer, pair[peer.name]);
        const between = memory();
        batchedBench(peer, pair[peer.name]);
        pair.memory[peer.name] = [...between, ...memory()];
    }
    pairs.push(pair);
}

const figures = {};
for (const name of new Set(pairs.flatMap((p) => Object.keys(p.ours)))) {
    const having = pairs.filter((p) => p.ours[name]);
    const best = (p) => Math.max(...o.peers.map((peer) => p[peer.name]?.[name] ?? 0));
    const figure = figures[name] = {};
    for (const who of ["ours", ...o.peers.map((peer) => peer.name)])
        figure[who] = median(having.filter((p) => p[who]?.[name]).map((p) => p[who][name]));
    const ratios = having.map((p) => p.ours[name] / best(p)).filter((r) => r > 0 && r < Infinity);
    if (ratios.length > 0)
        Object.assign(figure, {ratio: median(ratios), pairs: ratios.length});
}
const report = {model: o.model, cpu: cpus()[0].model, threads: o.threads, figures, pairs};
if (o.file)
    writeFileSync(o.file, JSON.stringify(report, null, 1));
console.log(JSON.stringify({...report, pairs: pairs.length, memory: pairs.map((p) => p.memory)}, null, 1));
