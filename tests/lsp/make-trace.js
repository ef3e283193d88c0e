#!/usr/bin/env node
// make-trace - keystrokes in the middle of a long file, at the pace that VS Code sends them
//
//     node tests/lsp/make-trace.js LINES KEYS [full] [MS] > TRACE
//
// As in a recorded session: a key every MS (120), its change at once, the request
// 40 ms later, cancelled before the next change. `full` sends the whole text with
// each change, as half of the editors do.
//
// SPDX-License-Identifier: PostgreSQL
"use strict";
const [lines, keys] = process.argv.slice(2, 4).map(Number), full = process.argv.includes("full");
const pace = Number(process.argv.slice(4).find((word) => /^\d+$/.test(word)) ?? 120);
const uri = "file:///project/long.py", middle = lines >> 1;
const text = Array.from({length: lines}, (_, i) => i % 8 === 0 ? `def function_${i}(first, second):` : `    value_${i} = first + second * ${i}`);
text[middle] = "    ";
const typed = "result = first + second * value_1 - compute(first, second) + total ".repeat(20).slice(0, keys);
const say = (at, method, params, id) =>
    console.log(JSON.stringify({at, message: {jsonrpc: "2.0", method, params, ...(id === undefined ? {} : {id})}}));

say(0, "textDocument/didOpen", {textDocument: {uri, languageId: "python", version: 1, text: text.join("\n")}});
for (let i = 0; i < keys; i++) {
    const at = 4000 + pace * i, position = {line: middle, character: 4 + i % 60};
    if (i > 0)
        say(at - 2, "$/cancelRequest", {id: i - 1});
    const fresh = i > 0 && i % 60 === 0;    // a new line begins
    if (fresh)
        text[middle] = "    ";
    text[middle] += typed[i];
    const change = fresh ? {range: {start: {line: middle, character: 0}, end: {line: middle, character: 64}}, text: text[middle]}
                         : {range: {start: position, end: position}, text: typed[i]};
    say(at, "textDocument/didChange", {textDocument: {uri, version: 2 + i}, contentChanges: [full ? {text: text.join("\n")} : change]});
    say(at + 40, "textDocument/inlineCompletion",
        {textDocument: {uri}, position: {line: middle, character: text[middle].length}, context: {triggerKind: 2}}, i);
}
