// pg.test.js - a PostgreSQL server as the model's home, and its tables in the prompt
//
// The server is a private one on a Unix socket. SQL functions with the names and
// signatures of the extension stand in for the model, so that each answer, wait and
// failure is ours to choose.
//
// SPDX-License-Identifier: PostgreSQL
"use strict";
const {test, before, after} = require("node:test");
const assert = require("node:assert/strict");
const fs = require("node:fs");
const path = require("node:path");
const {spawn, spawnSync} = require("node:child_process");
const {withEditor, pause, program, model, inlineClient} = require("./client");
const {Postgres, asUser, bin} = require("./postgres");

const server = new Postgres(), {folder, user, conninfo} = server;
const sql = (text, as) => server.sql(text, as), control = (...args) => server.control(...args), start = () => server.start();

const stand_ins = `
CREATE FUNCTION dsr1_fim(prefix text, suffix text, options jsonb DEFAULT '{}') RETURNS text LANGUAGE sql AS $$
    SELECT CASE WHEN prefix LIKE '%slow' THEN pg_sleep(30)::text ELSE 'left + right' END $$;
CREATE FUNCTION dsr1_complete(prompt text, max_tokens int DEFAULT NULL, temperature float8 DEFAULT 0, seed bigint DEFAULT 0,
    stop text[] DEFAULT NULL, system text DEFAULT NULL, think bool DEFAULT NULL, raw bool DEFAULT false,
    adapter name DEFAULT NULL) RETURNS text LANGUAGE sql AS $$
    SELECT CASE WHEN raw THEN 'completed here' ELSE 'It adds two numbers.' END $$;
CREATE TABLE customers (id int PRIMARY KEY, "Full Name" text, balance numeric(10, 2));
CREATE TABLE orders (id int PRIMARY KEY, customer_id int REFERENCES customers, placed_at timestamptz);
CREATE TABLE salaries (person text, amount int);
CREATE ROLE clerk LOGIN;
GRANT SELECT ON customers, orders TO clerk;
REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA public FROM PUBLIC;
`;

before(() => {
    server.init();
    sql(stand_ins);
});
after(() => server.close());

const uri = "file:///p/sum.py";
const text = "def add(left, right):\n    return ";
const end = {line: 1, character: 11};
const remote = {backend: "pg", pg: {conninfo}, minTokenProb: 0, speculate: false, cache: {results: 0}};

async function withServer(settings, run) {
    await withEditor({args: []}, async (editor) => {
        await editor.start({settings: {...remote, ...settings}});
        await editor.open(uri, text, "python");
        await run(editor);
    });
}

async function until(holds, what) {
    for (let tries = 0; tries < 200; tries++) {
        if (await holds())
            return;
        await pause(50);
    }
    assert.fail(what);
}

test("backend = pg asks dsr1_fim for what stands at the cursor", () => withServer({}, async (editor) => {
    const {items: [item]} = await editor.inline(uri, end);
    assert.equal(item.insertText, "left + right");
    const why = await editor.command("dsr1.explainLast");
    assert.equal(why.prompt, "fim");
    const status = await editor.command("dsr1.status");
    assert.equal(status.backend, "pg");
    assert.match(status.server, /^PostgreSQL \d+ at /);
}));

test("a server without dsr1_fim is asked to complete; one without any of them is said once", async () => {
    sql("ALTER FUNCTION dsr1_fim RENAME TO gone");
    try {
        await withServer({}, async (editor) => {
            assert.match((await editor.inline(uri, end)).items[0].insertText, /^completed/);
            assert.equal((await editor.command("dsr1.explainLast")).prompt, "prefixOnly");
            sql("ALTER FUNCTION dsr1_complete RENAME TO gone_too");
            try {
                for (let i = 0; i < 3; i++)
                    assert.deepEqual(await editor.inline(uri, end), {items: []});
                const said = editor.log.filter(({message}) => /does not exist/.test(message));
                assert.equal(said.length, 1);
            } finally {
                sql("ALTER FUNCTION gone_too RENAME TO dsr1_complete");
            }
        });
    } finally {
        sql("ALTER FUNCTION gone RENAME TO dsr1_fim");
    }
});

test("a role that may not run the model is told so, and gets nothing", () =>
    withServer({pg: {conninfo: conninfo.replace(user, "clerk")}}, async (editor) => {
        assert.deepEqual(await editor.inline(uri, end), {items: []});
        assert.ok(editor.log.some(({message}) => /permission denied/.test(message)));
    }));

const running = () => Number(sql("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'dsr1-lsp' AND state = 'active'"));

test("a cancelled request cancels the query, and the connection is used again", () => withServer({}, async (editor) => {
    const {CancellationTokenSource} = require("vscode-jsonrpc/node");
    await editor.type(uri, end, "slow");
    const source = new CancellationTokenSource();
    const answer = editor.inline(uri, {line: 1, character: 15}, 1, source.token).then(() => 0, ({code}) => code);
    await until(() => running() === 1, "the query does not run");
    source.cancel();
    assert.equal(await answer, -32800);
    await until(() => running() === 0, "the query runs on");
    await editor.change(uri, {text});
    assert.equal((await editor.inline(uri, end)).items.length, 1);
}));

test("pg.statementTimeoutMs ends a query that takes too long", () =>
    withServer({pg: {conninfo, statementTimeoutMs: 200}}, async (editor) => {
        await editor.type(uri, end, "slow");
        assert.deepEqual(await editor.inline(uri, {line: 1, character: 15}), {items: []});
        assert.ok(editor.log.some(({message}) => /statement timeout/.test(message)));
    }));

test("the end of the editor's input in mid-query ends the server, and the query", () => withServer({}, async (editor) => {
    await editor.type(uri, end, "slow");
    editor.inline(uri, {line: 1, character: 15}).catch(() => {});
    await until(() => running() === 1, "the query does not run");
    editor.child.stdin.end();
    const status = await Promise.race([editor.child.ended, pause(3000).then(() => "alive")]);
    assert.equal(status, 1);
    await until(() => running() === 0, "the query runs on");
}));

test("a terminated connection is made again", () => withServer({}, async (editor) => {
    assert.equal((await editor.inline(uri, end)).items.length, 1);
    sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'dsr1-lsp'");
    await until(async () => (await editor.inline(uri, end)).items.length === 1, "no suggestion after the connection broke");
}));

test("a server that restarts is found again; meanwhile requests are answered with nothing", () => withServer({}, async (editor) => {
    assert.equal((await editor.inline(uri, end)).items.length, 1);
    control("stop", "-m", "fast");
    try {
        for (let i = 0; i < 3; i++)
            assert.deepEqual(await editor.inline(uri, end), {items: []});
    } finally {
        start();
    }
    await until(async () => (await editor.inline(uri, end)).items.length === 1, "no suggestion after the restart");
}));

test("a server that is not there is said once, and found when it comes", () =>
    withServer({pg: {conninfo: conninfo.replace(folder, path.join(folder, "nowhere"))}}, async (editor) => {
        assert.deepEqual(await editor.inline(uri, end), {items: []});
        assert.equal(editor.shown.filter(({message}) => /no connection to PostgreSQL/.test(message)).length, 1);
    }));

test("a table that is locked holds up nobody but the query", () => withServer({pg: {conninfo, schemaContext: "off", statementTimeoutMs: 300}}, async (editor) => {
    sql("CREATE TABLE locked (a int); CREATE OR REPLACE FUNCTION dsr1_fim(prefix text, suffix text, options jsonb DEFAULT '{}') " +
        "RETURNS text LANGUAGE plpgsql AS $$ BEGIN LOCK TABLE locked; RETURN 'left + right'; END $$");
    const holder = spawn(...asUser(path.join(bin, "psql"), "-X", "-d", conninfo, "-c", "BEGIN; LOCK TABLE locked; SELECT pg_sleep(2)"),
                         {stdio: "ignore", cwd: folder});
    try {
        await until(() => sql("SELECT count(*) FROM pg_locks WHERE relation = 'locked'::regclass") === "1", "no lock");
        assert.deepEqual(await editor.inline(uri, end), {items: []});
        assert.equal((await editor.command("dsr1.status")).state, "ready");
    } finally {
        holder.kill();
        await until(async () => (await editor.inline(uri, end)).items.length === 1, "no suggestion after the lock");
    }
}));

test("explain asks dsr1_complete as in a chat", () => withServer({}, async (editor) => {
    const range = {start: {line: 0, character: 0}, end: {line: 1, character: 11}};
    assert.equal((await editor.command("dsr1.explain", {uri, range})).text, "It adds two numbers.");
}));

// ---------------------------------------------------------------------------
// Tables in the prompt
// ---------------------------------------------------------------------------

// What the model in the server saw before the file, at the end of a text.
async function context(settings, name, language, content) {
    const log = path.join(folder, "seen");
    fs.rmSync(log, {force: true});
    sql("CREATE TABLE IF NOT EXISTS seen (prefix text); TRUNCATE seen; CREATE OR REPLACE FUNCTION dsr1_fim(prefix text, suffix text, " +
        "options jsonb DEFAULT '{}') RETURNS text LANGUAGE sql SECURITY DEFINER AS $$ INSERT INTO seen VALUES (prefix) RETURNING 'id, balance' $$;" +
        "GRANT EXECUTE ON FUNCTION dsr1_fim TO clerk");
    await withEditor({args: []}, async (editor) => {
        await editor.start({settings: {...remote, ...settings}});
        const place = `file:///p/${name}`, lines = content.split("\n");
        await editor.open(place, content, language);
        for (let tries = 0; tries < 40; tries++) {
            await editor.inline(place, {line: lines.length - 1, character: lines.at(-1).length});
            if ((await editor.command("dsr1.explainLast")).contextBytes > 0 || tries === 10 && language !== "sql" && !/SELECT/.test(content))
                break;
            await pause(50);
        }
    });
    return sql("SELECT prefix FROM seen ORDER BY ctid DESC LIMIT 1");
}

const clerk = {pg: {conninfo: conninfo.replace(user, "clerk")}};

test("SQL is completed with the tables, types and foreign keys that the role may read before it", async () => {
    const seen = await context(clerk, "report.sql", "sql", "SELECT ");
    assert.match(seen, /^-- customers\(id integer, "Full Name" text, balance numeric\(10,2\)\)$/m);
    assert.match(seen, /^-- orders\(id integer, customer_id integer -> customers, placed_at timestamp with time zone\)$/m);
    assert.doesNotMatch(seen, /salaries/, "the role may not read it");
    assert.match(seen, /^SELECT$/m); // psql trims
});

test("a string that begins like a statement is SQL, too; other code is not", async () => {
    assert.match(await context(clerk, "a.py", "python", 'cursor.execute("SELECT '), /^# customers\(/m);
    assert.doesNotMatch(await context(clerk, "b.py", "python", "total = "), /customers/);
});

test("pg.schemaContext = names gives names, off nothing", async () => {
    assert.match(await context({pg: {...clerk.pg, schemaContext: "names"}}, "a.sql", "sql", "SELECT "), /^-- customers\n-- orders$/m);
    assert.equal(await context({pg: {...clerk.pg, schemaContext: "off"}}, "a.sql", "sql", "SELECT "), "SELECT");
});

test("the model in the editor's own server knows the tables, too, and new ones after dsr1.refreshSchema", () =>
    withEditor({args: ["--model", model]}, async (editor) => {
        await editor.start({settings: {pg: {conninfo}}});
        await editor.open("file:///p/a.sql", "SELECT ", "sql");
        const contextBytes = async () => {
            await editor.command("dsr1.clearCache");
            await editor.inline("file:///p/a.sql", {line: 0, character: 7});
            return (await editor.command("dsr1.explainLast")).contextBytes;
        };
        await until(async () => await contextBytes() > 50, "no tables in the prompt");
        const old = await contextBytes();
        sql("CREATE TABLE newcomers (a int, b int, c int)");
        assert.deepEqual(await editor.command("dsr1.refreshSchema"), {database: true});
        await until(async () => await contextBytes() > old, "the new table is not in the prompt");
    }));

test("--check knows the tables, too, and says when there is no database", () => {
    const file = path.join(folder, "check.sql");
    fs.writeFileSync(file, "SELECT * FROM ");
    const check = (at) => spawnSync(program, ["--model", model, "--set", `pg.conninfo=${at}`, "--set", "items=1", "--check", `${file}:1:15`],
                                    {encoding: "utf8", env: {...process.env, DSR1_PROBE_DIR: folder}});
    const {status, stdout} = check(conninfo);
    assert.equal(status, 0);
    assert.match(stdout, /^--- before the file\n-- customers\(id integer/m);
    assert.match(stdout, /, masked, /);
    const without = check("host=/no/such/folder");
    assert.equal(without.status, 0);
    assert.match(without.stderr, /no connection to PostgreSQL/);
    assert.doesNotMatch(without.stdout, /customers\(/);
});

test("behind FROM only tables of the database are suggested, behind an alias only its columns", () =>
    withEditor({args: ["--model", model]}, async (editor) => {
        sql("CREATE TABLE zebra_stripes (hoof int, mane text)");
        const settings = {pg: {conninfo}, minTokenProb: 0, minLineProb: 0, speculate: false, cache: {results: 0}, maxTokens: 12};
        await editor.start({settings});
        const place = "file:///p/z.sql";
        const suggest = async (text) => {
            await editor.change(place, {text});
            const {items} = await editor.inline(place, {line: 0, character: text.length});
            const why = await editor.command("dsr1.explainLast");
            assert.equal(why.masked, true);
            return (text.split(/\s/).pop() + why.modelText).trim();
        };
        await editor.open(place, "", "sql");
        await until(async () => {
            await editor.inline(place, {line: 0, character: 0});
            return (await editor.command("dsr1.explainLast")).contextBytes > 0;
        }, "no tables");
        for (const text of ["SELECT max(price) FROM ", "SELECT * FROM zebra_stripes JOIN ", "DELETE FROM ", "INSERT INTO "])
            assert.match(await suggest(text), /^(customers|orders|salaries|newcomers|zebra_stripes|seen|locked|\(|'|--|\/\*|pg_|dsr1_|public\.|information_schema|only|lateral|json|unnest|generate_)/i, text);
        assert.match(await suggest("SELECT s.* FROM zebra_stripes AS s WHERE s."), /^s\.(hoof|mane|\*)/i);
        assert.match(await suggest("SELECT * FROM zeb"), /^zebra_stripes\b/);
        sql("DROP TABLE zebra_stripes");
    }));
