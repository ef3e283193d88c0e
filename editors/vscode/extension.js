// extension.js - dsr1-lsp in VS Code: starts the server; suggestions and code actions are the editor's own
//
// SPDX-License-Identifier: PostgreSQL
"use strict";
const vscode = require("vscode");
const {LanguageClient} = require("vscode-languageclient/node");

let client;

function newClient() {
    const settings = vscode.workspace.getConfiguration("dsr1");
    const server = {command: settings.get("server.path"), args: settings.get("server.arguments")};
    return new LanguageClient("dsr1", "dsr1", server, {
        documentSelector: [{scheme: "file"}, {scheme: "untitled"}],
        synchronize: {configurationSection: "dsr1"},
    });
}

const ask = (command, ...args) => client.sendRequest("workspace/executeCommand", {command, arguments: args});

async function rewriteSelection() {
    const editor = vscode.window.activeTextEditor;
    if (!editor)
        return;
    const instruction = await vscode.window.showInputBox({prompt: "What should change?", placeHolder: "use early returns"});
    if (!instruction)
        return;
    const {document: {uri}, selection: {start, end}} = editor;
    const range = {start: {line: start.line, character: start.character}, end: {line: end.line, character: end.character}};
    await vscode.window.withProgress({location: vscode.ProgressLocation.Notification, title: "dsr1: rewriting"},
                                     () => ask("dsr1.rewrite", {uri: uri.toString(), range, instruction}));
}

async function switchSuggestions() {
    const {enabled} = await ask("dsr1.toggle");
    vscode.window.setStatusBarMessage(`dsr1: suggestions are ${enabled ? "on" : "off"}`, 3000);
}

async function whyLast() {
    const content = JSON.stringify(await ask("dsr1.explainLast"), null, 2);
    await vscode.window.showTextDocument(await vscode.workspace.openTextDocument({language: "json", content}), {preview: true});
}

exports.activate = async (context) => {
    const commands = {rewriteSelection, switch: switchSuggestions, whyLast, restart: () => client.restart()};
    for (const [name, run] of Object.entries(commands))
        context.subscriptions.push(vscode.commands.registerCommand(`dsr1.${name}`, run));
    client = newClient();
    await client.start();
};

exports.deactivate = () => client?.stop();
