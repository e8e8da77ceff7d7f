-- What a user of Neovim sees: editors/neovim as a plugin, `nnoptc` on PATH, an example with mistakes.
--
--   EXAMPLES=examples nvim --headless --clean --cmd 'set runtimepath^=editors/neovim' -S editors/check/neovim.lua
--
-- Leaves with 1 and says why as soon as something is not as expected; nothing is waited for longer than `PATIENCE`.

local PATIENCE = 20000

local function fail(message)
  io.stderr:write("neovim: " .. message .. "\n")
  vim.cmd("cquit 1")
end

--- Waits until a function gives what is expected, or says what it gave last.
local function expect(what, expected, found)
  local last
  local function is_as_expected()
    last = found()
    return vim.deep_equal(last, expected)
  end
  if not vim.wait(PATIENCE, is_as_expected, 20) then
    error(("%s: expected %s, found %s"):format(what, vim.inspect(expected), vim.inspect(last)), 0)
  end
end

local function read(path)
  local file = assert(io.open(path, "rb"))
  local text = file:read("*a")
  file:close()
  return text
end

local function write(path, text)
  local file = assert(io.open(path, "wb"))
  assert(file:write(text))
  assert(file:close())
end

--- Replaces the only place where some text stands.
local function replaced(text, from, to)
  local first, last = text:find(from, 1, true)
  assert(first and not text:find(from, last, true), from .. " stands once in the example")
  return text:sub(1, first - 1) .. to .. text:sub(last + 1)
end

--- The diagnostics of the buffer as `line:column-column code`, counted from 0 and in bytes as Neovim does.
local function diagnostics()
  local found = {}
  for _, said in ipairs(vim.diagnostic.get(0)) do
    local code = said.code or said.user_data.lsp.code -- Before 0.8 it stands only in the latter.
    table.insert(found, ("%d:%d-%d %s"):format(said.lnum, said.col, said.end_col, code))
  end
  table.sort(found)
  return found
end

--- `line:column-column code` of some text of the buffer, or of its first bytes, the way `diagnostics` counts.
local function at(text, code, length)
  for lnum, line in ipairs(vim.api.nvim_buf_get_lines(0, 0, -1, true)) do
    local first = line:find(text, 1, true)
    if first then
      return ("%d:%d-%d %s"):format(lnum - 1, first - 1, first - 1 + (length or #text), code), lnum, first - 1
    end
  end
  error(text .. " does not stand in the buffer", 0)
end

local function put_cursor_on(text)
  local _, lnum, column = at(text, "")
  vim.api.nvim_win_set_cursor(0, { lnum, column })
end

--- The text of the window that a hover opens.
local function hovered(text)
  put_cursor_on(text)
  local seen = ""
  local function is_open()
    for _, window in ipairs(vim.api.nvim_list_wins()) do
      if vim.api.nvim_win_get_config(window).relative ~= "" then
        local buffer = vim.api.nvim_win_get_buf(window)
        seen = table.concat(vim.api.nvim_buf_get_lines(buffer, 0, -1, true), "\n")
        vim.api.nvim_win_close(window, true)
        return true
      end
    end
    return false
  end
  vim.lsp.buf.hover()
  if not vim.wait(PATIENCE, is_open, 20) then
    error("no hover over " .. text, 0)
  end
  return seen
end

local function expect_hover(text, parts)
  local seen = hovered(text)
  for _, part in ipairs(parts) do
    if not seen:find(part, 1, true) then
      error(("the hover over %s has no %q:\n%s"):format(text, part, seen), 0)
    end
  end
end

local function buffer_text()
  return table.concat(vim.api.nvim_buf_get_lines(0, 0, -1, true), "\n") .. "\n"
end

--- Applies the quick fix with this title, chosen as from the menu, where the cursor is put.
local function apply_fix(text, title)
  put_cursor_on(text)
  local titles, is_chosen = {}, false
  vim.ui.select = function(items, options, choose)
    for index, item in ipairs(items) do
      local shown = options.format_item and options.format_item(item) or tostring(item)
      table.insert(titles, shown)
      if not is_chosen and shown:find(title, 1, true) == 1 then
        is_chosen = true
        choose(item, index)
      end
    end
  end
  vim.lsp.buf.code_action()
  local function is_done()
    return is_chosen
  end
  if not vim.wait(PATIENCE, is_done, 20) then
    error(("no action %q, only %s"):format(title, vim.inspect(titles)), 0)
  end
end

local function check(examples)
  local folder = vim.fn.tempname()
  vim.fn.mkdir(folder .. "/data", "p")
  -- Beyond ASCII and beyond the first plane: in UTF-16 and in bytes the columns after it are different ones.
  local table_path = "data/fleur é 😀.csv"
  write(folder .. "/" .. table_path, read(examples .. "/data/iris.csv"))
  local clean = replaced(read(examples .. "/iris.nnopt"), "data/iris.csv", table_path)
  write(folder .. "/clean.nnopt", clean)
  local wrong = replaced(clean, "target", "targte")
  wrong = replaced(wrong, "linear(16) -> relu", "linear(16) -> rleu")
  wrong = replaced(wrong, "epochs = 60", "epochs : 60")
  write(folder .. "/wrong.nnopt", wrong)

  -- A clean text: once the shapes of the data are known, everything has been said.
  vim.cmd("edit " .. folder .. "/clean.nnopt")
  expect("the type of the file", "nnopt", function()
    return vim.bo.filetype
  end)
  expect("attached servers", 1, function()
    return #(vim.lsp.get_clients or vim.lsp.get_active_clients)({ bufnr = 0, name = "nnoptc" })
  end)
  expect("shapes in the hover of a clean text", true, function()
    return hovered("linear(16)"):find("80 parameters", 1, true) ~= nil
  end)
  expect_hover("linear(16)", { "linear(units, bias = true", "[batch, 4]", "[batch, 16]", "80 parameters (320 B)", "FLOPs" })
  vim.wait(300)
  expect("diagnostics of a clean text", {}, diagnostics)

  -- Mistakes stand where they are and go with their fixes.
  vim.cmd("edit " .. folder .. "/wrong.nnopt")
  local option, layer, colon = at("targte", "E0203"), at("rleu", "E0202"), at(": 60", "E0102", 1)
  local all = { option, layer, colon }
  table.sort(all)
  expect("diagnostics of a text with mistakes", all, diagnostics)
  apply_fix("rleu", "Write `relu`")
  all = { option, colon }
  table.sort(all)
  expect("diagnostics after the first fix", all, diagnostics)
  apply_fix("targte", "Write `target`")
  expect("diagnostics after the second fix", { colon }, diagnostics)
  apply_fix(": 60", "Write `=`")
  expect("diagnostics after all fixes", {}, diagnostics)
  expect("the text after all fixes", clean, buffer_text)

  -- Formatting makes the layout of the example from a text without one.
  local from, to = "loss      = cross_entropy", "loss=cross_entropy"
  vim.api.nvim_buf_set_lines(0, 0, -1, true, vim.split(replaced(clean, from, to):gsub("\n$", ""), "\n", { plain = true }))
  if vim.lsp.buf.format then
    vim.lsp.buf.format({ timeout_ms = PATIENCE })
  else
    vim.lsp.buf.formatting_sync(nil, PATIENCE)
  end
  expect("the formatted text", clean, buffer_text)
  expect("diagnostics of the formatted text", {}, diagnostics)
end

-- Whatever waits without a bound of its own ends here.
vim.defer_fn(function()
  fail("not done after 120 s")
end, 120000)

local is_well, reason = pcall(check, vim.env.EXAMPLES)
if not is_well then
  fail(tostring(reason))
else
  local version = vim.version()
  print(("neovim: diagnostics, fixes, hover and formatting with %d.%d.%d\n"):format(version.major, version.minor, version.patch))
  vim.cmd("qall!")
end
