// offer.test.js - textDocument/completion is offered when the settings want it, in the way that the client understands
//
// SPDX-License-Identifier: PostgreSQL
"use strict";
const {test} = require("node:test");
const assert = require("node:assert/strict");
const {withEditor, pause, inlineClient} = require("./client");

const uri = "file:///project/math.py";
const text = "def add(first, second):\n    return first + sec";
const end = {line: 1, character: 22};

const dynamic = {textDocument: {completion: {dynamicRegistration: true}}};
const both = {textDocument: {...inlineClient.textDocument, ...dynamic.textDocument}};
const registration = {method: "textDocument/completion", registerOptions: {documentSelector: null, resolveProvider: false}};

const offered = (editor) => editor.registered.get("dsr1-completion");
const change = (editor, dsr1) => editor.connection.sendNotification("workspace/didChangeConfiguration", {settings: {dsr1}});

// Until it is so; what the server asked goes before its answer to dsr1.status.
async function becomes(editor, expected) {
    for (let i = 0; i < 100 && Boolean(offered(editor)) !== Boolean(expected); i++) {
        await editor.command("dsr1.status");
        await pause(20);
    }
    assert.deepEqual(offered(editor), expected);
}

test("a client that can register completion, and has no inline completion, is told of it after initialize", () => withEditor({}, async (editor) => {
    const {capabilities} = await editor.start({capabilities: dynamic});
    assert.equal("completionProvider" in capabilities, false);
    await becomes(editor, registration);
    await editor.open(uri, text, "python");
    assert.match((await editor.completion(uri, end)).items[0].textEdit.newText, /^second/);
}));

test("completion is taken back and offered again as completion.mode changes, and only then", () => withEditor({}, async (editor) => {
    await editor.start({capabilities: dynamic});
    await becomes(editor, registration);
    await change(editor, {maxTokens: 7});
    await change(editor, {completion: {mode: "always"}});
    await becomes(editor, registration);
    await change(editor, {completion: {mode: "never"}});
    await becomes(editor, undefined);
    await editor.open(uri, text, "python");
    assert.deepEqual(await editor.completion(uri, end), {isIncomplete: true, items: []});
    await change(editor, {completion: {mode: "auto"}});
    await becomes(editor, registration);
    assert.equal((await editor.completion(uri, end)).items.length, 1);
}));

test("a client with inline completion is offered completion only while the settings say always", () => withEditor({}, async (editor) => {
    const {capabilities} = await editor.start({capabilities: both});
    assert.equal("completionProvider" in capabilities, false);
    assert.equal(offered(editor), undefined);
    await change(editor, {completion: {mode: "always"}});
    await becomes(editor, registration);
    await change(editor, {completion: {mode: "auto"}});
    await becomes(editor, undefined);
}));

test("a mode that only the client's configuration tells counts", async () => {
    const section = {completion: {mode: "always"}};
    await withEditor({configuration: ({items}) => items.map(() => section)}, async (editor) => {
        await editor.start({capabilities: {...both, workspace: {configuration: true}}});
        await becomes(editor, registration);
        section.completion.mode = "never";
        await editor.connection.sendNotification("workspace/didChangeConfiguration", {settings: null});
        await becomes(editor, undefined);
    });
});

test("a client that never says its configuration is offered completion all the same", () =>
    withEditor({configuration: () => new Promise(() => {})}, async (editor) => {
        await editor.start({capabilities: {...dynamic, workspace: {configuration: true}}});
        await becomes(editor, registration);
    }));

test("a client that cannot register has completion from initialize on, and is asked nothing", () => withEditor({}, async (editor) => {
    const {capabilities} = await editor.start({capabilities: {textDocument: {completion: {dynamicRegistration: false}}}});
    assert.deepEqual(capabilities.completionProvider, {resolveProvider: false});
    await change(editor, {completion: {mode: "never"}});
    await change(editor, {completion: {mode: "auto"}});
    await editor.command("dsr1.status");
    assert.equal(editor.registered.size, 0);
    await editor.open(uri, text, "python");
    assert.equal((await editor.completion(uri, end)).items.length, 1);
}));

test("with completion.mode = never nothing is registered", () => withEditor({}, async (editor) => {
    const {capabilities} = await editor.initialize({capabilities: dynamic, settings: {completion: {mode: "never"}}});
    assert.equal("completionProvider" in capabilities, false);
    await editor.ready();
    assert.equal(offered(editor), undefined);
}));
