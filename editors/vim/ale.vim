" ale.vim - dsr1-lsp in Vim with ALE: suggestions as entries of the completion menu
" SPDX-License-Identifier: PostgreSQL
let g:ale_completion_enabled = 1
for s:filetype in ['c', 'python', 'sql', 'javascript', 'go', 'rust']
  call ale#linter#Define(s:filetype, {
  \ 'name': 'dsr1', 'lsp': 'stdio', 'executable': 'dsr1-lsp', 'command': '%e',
  \ 'project_root': {buffer -> getcwd()},
  \ 'initialization_options': {'dsr1': {'completion': {'mode': 'always'}}}})
endfor
