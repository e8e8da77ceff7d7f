-- How Neovim starts and finds the server; plugin/nnoptc.lua turns it on.
return {
  cmd = { "nnoptc", "lsp" },
  filetypes = { "nnopt" },
  root_markers = { ".git" },
}
