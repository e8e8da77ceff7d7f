//! What most commands begin with: compile a pipeline and show what is said about it.

use std::time::Instant;

use serde_json::json;

use crate::check::program::Program;
use crate::check::{Compilation, Request, compile};
use crate::diagnostic::{Diagnostic, Severity, has_errors};
use crate::formats::files::{Disk, Files};
use crate::report::diagnostics::{self, Format};
use crate::source::Sources;
use crate::train::device::{limits, settle_devices};
use crate::train::memory::settle_batch;

use super::args::MessageFormat;
use super::output::{Exit, Failure, Output};

/// Compiles a pipeline from the disk and shows what is said about it.
pub fn compile_and_show(request: &Request, output: &Output) -> Result<Compilation, Failure> {
    compile_from(request, &Disk, output)
}

/// Compiles a pipeline from these files and shows what is said about it; advice is for `check`, and for `--verbose`.
/// A batch that is `auto` is settled by the memory of the program's device.
pub fn compile_from(request: &Request, files: &dyn Files, output: &Output) -> Result<Compilation, Failure> {
    let began = Instant::now();
    let mut compilation = compile(request, files)
        .map_err(|reason| Failure::world(format!("could not read `{}`: {reason}", request.path.display())))?;
    let took = began.elapsed().as_secs_f64() * 1e3;
    output.detail(format!("checked `{}` in {took:.1} ms", request.path.display()));
    let mut said = compilation.diagnostics.clone();
    said.retain(|diagnostic| output.verbose || diagnostic.severity != Severity::Advice);
    show(&compilation.sources, &said, output)?;
    explained(&compilation, request)?;
    if let Some(program) = compilation.program.as_mut() {
        // Without any GPU, the command that needs one says so.
        settle_devices(program).unwrap_or_default();
        let (batch, parts) = (program.train.batch, program.train.parts());
        if !batch.is_multiple_of(parts) {
            let message = format!("a batch of {batch} cannot be divided into {parts} equal parts, one for each device");
            let help = format!("use a batch of {}, or name fewer devices", batch.next_multiple_of(parts));
            return Err(Failure::world(message).help(help));
        }
    }
    if let Some(program) = compilation.program.as_mut().filter(|program| program.train.batch_is_open) {
        let limits = limits(program).map_err(|error| Failure::from_error(&error))?;
        if let Some(reason) = settle_batch(program, &limits) {
            output.say(&reason);
            if output.format == MessageFormat::Json {
                output.json(&json!({ "event": "note", "message": reason }))?;
            }
        }
    }
    Ok(compilation)
}

/// Where there is no program, diagnostics say why.
pub fn explained(compilation: &Compilation, request: &Request) -> Result<(), Failure> {
    if compilation.program.is_none() && !has_errors(&compilation.diagnostics) {
        let message = format!("`{}` could not be compiled, and no mistake in it was found", request.path.display());
        let failure = Failure { exit: Exit::Failed, message, help: None };
        return Err(failure.help("this is a mistake of nnoptc; report it with the pipeline"));
    }
    Ok(())
}

/// Compiles for a command that needs a program; `None` where the diagnostics have said why there is none.
pub fn program(request: &Request, output: &Output) -> Result<Option<(Compilation, Program)>, Failure> {
    let mut compilation = compile_and_show(request, output)?;
    Ok(compilation.program.take().map(|program| (compilation, program)))
}

/// Shows diagnostics in the format that was asked for. With `--quiet`, only errors are shown.
pub fn show(sources: &Sources, diagnostics: &[Diagnostic], output: &Output) -> Result<(), Failure> {
    let shown = wanted(diagnostics, output);
    let format = format(output);
    // A SARIF log says that nothing was found by having no results.
    if shown.is_empty() && format != Format::Sarif {
        return Ok(());
    }
    let mut text = Vec::new();
    diagnostics::render(&shown, sources, format, output.color, &mut text)
        .map_err(|error| Failure::world(format!("could not render diagnostics: {error}")))?;
    let text = String::from_utf8_lossy(&text);
    if format.is_for_programs() {
        return output.data(&text);
    }
    output.complain(text.trim_end());
    output.detail("`nnoptc explain CODE` says more about a code");
    Ok(())
}

/// The diagnostics that are to be shown.
pub fn wanted(diagnostics: &[Diagnostic], output: &Output) -> Vec<Diagnostic> {
    let wanted = |diagnostic: &&Diagnostic| !output.quiet || diagnostic.severity == Severity::Error;
    diagnostics.iter().filter(wanted).cloned().collect()
}

fn format(output: &Output) -> Format {
    match output.format {
        MessageFormat::Human => Format::Human,
        MessageFormat::Short => Format::Short,
        MessageFormat::Json => Format::Json,
        MessageFormat::Sarif => Format::Sarif,
        MessageFormat::Github => Format::Github,
    }
}
