vim.filetype.add({ extension = { nnopt = "nnopt" } })
vim.api.nvim_create_autocmd("FileType", {
  pattern = "nnopt",
  callback = function()
    vim.bo.commentstring = "# %s"
    vim.bo.shiftwidth = 4
    vim.bo.expandtab = true
  end,
})
