// pg_engine.test.js - the extension itself, with a real engine and model, as the editor's backend
//
// The extension is installed into the PostgreSQL of PG_CONFIG first, as scripts/pg-test does. Two models: the one under
// test as it is, and a copy whose vocabulary says that it can fill holes.
//
// SPDX-License-Identifier: PostgreSQL
"use strict";
const {test, before, after} = require("node:test");
const assert = require("node:assert/strict");
const fs = require("node:fs");
const path = require("node:path");
const {spawnSync} = require("node:child_process");
const {CancellationTokenSource} = require("vscode-jsonrpc/node");
const {withEditor, pause, model} = require("./client");
const {makeFimModel, makePlainModel} = require("./fim-model");
const {Postgres, pgConfig} = require("./postgres");

const server = new Postgres();
const options = `${server.options} -c dsr1.start_timeout=120s`;
const models = {fim: path.join(server.folder, "fim.gguf"), plain: path.join(server.folder, "plain.gguf")};

function install() {
    const folder = spawnSync(pgConfig, ["--pkglibdir"], {encoding: "utf8"}).stdout.trim();
    const make = ["make", "--no-print-directory", "-s", "install", `B=${process.env.B || "build"}`, `PG_CONFIG=${pgConfig}`];
    let writable = true;
    try { fs.accessSync(folder, fs.constants.W_OK); } catch { writable = false; }
    const [program, ...args] = writable ? make : ["sudo", ...make];
    const {status, stdout, stderr} = spawnSync(program, args, {encoding: "utf8", cwd: path.join(__dirname, "..", "..")});
    assert.equal(status, 0, `make install: ${stdout}${stderr}`);
}

// The engine reads it when it starts: with the server.
function use(file) {
    server.options = `${options} -c dsr1.model=${file}`;
    server.control("restart", "-m", "fast", "-o", server.options);
}

before(() => {
    install();
    makeFimModel(model, models.fim, [7, 8, 9]);
    makePlainModel(model, models.plain);
    Object.values(models).forEach((file) => server.give(file));
    server.init();
    server.sql("CREATE EXTENSION dsr1");
    server.sql("CREATE ROLE coder LOGIN; GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA public TO coder");
});
after(() => server.close());

const uri = "file:///p/math.py";
const text = "def add(a, b):\n    return a + b\n\n\ndef subtract(a, b):\n    return ";
const end = {line: 5, character: 11};
const settings = {backend: "pg", minTokenProb: 0, minLineProb: 0, speculate: false, cache: {results: 0}, invokedMs: 0,
                  pg: {conninfo: server.conninfo.replace(`user=${server.user}`, "user=coder"), statementTimeoutMs: 120000}};

async function withServer(more, run) {
    await withEditor({args: []}, async (editor) => {
        await editor.start({settings: {...settings, ...more}});
        await editor.open(uri, text, "python");
        await run(editor);
    });
}

async function until(holds, what) {
    for (let tries = 0; tries < 400; tries++) {
        if (await holds())
            return;
        await pause(50);
    }
    assert.fail(what);
}

const suggests = async (editor) => (await editor.inline(uri, end)).items.length > 0;
const running = () => Number(server.sql("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'dsr1-lsp' AND state = 'active'"));
const inEngine = () => Number(server.sql("SELECT count(*) FROM dsr1_stat_requests"));

// Numbers go on and on, whatever the model, once there are many.
const row = `numbers = [${Array.from({length: 40}, (_, i) => i + 1).join(", ")},`, behind = {line: 0, character: row.length};

// A request that takes minutes, and its end.
async function longOne(editor, token) {
    await editor.change(uri, {text: row});
    const answer = editor.inline(uri, behind, 1, token).then((result) => result, ({code}) => code);
    await until(() => running() === 1 && inEngine() === 1, "nothing runs");
    return {answer};
}
const endless = {maxTokens: 4000, mode: "block", constrain: {indent: false}};

test("a model with FIM tokens fills holes", async () => {
    use(models.fim);
    await withServer({}, async (editor) => {
        await editor.change(uri, {text: text + "\n\nprint(subtract(3, 2))\n"});
        await editor.inline(uri, end);
        const why = await editor.command("dsr1.explainLast");
        assert.equal(why.error, undefined);
        assert.equal(why.prompt, "fim");
    });
    assert.ok(Number(server.sql("SELECT dsr1_fim('def f(', '):', '{\"max_tokens\": 3}') IS NOT NULL")  === "t"));
});

test("a model without them continues the text", async () => {
    use(models.plain);
    await withServer({}, async (editor) => {
        const {items} = await editor.inline(uri, end);
        assert.match(items[0].insertText, /a - b/);
        const why = await editor.command("dsr1.explainLast");
        assert.equal(why.prompt, "prefixOnly");
        assert.ok(why.firstTokenMs > 0);

        await editor.change(uri, {text: "import math\n\nvalue = "});
        const choice = async () => (await editor.inline(uri, {line: 2, character: 8})).items.map(({insertText}) => insertText);
        const texts = await choice();
        assert.ok(texts.length > 1, "several for one who asks by hand");
        assert.equal(new Set(texts).size, texts.length, "which differ");
        await editor.command("dsr1.clearCache");
        assert.deepEqual(await choice(), texts, "the same each time");
    });
});

test("masks and healing work with the model in the server as with the same one in the editor's own process", async () => {
    use(models.plain);
    server.sql("CREATE TABLE IF NOT EXISTS zebra_stripes (hoof int, mane text); GRANT SELECT ON zebra_stripes TO coder");
    const places = [
        ["a.py", "python", "def add(left, right):\n    retu"],
        ["b.py", "python", "def total(items):\n    return sum(items["],
        ["c.sql", "sql", "INSERT INTO "],
        ["d.sql", "sql", "SELECT s.* FROM zebra_stripes AS s WHERE s."],
        ["e.py", "python", "cursor.execute(\"SELECT * FROM "],
        ["f.c", "c", "int add(int a, int b)\n{\n    return (a + "],
    ];
    const answers = async (args, more) => {
        const found = [];
        await withEditor({args}, async (editor) => {
            await editor.start({settings: {...settings, ...more, maxTokens: 12, temperature: 0}});
            for (const [name, language, content] of places) {
                const file = `file:///p/${name}`, line = content.split("\n").length - 1;
                const ask = () => editor.inline(file, {line, character: content.split("\n")[line].length}, 2);
                await editor.open(file, content, language);
                await until(async () => {       // the tables are read in the background
                    await editor.command("dsr1.clearCache");
                    await ask();
                    const why = await editor.command("dsr1.explainLast");
                    return why && (why.contextBytes > 0 || !/SELECT/.test(content));
                }, "no tables in the prompt");
                await editor.command("dsr1.clearCache");
                const {items} = await ask(), why = await editor.command("dsr1.explainLast");
                found.push({name, text: items[0]?.insertText, masked: why.masked, healed: why.healed, prompt: why.prompt, error: why.error});
            }
        });
        return found;
    };
    const own = {trigger: "auto", debounceMs: 0, firstAnswerMs: 0, ringChunks: 0};
    const remote = await answers([], own);
    const local = await answers(["--model", models.plain], {...own, backend: "core", core: {prompt: "prefixOnly"}});
    assert.deepEqual(remote, local);
    assert.ok(remote.every(({masked}) => masked), "each place has a grammar");
    assert.ok(remote.every(({healed}) => healed), "each line's last word is taken anew");
    for (const i of [2, 4])
        assert.match(remote[i].text, /^(FROM )?(zebra_stripes|dsr1_|pg_|\(|'|generate|json|unnest|only|lateral)/i);
    assert.match(remote[3].text, /^(s\.)?(hoof|mane|\*)/);
});

test("a hole is filled with the typed part behind it, so that keys only add tokens", async () => {
    use(models.fim);
    await withServer({firstAnswerMs: 0, debounceMs: 0, maxTokens: 4, ringChunks: 0}, async (editor) => {
        const lines = Array.from({length: 60}, (_, i) => `value_${i} = ${i} * ${i}`), row = 30, typed = "result = value_3 + value_4";
        lines[row] = "";
        await editor.change(uri, {text: lines.join("\n")});
        for (let i = 0; i < typed.length; i++) {
            await editor.type(uri, {line: row, character: i}, typed[i]);
            await editor.inline(uri, {line: row, character: i + 1}, 2);
        }
        assert.equal((await editor.command("dsr1.explainLast")).prompt, "fim");
        // With the typed part before the lines below, these would be computed at each key: 0.5.
        const ratio = Number(server.sql("SELECT prefix_hit_ratio FROM dsr1_stat_engine"));
        assert.ok(ratio > 0.9, `share of prompt tokens found in the cache: ${ratio}`);
    });
});

test("a cancelled request frees the engine within moments, and the connection is used again", () =>
    withServer(endless, async (editor) => {
        const source = new CancellationTokenSource();
        const {answer} = await longOne(editor, source.token);
        source.cancel();
        assert.equal(await answer, -32800);
        await until(() => running() === 0 && inEngine() === 0, "the engine goes on");
        await editor.change(uri, {text});
        assert.ok(await suggests(editor));
    }));

test("an engine that is killed in mid-request is started again, and so is the request", () =>
    withServer({}, async (editor) => {
        assert.ok(await suggests(editor));
        const pid = server.sql("SELECT pid FROM dsr1_stat_engine");
        process.kill(Number(pid), "SIGKILL");
        await until(() => suggests(editor), "no suggestion after the engine's death");
        assert.notEqual(server.sql("SELECT pid FROM dsr1_stat_engine"), pid);
    }));

test("a server that is killed in mid-request costs that answer, and is found again", () =>
    withServer(endless, async (editor) => {
        const {answer} = await longOne(editor);
        server.control("stop", "-m", "immediate");
        assert.deepEqual((await answer).items, []);
        assert.deepEqual(await editor.inline(uri, behind), {items: []});
        server.start();
        await editor.change(uri, {text});
        await until(() => suggests(editor), "no suggestion after the restart");
        assert.ok(editor.log.filter(({message}) => /PostgreSQL/.test(message)).length <= 3, "said once a cause");
    }));
