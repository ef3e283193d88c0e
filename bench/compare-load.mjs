// compare-load.mjs - many requests at once to dsr1-engine and to llama.cpp, the same ones, in turns
//
//     npm install --ignore-scripts --omit=optional node-llama-cpp@3.22.1 @node-llama-cpp/linux-x64@3.22.1
//     node /path/to/dsr1/bench/compare-load.mjs --bin /path/to/dsr1/build/bin --model MODEL.gguf
//          [--server /path/to/llama-server] [--rounds 2] [--threads 2] [options of load]
//
// dsr1 is asked by `load` (make bench-tools), whose --dump is then asked of the
// peer: llama-server over HTTP where --server names one, else node-llama-cpp with
// one sequence per request at once, in this process (JavaScript costs it a little).
// Prints one JSON object: both sides' best round, and ratios above 1 where dsr1 is
// better. The peer keeps its prompt cache on.
//
// SPDX-License-Identifier: PostgreSQL
import {spawn, spawnSync} from "node:child_process";
import {mkdtempSync, readFileSync, rmSync} from "node:fs";
import http from "node:http";
import {createRequire} from "node:module";
import {createServer} from "node:net";
import {tmpdir} from "node:os";
import {join, resolve} from "node:path";
import {pathToFileURL} from "node:url";

const words = process.argv.slice(2);

function take(name, otherwise) {
    const at = words.indexOf(name);
    return at < 0 ? otherwise : words.splice(at, 2)[1];
}

const bin = resolve(take("--bin", "build/bin")), modelPath = resolve(take("--model", ""));
const server = take("--server"), rounds = Number(take("--rounds", "2")), threads = take("--threads", "2");
const option = (name, otherwise) => Number(words.includes(name) ? words[words.indexOf(name) + 1] : otherwise);
const rate = option("--rate", 0), concurrency = option("--concurrency", 16);
const largest = (name, otherwise) => Math.max(...String(words[words.indexOf(name) + 1 || words.length] ?? otherwise)
    .split(",").map(Number));
// Prompts come out some tokens longer than wished for.
const context = Math.ceil((largest("--prompt", 128) * 1.25 + largest("--answer", 32) + 64) / 256) * 256;
const slots = rate > 0 ? 16 : concurrency;

// ---- Peers: open, complete(prompt, n, onToken) -> {prompt, cached, answer} in tokens, close ----

const freePort = () => new Promise((done) => {
    const probe = createServer().listen(0, "127.0.0.1", () => {
        const {port} = probe.address();
        probe.close(() => done(port));
    });
});

class Server {
    async open() {
        this.port = await freePort();
        this.process = spawn(server, ["-m", modelPath, "-t", threads, "-np", String(slots), "-c", String(slots * context),
                                      "--host", "127.0.0.1", "--port", String(this.port)],
                             {stdio: ["ignore", "ignore", "pipe"]});
        let said = "", ended = false;
        this.process.stderr.on("data", (data) => { said = (said + data).slice(-2000); });
        this.process.on("exit", () => { ended = true; });
        while (await this.status() !== 200) {
            if (ended)
                throw new Error(`llama-server ended: ${said}`);
            await new Promise((done) => setTimeout(done, 100));
        }
        // No keep-alive: the server closes idle connections just when they are used again.
        this.agent = new http.Agent({maxSockets: Infinity});
    }
    status() {
        return new Promise((done) => http.get({host: "127.0.0.1", port: this.port, path: "/health"}, (reply) => {
            reply.resume();
            done(reply.statusCode);
        }).on("error", () => done(0)));
    }
    complete(prompt, n, onToken) {
        const body = JSON.stringify({prompt, n_predict: n, temperature: 0, cache_prompt: true, stream: true});
        return new Promise((done, fail) => {
            const request = http.request({host: "127.0.0.1", port: this.port, path: "/completion", method: "POST",
                                          agent: this.agent, headers: {"Content-Type": "application/json"}}, (reply) => {
                let rest = "", last;
                reply.setEncoding("utf8");
                reply.on("data", (data) => {
                    const lines = (rest + data).split("\n");
                    rest = lines.pop();
                    for (const line of lines.filter((l) => l.startsWith("data: ") && l !== "data: [DONE]")) {
                        last = JSON.parse(line.slice(6));
                        if (!last.stop || last.content)
                            onToken();
                    }
                });
                reply.on("end", () => last?.timings ? done({prompt: last.timings.prompt_n + (last.timings.cache_n ?? 0),
                                                            cached: last.timings.cache_n ?? 0,
                                                            answer: last.tokens_predicted})
                    : fail(new Error(`llama-server answered ${reply.statusCode}: ${rest}`)));
            });
            request.on("error", fail);
            request.end(body);
        });
    }
    async close() {
        this.agent?.destroy();
        this.process.kill("SIGTERM");
        await new Promise((done) => this.process.exitCode !== null ? done() : this.process.on("exit", done));
    }
}

class Package {
    async open() {
        const require = createRequire(pathToFileURL(process.cwd() + "/"));
        const {getLlama} = await import(pathToFileURL(require.resolve("node-llama-cpp")));
        this.llama = await getLlama({gpu: false, build: "never", skipDownload: true, maxThreads: Number(threads),
                                     logLevel: "error"});
        this.model = await this.llama.loadModel({modelPath});
        this.context = await this.model.createContext({contextSize: context, sequences: slots, batchSize: 512,
                                                       threads: Number(threads)});
        this.free = Array.from({length: slots}, () => this.context.getSequence());
        this.waiting = [];
    }
    async complete(prompt, n, onToken) {
        const sequence = this.free.pop() ?? await new Promise((done) => this.waiting.push(done));
        const tokens = this.model.tokenize(prompt);
        let answer = 0;
        await sequence.adaptStateToTokens(tokens.slice(0, -1));
        const cached = sequence.nextTokenIndex;
        for await (const _ of sequence.evaluate(tokens.slice(cached), {temperature: 0, yieldEogToken: true})) {
            answer++;
            onToken();
            if (answer === n)
                break;
        }
        const next = this.waiting.shift();
        if (next)
            next(sequence);
        else
            this.free.push(sequence);
        return {prompt: tokens.length, cached, answer};
    }
    async close() {
        await this.context.dispose();
        await this.model.dispose();
        await this.llama.dispose();
    }
}

// ---- The same load ----

function percentiles(list) {
    list.sort((a, b) => a - b);
    const at = (rank) => list[Math.max(0, Math.ceil(rank * list.length) - 1)];
    return {mean: list.reduce((a, b) => a + b, 0) / list.length, p50: at(0.5), p90: at(0.9), p99: at(0.99)};
}

async function replay(peer, requests) {
    const start = performance.now(), first = [], token = [], whole = [];
    let next = 0, prompt = 0, cached = 0, answer = 0;
    const ask = async (request, due) => {
        let began = 0;
        const used = await peer.complete(request.prompt, request.answer, () => { began ||= performance.now(); });
        const now = performance.now();
        prompt += used.prompt;
        cached += used.cached;
        answer += used.answer;
        first.push(began - due);
        whole.push(now - due);
        if (used.answer > 1)
            token.push((now - began) / (used.answer - 1));
    };
    if (rate > 0)
        await Promise.all(requests.map((r) => new Promise((done, fail) =>
            setTimeout(() => ask(r, start + 1000 * r.due).then(done, fail), 1000 * r.due))));
    else
        await Promise.all(Array.from({length: concurrency}, async () => {
            while (next < requests.length)
                await ask(requests[next++], performance.now());
        }));
    const wall_s = (performance.now() - start) / 1000;
    return {wall_s, requests_s: requests.length / wall_s, prompt_tok_s: prompt / wall_s, completion_tok_s: answer / wall_s,
            prompt_tokens: prompt, cached_tokens: cached, completion_tokens: answer, first_token_ms: percentiles(first),
            token_ms: percentiles(token), whole_ms: percentiles(whole)};
}

function ours(dump) {
    const engine = ["--threads", threads, "--max-batch", String(slots), "--context", String(context)]
        .flatMap((word) => ["--engine-option", word]);
    const result = spawnSync(join(bin, "load"), ["--model", modelPath, "--dump", dump, ...engine, ...words]);
    if (result.status !== 0)
        throw new Error(String(result.stderr));
    return JSON.parse(result.stdout);
}

const work = mkdtempSync(join(tmpdir(), "dsr1-load-")), dump = join(work, "requests");
const best = {};
try {
    for (let round = 0; round < rounds; round++) {
        const mine = ours(dump), peer = server ? new Server() : new Package();
        if (!best.dsr1 || mine.wall_s < best.dsr1.wall_s)
            best.dsr1 = mine;
        await peer.open();
        try {
            const theirs = await replay(peer, readFileSync(dump, "utf8").trim().split("\n").map((line) => JSON.parse(line)));
            if (!best.peer || theirs.wall_s < best.peer.wall_s)
                best.peer = theirs;
        } finally {
            await peer.close();
        }
    }
} finally {
    rmSync(work, {recursive: true});
}
const {dsr1, peer} = best, ratio = (a, b) => Number((a / b).toFixed(3));
console.log(JSON.stringify({
    model: modelPath.split("/").pop(), peer_name: server ? "llama-server" : "node-llama-cpp", rounds, slots, dsr1, peer,
    ratios: {
        requests_s: ratio(dsr1.requests_s, peer.requests_s),
        completion_tok_s: ratio(dsr1.completion_tok_s, peer.completion_tok_s),
        first_token_p50: ratio(peer.first_token_ms.p50, dsr1.first_token_ms.p50),
        first_token_p90: ratio(peer.first_token_ms.p90, dsr1.first_token_ms.p90),
        token_p50: ratio(peer.token_ms.p50, dsr1.token_ms.p50),
        whole_p50: ratio(peer.whole_ms.p50, dsr1.whole_ms.p50),
    },
}, null, 2));
process.exit(0);
