// masks.test.js - what the model cannot write, while files are typed at random: brackets, strings, blocks, a database's names
//
// Any model will do, and no text of it is expected here: make check-lsp-asan runs this on a tiny one.
//
// SPDX-License-Identifier: PostgreSQL
"use strict";
const {test, before, after} = require("node:test");
const assert = require("node:assert/strict");
const {CancellationTokenSource} = require("vscode-jsonrpc/node");
const {withEditor, pause, random} = require("./client");
const {Postgres} = require("./postgres");

const server = new Postgres();
before(() => {
    server.init();
    server.sql('CREATE TABLE zebra (hoof int, mane text); CREATE TABLE "Größe" ("a ""b" int, ω text)');
});
after(() => server.close());

const kinds = [
    {uri: "file:///m/a.py", language: "python",
     pieces: ["def f(a):\n", "    ", "if (x[", "]", ")", "{", "}", ":", "\n", "\n\n", "'", '"""', "# note (", "\\", "é", "😀",
              '"SELECT mane FROM ze', '"', "return ", "f(1, [2", "\t"]},
    {uri: "file:///m/b.c", language: "c",
     pieces: ["int f(void)\n{\n", "    ", "if (a[", "]", ")", "{", "}", ";", "\n", "'", "\"", "/*", "*/", "// (", "#if 0\n", "\\\n", "é",
              "\"INSERT INTO zebra (", "return ", "\r\n"]},
    {uri: "file:///m/c.sql", language: "sql",
     pieces: ["SELECT ", "* FROM ", "zebra", " AS z ", "z.", "JOIN ", "WHERE ", "(", ")", ";", "\n", "'", "\"", "\"Gr", "$$", "$a$", "--", "/*",
              "*/", "WITH w AS (", "INSERT INTO ", "CREATE TABLE t (", ", ", "ω"]},
];
const settings = {pg: {conninfo: server.conninfo}, items: 3, minTokenProb: 0, minLineProb: 0, debounceMs: 0, maxTokens: 12, maxLineSuffix: 1000};

test("in random typing, with masks, choices and healing, each request has exactly one answer", () => withEditor({}, async (editor) => {
    await editor.start({settings});
    const pick = random(Number(process.env.DSR1_SEED ?? 1)), texts = kinds.map(() => ""), answers = [], masked = [0, 0, 0];
    for (const {uri, language} of kinds)
        await editor.open(uri, "", language);
    for (let i = 0; i < Number(process.env.DSR1_TYPED ?? 600); i++) {
        const k = pick(3), {uri, pieces} = kinds[k];
        texts[k] = texts[k].length > 400 || pick(40) === 0 ? "" : texts[k] + pieces[pick(pieces.length)];
        await editor.change(uri, {text: texts[k] + ["", ")", "}\n", "\n    x"][pick(4)]});
        const lines = texts[k].split(/\r\n|\n/), position = {line: lines.length - 1, character: lines.at(-1).length};
        const source = new CancellationTokenSource();
        const answer = editor.inline(uri, position, 1 + pick(2), source.token)
            .then(({items}) => Array.isArray(items), ({code}) => code === -32800);
        answers.push(answer);
        if (pick(4) === 0)
            source.cancel();
        else if (pick(2) === 0 && await answer && (await editor.command("dsr1.explainLast")).masked)
            masked[k]++;
    }
    assert.ok((await Promise.all(answers)).every((good) => good));
    assert.ok(masked.every((n) => n > 0), `masked ${masked}`);
    assert.equal((await editor.command("dsr1.status")).state, "ready");
}));

test("where a table belongs, any model writes one that is there", () => withEditor({}, async (editor) => {
    await editor.start({settings: {...settings, items: 1, speculate: false}});
    const {uri} = kinds[2];
    await editor.open(uri, "", "sql");
    for (let tries = 0; tries < 200 && !((await editor.command("dsr1.explainLast"))?.contextBytes > 0); tries++) {
        await editor.inline(uri, {line: 0, character: 0});
        await pause(50);
    }
    for (const text of ["SELECT * FROM zeb", "INSERT INTO z"]) {
        await editor.change(uri, {text});
        await editor.inline(uri, {line: 0, character: text.length});
        const why = await editor.command("dsr1.explainLast");
        assert.equal(why.masked, true);
        assert.match((text.split(" ").at(-1) + why.modelText), /^zebra\b/i);
    }
}));
