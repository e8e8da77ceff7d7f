//! `nnoptc fmt`: pipelines in the one canonical style.

use std::io::Read;
use std::path::Path;

use similar::TextDiff;

use super::args::Fmt;
use super::compile::show;
use super::output::{Exit, Failure, Output};
use crate::formats::atomic::write_atomic;
use crate::source::Sources;
use crate::syntax::format::format;

/// Lines around a change in a difference.
const CONTEXT: usize = 3;

/// Formats every file, also after one that has mistakes or cannot be read.
pub fn execute(args: &Fmt, output: &Output) -> Result<Exit, Failure> {
    let mut worst = Exit::Done;
    let mut changed = 0;
    for path in &args.files {
        let exit = match format_file(path, args, output) {
            Ok(done) => {
                changed += usize::from(done == Done::Changed);
                let wants_none = args.check || args.diff;
                if done == Done::Mistaken || (wants_none && done == Done::Changed) { Exit::Failed } else { Exit::Done }
            }
            Err(failure) => output.fail(&failure),
        };
        if exit.code() > worst.code() {
            worst = exit;
        }
    }
    if args.files != [Path::new("-")] && !args.diff {
        let what = if args.check { "would be formatted" } else { "formatted" };
        output.say(format!("{changed} of {} files {what}", args.files.len()));
    }
    Ok(worst)
}

/// What became of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Done {
    Canonical,
    Changed,
    Mistaken,
}

fn format_file(path: &Path, args: &Fmt, output: &Output) -> Result<Done, Failure> {
    let is_stdin = path == Path::new("-");
    let name = if is_stdin { "<stdin>".to_owned() } else { path.display().to_string() };
    let text = read(path).map_err(|reason| Failure::world(format!("could not read `{name}`: {reason}")))?;
    let formatted = match format(0, &text) {
        Ok(formatted) => formatted,
        Err(diagnostics) => {
            let mut sources = Sources::default();
            sources.add(name, text);
            show(&sources, &diagnostics, output)?;
            return Ok(Done::Mistaken);
        }
    };
    let done = if formatted == text { Done::Canonical } else { Done::Changed };
    if args.diff && done == Done::Changed {
        let difference = TextDiff::from_lines(&text, &formatted);
        output.data(&difference.unified_diff().context_radius(CONTEXT).header(&name, &name).to_string())?;
    }
    match done {
        Done::Changed if args.check => output.say(format!("{name}: not in canonical style")),
        _ if args.check || args.diff => {}
        _ if is_stdin => output.data(&formatted)?,
        Done::Changed => {
            write_atomic(path, formatted.as_bytes()).map_err(|error| Failure::from_error(&error))?;
            output.detail(format!("{name}: formatted"));
        }
        _ => {}
    }
    Ok(done)
}

fn read(path: &Path) -> Result<String, String> {
    let bytes = if path == Path::new("-") {
        let mut bytes = Vec::new();
        std::io::stdin().lock().read_to_end(&mut bytes).map(|_| bytes)
    } else {
        std::fs::read(path)
    };
    let bytes = bytes.map_err(|error| error.to_string())?;
    String::from_utf8(bytes).map_err(|error| format!("it is not UTF-8 at byte {}", error.utf8_error().valid_up_to()))
}
