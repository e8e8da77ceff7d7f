//! `nnoptc advise`: what the figures of a run say about its pipeline.

use std::io;
use std::path::Path;

use crate::check::advice::{Record as Figures, advise};
use crate::check::compile;
use crate::diagnostic::has_errors;
use crate::report::folder::{METRICS, SUMMARY};

use super::args::{Advise, MessageFormat};
use super::compile::{explained, show};
use super::output::{Exit, Failure, Output};
use super::record::Record;

/// Reads the run folder, compiles its pipeline and prints what is to be said, as diagnostics of the pipeline's text.
pub fn execute(args: &Advise, output: &Output) -> Result<Exit, Failure> {
    let (record, files) = Record::read(&args.run)?;
    let request = record.request();
    let summary = read(&args.run.join(SUMMARY))?;
    let metrics = read(&args.run.join(METRICS))?.unwrap_or_default();
    let figures = Figures::read(&metrics, summary.as_deref())
        .map_err(|reason| Failure::world(format!("the figures in `{}` are damaged: {reason}", args.run.display())))?;
    let compilation = compile(&request, &files)
        .map_err(|reason| Failure::world(format!("could not read `{}`: {reason}", request.path.display())))?;
    let Some(program) = &compilation.program else {
        // Its data or a file that it includes has changed since.
        show(&compilation.sources, &compilation.diagnostics, output)?;
        explained(&compilation, &request)?;
        debug_assert!(has_errors(&compilation.diagnostics));
        return Ok(Exit::Failed);
    };
    if figures.epochs.is_empty() && figures.failure.is_none() {
        output.say(format!("`{}` has no epochs yet", args.run.display()));
        return Ok(Exit::Done);
    }
    let said = advise(program, &compilation.sources, &figures);
    show(&compilation.sources, &said, output)?;
    if said.is_empty() && output.format == MessageFormat::Human {
        output.say(format!("{}: nothing to say about {} epochs", args.run.display(), figures.epochs.len()));
    }
    if let Ok(now) = std::fs::read_to_string(&request.path)
        && !said.is_empty()
        && compilation.sources.files().first().is_some_and(|file| *file.text != *now)
    {
        output.say(format!("`{}` has changed since the run; the lines are those of the run", request.path.display()));
    }
    Ok(Exit::Done)
}

/// The text of a file, if there is one.
fn read(path: &Path) -> Result<Option<String>, Failure> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Failure::world(format!("could not read `{}`: {error}", path.display()))),
    }
}
