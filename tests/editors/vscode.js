// vscode.js - VS Code in a headless browser: our suggestion appears as ghost text, and Tab takes it
//
//     node tests/editors/vscode.js    scripts/test-editors sets the environment
//
// DSR1_LSP, DSR1_LSP_MODEL   the server and its model
// DSR1_CODE                  folder with code-server, DSR1_NODE24 a node that runs it
// DSR1_VSIX                  the extension; DSR1_CHROMIUM the browser; DSR1_SCREENSHOT where to keep the picture
// DSR1_RECORD                type on for a minute, and keep a trace for dsr1-lsp --replay
//
// SPDX-License-Identifier: PostgreSQL
"use strict";
const {spawn, spawnSync} = require("node:child_process");
const fs = require("node:fs");
const net = require("node:net");
const os = require("node:os");
const path = require("node:path");
const {chromium} = require("playwright-core");

const {DSR1_LSP, DSR1_LSP_MODEL, DSR1_CODE, DSR1_NODE24, DSR1_VSIX, DSR1_CHROMIUM, DSR1_SCREENSHOT, DSR1_RECORD} = process.env;
const work = fs.mkdtempSync(path.join(os.tmpdir(), "dsr1-vscode-"));
const pause = (ms) => new Promise((done) => setTimeout(done, ms));
let server, browser;

const freePort = () => new Promise((done) => {
    const socket = net.createServer().listen(0, "127.0.0.1", () => {
        const {port} = socket.address();
        socket.close(() => done(port));
    });
});

// What somebody types on: the editor indents by itself.
const session_text = `

# The volume of a box
def box_volume(width, height, depth):
return rectangle_area(width, height) * depth


def largest(shapes):
best = None
for shape in shapes:
if best is None or shape.area > best.area:
best = shape
return best

total = sum(box_volume(n, n, n) for n in range(10))
print("total volume", total)
`;

function prepare() {
    for (const folder of ["project", "data/User", "extensions"])
        fs.mkdirSync(path.join(work, folder), {recursive: true});
    fs.writeFileSync(path.join(work, "project/geometry.py"),
                     "import math\n\n\ndef circle_area(radius):\n    return math.pi * radius ** 2\n\n\n");
    fs.writeFileSync(path.join(work, "data/User/settings.json"), JSON.stringify({
        "dsr1.server.path": DSR1_LSP,
        "dsr1.server.arguments": ["--model", DSR1_LSP_MODEL, ...(DSR1_RECORD ? ["--record", DSR1_RECORD] : [])],
        "editor.inlineSuggest.enabled": true, "editor.inlineSuggest.minShowDelay": 0, "editor.fontSize": 18,
        "editor.minimap.enabled": false, "editor.quickSuggestions": {other: "off", comments: "off", strings: "off"},
        "editor.suggestOnTriggerCharacters": false, "editor.wordBasedSuggestions": "off",
        "chat.disableAIFeatures": true, "security.workspace.trust.enabled": false, "workbench.startupEditor": "none",
        "workbench.tips.enabled": false, "telemetry.telemetryLevel": "off", "extensions.ignoreRecommendations": true,
        "workbench.colorTheme": "Default Light Modern", "update.mode": "none", "git.enabled": false,
    }));
}

const code = (...args) => [path.join(DSR1_CODE, "node_modules/code-server/out/node/entry.js"), ...args,
                           "--extensions-dir", path.join(work, "extensions"), "--user-data-dir", path.join(work, "data")];
const environment = {...process.env, XDG_CONFIG_HOME: path.join(work, "config"), XDG_DATA_HOME: path.join(work, "share")};

async function start() {
    const installed = spawnSync(DSR1_NODE24, code("--install-extension", DSR1_VSIX), {encoding: "utf8", env: environment});
    if (installed.status !== 0)
        throw new Error(`the extension cannot be installed: ${installed.stdout}${installed.stderr}`);
    const port = await freePort();
    server = spawn(DSR1_NODE24, code("--auth", "none", "--bind-addr", `127.0.0.1:${port}`, "--disable-telemetry",
                                     "--disable-update-check", "--disable-workspace-trust"),
                   {stdio: ["ignore", "pipe", "pipe"], env: environment, detached: true});
    server.log = "";
    for (const stream of [server.stdout, server.stderr])
        stream.on("data", (bytes) => { server.log += bytes; });
    for (let tries = 0; !/HTTP server listening/.test(server.log); tries++) {
        if (tries > 600)
            throw new Error(`code-server does not start: ${server.log}`);
        await pause(100);
    }
    return port;
}

async function session(port) {
    browser = await chromium.launch({executablePath: DSR1_CHROMIUM, args: ["--no-sandbox"]});
    const page = await browser.newPage({viewport: {width: 1100, height: 620}});
    await page.goto(`http://127.0.0.1:${port}/?folder=${path.join(work, "project")}`, {timeout: 120000, waitUntil: "domcontentloaded"});
    await page.getByText("geometry.py", {exact: true}).first().dblclick({timeout: 120000});
    await page.locator(".view-line").first().waitFor({timeout: 60000});
    await page.keyboard.press("Control+End");
    // The model loads in the background: type until a suggestion stands there.
    await page.keyboard.type("def rectangle_area(width, height):\n", {delay: 60});
    const ghost = page.locator("[class*=ghost-text]").first();
    for (let tries = 0; tries < 30; tries++) {
        await page.keyboard.type("return ", {delay: 90});
        if (await ghost.waitFor({timeout: 6000}).then(() => true, () => false))
            break;
        for (let i = 0; i < "return ".length; i++)
            await page.keyboard.press("Backspace");
    }
    await ghost.waitFor({timeout: 10000});
    // A suggestion is drawn in pieces, one a token of the language.
    const pieces = await page.locator("[class*=ghost-text-decoration]").allTextContents();
    const suggested = pieces.join("").replaceAll("\u00a0", " ").trim();
    console.log(`ok - VS Code shows our suggestion as ghost text: ${JSON.stringify(suggested)}`);
    if (DSR1_SCREENSHOT)
        await page.screenshot({path: DSR1_SCREENSHOT});
    await page.keyboard.press("Tab");
    await page.waitForFunction(() => !document.querySelector("[class*=ghost-text-decoration]"), null, {timeout: 5000}).catch(() => {});
    await pause(500);
    const text = (await page.locator(".view-lines").first().innerText()).replaceAll("\u00a0", " ");
    const accepted = text.includes(suggested.split("\n")[0]);
    console.log(`${accepted ? "ok" : "not ok"} - Tab takes it over into the document`);
    if (DSR1_RECORD)
        await page.keyboard.type(session_text, {delay: 120});
    return accepted;
}

prepare();
start().then(session).then((good) => { process.exitCode = good ? 0 : 1; }, (error) => {
    console.log(`not ok - VS Code: ${error.message}`);
    process.exitCode = 1;
}).finally(async () => {
    await browser?.close();
    if (server)
        process.kill(-server.pid, "SIGTERM");
    setTimeout(() => fs.rmSync(work, {recursive: true, force: true}), 500);
});
