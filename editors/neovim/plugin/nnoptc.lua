-- Starts the language server for `.nnopt` files: by `vim.lsp.enable` where there is one (0.11), by hand before (0.7).
if vim.lsp.enable then
  vim.lsp.enable("nnoptc")
  return
end

local config = dofile(vim.api.nvim_get_runtime_file("lsp/nnoptc.lua", false)[1])
local client

vim.api.nvim_create_autocmd("FileType", {
  pattern = config.filetypes,
  callback = function(event)
    if vim.fn.executable(config.cmd[1]) == 0 then
      vim.notify_once(("nnoptc: `%s` is not on PATH"):format(config.cmd[1]), vim.log.levels.WARN)
      return
    end
    client = client
      or vim.lsp.start_client({
        name = "nnoptc",
        cmd = config.cmd,
        root_dir = vim.fn.getcwd(),
        on_exit = function()
          client = nil
        end,
      })
    vim.lsp.buf_attach_client(event.buf, client)
  end,
})
