-- An autocommand, because older versions ask for `vim.filetype` to be turned on first.
vim.api.nvim_create_autocmd({ "BufRead", "BufNewFile" }, {
  pattern = "*.nnopt",
  callback = function()
    vim.bo.filetype = "nnopt"
  end,
})
