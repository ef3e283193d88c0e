// codemirror.test.js - CodeMirror with its own language client, in a page without pixels
//
// It sends whole texts, counts in UTF-16, and shows one list.
//
// SPDX-License-Identifier: PostgreSQL
"use strict";
const {test} = require("node:test");
const assert = require("node:assert/strict");
const {JSDOM} = require("jsdom");
const {StreamMessageReader, StreamMessageWriter} = require("vscode-jsonrpc/node");
const {launch, statusWithin, pause, model} = require("./client");

// CodeMirror looks for the page when it is loaded.
const {window} = new JSDOM("<body></body>", {pretendToBeVisual: true});
for (const name of ["window", "Window", "document", "navigator", "Node", "MutationObserver", "getComputedStyle", "requestAnimationFrame",
                    "cancelAnimationFrame", "DOMParser"])
    Object.defineProperty(globalThis, name, {value: name === "window" ? window : window[name], configurable: true});
window.Range.prototype.getClientRects = () => []; // nothing is laid out
const {EditorState} = require("@codemirror/state");
const {EditorView} = require("@codemirror/view");
const {startCompletion, acceptCompletion, completionStatus} = require("@codemirror/autocomplete");
const {LSPClient, languageServerExtensions} = require("@codemirror/lsp-client/dist/index.cjs"); // as those above, or all is there twice

const uri = "file:///project/sum.py";

async function until(wanted, what) {
    for (let tries = 0; tries < 600; tries++) {
        const found = await wanted();
        if (found)
            return found;
        await pause(50);
    }
    throw new Error(`never: ${what}`);
}

function transport(child) {
    const handlers = new Set(), writer = new StreamMessageWriter(child.stdin);
    new StreamMessageReader(child.stdout).listen((message) => handlers.forEach((handler) => handler(JSON.stringify(message))));
    return {send: (text) => writer.write(JSON.parse(text)), subscribe: (handler) => handlers.add(handler),
            unsubscribe: (handler) => handlers.delete(handler)};
}

async function withCodeMirror(doc, run) {
    const child = launch(["--model", model, "--set", "firstAnswerMs=60000"]);
    const client = new LSPClient({extensions: languageServerExtensions(), timeout: 60000}).connect(transport(child));
    let view;
    try {
        view = new EditorView({parent: document.body,
                               state: EditorState.create({doc, selection: {anchor: doc.length},
                                                          extensions: [client.plugin(uri, "python")]})});
        await client.initializing;
        const status = () => client.request("workspace/executeCommand", {command: "dsr1.status"});
        await until(async () => (await status()).state === "ready", "the model is loaded");
        await run({client, view});
    } finally {
        view?.destroy();
        await client.request("shutdown", null);
        client.notification("exit", null);
        client.disconnect();
        assert.equal(await statusWithin(child, 3000), 0);
    }
}

const entries = (view) => [...view.dom.querySelectorAll(".cm-tooltip-autocomplete li")];

// The list, when it is there and takes keys.
async function list(view) {
    await until(() => completionStatus(view.state) === "active" && entries(view).length > 0, "a list");
    return entries(view).map((entry) => entry.querySelector(".cm-completionLabel").textContent);
}

function type(view, text) {
    for (const insert of text) {
        const at = view.state.selection.main.head;
        view.dispatch({changes: {from: at, insert}, selection: {anchor: at + insert.length}, userEvent: "input.type"});
    }
}

test("CodeMirror shows our suggestion in its list when asked, and puts its text in the place of the word", () =>
    withCodeMirror("def add(first, second):\n    return first + sec", async ({view}) => {
        startCompletion(view);
        const [label, ...others] = await list(view);
        assert.match(label, /^second/);
        assert.deepEqual(others, []);
        await until(() => acceptCompletion(view), "an entry that can be taken");
        assert.equal(view.state.doc.line(2).text, `    return first + ${label}`);
        assert.equal(view.state.selection.main.head, view.state.doc.line(2).to);
    }));

test("CodeMirror shows it while one types, and the server has CodeMirror's text", () =>
    withCodeMirror("first = 1\nsecond = 2\n", async ({client, view}) => {
        type(view, 's = "\u{1f468}\u200d\u{1f469}"; total = first + sec');
        const [label] = await list(view);
        assert.match(label, /^second/);
        await until(() => acceptCompletion(view), "an entry that can be taken");
        assert.equal(view.state.doc.line(3).text, `s = "\u{1f468}\u200d\u{1f469}"; total = first + ${label}`);
        client.sync();
        const {text} = await client.request("dsr1/document", {textDocument: {uri}});
        assert.equal(text, view.state.doc.toString());
    }));

test("CodeMirror's client can ask for inline completion", () =>
    withCodeMirror("def add(first, second):\n    return first + sec", async ({client}) => {
        const {items} = await client.request("textDocument/inlineCompletion", {
            textDocument: {uri}, position: {line: 1, character: 22}, context: {triggerKind: 1},
        });
        assert.match(items[0].insertText, /^second/);
    }));
