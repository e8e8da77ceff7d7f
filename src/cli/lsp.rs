//! `nnoptc lsp`: the language server over stdin and stdout.

use super::output::{Exit, Failure, Output};
use crate::lsp::{Ended, run};

/// Serves an editor until it ends the conversation. Nothing but the protocol goes to stdout.
pub fn execute(_: &Output) -> Result<Exit, Failure> {
    match run() {
        Ok(Ended::Properly) => Ok(Exit::Done),
        // The protocol asks for 1 where `exit` comes without `shutdown`.
        Ok(Ended::Abruptly) => Ok(Exit::Failed),
        Err(reason) => Err(Failure::world(format!("the conversation with the editor broke off: {reason}"))),
    }
}
