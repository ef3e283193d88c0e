// clients.test.js - real editors, started with the configuration in editors/, on the real model
//
// SPDX-License-Identifier: PostgreSQL
"use strict";
const {test} = require("node:test");
const assert = require("node:assert/strict");
const fs = require("node:fs");
const os = require("node:os");
const path = require("node:path");
const {spawnSync} = require("node:child_process");
const {program, model} = require("./client");

const editors = path.join(__dirname, "..", "..", "editors");
const text = "def add(a, b):\n    return a + b\n\n\ndef subtract(a, b):\n    return ";

// Runs an editor in a folder of its own with math.py in it. What its script prints, or writes into `result`, comes back.
function drive(command, args, script) {
    const folder = fs.mkdtempSync(path.join(os.tmpdir(), "dsr1-client-"));
    try {
        fs.writeFileSync(path.join(folder, "math.py"), text);
        fs.writeFileSync(path.join(folder, "script"), script);
        // For configurations that name the program only.
        fs.writeFileSync(path.join(folder, "dsr1-lsp"),
                         `#!/bin/sh\nexec "$DSR1_LSP" --model "$DSR1_LSP_MODEL" --set firstAnswerMs=60000 "$@"\n`, {mode: 0o755});
        const {stdout, stderr, status, error} = spawnSync(command, args(path.join(folder, "script")), {
            cwd: folder, encoding: "utf8", timeout: 120000,
            env: {...process.env, PATH: `${folder}:${process.env.PATH}`, DSR1_PROBE_DIR: folder, HOME: folder, XDG_CONFIG_HOME: folder, DSR1_LSP: program, DSR1_LSP_MODEL: model},
        });
        assert.equal(error, undefined);
        const written = path.join(folder, "result"), file = fs.existsSync(written) ? fs.readFileSync(written, "utf8") : "";
        const lines = `${stdout}\n${stderr}\n${file}`.split("\n").filter((line) => line.startsWith("RESULT "));
        assert.equal(lines.length, 1, `status ${status}\n${stdout}\n${stderr}`);
        return JSON.parse(lines[0].slice("RESULT ".length));
    } finally {
        fs.rmSync(folder, {recursive: true, force: true});
    }
}

test("Neovim shows our suggestion as ghost text, takes it over, and sends positions behind an emoji right", () => {
    const result = drive("nvim", (script) => ["--headless", "-u", "NONE", "-n", "-c", `luafile ${script}`], `
vim.opt.runtimepath:append(${JSON.stringify(path.join(editors, "neovim"))})
local dsr1 = require("dsr1")
local result = {}
local ok, problem = pcall(function()
  vim.cmd("filetype on")
  dsr1.setup({ cmd = { vim.env.DSR1_LSP, "--model", vim.env.DSR1_LSP_MODEL }, filetypes = { "python" },
    settings = { firstAnswerMs = 60000 } }) -- a busy machine shows all of it, too
  vim.cmd("edit math.py")
  local function client() return vim.lsp.get_active_clients()[1] end
  assert(vim.wait(60000, function()
    if not client() or not client().initialized then return false end
    local answer = client().request_sync("workspace/executeCommand", { command = "dsr1.status" }, 5000, 0)
    return answer and answer.result and answer.result.state == "ready"
  end, 200), "the model did not load")
  -- Insert mode of a headless Neovim ends with the script: a mode is pretended, the rest is real.
  vim.api.nvim_get_mode = function() return { mode = "i" } end
  vim.api.nvim_win_set_cursor(0, { 6, 10 })
  vim.opt.virtualedit = "onemore"
  vim.api.nvim_win_set_cursor(0, { 6, 11 })
  vim.api.nvim_exec_autocmds("TextChangedI", { buffer = 0 })
  assert(vim.wait(30000, dsr1.shown, 50), "no suggestion")
  result.shown = dsr1.shown()
  local marks = vim.api.nvim_buf_get_extmarks(0, vim.api.nvim_create_namespace("dsr1"), 0, -1, { details = true })
  result.ghost = marks[1][4].virt_text[1][1]
  dsr1.accept()
  result.line = vim.api.nvim_get_current_line()
  result.column = vim.api.nvim_win_get_cursor(0)[2]
  vim.api.nvim_buf_set_lines(0, 0, -1, false, { "first = 1", "second = 2", 's = "\\240\\159\\145\\168"; total = first + sec' })
  vim.wait(400) -- this Neovim sends changes 150 ms late
  local params = { textDocument = vim.lsp.util.make_text_document_params(0), position = { line = 2, character = 29 },
                   context = { triggerKind = 1 } }
  local answer = client().request_sync("textDocument/inlineCompletion", params, 30000, 0)
  result.document = client().request_sync("dsr1/document", { textDocument = params.textDocument }, 5000, 0).result.text
  result.emoji = answer.result.items[1] and answer.result.items[1].insertText
  local stats = client().request_sync("workspace/executeCommand", { command = "dsr1.stats" }, 5000, 0)
  result.accepted = stats.result.accepted
end)
io.stdout:write("RESULT " .. vim.json.encode(ok and result or { problem = tostring(problem) }) .. "\\n")
vim.cmd("qa!")
`);
    assert.equal(result.problem, undefined);
    assert.match(result.shown, /^a - b/);
    assert.equal(result.ghost, result.shown.split("\n")[0]);
    assert.equal(result.line, `    return ${result.shown.split("\n")[0]}`);
    assert.equal(result.column, result.line.length);
    assert.match(result.document, /\u{1f468}/u);
    assert.match(result.emoji, /^second/);
    assert.equal(result.accepted, 1);
});

test("Emacs with Eglot gets our suggestion as a candidate, puts it into the buffer, and lists code actions", () => {
    const result = drive("emacs", (script) => ["--batch", "-l", script], `
(require 'package)
(package-initialize)
(require 'eglot)
(require 'json)
(load ${JSON.stringify(path.join(editors, "emacs", "dsr1.el"))})
(setq dsr1-command (list (getenv "DSR1_LSP") "--model" (getenv "DSR1_LSP_MODEL") "--set" "firstAnswerMs=60000") eglot-connect-timeout 60
      eglot-sync-connect t)
(add-to-list 'eglot-server-programs (cons 'python-mode dsr1-command))
(let (result)
  (condition-case problem
      (progn
        (find-file "math.py")
        (python-mode)
        (call-interactively 'eglot)
        (let ((server (eglot-current-server)) (tries 0))
          (while (and (< tries 300)
                      (not (equal "ready" (plist-get (jsonrpc-request server :workspace/executeCommand
                                                                      '(:command "dsr1.status")) :state))))
            (setq tries (1+ tries))
            (accept-process-output nil 0.1))
          (goto-char (point-max))
          (insert "a")
          (eglot--signal-textDocument/didChange)
          (let* ((capf (eglot-completion-at-point))
                 (candidates (all-completions "" (nth 2 capf)))
                 (exit (plist-get (nthcdr 3 capf) :exit-function)))
            (push (cons 'candidates (vconcat candidates)) result)
            (delete-region (nth 0 capf) (nth 1 capf))
            (insert (car candidates))
            (funcall exit (car candidates) 'finished)
            (push (cons 'line (buffer-substring-no-properties (line-beginning-position) (line-end-position))) result))
          (push (cons 'actions
                      (length (jsonrpc-request server :textDocument/codeAction
                                               (list :textDocument (eglot--TextDocumentIdentifier)
                                                     :range (list :start (eglot--pos-to-lsp-position (point-min))
                                                                  :end (eglot--pos-to-lsp-position (point-max)))
                                                     :context '(:diagnostics [])))))
                result)
          (set-buffer-modified-p nil)
          (eglot-shutdown server)))
    (error (push (cons 'problem (format "%S" problem)) result)))
  (princ (concat "RESULT " (json-encode result) "\\n")))
`);
    assert.equal(result.problem, undefined);
    assert.equal(result.candidates.length, 1);
    assert.match(result.line, /^ {4}return a - b/);
    assert.equal(result.actions, 3);
});

test("Emacs with lsp-mode gets our suggestion as a candidate, puts it into the buffer, and lists code actions", () => {
    const result = drive("emacs", (script) => ["--batch", "-l", script], `
(require 'package)
(package-initialize)
(require 'lsp-mode)
(require 'lsp-completion)
(require 'json)
(load ${JSON.stringify(path.join(editors, "emacs", "dsr1.el"))})
(setq lsp-session-file (expand-file-name "session") lsp-auto-guess-root t lsp-enabled-clients '(dsr1) lsp-response-timeout 60
      lsp-warn-no-matched-clients nil lsp-modeline-code-actions-enable nil lsp-modeline-diagnostics-enable nil
      lsp-headerline-breadcrumb-enable nil lsp-restart 'ignore)
(let (result)
  (condition-case problem
      (progn
        (find-file "math.py")
        (python-mode)
        (lsp-workspace-folders-add default-directory)
        (lsp)
        (let ((tries 0))
          (while (and (< tries 300) (not (and (lsp-workspaces) (lsp-feature? "textDocument/completion"))))
            (setq tries (1+ tries))
            (accept-process-output nil 0.1))
          (while (and (< tries 600)
                      (not (equal "ready" (gethash "state" (lsp-request "workspace/executeCommand" '(:command "dsr1.status"))))))
            (setq tries (1+ tries))
            (accept-process-output nil 0.1)))
        (goto-char (point-max))
        (insert "a")
        (let* ((capf (lsp-completion-at-point))
               (candidates (all-completions "" (nth 2 capf)))
               (exit (plist-get (nthcdr 3 capf) :exit-function)))
          (push (cons 'candidates (vconcat (mapcar #'substring-no-properties candidates))) result)
          (delete-region (nth 0 capf) (nth 1 capf))
          (insert (car candidates))
          (funcall exit (car candidates) 'finished)
          (push (cons 'line (buffer-substring-no-properties (line-beginning-position) (line-end-position))) result))
        (push (cons 'actions (length (lsp-request "textDocument/codeAction"
                                                  (list :textDocument (lsp--text-document-identifier)
                                                        :range (lsp--region-to-range (point-min) (point-max))
                                                        :context '(:diagnostics [])))))
              result)
        (set-buffer-modified-p nil)
        (lsp-workspace-shutdown (car (lsp-workspaces))))
    (error (push (cons 'problem (format "%S" problem)) result)))
  (princ (concat "RESULT " (json-encode result) "\\n")))
`);
    assert.equal(result.problem, undefined);
    assert.equal(result.candidates.length, 1);
    assert.match(result.line, /^ {4}return a - b/);
    assert.equal(result.actions, 3);
});

// ALE sends the whole text with each change.
test("Vim with ALE gets our suggestion as an entry of its menu, and the server has the buffer's text", () => {
    const result = drive("vim", (script) => ["-T", "dumb", "--not-a-term", "-n", "-N", "-i", "NONE", "-u", "NONE", "-S", script], `
set hidden nomore
packadd ale
source ${path.join(editors, "vim", "ale.vim")}
let g:ale_lint_on_enter = 0
filetype plugin on
call ale#util#Mode()
function! ale#util#Mode(...) abort " ALE's own tests do so: without a terminal nobody types
  return 'i'
endfunction
let g:result = {}
function! Got(items) abort
  let g:items = a:items
endfunction
function! Document(response) abort
  let g:document = a:response.result.text
endfunction
try
  edit math.py
  call setline(6, getline(6) . 'a')
  set virtualedit=onemore
  call cursor(6, 13)
  for s:try in range(300)
    let g:items = []
    call ale#completion#GetCompletions('ale-callback', {'callback': function('Got')})
    for s:wait in range(50)
      sleep 20m
      if !empty(g:items) | break | endif
    endfor
    if !empty(g:items) | break | endif
  endfor
  let g:result.items = map(copy(g:items), {_, item -> item.word})
  call append(line('$'), '# 👨 behind')
  call ale#lsp_linter#SendRequest(bufnr(''), 'dsr1', [0, 'dsr1/document', {'textDocument': {'uri': ale#util#ToURI(expand('%:p'))}}], function('Document'))
  for s:wait in range(500)
    sleep 20m
    if exists('g:document') | break | endif
  endfor
  let g:result.document = get(g:, 'document', 'none')
catch
  let g:result.problem = v:exception . ' ' . v:throwpoint
endtry
call writefile(['RESULT ' . json_encode(g:result)], 'result')
qall!
`);
    assert.equal(result.problem, undefined);
    assert.equal(result.items.length, 1, JSON.stringify(result));
    assert.match(result.items[0], /^a - b/);
    assert.match(result.document, /return a\n?$/m);
});
