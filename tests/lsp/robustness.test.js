// robustness.test.js - hostile, broken and unusual traffic: an exact answer or exit status, and the server goes on
//
// SPDX-License-Identifier: PostgreSQL
"use strict";
const {test} = require("node:test");
const assert = require("node:assert/strict");
const fs = require("node:fs");
const os = require("node:os");
const path = require("node:path");
const {spawn, spawnSync} = require("node:child_process");
const {Bytes, withBytes, frame, request, notification, launch, statusWithin, pause, program, model} = require("./client");

const uri = "file:///robust.c";
const open = (text, version = 1) =>
    notification("textDocument/didOpen", {textDocument: {uri, languageId: "c", version, text}});
const status = {command: "dsr1.status"};

// ---------------------------------------------------------------------------
// Lifecycle
// ---------------------------------------------------------------------------

test("a request before initialize is answered with -32002", () => withBytes(async (server) => {
    server.write(request(1, "textDocument/completion", {}));
    assert.equal((await server.answer(1)).error.code, -32002);
    await server.initialize();
    assert.ok(await server.alive());
}));

test("notifications before initialize are dropped", () => withBytes(async (server) => {
    server.write(open("lost"));
    await server.initialize();
    assert.equal(await server.document(uri), null);
}));

test("nothing is sent before the answer to initialize", () => withBytes(async (server) => {
    server.write(notification("$/setTrace", {value: "verbose"}));
    server.write(request(0, "initialize", {processId: null, capabilities: {}}));
    const first = await server.take(() => true);
    assert.equal(first.id, 0);
    assert.ok(first.result.capabilities);
}));

test("a second initialize is answered with -32600", () => withBytes(async (server) => {
    await server.initialize();
    server.write(request(2, "initialize", {processId: null, capabilities: {}}));
    assert.equal((await server.answer(2)).error.code, -32600);
    assert.ok(await server.alive());
}));

test("after shutdown requests are answered with -32600, and exit ends with 0", () => withBytes(async (server) => {
    await server.initialize();
    server.write(request(1, "shutdown"));
    assert.equal((await server.answer(1)).result, null);
    server.write(request(2, "workspace/executeCommand", status));
    assert.equal((await server.answer(2)).error.code, -32600);
    server.write(notification("exit"));
    assert.equal(await statusWithin(server.child, 1000), 0);
}));

test("exit without shutdown ends with 1", () => withBytes(async (server) => {
    await server.initialize();
    server.write(notification("exit"));
    assert.equal(await statusWithin(server.child, 1000), 1);
}));

test("exit before initialize ends with 1", () => withBytes(async (server) => {
    server.write(notification("exit"));
    assert.equal(await statusWithin(server.child, 1000), 1);
}));

test("end of input ends the server within a second", () => withBytes(async (server) => {
    await server.initialize();
    server.child.stdin.end();
    assert.equal(await statusWithin(server.child, 1000), 1);
}));

test("end of input during a generation ends the server within a second", () => withBytes(async (server) => {
    await server.initialize();
    await ready(server);
    server.write(open("int main(void)\n{\n"));
    server.write(request(1, "textDocument/inlineCompletion",
                         {textDocument: {uri}, position: {line: 2, character: 0}, context: {triggerKind: 1}}));
    await pause(20);
    server.child.stdin.end();
    assert.equal(await statusWithin(server.child, 1000), 1);
}));

test("a client that stops reading ends the server within a second", () => withBytes(async (server) => {
    await server.initialize();
    server.child.stdout.destroy();
    server.write(request(1, "workspace/executeCommand", status));
    assert.equal(await statusWithin(server.child, 1000), 1);
}));

test("the death of the process that initialize names ends the server within a second", async () => {
    const parent = spawn("sleep", ["60"]);
    await withBytes(async (server) => {
        server.write(request(1, "initialize", {processId: parent.pid, capabilities: {}}));
        await server.answer(1);
        parent.kill("SIGKILL");
        assert.equal(await statusWithin(server.child, 1000), 1);
    });
});

test("a processId that does not exist here is no reason to end", () => withBytes(async (server) => {
    server.write(request(1, "initialize", {processId: 4194303, capabilities: {}}));
    await server.answer(1);
    await pause(300);
    assert.ok(await server.alive());
}));

// ---------------------------------------------------------------------------
// JSON
// ---------------------------------------------------------------------------

const broken = {
    "malformed JSON": '{"jsonrpc": "2.0", "id": 1,',
    "trailing bytes": '{"jsonrpc": "2.0", "id": 1, "method": "shutdown"} x',
    "a byte order mark": '\ufeff{"jsonrpc": "2.0", "id": 1, "method": "shutdown"}',
    "a scalar": "17",
    "an empty body": "",
    "nesting over 2048": "[".repeat(3000) + "]".repeat(3000),
    "1e999": '{"jsonrpc": "2.0", "id": 1, "method": "shutdown", "params": {"x": 1e999}}',
    "an integer over 64 bits": '{"jsonrpc": "2.0", "id": 123456789012345678901234567890, "method": "shutdown"}',
    "a raw control character": '{"jsonrpc": "2.0", "id": 1, "method": "shut\ndown"}',
    "a lone surrogate outside of text": '{"jsonrpc": "2.0", "id": "\\ud800", "method": "shutdown"}',
    "a zero outside of text": '{"jsonrpc": "2.0", "id": 1, "method": "shut\\u0000down"}',
    "a repairable text in a request that has none": '{"jsonrpc": "2.0", "id": 1, "method": "shutdown", "params": {"text": "\\ud800"}}',
    "invalid UTF-8 outside of text": Buffer.concat([Buffer.from('{"jsonrpc": "2.0", "id": "'), Buffer.from([0xff]),
                                                    Buffer.from('", "method": "shutdown"}')]),
};
for (const [name, body] of Object.entries(broken)) {
    test(`${name} is answered with -32700 and id null`, () => withBytes(async (server) => {
        await server.initialize();
        server.write(frame(body));
        assert.equal((await server.answer(null)).error.code, -32700);
        assert.ok(await server.alive());
    }));
}

const invalid = {
    "a batch": [[{jsonrpc: "2.0", id: 1, method: "shutdown"}], null],
    "an empty batch": [[], null],
    "an object without method": [{jsonrpc: "2.0", id: 7}, 7],
    "a method that is a number": [{jsonrpc: "2.0", id: 7, method: 3}, 7],
    "an id that is an object": [{jsonrpc: "2.0", id: {}, method: "shutdown"}, null],
    "a request with id null": [{jsonrpc: "2.0", id: null, method: "shutdown"}, null],
    "another version": [{jsonrpc: "1.0", id: 7, method: "shutdown"}, 7],
};
for (const [name, [body, id]] of Object.entries(invalid)) {
    test(`${name} is answered with -32600`, () => withBytes(async (server) => {
        await server.initialize();
        server.write(frame(body));
        assert.equal((await server.answer(id)).error.code, -32600);
        assert.ok(await server.alive());
    }));
}

test("an unknown request is answered with -32601, an unknown notification with nothing", () => withBytes(async (server) => {
    await server.initialize();
    server.write(request(1, "no/such"), request(2, "$/no/such"), notification("no/such", {}), notification("$/no/such"));
    assert.equal((await server.answer(1)).error.code, -32601);
    assert.equal((await server.answer(2)).error.code, -32601);
    assert.ok(await server.alive());
    assert.equal(server.messages.filter((message) => message.id !== undefined && !message.method).length, 0);
}));

test("requests whose params make no sense are answered with -32602", () => withBytes(async (server) => {
    await server.initialize();
    const bad = [undefined, null, [], {}, {textDocument: 3}, {textDocument: {uri}}, {textDocument: {uri}, position: []},
                 {textDocument: {uri: 1}, position: {line: 0, character: 0}},
                 {textDocument: {uri}, position: {line: -1, character: 0}},
                 {textDocument: {uri}, position: {line: 0.5, character: 0}}];
    for (const method of ["textDocument/inlineCompletion", "textDocument/completion"]) {
        for (const [i, params] of bad.entries()) {
            server.write(request(`${method}${i}`, method, params));
            assert.equal((await server.answer(`${method}${i}`)).error.code, -32602, JSON.stringify(params));
        }
    }
    server.write(request(3, "workspace/executeCommand", {command: "rm -rf"}));
    assert.equal((await server.answer(3)).error.code, -32602);
}));

test("notifications whose params make no sense are ignored", () => withBytes(async (server) => {
    await server.initialize();
    for (const method of ["textDocument/didOpen", "textDocument/didChange", "textDocument/didClose", "$/cancelRequest",
                          "workspace/didChangeConfiguration", "textDocument/didSave", "$/setTrace"]) {
        for (const params of [undefined, null, [], [1], {}, {textDocument: 1}, {textDocument: {uri: 3}, contentChanges: 4},
                              {textDocument: {uri}, contentChanges: [1, {}, {text: 4}]}, {id: {}}, {settings: 3}])
            server.write(notification(method, params));
    }
    assert.ok(await server.alive());
}));

test("ids keep their type: 0, \"0\", negative, fractions and long strings come back as they were", () => withBytes(async (server) => {
    await server.initialize();
    for (const id of [0, "0", -5, 1.5, "", "ü\u{1f600}\"\\", "x".repeat(1000), 9007199254740991]) {
        server.write(request(id, "workspace/executeCommand", status));
        assert.ok((await server.answer(id)).result);
    }
}));

test("lone surrogates, zeros and invalid UTF-8 in a document become U+FFFD", () => withBytes(async (server) => {
    await server.initialize();
    const prefix = `{"jsonrpc":"2.0","method":"textDocument/didOpen","params":{"textDocument":{"uri":"${uri}","languageId":"c","version":1,"text":"`;
    const text = Buffer.concat([Buffer.from("a\\ud800b\\udc00c\\u0000d\\ud83d\\ude00e\\\\ud800f"),
                                Buffer.from([0xff, 0xc0, 0xaf, 0xed, 0xa0, 0x80]), Buffer.from("g\u00e4")]);
    server.write(frame(Buffer.concat([Buffer.from(prefix), text, Buffer.from('"}}}')])));
    const {text: got} = await server.document(uri);
    assert.equal(got, "a\ufffdb\ufffdc\ufffdd\u{1f600}e\\ud800f\ufffd\ufffd\ufffd\ufffd\ufffd\ufffdg\u00e4");
}));

// Complaints and answers come by two pipes, whichever is read first.
async function complains(server, pattern) {
    for (let i = 0; i < 300 && !pattern.test(server.child.errors); i++)
        await pause(10);
    assert.match(server.child.errors, pattern);
}

test("an incremental change is repaired, too", () => withBytes(async (server) => {
    await server.initialize();
    server.write(open("ab"));
    server.write(frame(`{"jsonrpc":"2.0","method":"textDocument/didChange","params":{"textDocument":{"uri":"${uri}","version":2},` +
                       `"contentChanges":[{"range":{"start":{"line":0,"character":1},"end":{"line":0,"character":1}},"text":"\\udfff"}]}}`));
    assert.equal((await server.document(uri)).text, "a\ufffdb");
}));

// ---------------------------------------------------------------------------
// Frames
// ---------------------------------------------------------------------------

const body = (id) => JSON.stringify({jsonrpc: "2.0", id, method: "workspace/executeCommand", params: status});

const accepted = {
    "lower case": (b) => `content-length: ${b.length}\r\n\r\n${b}`,
    "no space": (b) => `Content-Length:${b.length}\r\n\r\n${b}`,
    "an extra header": (b) => `X-Extra: 1\r\nContent-Length: ${b.length}\r\nX-More: 2\r\n\r\n${b}`,
    "charset=utf8": (b) => `Content-Length: ${b.length}\r\nContent-Type: application/vscode-jsonrpc; charset=utf8\r\n\r\n${b}`,
    "charset=utf-8 first": (b) => `Content-Type: application/vscode-jsonrpc; charset=utf-8\r\nContent-Length: ${b.length}\r\n\r\n${b}`,
    "line feeds alone": (b) => `Content-Length: ${b.length}\n\n${b}`,
    "an empty line before": (b) => `\r\n\r\nContent-Length: ${b.length}\r\n\r\n${b}`,
    "leading zeros": (b) => `Content-Length: 000${b.length}\r\n\r\n${b}`,
};
for (const [name, make] of Object.entries(accepted)) {
    test(`a header with ${name} is accepted`, () => withBytes(async (server) => {
        await server.initialize();
        server.write(make(body(1)));
        assert.ok((await server.answer(1)).result);
    }));
}

const skipped = {
    "no Content-Length": (b) => `X-Length: ${b.length}\r\n\r\n${b}`,
    "two Content-Lengths": (b) => `Content-Length: ${b.length}\r\nContent-Length: ${b.length + 1}\r\n\r\n${b}`,
    "a negative Content-Length": (b) => `Content-Length: -${b.length}\r\n\r\n${b}`,
    "a Content-Length in words": (b) => `Content-Length: many\r\n\r\n${b}`,
    "an empty Content-Length": (b) => `Content-Length:\r\n\r\n${b}`,
    "a hexadecimal Content-Length": (b) => `Content-Length: 0x10\r\n\r\n${b}`,
    "an absurd Content-Length": (b) => `Content-Length: 99999999999\r\n\r\n${b}`,
    "a Content-Length over 64 bits": (b) => `Content-Length: 99999999999999999999999999\r\n\r\n${b}`,
    "over 8 KiB": (b) => `X-Extra: ${"x".repeat(9000)}\r\nContent-Length: ${b.length}\r\n\r\n${b}`,
    "nothing but a body": (b) => b,
    "text about Content-Length: 12": (b) => `{"text":"Content-Length: 12\\r\\n\\r\\n{"}`,
    "binary garbage": () => Buffer.from(Array.from({length: 5000}, (_, i) => (i * 131 + (i >> 3)) & 255)),
};
for (const [name, make] of Object.entries(skipped)) {
    test(`a header with ${name} is skipped with a line on stderr, and reading goes on`, () => withBytes(async (server) => {
        await server.initialize();
        server.write(make(body(1)));
        server.write(frame(body(2)), frame(body(3)));
        assert.ok((await server.answer(3)).result);
        await complains(server, /dsr1-lsp: error: .*; looking for the next message/);
    }));
}

test("a body over limits.messageBytes is dropped without being stored, and reading goes on", async () => {
    await withBytes(async (server) => {
        await server.initialize();
        const before = rss(server.child.pid);
        const size = 3 << 20;
        server.write(`Content-Length: ${size}\r\n\r\n`);
        for (let i = 0; i < 3; i++)
            server.write(Buffer.alloc(1 << 20, 0x20));
        assert.ok(await server.alive());
        assert.ok(rss(server.child.pid) - before < 1500, "memory grew");
        await complains(server, /over the limit/);
        // A model would be loaded meanwhile, and the memory grow with it.
    }, ["--model", "/nonexistent.gguf", "--set", "limits.messageBytes=1048576"]);
});

test("when no header comes within limits.messageBytes, the server ends with 2 and says why", async () => {
    await withBytes(async (server) => {
        await server.initialize();
        server.write("Content-Length: no\r\n\r\n", Buffer.alloc(300000, 0x41));
        assert.equal(await statusWithin(server.child, 3000), 2);
        await complains(server, /no header within 65536 bytes; giving up/);
    }, ["--model", model, "--set", "limits.messageBytes=65536"]);
});

test("a message may come one byte at a time", () => withBytes(async (server) => {
    await server.initialize();
    for (const byte of frame(body(1)))
        await new Promise((done) => server.child.stdin.write(Buffer.from([byte]), done));
    assert.ok((await server.answer(1)).result);
}));

test("a thousand messages may come in one write", () => withBytes(async (server) => {
    await server.initialize();
    server.write(Buffer.concat(Array.from({length: 1000}, (_, i) => frame(body(i)))));
    for (let i = 0; i < 1000; i++)
        assert.ok((await server.answer(i)).result);
}));

test("a client that writes much before it reads anything is answered in the end", () => withBytes(async (server) => {
    await server.initialize();
    server.child.stdout.pause();
    const n = 3000;
    server.write(Buffer.concat(Array.from({length: n}, (_, i) => frame(body(i)))));
    await pause(500);
    server.child.stdout.resume();
    assert.ok((await server.answer(n - 1)).result);
    assert.ok((await server.answer(0)).result);
}));

// ---------------------------------------------------------------------------
// Documents
// ---------------------------------------------------------------------------

const change = (version, ...contentChanges) =>
    notification("textDocument/didChange", {textDocument: {uri, version}, contentChanges});
const at = (line, character) => ({line, character});
const text = async (server) => (await server.document(uri)).text;

test("a change of a file that is not open is ignored", () => withBytes(async (server) => {
    await server.initialize();
    server.write(change(2, {text: "x"}));
    assert.equal(await server.document(uri), null);
}));

test("a file that is opened twice has the second text", () => withBytes(async (server) => {
    await server.initialize();
    server.write(open("one"), open("two", 7));
    const document = await server.document(uri);
    assert.deepEqual([document.text, document.version], ["two", 7]);
}));

test("a version may be null, jump or go back; every change counts", () => withBytes(async (server) => {
    await server.initialize();
    server.write(open("", 0), change(5, {text: "a"}), change(null, {text: "ab"}), change(3, {text: "abc"}));
    const document = await server.document(uri);
    assert.deepEqual([document.text, document.version], ["abc", 3]);
}));

test("a range that is turned round means the same range", () => withBytes(async (server) => {
    await server.initialize();
    server.write(open("hello world"), change(2, {range: {start: at(0, 11), end: at(0, 6)}, text: "there"}));
    assert.equal(await text(server), "hello there");
}));

test("rangeLength is ignored", () => withBytes(async (server) => {
    await server.initialize();
    server.write(open("hello"), change(2, {range: {start: at(0, 1), end: at(0, 2)}, rangeLength: 4000, text: "a"}));
    assert.equal(await text(server), "hallo");
}));

test("changes of one message are applied one after the other", () => withBytes(async (server) => {
    await server.initialize();
    server.write(open("x"), change(2, {range: {start: at(0, 1), end: at(0, 1)}, text: "\nyz"},
                                   {range: {start: at(1, 1), end: at(1, 2)}, text: "Z"}, {text: "all\nnew"},
                                   {range: {start: at(1, 0), end: at(1, 3)}, text: "old"}));
    assert.equal(await text(server), "all\nold");
}));

test("a position inside of a surrogate pair is its start; past a line it is the line's end; past the text the text's", () => withBytes(async (server) => {
    await server.initialize();
    server.write(open("\u{1f600}b\r\ncd\re"));
    server.write(change(2, {range: {start: at(0, 1), end: at(0, 1)}, text: "1"}));
    assert.equal(await text(server), "1\u{1f600}b\r\ncd\re");
    server.write(change(3, {range: {start: at(0, 99), end: at(0, 99)}, text: "2"}));
    assert.equal(await text(server), "1\u{1f600}b2\r\ncd\re");
    server.write(change(4, {range: {start: at(1, 99), end: at(1, 99)}, text: "3"}));
    assert.equal(await text(server), "1\u{1f600}b2\r\ncd3\re");
    server.write(change(5, {range: {start: at(99, 0), end: at(99, 5)}, text: "4"}));
    assert.equal(await text(server), "1\u{1f600}b2\r\ncd3\re4");
}));

test("U+2028, form feed and vertical tab do not end a line", () => withBytes(async (server) => {
    await server.initialize();
    server.write(open("a\u2028b\fc\vd\u0085e"));
    assert.equal((await server.document(uri)).lineCount, 1);
}));

test("a file over limits.fileBytes is left alone, said once, and used again when it is small", async () => {
    await withBytes(async (server) => {
        await server.initialize();
        server.write(open("x".repeat(1001)), change(2, {range: {start: at(0, 0), end: at(0, 0)}, text: "y"}));
        assert.deepEqual((({tooLarge, text: t}) => [tooLarge, t])(await server.document(uri)), [true, ""]);
        server.write(request(1, "textDocument/inlineCompletion", {textDocument: {uri}, position: at(0, 5), context: {triggerKind: 1}}));
        assert.deepEqual((await server.answer(1)).result, {items: []});
        server.write(change(3, {text: "x".repeat(2000)}), change(4, {text: "small"}));
        assert.equal(await text(server), "small");
        assert.equal(server.messages.filter((m) => /fileBytes/.test(m.params?.message)).length, 1);
    }, ["--model", model, "--set", "limits.fileBytes=1000"]);
});

test("a file over limits.docs is not kept", async () => {
    await withBytes(async (server) => {
        await server.initialize();
        for (let i = 0; i < 4; i++)
            server.write(notification("textDocument/didOpen", {textDocument: {uri: `file:///${i}.c`, languageId: "c", version: 1, text: "x"}}));
        assert.equal((await server.document("file:///1.c")).text, "x");
        assert.equal(await server.document("file:///2.c"), null);
        server.write(notification("textDocument/didClose", {textDocument: {uri: "file:///0.c"}}));
        server.write(notification("textDocument/didOpen", {textDocument: {uri: "file:///3.c", languageId: "c", version: 1, text: "y"}}));
        assert.equal((await server.document("file:///3.c")).text, "y");
    }, ["--model", model, "--set", "limits.docs=2"]);
});

// ---------------------------------------------------------------------------
// Cancelling
// ---------------------------------------------------------------------------

async function ready(server) {
    for (let tries = 0; tries < 600; tries++) {
        const id = `ready-${tries}`;
        server.write(request(id, "workspace/executeCommand", status));
        const {result} = await server.answer(id);
        if (result.state === "ready")
            return;
        await pause(50);
    }
    throw new Error("the model did not load");
}

const inline = (id, position = at(2, 4), triggerKind = 1) =>
    request(id, "textDocument/inlineCompletion", {textDocument: {uri}, position, context: {triggerKind}});
const cancel = (id) => notification("$/cancelRequest", {id});
const program_text = "int add(int a, int b)\n{\n    \n}\n";

test("cancelling what is unknown, finished, cancelled before or not yet asked for changes nothing", () => withBytes(async (server) => {
    await server.initialize();
    await ready(server);
    server.write(open(program_text));
    server.write(cancel(99), cancel("99"), cancel(null), cancel({}), notification("$/cancelRequest", {}));
    server.write(Buffer.concat([cancel(1), inline(1)]));
    const first = await server.answer(1, 20000);
    assert.ok(first.result, "a cancel that comes before its request is for another one");
    server.write(cancel(1), cancel(1));
    assert.ok(await server.alive());
}));

test("a cancelled request has exactly one answer, -32800 or its result", () => withBytes(async (server) => {
    await server.initialize();
    await ready(server);
    server.write(open(program_text));
    server.write(Buffer.concat([inline(5), cancel(5), cancel(5)]));
    const answer = await server.answer(5, 20000);
    assert.ok(answer.result || answer.error.code === -32800);
    await server.alive();
    assert.equal(server.messages.filter((message) => message.id === 5).length, 0);
}));

test("cancelling \"0\" does not cancel 0", () => withBytes(async (server) => {
    await server.initialize();
    await ready(server);
    server.write(open(program_text));
    server.write(Buffer.concat([inline(0), cancel("0")]));
    assert.ok((await server.answer(0, 20000)).result);
}));

test("closing a file answers its request with nothing", () => withBytes(async (server) => {
    await server.initialize();
    await ready(server);
    server.write(open(program_text));
    server.write(Buffer.concat([inline(1), notification("textDocument/didClose", {textDocument: {uri}})]));
    assert.deepEqual((await server.answer(1)).result, {items: []});
    server.write(inline(2));
    assert.deepEqual((await server.answer(2)).result, {items: []});
}));

test("a file that is renamed during a generation goes on under its new name", () => withBytes(async (server) => {
    const other = "file:///p/renamed.c";
    await server.initialize();
    await ready(server);
    server.write(open(program_text), inline(1));
    await pause(30);    // the model works on it
    server.write(notification("textDocument/didClose", {textDocument: {uri}}),
                 notification("textDocument/didOpen", {textDocument: {uri: other, languageId: "c", version: 1, text: program_text}}),
                 request(2, "textDocument/inlineCompletion", {textDocument: {uri: other}, position: at(2, 4), context: {triggerKind: 1}}));
    assert.ok(Array.isArray((await server.answer(1, 20000)).result.items));
    assert.ok(Array.isArray((await server.answer(2, 20000)).result.items));
    assert.equal(await server.document(uri), null);
    assert.equal((await server.document(other)).text, program_text);
    assert.ok(await server.alive());
}));

test("200 keys with a request each are all answered, and the document is right", () => withBytes(async (server) => {
    await server.initialize();
    await ready(server);
    server.write(open("int x = "));
    const typed = "compute_the_sum_of_all(values, count) + offset * 2; /* done */ ".repeat(4).slice(0, 200);
    for (let i = 0; i < 200; i++) {
        server.write(change(i + 2, {range: {start: at(0, 8 + i), end: at(0, 8 + i)}, text: typed[i]}), inline(i, at(0, 9 + i), 2));
        await pause(5);
    }
    for (let i = 0; i < 200; i++)
        assert.ok((await server.answer(i, 20000)).result, `request ${i}`);
    assert.equal(await text(server), "int x = " + typed);
}));

// ---------------------------------------------------------------------------
// The client does not do its part; the machine does not do its part
// ---------------------------------------------------------------------------

test("a client that never answers workspace/configuration gets its suggestions all the same", () => withBytes(async (server) => {
    server.write(request(1, "initialize", {processId: null, capabilities: {workspace: {configuration: true},
                                                                           window: {workDoneProgress: true}}}));
    await server.answer(1);
    server.write(notification("initialized", {}));
    await server.take((message) => message.method === "workspace/configuration");
    await ready(server);
    server.write(open(program_text), inline(2));
    assert.ok((await server.answer(2, 20000)).result);
}));

test("a missing model is said once; requests are answered with nothing", async () => {
    await withBytes(async (server) => {
        await server.initialize();
        const message = await server.take((m) => m.method === "window/showMessage");
        assert.equal(message.params.type, 1);
        assert.match(message.params.message, /\/no\/such\.gguf/);
        server.write(open(program_text), inline(1));
        assert.deepEqual((await server.answer(1)).result, {items: []});
        server.write(request(2, "textDocument/completion", {textDocument: {uri}, position: at(2, 4)}));
        assert.deepEqual((await server.answer(2)).result, {isIncomplete: true, items: []});
        await pause(100);
        assert.equal(server.messages.filter((m) => m.method === "window/showMessage").length, 0);
        assert.ok(await server.alive());
    }, ["--model", "/no/such.gguf", "--log-level", "error"]);
});

test("a file that is no model is said once; requests are answered with nothing", async () => {
    await withBytes(async (server) => {
        await server.initialize();
        await server.take((m) => m.method === "window/showMessage");
        server.write(open(program_text), inline(1));
        assert.deepEqual((await server.answer(1)).result, {items: []});
    }, ["--model", __filename, "--log-level", "error"]);
});

test("a model file that was cut off is said once; requests are answered with nothing", async () => {
    const folder = fs.mkdtempSync(path.join(os.tmpdir(), "dsr1-lsp-")), half = path.join(folder, "half.gguf");
    try {
        fs.copyFileSync(model, half);
        fs.truncateSync(half, fs.statSync(half).size >> 1);
        await withBytes(async (server) => {
            await server.initialize();
            assert.match((await server.take((m) => m.method === "window/showMessage")).params.message, /half\.gguf/);
            server.write(open(program_text), inline(1));
            assert.deepEqual((await server.answer(1)).result, {items: []});
            assert.equal(server.messages.filter((m) => m.method === "window/showMessage").length, 0);
        }, ["--model", half, "--log-level", "error"]);
    } finally {
        fs.rmSync(folder, {recursive: true});
    }
});

// An address space with no room for what comes.
test("a server that gets no more memory gives up files and suggestions, not itself", () => withBytes(async (server) => {
    await server.initialize();
    await ready(server);
    const size = Number(/VmSize:\s+(\d+)/.exec(fs.readFileSync(`/proc/${server.child.pid}/status`, "latin1"))[1]);
    const {status: limited} = spawnSync("prlimit", ["--pid", String(server.child.pid), `--as=${(size + 4096) * 1024}:`]);
    assert.equal(limited, 0);
    for (let i = 0; i < 3; i++)
        server.write(notification("textDocument/didOpen", {textDocument: {uri: `file:///p/large-${i}.c`, languageId: "c", version: 1,
                                                                          text: "int x; /* y */\n".repeat(500000)}}));
    assert.ok(await server.alive());
    server.write(open(program_text));
    for (let i = 0; i < 5; i++) {
        server.write(inline(i));
        assert.ok(Array.isArray((await server.answer(i, 20000)).result.items));
    }
    assert.ok(await server.alive());
    assert.equal(spawnSync("prlimit", ["--pid", String(server.child.pid), "--as=unlimited:"]).status, 0);
    server.write(change(2, {text: "int y = "}), inline(9, at(0, 8)));
    assert.ok(Array.isArray((await server.answer(9, 20000)).result.items));
    assert.equal(await text(server), "int y = ");
}));

test("a full disk for the statistics costs lines, not the server", async () => {
    await withBytes(async (server) => {
        await server.initialize();
        await ready(server);
        server.write(open(program_text), inline(1));
        assert.ok((await server.answer(1, 20000)).result);
        assert.ok(await server.alive());
    }, ["--model", model, "--set", "stats.file=/dev/full", "--log-level", "error"]);
});

test("a full disk for the log costs lines, not the server", async () => {
    await withBytes(async (server) => {
        await server.initialize();
        server.write(frame("{"), frame("{"));
        assert.ok(await server.alive());
    }, ["--model", model, "--log", "/dev/full", "--log-level", "debug"]);
});

test("a log that cannot be opened costs the log, not the server", async () => {
    await withBytes(async (server) => {
        await server.initialize();
        assert.ok(await server.alive());
    }, ["--model", model, "--log", "/no/such/folder/log"]);
});

function rss(pid) {
    return Number(/VmRSS:\s+(\d+)/.exec(fs.readFileSync(`/proc/${pid}/status`, "latin1"))[1]);
}

// ---------------------------------------------------------------------------
// Privacy
// ---------------------------------------------------------------------------

test("after a session's work the server holds no socket, and no file but the model", () => withBytes(async (server) => {
    const uri = "file:///p/a.py", text = "def add(a, b):\n    return ";
    await server.initialize();
    server.write(notification("textDocument/didOpen", {textDocument: {uri, languageId: "python", version: 1, text}}));
    for (let tries = 0, items = []; items.length === 0 && tries < 200; tries++) {
        server.write(request(`i${tries}`, "textDocument/inlineCompletion",
                             {textDocument: {uri}, position: {line: 1, character: 11}, context: {triggerKind: 1}}));
        ({items} = (await server.answer(`i${tries}`, 20000)).result);
        await pause(20);
    }
    const folder = `/proc/${server.child.pid}/fd`, open = fs.readdirSync(folder).map((fd) => {
        try { return {fd: Number(fd), link: fs.readlinkSync(`${folder}/${fd}`)}; } catch { return null; }
    }).filter((one) => one && one.fd > 2);
    assert.deepEqual(open.filter(({link}) => /^socket:/.test(link)), []);
    assert.deepEqual(open.filter(({link}) => link.startsWith("/") && link !== fs.realpathSync(model)), []);
}));

// What the process asks of the system, from its start to its end.
const untraced = spawnSync("strace", ["-V"]).status === 0 ? false : "there is no strace";
test("a session opens no socket, and only the model, libraries, ignore files and what tells about the machine", {skip: untraced}, async () => {
    const folder = fs.mkdtempSync(path.join(os.tmpdir(), "dsr1-lsp-")), log = path.join(folder, "calls");
    const strace = ["strace", "-f", "-qq", "-e", "trace=socket,connect,sendto,open,openat,creat,unlink,rename,execve", "-o", log];
    await withBytes(async (server) => {
        await server.initialize();
        await ready(server);
        server.write(open(program_text), inline(1));
        assert.ok((await server.answer(1, 20000)).result);
        server.write(request(2, "shutdown"), notification("exit"));
        assert.equal(await statusWithin(server.child, 5000), 0);
        // A detector of leaks, where one is built in, cannot work below a tracer.
    }, ["--model", model, "--log-level", "error"], {DSR1_PROBE_DIR: path.join(folder, "probes"), LSAN_OPTIONS: "detect_leaks=0"}, strace);
    const calls = fs.readFileSync(log, "utf8").split("\n");
    fs.rmSync(folder, {recursive: true});
    assert.deepEqual(calls.filter((line) => /\b(socket|connect|sendto)\(/.test(line)), []);
    assert.equal(calls.filter((line) => /\bexecve\(/.test(line)).length, 1);
    const files = calls.map((line) => /\b(?:openat\(AT_FDCWD, |open\(|creat\(|unlink\(|rename\()"([^"]*)".*= \d+$/.exec(line)?.[1]).filter(Boolean);
    assert.ok(files.includes(model));
    const known = ["/proc/", "/sys/", "/etc/", "/lib/", "/usr/lib/", "/dev/urandom", folder];
    assert.deepEqual(files.filter((file) => file !== model && !known.some((part) => file.startsWith(part))), []);
});
