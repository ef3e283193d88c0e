#!/usr/bin/env node
// soak.js - does the server's memory grow while somebody writes for an hour?
//
//     node tests/lsp/soak.js [MINUTES [KEYS]]    60 minutes, 40 keys a minute; scripts/lsp-soak sets the environment
//
// One server; files of all sizes and languages are opened, written in, and closed. Requests
// are automatic and by hand, cancelled and answered; every third suggestion is accepted, others
// are typed along, undone or overtyped. The server's resident memory is printed every minute,
// what is the model's mapped file and what is its own apart. The first quarter of the time fills
// caches that have a limit (KV rows, remembered answers, other files); growth is counted from there.
//
// SPDX-License-Identifier: PostgreSQL
"use strict";
const fs = require("node:fs");
const {withEditor, pause, random} = require("./client");

const minutes = Number(process.argv[2] ?? 60), keys = Number(process.argv[3] ?? 40);
const pick = random(Number(process.env.DSR1_SEED ?? 7));

const heads = {
    python: (i) => `def function_${i}(first, second):\n    value_${i} = first + second * ${i}\n    return value_${i}\n`,
    c: (i) => `static int function_${i}(int first, int second)\n{\n    return first + second * ${i};\n}\n`,
    sql: (i) => `SELECT first, second FROM table_${i} WHERE third = ${i} ORDER BY first;\n`,
    javascript: (i) => `function function_${i}(first, second) {\n    return first + second * ${i};\n}\n`,
};
const lines = ["    total = first + second * value", "    for (int i = 0; i < count; i++)", "SELECT first, second FROM table_1 WHERE ",
               "    return first - second", "    if first > second:", "x = compute(first, second)"];

function memory(pid) {
    const status = fs.readFileSync(`/proc/${pid}/status`, "utf8");
    const of = (name) => Number(new RegExp(`^${name}:\\s+(\\d+) kB`, "m").exec(status)[1]) / 1024;
    return {own: of("RssAnon"), file: of("RssFile"), all: of("VmRSS")};
}

function settle(editor, kind, uri, position) {
    const request = editor.inline(uri, position, kind).catch(() => null);
    return pick(4) === 0 ? null : request;      // the next change overtakes it
}

// One file: opened, some lines written in it, closed.
async function visit(editor, n, until) {
    const language = Object.keys(heads)[pick(4)], uri = `file:///soak/file-${n}.${language}`, size = [5, 50, 500, 3000][pick(4)];
    const text = Array.from({length: size}, (_, i) => heads[language](i)).join("");
    let line = text.split("\n").length >> 1;
    await editor.open(uri, text, language);
    for (let rows = 2 + pick(6); rows > 0 && Date.now() < until; rows--, line++) {
        await editor.type(uri, {line, character: 0}, "\n");
        const typed = lines[pick(lines.length)];
        for (let at = 0; at < typed.length && Date.now() < until; at++) {
            await editor.type(uri, {line, character: at}, typed[at]);
            const answer = await settle(editor, 1 + (pick(8) > 0), uri, {line, character: at + 1});
            const item = answer?.items?.[0];
            if (item && !/\n/.test(item.insertText) && pick(3) === 0) {
                await editor.change(uri, {range: item.range, text: item.insertText});
                await editor.command("dsr1.accepted", ...(item.command?.arguments ?? []));
                break;
            }
            await pause(60000 / keys);
        }
    }
    await editor.close(uri);
}

(async () => withEditor({}, async (editor) => {
    await editor.start({settings: {maxTokens: 16}});
    const start = Date.now(), until = start + 60000 * minutes, samples = [];
    const sample = () => {
        const now = memory(editor.child.pid), minute = (Date.now() - start) / 60000;
        samples.push({...now, minute});
        console.log(`minute ${minute.toFixed(1)}: ${now.all.toFixed(1)} MiB resident, ${now.own.toFixed(1)} its own, ${now.file.toFixed(1)} of files`);
    };
    sample();
    const timer = setInterval(sample, 60000);
    for (let n = 0; Date.now() < until; n++)
        await visit(editor, n, until);
    clearInterval(timer);
    sample();
    const from = samples.find(({minute}) => minute >= minutes / 4), to = samples[samples.length - 1];
    console.log(`growth of all ${(100 * (to.all / from.all - 1)).toFixed(2)} %, of its own ${(100 * (to.own / from.own - 1)).toFixed(2)} %` +
                ` from minute ${from.minute.toFixed(0)} to ${to.minute.toFixed(0)}`);
    console.log(JSON.stringify(await editor.command("dsr1.stats")));
}))();
