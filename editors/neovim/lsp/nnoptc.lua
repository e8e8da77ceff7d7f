-- Neovim 0.11 and later: copy to ~/.config/nvim/lsp/ and call vim.lsp.enable("nnoptc").
return {
  cmd = { "nnoptc", "lsp" },
  filetypes = { "nnopt" },
  root_markers = { ".git" },
}
