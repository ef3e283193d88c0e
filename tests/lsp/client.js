// client.js - two clients for the tests: one that speaks LSP as editors do, one that sends any bytes
//
// SPDX-License-Identifier: PostgreSQL
"use strict";
const {spawn} = require("node:child_process");
const fs = require("node:fs");
const os = require("node:os");
const path = require("node:path");
const rpc = require("vscode-jsonrpc/node");

const program = process.env.DSR1_LSP;
const model = process.env.DSR1_LSP_MODEL;

const pause = (ms) => new Promise((done) => setTimeout(done, ms));

// Every process of a test run ends with it, whatever went wrong.
const children = new Set();
process.on("exit", () => { for (const child of children) child.kill("SIGKILL"); });

// What is learned about models stays in the run.
const probes = fs.mkdtempSync(path.join(os.tmpdir(), "dsr1-probes-"));
process.on("exit", () => fs.rmSync(probes, {recursive: true, force: true}));

// before: a command that runs the server, as a tracer does.
function launch(args = [], env = {}, before = []) {
    const [command, ...rest] = [...before, program, ...args];
    const child = spawn(command, rest, {stdio: ["pipe", "pipe", "pipe"],
                                        env: {...process.env, DSR1_PROBE_DIR: probes, ...env}});
    children.add(child);
    child.errors = "";
    child.stderr.on("data", (bytes) => { child.errors += bytes; });
    child.stdin.on("error", () => {});
    child.ended = new Promise((done) => child.on("close", (status, signal) => {
        children.delete(child);
        if (/Sanitizer: |runtime error: /.test(child.errors))
            throw new Error(child.errors);
        done(signal || status);
    }));
    return child;
}

// Resolves to the exit status, or "alive" after ms.
async function statusWithin(child, ms) {
    let timer;
    const late = new Promise((done) => { timer = setTimeout(done, ms, "alive"); });
    const status = await Promise.race([child.ended, late]);
    clearTimeout(timer);
    return status;
}

// ---------------------------------------------------------------------------
// An editor
// ---------------------------------------------------------------------------

const inlineClient = {textDocument: {inlineCompletion: {dynamicRegistration: true}}};

class Editor {
    constructor({args = ["--model", model], env, configuration} = {}) {
        this.child = launch(args, env);
        this.log = [];
        this.shown = [];
        this.progress = [];
        this.asked = [];
        this.connection = rpc.createMessageConnection(new rpc.StreamMessageReader(this.child.stdout),
                                                      new rpc.StreamMessageWriter(this.child.stdin));
        this.connection.onNotification("window/logMessage", (params) => this.log.push(params));
        this.connection.onNotification("window/showMessage", (params) => this.shown.push(params));
        this.connection.onNotification("$/progress", (params) => this.progress.push(params));
        this.connection.onRequest("workspace/configuration", (params) => {
            this.asked.push(params);
            return configuration ? configuration(params) : params.items.map(() => null);
        });
        this.connection.onRequest("window/workDoneProgress/create", (params) => { this.created = params; return null; });
        this.registered = new Map(); // what the server registered and did not take back, by id
        this.connection.onRequest("client/registerCapability", ({registrations}) => {
            for (const {id, ...rest} of registrations)
                this.registered.set(id, this.registered.has(id) ? "registered twice" : rest);
            return null;
        });
        this.connection.onRequest("client/unregisterCapability", ({unregisterations}) => {
            for (const {id, method} of unregisterations) {
                if (this.registered.get(id)?.method === method)
                    this.registered.delete(id);
                else
                    this.registered.set(id, "unregistered without reason");
            }
            return null;
        });
        this.connection.onError(() => {});
        this.connection.listen();
        this.version = 0;
    }

    async initialize({capabilities = inlineClient, settings = {}, processId = process.pid} = {}) {
        const result = await this.connection.sendRequest("initialize", {
            processId, rootUri: null, capabilities, initializationOptions: {dsr1: settings},
        });
        await this.connection.sendNotification("initialized", {});
        return result;
    }

    // Initializes and waits for the model.
    async start(options) {
        const result = await this.initialize(options);
        await this.ready();
        return result;
    }

    async ready() {
        for (let tries = 0; tries < 600; tries++) {
            const {state} = await this.command("dsr1.status");
            if (state === "ready")
                return;
            if (state === "failed")
                throw new Error(`the model failed: ${JSON.stringify(this.shown)}`);
            await pause(50);
        }
        throw new Error("the model did not load within 30 s");
    }

    command(command, ...args) {
        return this.connection.sendRequest("workspace/executeCommand", {command, arguments: args});
    }

    open(uri, text, languageId = "") {
        return this.connection.sendNotification("textDocument/didOpen",
                                                {textDocument: {uri, languageId, version: ++this.version, text}});
    }

    change(uri, ...contentChanges) {
        return this.connection.sendNotification("textDocument/didChange",
                                                {textDocument: {uri, version: ++this.version}, contentChanges});
    }

    // Types text at a position.
    type(uri, position, text) {
        return this.change(uri, {range: {start: position, end: position}, text});
    }

    close(uri) {
        return this.connection.sendNotification("textDocument/didClose", {textDocument: {uri}});
    }

    inline(uri, position, triggerKind = 1, token = undefined, more = {}) {
        return this.connection.sendRequest("textDocument/inlineCompletion",
                                           {textDocument: {uri}, position, context: {triggerKind, ...more}},
                                           ...(token ? [token] : []));
    }

    completion(uri, position, token = undefined) {
        return this.connection.sendRequest("textDocument/completion",
                                           {textDocument: {uri}, position, context: {triggerKind: 1}},
                                           ...(token ? [token] : []));
    }

    document(uri) {
        return this.connection.sendRequest("dsr1/document", {textDocument: {uri}});
    }

    async stop() {
        await this.connection.sendRequest("shutdown");
        await this.connection.sendNotification("exit");
        const status = await statusWithin(this.child, 3000);
        this.connection.dispose();
        if (status === "alive")
            this.child.kill("SIGKILL");
        return status;
    }
}

// Runs a test with an editor that is stopped afterwards.
async function withEditor(options, run) {
    const editor = new Editor(options);
    try {
        await run(editor);
    } finally {
        if (editor.child.exitCode === null && editor.child.signalCode === null)
            await Promise.race([editor.stop(), pause(3000)]);
        editor.child.kill("SIGKILL");
    }
}

// ---------------------------------------------------------------------------
// Bytes
// ---------------------------------------------------------------------------

const frame = (body) => {
    const bytes = Buffer.isBuffer(body) ? body : Buffer.from(typeof body === "string" ? body : JSON.stringify(body));
    return Buffer.concat([Buffer.from(`Content-Length: ${bytes.length}\r\n\r\n`), bytes]);
};
const request = (id, method, params) => frame({jsonrpc: "2.0", id, method, params});
const notification = (method, params) => frame({jsonrpc: "2.0", method, params});

class Bytes {
    constructor(args = ["--model", model, "--log-level", "error"], env = {}, before = []) {
        this.child = launch(args, env, before);
        this.messages = [];
        this.waiting = [];
        let input = Buffer.alloc(0);
        this.child.stdout.on("data", (bytes) => {
            input = Buffer.concat([input, bytes]);
            for (;;) {
                const end = input.indexOf("\r\n\r\n");
                if (end < 0)
                    break;
                const size = Number(/^Content-Length: (\d+)$/m.exec(input.toString("latin1", 0, end))[1]);
                if (input.length < end + 4 + size)
                    break;
                this.messages.push(JSON.parse(input.toString("utf8", end + 4, end + 4 + size)));
                input = input.subarray(end + 4 + size);
            }
            this.waiting.forEach((check) => check());
        });
    }

    write(...chunks) {
        for (const chunk of chunks)
            this.child.stdin.write(chunk);
    }

    // The first message not taken yet for which wanted() holds.
    take(wanted, ms = 5000) {
        return new Promise((done, fail) => {
            const check = () => {
                const i = this.messages.findIndex(wanted);
                if (i < 0)
                    return;
                clearTimeout(timer);
                this.waiting = this.waiting.filter((other) => other !== check);
                done(this.messages.splice(i, 1)[0]);
            };
            const timer = setTimeout(() => {
                this.waiting = this.waiting.filter((other) => other !== check);
                fail(new Error(`no such message within ${ms} ms; stderr: ${this.child.errors}`));
            }, ms);
            this.waiting.push(check);
            check();
        });
    }

    answer(id, ms) {
        return this.take((message) => message.id === id && !message.method, ms);
    }

    async initialize(capabilities = {}) {
        this.write(request("init", "initialize", {processId: null, rootUri: null, capabilities}),
                   notification("initialized", {}));
        return this.answer("init");
    }

    // A valid request is answered: the server is alive and in step.
    async alive(id = `alive-${Math.random()}`) {
        this.write(request(id, "workspace/executeCommand", {command: "dsr1.status"}));
        const {result} = await this.answer(id);
        return result.version !== undefined;
    }

    async document(uri) {
        const id = `document-${Math.random()}`;
        this.write(request(id, "dsr1/document", {textDocument: {uri}}));
        return (await this.answer(id)).result;
    }

    kill() {
        this.child.kill("SIGKILL");
    }
}

async function withBytes(run, ...options) {
    const bytes = new Bytes(...options);
    try {
        await run(bytes);
    } finally {
        bytes.kill();
    }
}

// A small generator of random numbers, so that a failure can be repeated: DSR1_SEED.
function random(seed) {
    let state = BigInt(seed) + 0x9e3779b97f4a7c15n;
    return (n) => {
        state = (state * 6364136223846793005n + 1442695040888963407n) & 0xffffffffffffffffn;
        return Number((state >> 33n) % BigInt(n));
    };
}

module.exports = {Editor, withEditor, Bytes, withBytes, frame, request, notification, launch, statusWithin, pause, random,
                  program, model, inlineClient};
