//! `nnoptc check`: all mistakes in pipelines.

use std::path::Path;
use std::time::Instant;

use crate::check::fix::{Fixed, compile_and_fix};
use crate::check::{Compilation, Request, compile};
use crate::diagnostic::{Severity, has_errors};
use crate::formats::atomic::write_atomic;
use crate::formats::files::Disk;
use crate::report::diagnostics::SarifLog;

use super::args::{Check, Deny, MessageFormat};
use super::compile::{explained, show, wanted};
use super::output::{Exit, Failure, Output};

/// Checks every file, also after one that has mistakes or cannot be read.
pub fn execute(args: &Check, output: &Output) -> Result<Exit, Failure> {
    let mut worst = Exit::Done;
    // All files go into one log: a SARIF file holds one document.
    let mut log = (output.format == MessageFormat::Sarif).then(SarifLog::new);
    for path in &args.files {
        let exit = match check_file(path, args, output, log.as_mut()) {
            Ok(exit) => exit,
            Err(failure) => output.fail(&failure),
        };
        if exit.code() > worst.code() {
            worst = exit;
        }
    }
    if let Some(log) = log {
        output.json(&log.finish())?;
    }
    Ok(worst)
}

fn check_file(path: &Path, args: &Check, output: &Output, log: Option<&mut SarifLog>) -> Result<Exit, Failure> {
    let request = Request { path: path.to_owned(), sets: args.sets.clone(), profile: args.profile.clone() };
    let began = Instant::now();
    let compilation = if args.fix { mend(&request, output)? } else { read(&request, compile(&request, &Disk))? };
    let took = began.elapsed().as_secs_f64() * 1e3;
    output.detail(format!("checked `{}` in {took:.1} ms", path.display()));
    match log {
        Some(log) => log.add(&wanted(&compilation.diagnostics, output), &compilation.sources),
        None => show(&compilation.sources, &compilation.diagnostics, output)?,
    }
    explained(&compilation, &request)?;
    let said = &compilation.diagnostics;
    let warned = said.iter().any(|diagnostic| diagnostic.severity == Severity::Warning);
    let failed = has_errors(said) || (args.deny == Some(Deny::Warnings) && warned);
    if said.is_empty() {
        output.say(format!("{}: no mistakes found", path.display()));
    }
    Ok(if failed { Exit::Failed } else { Exit::Done })
}

fn read<T>(request: &Request, read: Result<T, String>) -> Result<T, Failure> {
    read.map_err(|reason| Failure::world(format!("could not read `{}`: {reason}", request.path.display())))
}

/// Applies what can be mended without asking and writes the files that changed, each whole or not at all.
fn mend(request: &Request, output: &Output) -> Result<Compilation, Failure> {
    let Fixed { texts, count, compilation } = read(request, compile_and_fix(request, &Disk))?;
    for (path, text) in &texts {
        write_atomic(path, text.as_bytes()).map_err(|error| Failure::from_error(&error))?;
    }
    if count > 0 {
        let mistakes = if count == 1 { "mistake" } else { "mistakes" };
        let paths: Vec<String> = texts.iter().map(|(path, _)| path.display().to_string()).collect();
        output.say(format!("mended {count} {mistakes} in {}", paths.join(", ")));
    }
    Ok(compilation)
}
