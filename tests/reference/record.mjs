// record.mjs - what llama.cpp answers on the real model, written down once
//
//     npm install --ignore-scripts --omit=optional node-llama-cpp@3.22.1 @node-llama-cpp/linux-x64@3.22.1
//     node record.mjs MODEL.gguf >dsr1-default.json
//
// For each prompt: its tokens and the greedy continuation, with the
// log-probability of the chosen token and its margin over the second best. The
// tests read the file alone; the package is needed to make it anew.
//
// SPDX-License-Identifier: PostgreSQL
import {createHash} from "node:crypto";
import {readFileSync} from "node:fs";
import {basename} from "node:path";
import {createRequire} from "node:module";
import {pathToFileURL} from "node:url";

const require = createRequire(pathToFileURL(process.cwd() + "/"));
const {getLlama} = await import(pathToFileURL(require.resolve("node-llama-cpp")));
const version = JSON.parse(readFileSync("node_modules/node-llama-cpp/package.json", "utf8")).version;

const STEPS = 32;
const SYSTEM = "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n";
const turn = (role, content) => `<|im_start|>${role}\n${content}<|im_end|>\n`;
const ANSWER = "<|im_start|>assistant\n";

const chat = (messages) => ({
    messages,
    text: (messages[0].role === "system" ? "" : SYSTEM) +
        messages.map((m) => turn(m.role, m.content)).join("") + ANSWER,
});

const prompts = {
    "english": {text: "The capital of France is"},
    "story": {text: "Once upon a time, in a small village by the sea, there lived an old fisherman who"},
    "chat": chat([{role: "user", content: "Why is the sky blue?"}]),
    "chat-system": chat([
        {role: "system", content: "You answer in one short sentence."},
        {role: "user", content: "What does a database index do?"},
    ]),
    "chat-turns": chat([
        {role: "user", content: "Name three fruits."},
        {role: "assistant", content: "Apples, pears and plums."},
        {role: "user", content: "Which of them are red?"},
    ]),
    "c": {text: "/* Returns the number of set bits in x. */\nstatic int count_bits(unsigned int x)\n{\n    int n = 0;\n"},
    "python": {text: "def fibonacci(n):\n    \"\"\"Return the n-th Fibonacci number.\"\"\"\n"},
    "sql": {text: "-- The ten customers who spent most in 2023\nSELECT customer_id, SUM(amount) AS total\nFROM orders\n"},
    "unicode": {text: "Städte in Deutschland: Berlin, München, Köln,"},
};

async function continuation(sequence, tokens) {
    const steps = [];
    const options = {temperature: 0, yieldEogToken: true};
    for await (const step of sequence.evaluateWithMetadata(tokens, {probabilities: true}, options)) {
        let best = -1, second = -1;
        for (const [id, p] of step.probabilities) {
            if (best < 0 || p > step.probabilities.get(best)) {
                second = best;
                best = id;
            } else if (second < 0 || p > step.probabilities.get(second)) {
                second = id;
            }
        }
        const logprob = Math.log(step.probabilities.get(best));
        steps.push({token: step.token, second, logprob, margin: logprob - Math.log(step.probabilities.get(second))});
        if (step.token !== best)
            throw new Error(`the sampler took ${step.token}, and ${best} is the best`);
        if (steps.length === STEPS)
            break;
    }
    return steps;
}

const path = process.argv[2];
const llama = await getLlama({gpu: false, build: "never", skipDownload: true, maxThreads: 2, logLevel: "error"});
const model = await llama.loadModel({modelPath: path});
const round = (x) => Number(x.toFixed(5));
const cases = [];
for (const [name, prompt] of Object.entries(prompts)) {
    const context = await model.createContext({contextSize: 512, sequences: 1, threads: 2});
    const tokens = Array.from(model.tokenize(prompt.text, Boolean(prompt.messages)));
    const steps = await continuation(context.getSequence(), tokens);
    cases.push({
        name,
        ...prompt,
        tokens,
        greedy: steps.map((s) => s.token),
        second: steps.map((s) => s.second),
        logprob: steps.map((s) => round(s.logprob)),
        margin: steps.map((s) => round(s.margin)),
        answer: model.detokenize(steps.map((s) => s.token)),
    });
    await context.dispose();
}

const list = (items) => `[${items.map((item) => JSON.stringify(item)).join(", ")}]`;
const lines = cases.map((c) => "    {\n" + Object.entries(c).map(([key, value]) =>
    `      ${JSON.stringify(key)}: ${Array.isArray(value) && typeof value[0] !== "object" ? list(value)
                                                                                    : JSON.stringify(value)}`)
    .join(",\n") + "\n    }");
console.log(`{
  "model": ${JSON.stringify(basename(path))},
  "sha256": "${createHash("sha256").update(readFileSync(path)).digest("hex")}",
  "reference": "node-llama-cpp ${version} (llama.cpp ${llama.llamaCppRelease.release}), CPU, f16 KV cache, 2 threads",
  "cases": [
${lines.join(",\n")}
  ]
}`);
await model.dispose();
await llama.dispose();
