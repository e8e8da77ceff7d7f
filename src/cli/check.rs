//! `nnoptc check`: all mistakes in pipelines.

use crate::check::Request;
use crate::diagnostic::has_errors;

use super::args::{Check, Deny};
use super::compile::compile_and_show;
use super::output::{Exit, Failure, Output};

/// Checks every file, also after one that has mistakes or cannot be read.
pub fn execute(args: &Check, output: &Output) -> Result<Exit, Failure> {
    let mut worst = Exit::Done;
    for path in &args.files {
        let request = Request { path: path.clone(), sets: args.sets.clone(), profile: args.profile.clone() };
        let exit = match compile_and_show(&request, output) {
            Ok(compilation) => {
                let said = &compilation.diagnostics;
                let failed = has_errors(said)
                    || compilation.program.is_none()
                    || (args.deny == Some(Deny::Warnings) && !said.is_empty());
                if said.is_empty() {
                    output.say(format!("{}: no mistakes found", path.display()));
                }
                if failed { Exit::Failed } else { Exit::Done }
            }
            Err(failure) => output.fail(&failure),
        };
        if exit.code() > worst.code() {
            worst = exit;
        }
    }
    Ok(worst)
}
