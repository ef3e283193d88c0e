#!/usr/bin/env node
// quality.js - holes in files that people wrote: how often is the suggestion what they wrote?
//
//     node tests/lsp/quality.js [HOLES [LANGUAGE...]]     of each kind, 40; scripts/lsp-quality sets the environment
//
// Files are those of Debian packages on this machine (C examples, Python's library, SQL of
// extensions). A hole is the rest of a line, or a block's lines behind its head; places are
// drawn by a fixed seed. The server is asked as by hand, in several ways. Printed: how many
// holes got a suggestion, how many of these begin with exactly the line that was there, the
// same of all holes, and the edit similarity (1 - distance / length) of those shown.
//
// SPDX-License-Identifier: PostgreSQL
"use strict";
const fs = require("node:fs");
const path = require("node:path");
const {execFileSync} = require("node:child_process");
const {withEditor, random, model} = require("./client");

const holes = Number(process.argv[2] ?? 40);
const seed = Number(process.env.DSR1_SEED ?? 7);

const sources = {
    python: [["/usr/lib/python3.11"], /\.py$/],
    c: [["/usr/share/doc/nettle-dev", "/usr/share/doc/zlib1g-dev", "/usr/share/doc/liblzma-dev", "/usr/share/doc/libxmlsec1-dev",
         "/usr/share/doc/libidn2-dev", "/usr/share/doc/libtasn1-6-dev", "/usr/share/doc/xtrans-dev", "/usr/include/X11/Xtrans",
         "/usr/share/doc/libpng-dev"], /\.c$/],
    sql: [["/usr/share/postgresql"], /\.sql$/],
};

function* walk(folder) {
    for (const entry of fs.existsSync(folder) ? fs.readdirSync(folder, {withFileTypes: true}).sort((a, b) => a.name < b.name ? -1 : 1) : []) {
        const full = path.join(folder, entry.name);
        if (entry.isDirectory())
            yield* walk(full);
        else if (entry.isFile())
            yield full;
    }
}

const comment = /^\s*(#|\/\/|\/?\*|--|"""|''')/;

// Places in a file where a line or a block can be left out.
function places(lines) {
    const found = {line: [], block: []};
    for (let i = 8; i < lines.length - 4; i++) {
        const code = lines[i].trim();
        if (code.length < 16 || code.length > 100 || comment.test(lines[i]))
            continue;
        found.line.push(i);
        const indent = (s) => /^\s*/.exec(s)[0].length;
        if (/[:{(]$/.test(code) && indent(lines[i + 1]) > indent(lines[i]) && lines[i + 1].trim().length > 8)
            found.block.push(i);
    }
    return found;
}

function draw(language) {
    const [folders, name] = sources[language], pick = random(seed), out = [];
    const files = folders.flatMap((folder) => [...walk(folder)]).filter((file) => name.test(file) && fs.statSync(file).size < 100000);
    for (let tries = 0; out.length < 2 * holes && tries < 4000 && files.length > 0; tries++) {
        const lines = fs.readFileSync(files[pick(files.length)], "utf8").split("\n");
        const kind = out.filter((hole) => hole.kind === "line").length < holes ? "line" : "block";
        const candidates = places(lines)[kind];
        if (candidates.length === 0)
            continue;
        const i = candidates[pick(candidates.length)], start = lines[i].length - lines[i].trimStart().length;
        if (kind === "line") {
            const cut = start + 5 + pick(Math.max(1, lines[i].trim().length - 12));
            out.push({kind, before: [...lines.slice(0, i), lines[i].slice(0, cut)], after: lines.slice(i + 1), truth: lines[i].slice(cut)});
        } else {
            out.push({kind, before: [...lines.slice(0, i + 1), /^\s*/.exec(lines[i + 1])[0]], after: lines.slice(i + 2), truth: lines[i + 1].trimStart()});
        }
    }
    return out;
}

function distance(a, b) {
    let row = Array.from({length: b.length + 1}, (_, j) => j);
    for (let i = 1; i <= a.length; i++) {
        const next = [i];
        for (let j = 1; j <= b.length; j++)
            next.push(Math.min(row[j] + 1, next[j - 1] + 1, row[j - 1] + (a[i - 1] !== b[j - 1])));
        row = next;
    }
    return row[b.length];
}
const similarity = (a, b) => a.length + b.length === 0 ? 1 : 1 - distance(a, b) / Math.max(a.length, b.length);

// One suggestion, as an editor asks while typing: what the server keeps back counts as not shown.
async function ask(editor, uri, {kind, before, truth}, sums) {
    const place = {line: before.length - 1, character: before.at(-1).length};
    const {items} = await editor.inline(uri, place, 2);
    const sum = sums[kind] ??= {n: 0, shown: 0, exact: 0, similarity: 0};
    sum.n++;
    if (items.length === 0)
        return;
    const {insertText, range} = items[0];
    const got = insertText.slice(before.at(-1).length - range.start.character).split("\n")[0].trim(), want = truth.trim();
    sum.shown++;
    sum.exact += got === want;
    sum.similarity += similarity(got, want);
}

const percent = (part, whole) => whole === 0 ? "-" : `${Math.round(100 * part / whole)} %`;
const base = {ringChunks: 0, firstAnswerMs: 60000, debounceMs: 0, speculate: false, maxLineSuffix: 200, maxTokens: 32, prefixTokens: 384,
              suffixTokens: 128, minTokenProb: 0.1, minLineProb: 0.35, tokenHealing: true, constrain: {indent: true, brackets: true, names: true}};
const unsure = {minTokenProb: 0, minLineProb: 0};
const ways = [
    ["as set up", {}],
    ["however unsure", unsure],
    ["plain", {...unsure, tokenHealing: false, constrain: {indent: false, brackets: false}}],
];

// All ways in one server for each prompt, so that they share what is in its KV cache. Nothing where the model cannot be asked so.
async function measure(language, all, prompt, these) {
    const sums = these.map(() => ({}));
    await withEditor({args: ["--model", model, "--set", `core.prompt=${prompt}`]}, async (editor) => {
        await editor.start({settings: base});
        const found = (await editor.command("dsr1.status")).model.prompt;
        if (found !== prompt)
            return;
        for (const [n, hole] of all.entries()) {
            const uri = `file:///quality/${language}${n}.${{python: "py", c: "c", sql: "sql"}[language]}`;
            await editor.open(uri, [...hole.before, ...hole.after].join("\n"), language);
            for (const [i, [, settings]] of these.entries()) {
                await editor.connection.sendNotification("workspace/didChangeConfiguration", {settings: {dsr1: {...base, ...settings}}});
                await ask(editor, uri, hole, sums[i]);
            }
            await editor.close(uri);
        }
        for (const [i, [way]] of these.entries()) {
            for (const [kind, {n, shown, exact, similarity: sum}] of Object.entries(sums[i]))
                console.log(`| ${language} | ${kind} | ${found}, ${way} | ${n} | ${percent(shown, n)} | ${percent(exact, shown)} | ` +
                            `${percent(exact, n)} | ${shown ? (sum / shown).toFixed(2) : "-"} |`);
        }
    });
}

async function main() {
    let auto;
    await withEditor({args: ["--model", model]}, async (editor) => {
        await editor.start();
        auto = (await editor.command("dsr1.status")).model.prompt;
    });
    console.log(`model ${path.basename(model)}, which is asked ${auto}\n`);
    console.log("| language | hole | asked | holes | shown | exact of shown | exact of all | similarity of shown |");
    console.log("|---|---|---|---|---|---|---|---|");
    for (const language of process.argv.length > 3 ? process.argv.slice(3) : Object.keys(sources)) {
        const all = draw(language);
        for (const prompt of ["prefixOnly", "fim", "hole"])
            await measure(language, all, prompt, prompt === "prefixOnly" ? ways : ways.slice(0, 2));
    }
}

main().catch((error) => { console.error(error); process.exitCode = 1; });
