// conversation.test.js - what an editor and the server say to each other, with the real model
//
// SPDX-License-Identifier: PostgreSQL
"use strict";
const {test} = require("node:test");
const assert = require("node:assert/strict");
const fs = require("node:fs");
const os = require("node:os");
const path = require("node:path");
const {CancellationTokenSource} = require("vscode-jsonrpc/node");
const {InlineCompletionRequest, CompletionRequest, InsertTextMode, CompletionItemKind} =
    require("vscode-languageserver-protocol");
const {withEditor, Editor, pause, model, inlineClient, random, program} = require("./client");
const {spawnSync} = require("node:child_process");

const uri = "file:///project/math.py";
const text = "def add(a, b):\n    return a + b\n\n\ndef subtract(a, b):\n    return ";
const end = {line: 5, character: 11};

test("initialize answers within 50 ms, before the model is touched", async () => {
    const times = [];
    for (let i = 0; i < 5; i++) {
        await withEditor({}, async (editor) => {
            await pause(100); // the process is there
            const start = process.hrtime.bigint();
            await editor.initialize();
            times.push(Number(process.hrtime.bigint() - start) / 1e6);
        });
    }
    assert.ok(times.sort((a, b) => a - b)[2] < 50, `${times} ms`);
});

test("the capabilities are those of the documentation", () => withEditor({}, async (editor) => {
    const {capabilities, serverInfo} = await editor.initialize();
    assert.deepEqual(capabilities, {
        positionEncoding: "utf-16",
        textDocumentSync: {openClose: true, change: 2, save: {includeText: false}},
        inlineCompletionProvider: {},
        codeActionProvider: {codeActionKinds: ["quickfix", "refactor", "refactor.rewrite"], resolveProvider: true},
        executeCommandProvider: {commands: ["dsr1.accepted", "dsr1.clearCache", "dsr1.explainLast", "dsr1.refreshSchema", "dsr1.stats",
                                            "dsr1.status", "dsr1.toggle", "dsr1.explain", "dsr1.document", "dsr1.tests", "dsr1.fix",
                                            "dsr1.rewrite"]},
        workspace: {workspaceFolders: {supported: true, changeNotifications: false}},
    });
    assert.equal(serverInfo.name, "dsr1-lsp");
}));

test("a client without inline completion is offered completion", () => withEditor({}, async (editor) => {
    const {capabilities} = await editor.initialize({capabilities: {}});
    assert.deepEqual(capabilities.completionProvider, {resolveProvider: false});
}));

for (const [mode, capabilities, offered] of [["always", inlineClient, true], ["never", {}, false]]) {
    test(`completion.mode = ${mode} offers ${offered ? "" : "no "}completion`, () => withEditor({}, async (editor) => {
        const result = await editor.initialize({capabilities, settings: {completion: {mode}}});
        assert.equal("completionProvider" in result.capabilities, offered);
    }));
}

for (const [offer, chosen] of [[undefined, "utf-16"], [["utf-16"], "utf-16"], [["utf-16", "utf-8"], "utf-8"],
                               [["utf-32"], "utf-32"], [["utf-32", "utf-16"], "utf-16"], [[], "utf-16"], [["ebcdic"], "utf-16"]]) {
    test(`of the position encodings ${JSON.stringify(offer)} the server takes ${chosen}`, () => withEditor({}, async (editor) => {
        const {capabilities} = await editor.initialize({capabilities: {general: {positionEncodings: offer}}});
        assert.equal(capabilities.positionEncoding, chosen);
    }));
}

// ---------------------------------------------------------------------------
// Suggestions
// ---------------------------------------------------------------------------

test("inlineCompletion returns text of the model", () => withEditor({}, async (editor) => {
    await editor.start();
    await editor.open(uri, text, "python");
    const {items} = await editor.connection.sendRequest(InlineCompletionRequest.type, {
        textDocument: {uri}, position: end, context: {triggerKind: 1},
    });
    assert.ok(items.length >= 1);
    assert.match(items[0].insertText, /^a/, "subtracting begins with a");
    assert.deepEqual(items[0].range, {start: end, end});
    assert.equal(items[0].filterText, items[0].insertText);
    assert.equal(items[0].command.command, "dsr1.accepted");
    const why = await editor.command("dsr1.explainLast");
    assert.equal(why.source, "model");
    assert.equal(why.shown, items[0].insertText);
    assert.ok(why.promptTokens > 10 && why.completionTokens > 0);
}));

test("the same place twice is answered without the model the second time", () => withEditor({}, async (editor) => {
    await editor.start();
    await editor.open(uri, text, "python");
    const first = await editor.inline(uri, end), second = await editor.inline(uri, end);
    assert.deepEqual(second, first);
    assert.equal((await editor.command("dsr1.explainLast")).source, "recall");
}));

test("who asks by hand has a choice, the same each time; what comes by itself is one text", () => withEditor({}, async (editor) => {
    const place = "def area(width, height):\n    ", at = {line: 1, character: 4};
    await editor.start({settings: {items: 4, mode: "line", minTokenProb: 0, minLineProb: 0, speculate: false}});
    await editor.open(uri, place, "python");
    const {items} = await editor.inline(uri, at);
    const texts = items.map(({insertText}) => insertText);
    assert.ok(texts.length >= 2 && texts.length <= 4, JSON.stringify(texts));
    assert.equal(new Set(texts).size, texts.length, "no text comes twice");
    for (const item of items) {
        assert.deepEqual(item.range, items[0].range);
        assert.equal(item.filterText, item.insertText);
        assert.equal(item.command.command, "dsr1.accepted");
    }
    await editor.command("dsr1.clearCache");
    assert.deepEqual((await editor.inline(uri, at)).items, items);
    assert.equal((await editor.inline(uri, at, 2)).items.length, 1);
    assert.equal((await editor.completion(uri, at)).items.length <= 1, true);
}));

test("where the likeliest text is a blank line, who asks by hand gets the others", () => withEditor({}, async (editor) => {
    const place = "import os\n\n\ndef read_lines(path):\n    ", at = {line: 4, character: 4};
    await editor.start({settings: {items: 1, mode: "line", minTokenProb: 0, minLineProb: 0, speculate: false}});
    await editor.open(uri, place, "python");
    assert.deepEqual((await editor.inline(uri, at)).items, []);
    await editor.connection.sendNotification("workspace/didChangeConfiguration", {settings: {dsr1: {items: 3}}});
    const {items} = await editor.inline(uri, at);
    assert.ok(items.length >= 1 && items.length <= 3, JSON.stringify(items));
    const why = await editor.command("dsr1.explainLast");
    assert.equal(why.shown, items[0].insertText);
}));

test("with items = 1 there is no choice", () => withEditor({}, async (editor) => {
    await editor.start({settings: {items: 1, minTokenProb: 0, minLineProb: 0}});
    await editor.open(uri, text, "python");
    assert.equal((await editor.inline(uri, end)).items.length, 1);
}));

test("the range begins where the word before the cursor begins", () => withEditor({}, async (editor) => {
    await editor.start();
    await editor.open(uri, "def add(first, second):\n    return first + sec", "python");
    const {items} = await editor.inline(uri, {line: 1, character: 22});
    assert.ok(items.length >= 1);
    assert.match(items[0].insertText, /^second/);
    assert.deepEqual(items[0].range, {start: {line: 1, character: 19}, end: {line: 1, character: 22}});
}));

test("typing along a suggestion is answered without the model, and consistently", () => withEditor({}, async (editor) => {
    await editor.start();
    await editor.open(uri, text, "python");
    const {items: [item]} = await editor.inline(uri, end);
    for (let n = 1; n <= item.insertText.length - 3; n++) {
        await editor.type(uri, {line: 5, character: 11 + n - 1}, item.insertText[n - 1]);
        const {items} = await editor.inline(uri, {line: 5, character: 11 + n});
        const why = await editor.command("dsr1.explainLast");
        assert.equal(why.source, "recall", `after ${n} characters`);
        const word = /\w*$/.exec(item.insertText.slice(0, n))[0];
        assert.equal(items[0].insertText, word + item.insertText.slice(n));
    }
}));

test("completion returns one incomplete item that replaces the word", () => withEditor({}, async (editor) => {
    await editor.start({capabilities: {}});
    await editor.open(uri, "def add(first, second):\n    return first + sec", "python");
    const list = await editor.connection.sendRequest(CompletionRequest.type, {
        textDocument: {uri}, position: {line: 1, character: 22}, context: {triggerKind: 1},
    });
    assert.equal(list.isIncomplete, true);
    assert.equal(list.items.length, 1);
    const [item] = list.items;
    assert.match(item.textEdit.newText, /^second/);
    assert.deepEqual(item.textEdit.range, {start: {line: 1, character: 19}, end: {line: 1, character: 22}});
    assert.equal(item.filterText, "sec");
    assert.equal(item.labelDetails.description, "dsr1");
    assert.equal(item.insertTextMode, InsertTextMode.asIs);
    assert.equal(item.kind, CompletionItemKind.Snippet);
    assert.equal(item.documentation, item.textEdit.newText);
    assert.ok(item.label.length <= 61 && !/\n/.test(item.label));
}));

test("positions count UTF-16 units: a suggestion behind an emoji stands where the cursor is", () => withEditor({}, async (editor) => {
    await editor.start();
    const line = 's = "\u{1f468}\u200d\u{1f469}\u200d\u{1f467} \u4e2d"; total = first + sec';
    await editor.open(uri, `first = 1\nsecond = 2\n${line}`, "python");
    const {items} = await editor.inline(uri, {line: 2, character: line.length});
    assert.ok(items.length >= 1);
    assert.match(items[0].insertText, /^second/);
    assert.deepEqual(items[0].range, {start: {line: 2, character: line.length - 3}, end: {line: 2, character: line.length}});
}));

test("with CRLF in the document, suggestions have CRLF", () => withEditor({args: ["--model", model, "--set", "mode=block"]}, async (editor) => {
    await editor.start();
    await editor.open(uri, "def one():\r\n    return 1\r\n\r\ndef two():\r\n    return 2\r\n\r\ndef three():", "python");
    const {items} = await editor.inline(uri, {line: 6, character: 12});
    assert.ok(items.length >= 1);
    assert.match(items[0].insertText, /\r\n/);
    assert.doesNotMatch(items[0].insertText, /[^\r]\n/);
}));

test("with a popup's choice the suggestion begins with it and keeps its range", () => withEditor({}, async (editor) => {
    await editor.start();
    await editor.open(uri, "def add(first, second):\n    return first + se", "python");
    const range = {start: {line: 1, character: 19}, end: {line: 1, character: 21}};
    const {items} = await editor.inline(uri, range.end, 1, undefined, {selectedCompletionInfo: {range, text: "second * first"}});
    for (const item of items) {
        assert.ok(item.insertText.startsWith("second * first"));
        assert.deepEqual(item.range, range);
    }
    const elsewhere = {start: {line: 0, character: 0}, end: {line: 0, character: 3}};
    const other = await editor.inline(uri, range.end, 1, undefined, {selectedCompletionInfo: {range: elsewhere, text: "zzz"}});
    for (const item of other.items)
        assert.doesNotMatch(item.insertText, /^zzz/);
}));

test("what is closed behind the cursor becomes part of the range or is left out", () => withEditor({}, async (editor) => {
    await editor.start();
    await editor.open(uri, "print('hello')\nprint('world')\nprint()", "python");
    const {items} = await editor.inline(uri, {line: 2, character: 6});
    for (const {insertText, range} of items) {
        const line = "print(".slice(0, range.start.character) + insertText + "print()".slice(range.end.character);
        assert.equal((line.match(/\(/g) ?? []).length, (line.match(/\)/g) ?? []).length, line);
    }
}));

test("an automatic request far from the end of the line, or in a language that is off, is answered with nothing", () => withEditor({}, async (editor) => {
    await editor.start({settings: {languages: {"*": true, markdown: false}}});
    await editor.open(uri, "value = compute(first, second, third)", "python");
    assert.deepEqual(await editor.inline(uri, {line: 0, character: 8}, 2), {items: []});
    await editor.open("file:///notes.md", "# Hello\n\nThis is", "");
    assert.deepEqual(await editor.inline("file:///notes.md", {line: 2, character: 7}), {items: []});
    await editor.open("file:///.env.local", "SECRET=", "");
    assert.deepEqual(await editor.inline("file:///.env.local", {line: 0, character: 7}), {items: []});
    assert.deepEqual(await editor.inline("file:///unknown", {line: 0, character: 7}), {items: []});
    assert.equal((await editor.command("dsr1.stats")).notWanted, 4);
}));

test("trigger = manual answers only requests by hand", () => withEditor({}, async (editor) => {
    await editor.start({settings: {trigger: "manual"}});
    await editor.open(uri, text, "python");
    assert.deepEqual(await editor.inline(uri, end, 2), {items: []});
    assert.equal((await editor.inline(uri, end, 1)).items.length > 0, true);
}));

// ---------------------------------------------------------------------------
// Cancelling
// ---------------------------------------------------------------------------

test("of 20 requests, 19 of them cancelled, each is answered once and the last one with text", () => withEditor({}, async (editor) => {
    await editor.start();
    await editor.open(uri, text, "python");
    const sources = Array.from({length: 20}, () => new CancellationTokenSource());
    const answers = sources.map((source, i) => editor.inline(uri, {line: 5, character: 11 - (i + 1) % 4}, 1, source.token)
        .then((result) => ({result}), (error) => ({code: error.code})));
    sources.slice(0, 19).forEach((source) => source.cancel());
    const all = await Promise.all(answers);
    for (const answer of all.slice(0, 19))
        assert.ok(answer.code === -32800 || Array.isArray(answer.result.items), JSON.stringify(answer));
    assert.ok(all[19].result.items.length >= 1);
}));

test("a request that is cancelled while the model works is answered at once with -32800, and the worker is free", () => withEditor({}, async (editor) => {
    await editor.start({settings: {maxTokens: 400, mode: "block", minTokenProb: 0, minLineProb: 0}});
    await editor.open(uri, "# A long list of numbers in words\nnumbers = [\n    'one',\n    ", "python");
    const source = new CancellationTokenSource();
    const answer = editor.inline(uri, {line: 3, character: 4}, 1, source.token).then((result) => ({result}), (error) => ({code: error.code}));
    await pause(150);
    const start = Date.now();
    source.cancel();
    assert.deepEqual(await answer, {code: -32800});
    assert.ok(Date.now() - start < 100);
    await editor.open("file:///b.py", text, "python");
    assert.ok((await editor.inline("file:///b.py", end)).items.length >= 1);
    assert.equal((await editor.command("dsr1.stats")).cancelled, 1);
}));

test("a newer automatic request answers the older one with nothing", () => withEditor({}, async (editor) => {
    await editor.start({settings: {debounceMs: 200}});
    await editor.open(uri, text, "python");
    await editor.type(uri, end, "a");
    const older = editor.inline(uri, {line: 5, character: 12}, 2);
    const newer = editor.inline(uri, {line: 5, character: 12}, 2);
    assert.deepEqual(await older, {items: []});
    assert.ok(Array.isArray((await newer).items));
    assert.equal((await editor.command("dsr1.stats")).superseded, 1);
}));

test("in 10,000 random interleavings of edits, requests, actions and cancels each request has exactly one answer", () => withEditor({}, async (editor) => {
    await editor.start({settings: {maxTokens: 6, debounceMs: 0}});
    const pick = random(Number(process.env.DSR1_SEED ?? 1));
    const uris = ["file:///i/a.py", "file:///i/b.c"];
    const answers = [], sources = [];
    for (const one of uris)
        await editor.open(one, text);
    for (let i = 0; i < 10000; i++) {
        const one = uris[pick(2)], position = {line: pick(6), character: pick(14)};
        const action = pick(10);
        if (action < 3) {
            editor.type(one, position, "xy(\n"[pick(4)]);
        } else if (action === 3 && sources.length > 0) {
            sources[pick(sources.length)].cancel();
        } else if (action === 4 && pick(10) === 0) {
            editor.close(one);
            editor.open(one, text);
        } else {
            const source = new CancellationTokenSource();
            sources.push(source);
            const range = {start: {line: 0, character: 0}, end: position};
            const kind = pick(200), ask =
                kind === 0 ? editor.connection.sendRequest("workspace/executeCommand", {command: "dsr1.explain", arguments: [{uri: one, range}]}, source.token)
                : kind < 10 ? editor.connection.sendRequest("textDocument/codeAction", {textDocument: {uri: one}, range, context: {diagnostics: []}}, source.token)
                : kind < 60 ? editor.completion(one, position, source.token)
                : editor.inline(one, position, 1 + pick(2), source.token);
            answers.push(ask.then((answer) => Array.isArray(answer) || Array.isArray(answer.items) || typeof answer.text === "string",
                                  ({code}) => code === -32800 || [-32602, -32803].includes(code) && kind === 0));
        }
        if (pick(16) === 0)
            await pause(pick(12));
    }
    for (const source of sources.slice(0, -1))
        source.cancel();
    assert.ok((await Promise.all(answers)).every((good) => good));
    assert.equal((await editor.command("dsr1.status")).state, "ready");
}));

// ---------------------------------------------------------------------------
// Settings, commands, start-up
// ---------------------------------------------------------------------------

const temporary = () => fs.mkdtempSync(path.join(os.tmpdir(), "dsr1-lsp-"));

test("settings come from initializationOptions, workspace/configuration and the command line, the last one winning", async () => {
    const section = {maxTokens: 7, nonsense: 1, core: {model: "/no/such/model", colour: "red"}, "completion.minPrefix": 2, trigger: "sometimes"};
    await withEditor({configuration: ({items}) => items.map(() => section)}, async (editor) => {
        await editor.start({capabilities: {workspace: {configuration: true}, ...inlineClient}, settings: {maxTokens: 5, nonsense: 2}});
        assert.deepEqual(editor.asked[0], {items: [{section: "dsr1"}]});
        await editor.connection.sendNotification("workspace/didChangeConfiguration", {settings: null});
        await pause(50);
        await editor.command("dsr1.status");
        assert.equal(editor.asked.length, 2, "asked again");
        const warnings = editor.log.filter(({type}) => type === 2).map(({message}) => message).sort();
        assert.deepEqual(warnings, ["setting dsr1.trigger must be one of auto|manual", "unknown setting dsr1.core.colour",
                                    "unknown setting dsr1.nonsense"], "each once");
    });
});

test("a client that cannot be asked pushes its settings", () => withEditor({}, async (editor) => {
    await editor.start();
    await editor.open(uri, text, "python");
    await editor.connection.sendNotification("workspace/didChangeConfiguration", {settings: {}});
    await editor.connection.sendNotification("workspace/didChangeConfiguration", {settings: {dsr1: {enabled: false}}});
    assert.deepEqual(await editor.inline(uri, end), {items: []});
    assert.equal((await editor.command("dsr1.status")).enabled, false);
    await editor.connection.sendNotification("workspace/didChangeConfiguration", {settings: {dsr1: {enabled: true}}});
    assert.equal((await editor.inline(uri, end)).items.length, 1);
}));

test("another model in the settings is loaded in the place of the first", async () => {
    await withEditor({args: []}, async (editor) => {
        await editor.start({settings: {core: {model}}});
        await editor.connection.sendNotification("workspace/didChangeConfiguration", {settings: {dsr1: {core: {model: "/no/such"}}}});
        for (let i = 0; i < 100 && (await editor.command("dsr1.status")).state !== "failed"; i++)
            await pause(20);
        const status = await editor.command("dsr1.status");
        assert.equal(status.state, "failed");
        assert.match(status.failure, /\/no\/such/);
        await editor.connection.sendNotification("workspace/didChangeConfiguration", {settings: {dsr1: {core: {model}}}});
        await editor.ready();
        await editor.open(uri, text, "python");
        assert.equal((await editor.inline(uri, end)).items.length, 1);
    });
});

test("a client that offers it is told when its settings change, and sees the model load", () => withEditor({}, async (editor) => {
    await editor.start({capabilities: {...inlineClient, window: {workDoneProgress: true},
                                       workspace: {didChangeConfiguration: {dynamicRegistration: true}}}});
    await pause(50);
    assert.equal(editor.registered.get("dsr1-settings").method, "workspace/didChangeConfiguration");
    assert.equal(typeof editor.created.token, "string");
    assert.deepEqual(editor.progress.map(({token, value}) => [token, value.kind]),
                     [[editor.created.token, "begin"], [editor.created.token, "end"]]);
    assert.equal(editor.progress[1].value.message, "ready");
}));

test("dsr1.toggle switches suggestions off and on", () => withEditor({}, async (editor) => {
    await editor.start();
    await editor.open(uri, text, "python");
    assert.deepEqual(await editor.command("dsr1.toggle"), {enabled: false});
    assert.deepEqual(await editor.inline(uri, end), {items: []});
    assert.deepEqual(await editor.command("dsr1.toggle", true), {enabled: true});
    assert.equal((await editor.inline(uri, end)).items.length, 1);
}));

test("dsr1.status names the model, dsr1.stats counts", () => withEditor({}, async (editor) => {
    await editor.start();
    await editor.open(uri, text, "python");
    const status = await editor.command("dsr1.status");
    assert.equal(status.model.path, model);
    assert.equal(status.model.architecture, "deepseek");
    assert.ok(status.model.threads >= 1 && status.model.context >= 512);
    await editor.inline(uri, end);
    await editor.inline(uri, end);
    await editor.command("dsr1.accepted", {uri});
    await editor.connection.sendNotification("textDocument/didShowCompletion", {item: {}});
    await editor.connection.sendNotification("textDocument/didPartiallyAcceptCompletion", {item: {}, acceptedLength: 3});
    const stats = await editor.command("dsr1.stats");
    assert.deepEqual([stats.invoked, stats.shown, stats.fromRecall, stats.accepted, stats.shownReported, stats.partlyAccepted],
                     [2, 2, 1, 1, 1, 1]);
    assert.ok(stats.promptTokens > 0 && stats.completionTokens > 0 && stats.polish.mode >= 0);
    await editor.command("dsr1.clearCache");
    await editor.inline(uri, end);
    assert.equal((await editor.command("dsr1.explainLast")).source, "model");
}));

test("typing within a line has only the new tokens evaluated", () => withEditor({}, async (editor) => {
    await editor.start({settings: {cache: {results: 0}, tokenHealing: false, maxTokens: 2}});
    const lines = Array.from({length: 60}, (_, i) => `value_${i} = compute(${i})`);
    await editor.open(uri, lines.join("\n") + "\n", "python");
    await editor.inline(uri, {line: 60, character: 0});
    const typed = "result = value_1 + value_2";
    const evaluated = [];
    for (let i = 0; i < typed.length; i++) {
        await editor.type(uri, {line: 60, character: i}, typed[i]);
        await editor.inline(uri, {line: 60, character: i + 1});
        const why = await editor.command("dsr1.explainLast");
        assert.ok(why.promptTokens > 300);
        evaluated.push(why.evaluatedTokens);
    }
    evaluated.sort((a, b) => a - b);
    const median = evaluated[evaluated.length >> 1], p95 = evaluated[Math.floor(evaluated.length * 0.95)];
    assert.ok(median <= 2 && p95 <= 6, `median ${median}, p95 ${p95}`);
}));

test("the statistics file has one JSON line per answered request", async () => {
    const folder = temporary(), file = path.join(folder, "stats.jsonl");
    try {
        await withEditor({args: ["--model", model, "--set", `stats.file=${file}`]}, async (editor) => {
            await editor.start();
            await editor.open(uri, text, "python");
            await editor.inline(uri, end);
            await editor.inline(uri, end);
            await editor.stop();
        });
        const lines = fs.readFileSync(file, "utf8").trim().split("\n").map((line) => JSON.parse(line));
        assert.deepEqual(lines.map(({source}) => source), ["model", "recall"]);
    } finally {
        fs.rmSync(folder, {recursive: true});
    }
});

// ---------------------------------------------------------------------------
// From the shell
// ---------------------------------------------------------------------------

const shell = (...args) => spawnSync(program, args, {encoding: "utf8", timeout: 60000});

test("--help, --version and wrong usage", () => {
    assert.match(shell("--help").stdout, /--check FILE:LINE:COL/);
    assert.match(shell("--version").stdout, /^dsr1-lsp \d+\.\d+\.\d+\n$/);
    for (const args of [["--no-such"], ["extra"], ["--threads", "many"], ["--set", "x"], ["--set", "x=1"], ["--check", "file"],
                        ["--check", "file:0:1"], ["--check", "file:1:x"]]) {
        const {status, stderr, stdout} = shell(...args);
        assert.deepEqual([status, stdout], [2, ""], args.join(" "));
        assert.notEqual(stderr, "");
    }
});

test("--status names the model; a model that is not there is one line and status 1", () => {
    const good = shell("--status", "--model", model);
    assert.equal(good.status, 0);
    assert.match(good.stdout, /deepseek/);
    const bad = shell("--status", "--model", "/no/such.gguf");
    assert.equal(bad.status, 1);
    assert.match(bad.stderr, /^dsr1-lsp: .*\/no\/such\.gguf.*\n$/);
});

test("DSR1_MODEL names the default model", () => {
    const {status, stdout} = spawnSync(program, ["--status"], {encoding: "utf8", env: {...process.env, DSR1_MODEL: model}});
    assert.equal(status, 0);
    assert.ok(stdout.includes(model));
});

test("--check completes a place of a file and shows what the model saw", () => {
    const folder = temporary(), file = path.join(folder, "math.py");
    try {
        fs.writeFileSync(file, text);
        const {status, stdout} = shell("--model", model, "--check", `${file}:6:12`);
        assert.equal(status, 0);
        assert.ok(stdout.includes(`--- before the cursor\n${text}\n--- behind the cursor\n`));
        assert.match(stdout, /--- suggestion\na.*\n(--- or\n.*\n)*--- line mode, (fim|hole|prefixOnly)/);
        assert.equal(shell("--model", model, "--check", "/no/such/file:1:1").status, 1);
    } finally {
        fs.rmSync(folder, {recursive: true});
    }
});

test("--record keeps what an editor says; --replay says it again, and each request has one answer", async () => {
    const folder = temporary(), trace = path.join(folder, "trace");
    try {
        await withEditor({args: ["--model", model, "--record", trace]}, async (editor) => {
            await editor.start();
            await editor.open(uri, text, "python");
            await editor.inline(uri, end);
            await editor.type(uri, end, "a");
            await editor.inline(uri, {line: 5, character: 12});
            await editor.command("dsr1.stats");
            await editor.stop();
        });
        const methods = fs.readFileSync(trace, "utf8").trim().split("\n").map((line) => JSON.parse(line).message.method);
        assert.deepEqual(methods.slice(0, 2), ["initialize", "initialized"]);
        const {status, stdout} = shell("--model", model, "--replay", trace);
        assert.equal(status, 0);
        assert.match(stdout, /^\d+ requests, 0 without exactly one answer\nsuggestions, request to answer +2 /);
        assert.match(stdout, /\nprompt tokens evaluated a request +[12] /);
        assert.equal(shell("--replay", "/no/such/trace").status, 1);
    } finally {
        fs.rmSync(folder, {recursive: true});
    }
});
