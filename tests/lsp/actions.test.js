// actions.test.js - explain, document, test, fix and rewrite a piece of code
//
// SPDX-License-Identifier: PostgreSQL
"use strict";
const {test} = require("node:test");
const assert = require("node:assert/strict");
const {CodeActionRequest, CodeActionResolveRequest, ApplyWorkspaceEditRequest} = require("vscode-languageserver-protocol");
const {withEditor, inlineClient} = require("./client");

const uri = "file:///project/math.py";
const text = "import math\n\n\ndef area(radius):\n    return math.pi * radius ** 2\n";
const range = {start: {line: 3, character: 0}, end: {line: 5, character: 0}};
const nothing = {start: {line: 3, character: 4}, end: {line: 3, character: 4}};
const mistake = {range, message: "name 'pi' is not defined", severity: 1};

const resolving = {...inlineClient, textDocument: {...inlineClient.textDocument,
    codeAction: {dataSupport: true, resolveSupport: {properties: ["edit"]}}}};
const versions = {workspace: {workspaceEdit: {documentChanges: true, resourceOperations: ["create"]}}};

const list = (editor, where, context = {diagnostics: []}) =>
    editor.connection.sendRequest(CodeActionRequest.type, {textDocument: {uri}, range: where, context});
const titles = (actions) => actions.map(({title}) => title);

// An editor with the file open, and the changes that the server asks it to make.
async function withCode(options, run) {
    await withEditor({}, async (editor) => {
        editor.edits = [];
        editor.connection.onRequest(ApplyWorkspaceEditRequest.type, ({edit}) => {
            editor.edits.push(edit);
            return {applied: true};
        });
        await editor.start(options);
        await editor.open(uri, text, "python");
        await run(editor);
    });
}

test("a selection can be explained, documented and tested; fixed where something is wrong", () => withCode({}, async (editor) => {
    assert.deepEqual(titles(await list(editor, range)), ["dsr1: explain", "dsr1: document", "dsr1: write tests"]);
    assert.deepEqual(titles(await list(editor, range, {diagnostics: [mistake]})),
                     ["dsr1: explain", "dsr1: document", "dsr1: write tests", "dsr1: fix"]);
}));

test("a cursor that only moves is offered nothing, except to fix what is wrong", () => withCode({}, async (editor) => {
    assert.deepEqual(await list(editor, nothing, {diagnostics: [], triggerKind: 2}), []);
    assert.deepEqual(titles(await list(editor, nothing, {diagnostics: [mistake], triggerKind: 2})), ["dsr1: fix"]);
}));

test("context.only chooses kinds", () => withCode({}, async (editor) => {
    assert.deepEqual(titles(await list(editor, range, {diagnostics: [mistake], only: ["quickfix"]})), ["dsr1: fix"]);
    assert.deepEqual(titles(await list(editor, range, {diagnostics: [], only: ["refactor.rewrite"]})), ["dsr1: document"]);
    assert.deepEqual(await list(editor, range, {diagnostics: [], only: ["source.organizeImports"]}), []);
}));

test("a comment that begins with dsr1: offers to rewrite as it says", () => withCode({}, async (editor) => {
    await editor.change(uri, {text: "# dsr1: use a loop\n" + text});
    const actions = await list(editor, {start: {line: 0, character: 0}, end: {line: 6, character: 0}});
    const rewrite = actions.find(({title}) => title.includes("rewrite"));
    assert.equal(rewrite.command.arguments[0].instruction, "use a loop");
}));

test("listing asks no model", () => withCode({}, async (editor) => {
    const before = await editor.command("dsr1.stats");
    for (let i = 0; i < 50; i++)
        await list(editor, range);
    const after = await editor.command("dsr1.stats");
    assert.equal(after.engine.requests, before.engine.requests);
}));

test("files that must not be read have no actions", () => withCode({settings: {ignoreGlobs: ["*.py"]}}, async (editor) => {
    assert.deepEqual(await list(editor, range), []);
    await assert.rejects(editor.command("dsr1.explain", {uri, range}), /may be read/);
}));

test("explain answers with a text and changes nothing", () => withCode({}, async (editor) => {
    const {text: words, applied} = await editor.command("dsr1.explain", {uri, range});
    assert.ok(words.length > 20 && !applied);
    assert.deepEqual(editor.edits, []);
    assert.ok(editor.shown.some(({message}) => message === words));
}));

test("rewrite replaces the lines of the selection, keeping their indentation and the document's version", () =>
    withCode({capabilities: {...inlineClient, ...versions}}, async (editor) => {
        const body = {start: {line: 4, character: 4}, end: {line: 4, character: 32}};
        const {applied} = await editor.command("dsr1.rewrite", {uri, range: body, instruction: "use pow()"});
        assert.ok(applied);
        const [{textDocument, edits}] = editor.edits[0].documentChanges;
        assert.equal(textDocument.version, editor.version);
        assert.deepEqual(edits[0].range, {start: {line: 4, character: 0}, end: {line: 5, character: 0}});
        assert.match(edits[0].newText, /^ {4}\S/);
        assert.match(edits[0].newText, /\n$/);
    }));

test("document puts lines before the code; a client without versions gets plain changes", () => withCode({}, async (editor) => {
    await editor.command("dsr1.document", {uri, range});
    const [change] = editor.edits[0].changes[uri];
    assert.deepEqual(change.range, {start: range.start, end: range.start});
}));

test("tests become a file beside the code where the client can create one, and follow the code where it cannot", async () => {
    await withCode({capabilities: {...inlineClient, ...versions}}, async (editor) => {
        await editor.command("dsr1.tests", {uri, range});
        const [create, {textDocument}] = editor.edits[0].documentChanges;
        assert.deepEqual([create.kind, create.uri, textDocument.uri],
                         ["create", "file:///project/test_math.py", "file:///project/test_math.py"]);
    });
    await withCode({}, async (editor) => {
        await editor.command("dsr1.tests", {uri, range});
        assert.deepEqual(editor.edits[0].changes[uri][0].range, {start: range.end, end: range.end});
    });
});

test("a client that resolves gets the edit with the action", () => withCode({capabilities: {...resolving, ...versions}}, async (editor) => {
    const action = (await list(editor, range)).find(({title}) => title === "dsr1: document");
    assert.equal(action.command, undefined);
    const resolved = await editor.connection.sendRequest(CodeActionResolveRequest.type, action);
    assert.equal(resolved.title, action.title);
    assert.equal(resolved.edit.documentChanges[0].textDocument.uri, uri);
    assert.deepEqual(editor.edits, [], "the client makes the change");
}));

test("progress is told under the client's token, begun and ended", () => withCode({}, async (editor) => {
    await editor.connection.sendRequest("workspace/executeCommand",
        {command: "dsr1.explain", arguments: [{uri, range}], workDoneToken: "mine"});
    const mine = editor.progress.filter(({token}) => token === "mine").map(({value}) => value.kind);
    assert.equal(mine[0], "begin");
    assert.equal(mine.at(-1), "end");
    assert.ok(mine.slice(1, -1).every((kind) => kind === "report"));
}));

test("progress is told under our token once the client has made it", () =>
    withCode({capabilities: {...inlineClient, window: {workDoneProgress: true}}}, async (editor) => {
        await editor.command("dsr1.explain", {uri, range});
        const ours = editor.progress.filter(({token}) => /^dsr1-action-/.test(token)).map(({value}) => value.kind);
        assert.deepEqual([ours[0], ours.at(-1)], ["begin", "end"]);
    }));

test("suggestions come while an action is worked on, and its answer is the same", () => withCode({settings: {speculate: false}}, async (editor) => {
    const alone = await editor.command("dsr1.explain", {uri, range});
    const busy = editor.command("dsr1.explain", {uri, range});
    const other = "file:///project/other.py";
    await editor.open(other, "def add(a, b):\n    return a + b\n\n\ndef subtract(a, b):\n    return ", "python");
    const order = [];
    const first = busy.then((answer) => { order.push("action"); return answer; });
    const {items} = await editor.inline(other, {line: 5, character: 11});
    order.push("suggestion");
    assert.ok(items.length >= 1);
    assert.deepEqual(await first, alone);
    assert.deepEqual(order, ["suggestion", "action"]);
}));

test("a cancelled action is answered with -32800 and changes nothing", () => withCode({}, async (editor) => {
    const {CancellationTokenSource} = require("vscode-jsonrpc/node");
    const source = new CancellationTokenSource();
    const answer = editor.connection.sendRequest("workspace/executeCommand",
        {command: "dsr1.tests", arguments: [{uri, range}]}, source.token).then(() => "answered", ({code}) => code);
    setTimeout(() => source.cancel(), 5); // the whole answer takes 40
    assert.equal(await answer, -32800);
    assert.deepEqual(editor.edits, []);
}));

for (const [name, argument] of [["no document", {range}], ["an unknown document", {uri: "file:///no", range}], ["no range", {uri}],
                                ["a range turned round", {uri, range: {start: range.end, end: {line: 0, character: 0}}}]])
    test(`an action with ${name} is answered with -32602`, () => withCode({}, (editor) =>
        assert.rejects(editor.command("dsr1.explain", argument), ({code}) => code === -32602)));

test("rewrite without an instruction is answered with -32602", () => withCode({}, (editor) =>
    assert.rejects(editor.command("dsr1.rewrite", {uri, range}), ({code}) => code === -32602)));
