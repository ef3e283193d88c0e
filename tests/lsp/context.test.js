// context.test.js - what the model is shown, what is thought ahead, and what the server learns from the document
//
// SPDX-License-Identifier: PostgreSQL
"use strict";
const {test, before} = require("node:test");
const assert = require("node:assert/strict");
const fs = require("node:fs");
const os = require("node:os");
const path = require("node:path");
const {withEditor, pause, model} = require("./client");
const {makeFimModel, makePlainModel} = require("./fim-model");

const uri = "file:///project/math.py";
const text = "def add(a, b):\n    return a + b\n\n\ndef subtract(a, b):\n    return ";
const end = {line: 5, character: 11};
const temporary = () => fs.mkdtempSync(path.join(os.tmpdir(), "dsr1-lsp-"));
const median = (numbers) => numbers.toSorted((a, b) => a - b)[numbers.length >> 1];

async function until(holds, what) {
    for (let tries = 0; tries < 200; tries++) {
        if (await holds())
            return;
        await pause(25);
    }
    assert.fail(what);
}

// ---------------------------------------------------------------------------
// Fill in the middle
// ---------------------------------------------------------------------------

const fimModel = path.join(os.tmpdir(), `dsr1-fim-${process.pid}.gguf`);
before(() => makeFimModel(model, fimModel, [12, 13, 14]));
process.on("exit", () => fs.rmSync(fimModel, {force: true}));

test("with FIM tokens, typing in a line has a median of at most 2 tokens evaluated, the lines below included in the prompt", () =>
    withEditor({args: ["--model", fimModel, "--set", "core.prompt=fim"]}, async (editor) => {
        await editor.start({settings: {cache: {results: 0}, tokenHealing: false, maxTokens: 2, speculate: false}});
        assert.equal((await editor.command("dsr1.status")).model.prompt, "fim");
        const above = Array.from({length: 40}, (_, i) => `value_${i} = compute(${i})`);
        const below = Array.from({length: 30}, (_, i) => `print(value_${i})`);
        await editor.open(uri, [...above, "", ...below].join("\n"), "python");
        await editor.inline(uri, {line: 40, character: 0});
        const typed = "result = value_1 + value_2", evaluated = [], otherOrder = [];
        for (let i = 0; i < typed.length; i++) {
            await editor.type(uri, {line: 40, character: i}, typed[i]);
            await editor.inline(uri, {line: 40, character: i + 1});
            const why = await editor.command("dsr1.explainLast");
            assert.equal(why.prompt, "fim");
            evaluated.push(why.evaluatedTokens);
            otherOrder.push(why.evaluatedTokens + why.suffixTokens);
        }
        assert.ok(median(evaluated) <= 2, `median ${median(evaluated)} of ${evaluated}`);
        assert.ok(median(otherOrder) > 100, "what an order with the typed part before the suffix evaluates");
    }));

test("a vocabulary with FIM tokens that the model has not learned is found out when it is loaded", () =>
    withEditor({args: ["--model", fimModel]}, async (editor) => {
        await editor.start();
        assert.notEqual((await editor.command("dsr1.status")).model.prompt, "fim");
    }));

test("without FIM tokens another way is found, whatever is wished for", async () => {
    const folder = temporary(), plain = path.join(folder, "plain.gguf");
    try {
        makePlainModel(fimModel, plain);
        for (const wish of ["auto", "fim"])
            await withEditor({args: ["--model", plain, "--set", `core.prompt=${wish}`]}, async (editor) => {
                await editor.start();
                // As a chat it writes other things than what belongs there: scripts/lsp-quality.
                assert.equal((await editor.command("dsr1.status")).model.prompt, "prefixOnly");
                await editor.open(uri, text, "python");
                await editor.inline(uri, end);
                assert.notEqual((await editor.command("dsr1.explainLast")).prompt, "fim");
            });
    } finally {
        fs.rmSync(folder, {recursive: true});
    }
});

test("how a model wants to be asked is found out once, and again when its file or what was kept is another", async () => {
    const folder = temporary(), copy = path.join(folder, "copy.gguf"), kept = path.join(folder, "kept", "probes");
    const load = async (file, env = {DSR1_PROBE_DIR: kept}) => {
        let about;
        await withEditor({args: ["--model", file], env}, async (editor) => {
            await editor.start();
            about = (await editor.command("dsr1.status")).model;
        });
        return [about.promptRemembered, about.prompt];
    };
    try {
        const [first, prompt] = await load(model);
        assert.equal(first, false);
        assert.deepEqual(await load(model), [true, prompt]);
        fs.copyFileSync(fimModel, copy);
        assert.equal((await load(copy))[0], false, "another file");
        assert.equal((await load(copy))[0], true);
        fs.utimesSync(copy, new Date(), new Date(0));
        assert.equal((await load(copy))[0], false, "a file that changed");
        for (const name of fs.readdirSync(kept))
            fs.writeFileSync(path.join(kept, name), "nonsense");
        assert.deepEqual(await load(model), [false, prompt]);
        assert.deepEqual(await load(model, {DSR1_PROBE_DIR: "/proc/no/such/place"}), [false, prompt]);
    } finally {
        fs.rmSync(folder, {recursive: true});
    }
});

test("core.prompt = hole asks a chat model to fill the hole, and typing still evaluates few tokens", () =>
    withEditor({args: ["--model", model, "--set", "core.prompt=hole"]}, async (editor) => {
        await editor.start({settings: {cache: {results: 0}, tokenHealing: false, maxTokens: 2, speculate: false}});
        await editor.open(uri, "def area(width, height):\n    \n    return total\n", "python");
        const evaluated = [];
        for (let i = 0; i < 12; i++) {
            await editor.type(uri, {line: 1, character: 4 + i}, "total = widt"[i]);
            await editor.inline(uri, {line: 1, character: 5 + i});
            const why = await editor.command("dsr1.explainLast");
            assert.equal(why.prompt, "hole");
            if (i > 0)
                evaluated.push(why.evaluatedTokens);
        }
        assert.ok(median(evaluated) <= 2, `${evaluated}`);
    }));

// ---------------------------------------------------------------------------
// Other files
// ---------------------------------------------------------------------------

const other = "file:///project/shapes.py";
const shapes = "class Circle:\n    def circumference(self):\n        return 2 * 3.14 * self.radius\n\n    def surface(self):\n        return 3.14 * self.radius ** 2\n";

test("what was looked at in another file of the language stands before the prompt; a file of another language does not", () =>
    withEditor({}, async (editor) => {
        await editor.start();
        await editor.open(other, shapes, "python");
        await editor.inline(other, {line: 2, character: 8});
        await editor.open(uri, text, "python");
        await editor.inline(uri, end);
        const why = await editor.command("dsr1.explainLast");
        assert.equal(why.contextBytes, "# shapes.py\n".length + shapes.length + 2, "a comment with the name, and the lines");
        await editor.open("file:///project/main.c", "int main(void)\n{\n    return ", "c");
        await editor.inline("file:///project/main.c", {line: 2, character: 11});
        assert.equal((await editor.command("dsr1.explainLast")).contextBytes, 0);
    }));

for (const [name, settings, file] of [["a file that ignoreGlobs names", {ignoreGlobs: ["*.secret.py"]}, "file:///p/keys.secret.py"],
                                      ["any file with ringChunks = 0", {ringChunks: 0}, other]]) {
    test(`${name} is not shown to the model in another file`, () => withEditor({}, async (editor) => {
        await editor.start({settings});
        await editor.open(file, shapes, "python");
        await editor.type(file, {line: 0, character: 0}, "#\n");
        await editor.open(uri, text, "python");
        await editor.inline(uri, end);
        assert.equal((await editor.command("dsr1.explainLast")).contextBytes, 0);
    }));
}

test("files that .gitignore or .dsr1ignore name get no suggestions and enter no prompt", async () => {
    const folder = temporary();
    try {
        fs.mkdirSync(path.join(folder, "sub"));
        fs.mkdirSync(path.join(folder, ".git"));
        fs.writeFileSync(path.join(folder, ".gitignore"), "# secrets\nprivate/\n*.local.py\n!keep.local.py\n");
        fs.writeFileSync(path.join(folder, "sub", ".dsr1ignore"), "/generated.py\n");
        await withEditor({}, async (editor) => {
            await editor.start();
            const at = (name) => `file://${folder}/${name}`;
            for (const [name, wanted] of [["private/a.py", false], ["a.local.py", false], ["keep.local.py", true],
                                          ["sub/generated.py", false], ["sub/other.py", true], ["sub/private/b.py", false]]) {
                await editor.open(at(name), text, "python");
                const {items} = await editor.inline(at(name), end);
                assert.equal(items.length > 0, wanted, name);
                await editor.close(at(name));
            }
        });
    } finally {
        fs.rmSync(folder, {recursive: true});
    }
});

test("inComments and inStrings switch suggestions off in prose", () => withEditor({}, async (editor) => {
    await editor.start({settings: {inComments: false, inStrings: false}});
    const lines = ["# add two num", 's = "hello wor', '"""Return the su', "def add(a, b):\n    return a"];
    for (const [i, line] of lines.entries()) {
        await editor.open(`file:///c${i}.py`, line, "python");
        const last = line.split("\n");
        await editor.inline(`file:///c${i}.py`, {line: last.length - 1, character: last.at(-1).length});
    }
    assert.equal((await editor.command("dsr1.stats")).notWanted, 3);
}));

// ---------------------------------------------------------------------------
// Thinking ahead
// ---------------------------------------------------------------------------

test("what follows an accepted suggestion is there when it is asked for", () => withEditor({}, async (editor) => {
    await editor.start({settings: {minLineProb: 0, minTokenProb: 0, firstAnswerMs: 60000}});
    await editor.open(uri, "def one():\n    return 1\n\ndef two():\n    return 2\n\ndef three():\n", "python");
    const {items: [item]} = await editor.inline(uri, {line: 7, character: 0}, 2);
    assert.ok(item, "something to accept");
    await until(async () => (await editor.command("dsr1.stats")).speculated > 0, "nothing was thought ahead");
    await editor.change(uri, {range: item.range, text: item.insertText});
    const lines = item.insertText.split("\n");
    const place = {line: 7 + lines.length - 1, character: (lines.length > 1 ? 0 : item.range.start.character) + lines.at(-1).length};
    await editor.inline(uri, place, 2);
    assert.equal((await editor.command("dsr1.explainLast")).source, "recall");
}));

test("a file that was opened is read before anybody asks", () => withEditor({}, async (editor) => {
    await editor.start({settings: {speculate: false}});
    const lines = Array.from({length: 40}, (_, i) => `value_${i} = compute(${i})`);
    await editor.open(uri, lines.join("\n") + "\n", "python");
    await until(async () => (await editor.command("dsr1.stats")).warmedUp > 0, "nothing was read");
    await editor.inline(uri, {line: 40, character: 0});
    await until(async () => await editor.command("dsr1.explainLast") !== null, "no report");
    const why = await editor.command("dsr1.explainLast");
    assert.ok(why.cachedTokens > 0.8 * why.promptTokens, `${why.cachedTokens} of ${why.promptTokens}`);
}));

// ---------------------------------------------------------------------------
// Accepted?
// ---------------------------------------------------------------------------

async function shown(editor) {
    await editor.open(uri, text, "python");
    const {items: [item]} = await editor.inline(uri, end);
    assert.match(item.insertText, /^a - b/);
    return item;
}

const outcomes = async (editor) => {
    const {accepted, lineAccepted, wordAccepted, prefixAccepted, typedThrough, rejected} = await editor.command("dsr1.stats");
    return {accepted, lineAccepted, wordAccepted, prefixAccepted, typedThrough, rejected};
};
const none = {accepted: 0, lineAccepted: 0, wordAccepted: 0, prefixAccepted: 0, typedThrough: 0, rejected: 0};

for (const [name, act, expected] of [
    ["the whole text at once is an accept", (editor, item) => editor.change(uri, {range: item.range, text: item.insertText}), {accepted: 1}],
    ["an accept that the client reports, too, counts once", async (editor, item) => {
        await editor.change(uri, {range: item.range, text: item.insertText});
        await editor.command("dsr1.accepted", {uri});
    }, {accepted: 1}],
    ["the whole document with the text in it is an accept", (editor, item) => editor.change(uri, {text: text + item.insertText}), {accepted: 1}],
    ["a few words of it are a word's accept", (editor) => editor.type(uri, end, "a -"), {wordAccepted: 1}],
    ["its letters one by one are typed through", async (editor) => {
        await editor.type(uri, end, "a");
        await editor.type(uri, {line: 5, character: 12}, " ");
    }, {typedThrough: 1}],
    ["something else is a rejection", (editor) => editor.type(uri, end, "xyz"), {rejected: 1}],
    ["a change elsewhere is neither", (editor) => editor.type(uri, {line: 0, character: 0}, "# "), {}],
]) {
    test(`${name}`, () => withEditor({}, async (editor) => {
        await editor.start({settings: {mode: "line", speculate: false}});
        const item = await shown(editor);
        await act(editor, item);
        assert.deepEqual(await outcomes(editor), {...none, ...expected});
    }));
}

test("an accepted text that is there at the next save has survived; one that is gone was changed", () => withEditor({}, async (editor) => {
    await editor.start({settings: {mode: "line", speculate: false}});
    for (const gone of [false, true]) {
        const item = await shown(editor);
        await editor.change(uri, {range: item.range, text: item.insertText});
        if (gone)
            await editor.change(uri, {text: "# start again\n"});
        await editor.connection.sendNotification("textDocument/didSave", {textDocument: {uri}});
        await editor.close(uri);
    }
    const {survived, changedLater} = await editor.command("dsr1.stats");
    assert.deepEqual({survived, changedLater}, {survived: 1, changedLater: 1});
}));
