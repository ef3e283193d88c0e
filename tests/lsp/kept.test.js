// kept.test.js - what the model has read stays read: after a cancel, after a newer request, in mid-prompt
//
// Answers are not remembered here (cache.results = 0), so that each request goes to the model, and each text is new
// to it, so that what is not evaluated again is what the request before it left behind.
//
// SPDX-License-Identifier: PostgreSQL
"use strict";
const {test} = require("node:test");
const assert = require("node:assert/strict");
const {CancellationTokenSource} = require("vscode-jsonrpc/node");
const fs = require("node:fs");
const os = require("node:os");
const path = require("node:path");
const {withEditor, pause} = require("./client");

const uri = "file:///project/numbers.py";
const settings = {cache: {results: 0}, tokenHealing: false, speculate: false, items: 1, mode: "block", debounceMs: 0, firstAnswerMs: 60000,
                  invokedMs: 60000, minTokenProb: 0, minLineProb: 0, prefixTokens: 1500};

// A text that goes on for ever, and that is in no other's prefix.
let texts = 0;
function numbers(n) {
    texts++;
    const lines = Array.from({length: n}, (_, i) => `value_${texts}_${i} = compute(${i})`);
    return ["# " + "abcdefgh"[texts % 8] + texts, ...lines, "numbers = [", "    'one',", "    "].join("\n");
}

const evaluated = async (editor) => {
    const {promptTokens, cachedTokens} = await editor.command("dsr1.stats");
    return promptTokens - cachedTokens;
};
const maxTokens = (editor, n) => editor.connection.sendNotification("workspace/didChangeConfiguration", {settings: {dsr1: {maxTokens: n}}});

// Asks about a new text of n lines, and after ms lets go of it by `release`, which asks again.
// The lines of the statistics file for both.
async function twice(editor, n, ms, kind, release) {
    const position = {line: n + 3, character: 4};
    await maxTokens(editor, 800);
    await editor.change(uri, {text: numbers(n)});
    const source = new CancellationTokenSource(), before = await evaluated(editor), from = editor.lines().length;
    const first = editor.inline(uri, position, kind, source.token).then((result) => ({result}), ({code}) => ({code}));
    await pause(ms);
    await maxTokens(editor, 2);
    await release({editor, source, position, first});
    while (editor.lines().length < from + 2)
        await pause(10);
    const [gone, again] = editor.lines().slice(from);
    assert.deepEqual([gone.outcome, again.outcome === "dropped"], ["dropped", false]);
    assert.equal(await evaluated(editor) - before, gone.evaluatedTokens + again.evaluatedTokens, "as dsr1.stats counts");
    return {gone, again};
}

async function cancel({editor, source, position, first}) {
    source.cancel();
    assert.deepEqual(await first, {code: -32800});
    await editor.inline(uri, position);
}

async function supersede({editor, position, first}) {
    await editor.type(uri, position, "'");
    const newer = editor.inline(uri, {...position, character: position.character + 1}, 2);
    assert.deepEqual(await first, {result: {items: []}});
    await newer;
}

async function withNumbers(run) {
    const folder = fs.mkdtempSync(path.join(os.tmpdir(), "dsr1-kept-")), file = path.join(folder, "stats");
    try {
        await withEditor({}, async (editor) => {
            editor.lines = () => fs.readFileSync(file, "utf8").split("\n").slice(0, -1).map((line) => JSON.parse(line));
            await editor.start({settings: {...settings, stats: {file}}});
            await editor.open(uri, "", "python");
            await run(editor);
        });
    } finally {
        fs.rmSync(folder, {recursive: true});
    }
}

// A pause after which the first request is where `wanted` says: its prompt is read and it writes, or it reads.
// Machines differ, so it is looked for: longer pauses after "early", shorter ones after "late".
async function meet(ask, place) {
    const seen = [];
    for (let low = 0, high = 4000, ms = 200, tries = 0; tries < 14; tries++) {
        const found = await ask(ms);
        const where = place(found);
        if (where === "there")
            return found;
        seen.push([ms, where]);
        if (where === "early")
            low = ms;
        else
            high = ms;
        ms = high === 4000 ? 2 * low + 50 : (low + high) / 2;
    }
    throw new Error(`never there: ${JSON.stringify(seen)}`);
}

const writing = ({gone}) => gone.completionTokens > 0 ? "there" : "early";

test("a request that was cancelled while the model wrote has its prompt evaluated once", () => withNumbers(async (editor) => {
    const {gone, again} = await meet((ms) => twice(editor, 40, ms, 1, cancel), writing);
    assert.ok(gone.evaluatedTokens > 250, "it read its own prompt");
    assert.equal(again.promptTokens, gone.promptTokens);
    assert.ok(again.evaluatedTokens <= 2, `${again.evaluatedTokens} of ${again.promptTokens} tokens were evaluated again`);
}));

test("a request that gave way to a newer one leaves its prompt behind", () => withNumbers(async (editor) => {
    const {gone, again} = await meet((ms) => twice(editor, 40, ms, 2, supersede), writing);
    assert.ok(gone.evaluatedTokens > 250, "it read its own prompt");
    assert.ok(again.evaluatedTokens <= 4, `${again.evaluatedTokens} of ${again.promptTokens} tokens were evaluated again`);
}));

test("a request that was cancelled while the model read leaves what was read", () => withNumbers(async (editor) => {
    const reading = ({gone, again}) => gone.completionTokens > 0 ? "late" : again.cachedTokens < 100 ? "early" : "there";
    const {gone, again} = await meet((ms) => twice(editor, 120, ms, 1, cancel), reading);
    assert.ok(gone.cachedTokens < 50, "the text was new");
    assert.ok(again.promptTokens > 900 && again.evaluatedTokens > 2);
}));
