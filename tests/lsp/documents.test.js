// documents.test.js - the server's documents are byte for byte those of vscode-languageserver-textdocument
//
// DSR1_SEED repeats a run.
//
// SPDX-License-Identifier: PostgreSQL
"use strict";
const {test} = require("node:test");
const assert = require("node:assert/strict");
const fs = require("node:fs");
const {TextDocument} = require("vscode-languageserver-textdocument");
const {withEditor, random} = require("./client");

const uri = "file:///edits.txt";
const seed = Number(process.env.DSR1_SEED ?? 1);

const pieces = [
    "a", "foo(bar)", " ", "\t", "", "", "\n", "\r\n", "\r", "\n\n", "\r\r\n", "x\ny", "end\r\n", "\u00e4", "\u00df\u1e9e",
    "\u4e2d\u6587", "\u65e5\u672c\u8a9e\n", "\u{1f600}", "\u{1f468}\u200d\u{1f469}\u200d\u{1f467}", "e\u0301", "\u2028", "\u2029",
    "\ufeff", "\ufffd", "\u{10ffff}", "\"\\", "\u{1d4d0}\u{1d4d1}\r", "\u0001", "\u007f", "  if (x) {\r\n    y();\r\n  }\r\n",
];

// A fresh document finds its lines by itself: the reference has no state that could go wrong.
const reference = (text) => TextDocument.create(uri, "plaintext", 1, text);

// Inside of a surrogate pair means the pair's start.
function snap(text, offset) {
    const inside = offset > 0 && offset < text.length && (text.charCodeAt(offset) & 0xfc00) === 0xdc00 &&
                   (text.charCodeAt(offset - 1) & 0xfc00) === 0xd800;
    return inside ? offset - 1 : offset;
}

// The same place in another unit. Past the end of a line, one is one.
function translate(document, position, units) {
    const line = document.getText({start: {line: position.line, character: 0}, end: {line: position.line, character: 1e9}})
        .replace(/[\r\n]+$/, "");
    const before = line.slice(0, position.character);
    const past = Math.max(0, position.character - line.length);
    const whole = snap(line, before.length) === before.length ? before : before.slice(0, -1);
    return {line: position.line, character: units(whole) + past};
}

const encodings = {
    "utf-16": (text) => text.length,
    "utf-8": (text) => Buffer.byteLength(text),
    "utf-32": (text) => [...text].length,
};

async function edit(editor, encoding, n, pick) {
    let text = "";
    await editor.open(uri, text, "plaintext");
    for (let i = 0; i < n;) {
        const changes = [];
        for (let left = 1 + pick(3); left > 0; left--, i++) {
            const piece = Array.from({length: 1 + pick(3)}, () => pieces[pick(pieces.length)]).join("");
            if (pick(400) === 0 || text.length > 3000) {
                text = text.slice(0, snap(text, pick(800))) + piece + text.slice(snap(text, Math.max(0, text.length - pick(400))));
                text = text.toWellFormed?.() ?? text;
                changes.push({text});
                continue;
            }
            const document = reference(text);
            const place = () => ({line: pick(document.lineCount + 1), character: pick(pick(5) ? 6 : 60)});
            const near = (from) => pick(3) ? {line: from.line, character: from.character + pick(4)} : place();
            const start = place(), end = near(start);
            const [from, to] = [start, end].map((position) => snap(text, document.offsetAt(position)));
            text = text.slice(0, Math.min(from, to)) + piece + text.slice(Math.max(from, to));
            const [s, e] = encoding === "utf-16" ? [start, end] : [start, end].map((p) => translate(document, p, encodings[encoding]));
            changes.push({range: {start: s, end: e}, text: piece});
        }
        await editor.change(uri, ...changes);
        if (pick(50) === 0 || i >= n) {
            const got = await editor.document(uri);
            assert.equal(got.text, text, `${encoding}, seed ${seed}, after ${i} edits`);
            assert.equal(got.lineCount, reference(text).lineCount, `lines, ${encoding}, seed ${seed}, after ${i} edits`);
        }
    }
}

for (const [encoding, n] of [["utf-16", 60000], ["utf-8", 20000], ["utf-32", 20000]]) {
    test(`${n} random edits in ${encoding} leave the same text and lines as the reference`, () => withEditor({}, async (editor) => {
        const result = await editor.initialize({capabilities: {general: {positionEncodings: [encoding]}}});
        assert.equal(result.capabilities.positionEncoding, encoding);
        await edit(editor, encoding, n, random(seed));
    }));
}

// ---------------------------------------------------------------------------
// Large files
// ---------------------------------------------------------------------------

const milliseconds = (start) => Number(process.hrtime.bigint() - start) / 1e6;
const percentile = (times, p) => times.sort((a, b) => a - b)[Math.floor(p * (times.length - 1))];

test("in a file of 100,000 lines a key is applied within milliseconds, wherever it is", (t) => withEditor({}, async (editor) => {
    await editor.initialize();
    const lines = Array.from({length: 100000}, (_, i) => `    value[${i}] = compute(${i}, "text");`);
    await editor.open(uri, lines.join("\n"));
    await editor.command("dsr1.status");
    for (const [where, line] of [["top", 3], ["middle", 50000], ["end", 99990]]) {
        const times = [];
        for (let i = 0; i < 333; i++) {
            const start = process.hrtime.bigint();
            editor.type(uri, {line, character: 4 + i}, "x");
            await editor.command("dsr1.status");
            times.push(milliseconds(start));
        }
        lines[line] = "    " + "x".repeat(333) + lines[line].slice(4);
        const p99 = percentile(times, 0.99);
        t.diagnostic(`${where}: median ${percentile(times, 0.5).toFixed(2)} ms, p99 ${p99.toFixed(2)} ms with the way to the server and back`);
        assert.ok(p99 < 50, `p99 ${p99} ms`);
    }
    assert.equal((await editor.document(uri)).text, lines.join("\n"));

    // What the reading thread computes, whatever else the machine does.
    const computed = () => Number(fs.readFileSync(`/proc/${editor.child.pid}/schedstat`, "utf8").split(" ")[0]) / 1e6;
    const times = [];
    for (let i = 0; i < 20; i++) {
        lines[i * 4900] += "y";
        const text = lines.join("\n"), start = computed();
        editor.change(uri, {text});
        await editor.command("dsr1.status");
        times.push(computed() - start);
    }
    const most = percentile(times, 0.99);
    t.diagnostic(`full text of ${lines.join("\n").length} bytes: median ${percentile(times, 0.5).toFixed(1)} ms of CPU, p99 ${most.toFixed(1)} ms`);
    assert.ok(most < 120, `p99 ${most} ms of CPU`);
    assert.equal((await editor.document(uri)).text, lines.join("\n"));
}));

test("a line of a megabyte is suggested nothing in, and said once", () => withEditor({}, async (editor) => {
    await editor.start();
    await editor.open(uri, "x".repeat(1 << 20) + "\nshort");
    for (let i = 0; i < 3; i++)
        assert.deepEqual(await editor.inline(uri, {line: 0, character: 1 << 19}), {items: []});
    assert.equal(editor.log.filter(({message}) => /a line of 1048576 bytes/.test(message)).length, 1);
    await editor.type(uri, {line: 0, character: 1000000}, "y");
    assert.equal((await editor.document(uri)).text.indexOf("y"), 1000000);
}));
