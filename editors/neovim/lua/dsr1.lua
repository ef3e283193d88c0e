-- dsr1.lua - dsr1-lsp in Neovim 0.7 or later, its suggestions as ghost text
--
--     require("dsr1").setup({ cmd = { "dsr1-lsp" }, filetypes = { "c", "python", "sql" } })
--
-- Tab takes a suggestion, or does what it did before where there is none.
-- Neovim 0.12 and later draws suggestions itself.
--
-- SPDX-License-Identifier: PostgreSQL
local M = {}
local namespace = vim.api.nvim_create_namespace("dsr1")
local shown, newest = nil, 0

local function clear()
  if shown and vim.api.nvim_buf_is_valid(shown.buffer) then
    vim.api.nvim_buf_clear_namespace(shown.buffer, namespace, 0, -1)
  end
  shown = nil
end

local function show(buffer, client, item)
  local row, column = unpack(vim.api.nvim_win_get_cursor(0))
  local line = vim.api.nvim_get_current_line()
  local start = vim.str_byteindex(line, item.range.start.character, client.offset_encoding == "utf-16")
  local typed = line:sub(start + 1, column)
  if item.insertText:sub(1, #typed) ~= typed then
    return
  end
  local lines = vim.split(item.insertText:sub(#typed + 1), "\r?\n")
  local below = {}
  for i = 2, #lines do
    below[#below + 1] = { { lines[i], "Comment" } }
  end
  vim.api.nvim_buf_set_extmark(buffer, namespace, row - 1, column, {
    virt_text = { { lines[1], "Comment" } }, virt_text_pos = "overlay", virt_lines = below,
  })
  shown = { buffer = buffer, client = client, item = item }
end

local function ask(client, buffer)
  clear()
  newest = newest + 1
  local mine = newest
  local params = vim.lsp.util.make_position_params(0, client.offset_encoding)
  params.context = { triggerKind = 2 }
  client.request("textDocument/inlineCompletion", params, function(_, result)
    local item = result and result.items and result.items[1]
    if item and mine == newest and vim.api.nvim_get_mode().mode == "i" and vim.api.nvim_get_current_buf() == buffer then
      show(buffer, client, item)
    end
  end, buffer)
end

-- Takes what is shown over into the buffer. True when there was something.
function M.accept()
  if not shown then
    return false
  end
  local buffer, client, item = shown.buffer, shown.client, shown.item
  clear()
  vim.lsp.util.apply_text_edits({ { range = item.range, newText = item.insertText } }, buffer, client.offset_encoding)
  local lines = vim.split(item.insertText, "\r?\n")
  local row = item.range.start.line + #lines
  local last = vim.api.nvim_buf_get_lines(buffer, row - 1, row, false)[1] or ""
  local before = #lines > 1 and 0 or vim.str_byteindex(last, item.range.start.character, client.offset_encoding == "utf-16")
  vim.api.nvim_win_set_cursor(0, { row, math.min(before + #lines[#lines], #last) })
  client.request("workspace/executeCommand", item.command, function() end, buffer)
  return true
end

-- The text that is shown, or nil.
function M.shown()
  return shown and shown.item.insertText
end

local function attach(client, buffer)
  if vim.lsp.inline_completion then
    vim.lsp.inline_completion.enable(true, { bufnr = buffer })
    return
  end
  local group = vim.api.nvim_create_augroup("dsr1" .. buffer, {})
  vim.api.nvim_create_autocmd({ "TextChangedI", "CursorMovedI", "InsertEnter" },
    { group = group, buffer = buffer, callback = function() ask(client, buffer) end })
  vim.api.nvim_create_autocmd("InsertLeave", { group = group, buffer = buffer, callback = clear })
  vim.keymap.set("i", "<Tab>", function()
    if shown then
      vim.schedule(M.accept)
      return ""
    end
    return "<Tab>"
  end, { buffer = buffer, expr = true })
end

function M.setup(options)
  options = options or {}
  local running
  vim.api.nvim_create_autocmd("FileType", {
    pattern = options.filetypes or "*",
    callback = function(event)
      if vim.bo[event.buf].buftype ~= "" then
        return
      end
      running = running or vim.lsp.start_client({
        name = "dsr1", cmd = options.cmd or { "dsr1-lsp" }, root_dir = vim.fn.getcwd(),
        init_options = { dsr1 = options.settings or vim.empty_dict() },
        capabilities = vim.tbl_deep_extend("force", vim.lsp.protocol.make_client_capabilities(),
          { textDocument = { inlineCompletion = { dynamicRegistration = false } } }),
        on_attach = attach, on_exit = function() running = nil end,
      })
      vim.lsp.buf_attach_client(event.buf, running)
    end,
  })
end

return M
