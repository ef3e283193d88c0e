" ale.vim - dsr1-lsp in Vim with ALE: suggestions as entries of the completion menu
" SPDX-License-Identifier: PostgreSQL
let g:ale_completion_enabled = 1
let g:ale_linters = get(g:, 'ale_linters', {})
for s:filetype in ['c', 'python', 'sql', 'javascript', 'go', 'rust']
  call ale#linter#Define(s:filetype, {
  \ 'name': 'dsr1', 'lsp': 'stdio', 'executable': 'dsr1-lsp', 'command': '%e',
  \ 'project_root': {buffer -> getcwd()},
  \ 'initialization_options': {'dsr1': {'completion': {'mode': 'always'}}}})
  " Of some languages ALE uses only the linters of a list: those that you name, and this one.
  let g:ale_linters[s:filetype] = get(g:ale_linters, s:filetype, []) + ['dsr1']
endfor
