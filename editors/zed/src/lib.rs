//! Tells Zed how to start `nnoptc lsp`.

use zed_extension_api::{self as zed, Command, LanguageServerId, Result, Worktree};

struct Nnopt;

impl zed::Extension for Nnopt {
    fn new() -> Self {
        Nnopt
    }

    fn language_server_command(&mut self, _: &LanguageServerId, worktree: &Worktree) -> Result<Command> {
        let command = worktree.which("nnoptc").ok_or("`nnoptc` is not on PATH")?;
        Ok(Command { command, args: vec!["lsp".to_owned()], env: worktree.shell_env() })
    }
}

zed::register_extension!(Nnopt);
