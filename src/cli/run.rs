//! `nnoptc run`: trains a pipeline and leaves a run folder.

use std::path::{Path, PathBuf};
use std::time::Instant;

use serde_json::json;

use crate::backend::peers;
use crate::check::Request;
use crate::check::program::Program;
use crate::data::load::load;
use crate::formats::files::{Disk, Files};
use crate::report::folder::{Folder, FolderError, PIPELINE, RESOLVED, epoch_object, summary_object};
use crate::report::progress::{Progress, figure};
use crate::report::resolved;
use crate::report::table::{Align, Table, bytes, duration, scaled};
use crate::schema::{FromArg, Real};
use crate::source::Sources;
use crate::train::device::{fusion, open_session};
use crate::train::events::{Event, Observer, Status, Summary};
use crate::train::find_rate::Sweep;
use crate::train::prepare::prepare;

use super::args::{MessageFormat, Run};
use super::compile::{compile_and_show, show};
use super::find_lr::{chosen, object, search, told};
use super::output::{Exit, Failure, Output};
use super::record::Record;
use super::signals::Signals;

/// Compiles, trains, and reports.
pub fn execute(args: &Run, output: &Output) -> Result<Exit, Failure> {
    let began = Instant::now();
    let mut request = Request::from(&args.pipeline);
    request.sets.extend(args.device.as_deref().map(device_setting));
    let mut compilation = compile_and_show(&request, output)?;
    let Some(mut program) = compilation.program.take() else { return Ok(Exit::Failed) };

    if peers::standing().rank > 0 {
        return follow(&mut program, args);
    }
    let mut folder = create_folder(args)?;
    let given = Disk
        .read(&request.path)
        .map_err(|error| Failure::world(format!("could not read `{}`: {error}", request.path.display())))?;
    let record = Record::new(&request, &program);
    let written = folder
        .write(PIPELINE, &String::from_utf8_lossy(&given))
        .and_then(|()| folder.write(RESOLVED, &resolved::source_text(&program)))
        .and_then(|()| folder.write(crate::report::folder::COMMAND, &record.to_text()));
    written.map_err(folder_failure)?;
    output.detail(format!("the run folder is `{}`", folder.path().display()));
    let result = train(&mut program, &mut folder, &compilation.sources, args, began, output);
    if result.is_err() && !folder.has_figures() {
        folder.discard();
    }
    result
}

/// Trains along with the process that writes the run folder, and writes nothing.
fn follow(program: &mut Program, args: &Run) -> Result<Exit, Failure> {
    struct Silent;
    impl Observer for Silent {
        fn event(&mut self, _event: &Event) {}
    }
    let signals = Signals::listen().map_err(|error| Failure::world(format!("could not listen to signals: {error}")))?;
    let loaded = load(program, &Disk).map_err(|error| Failure::from_error(&error))?;
    let prepared = prepare(program, fusion(program));
    let threads = args.threads.map(usize::from);
    let mut session =
        open_session(program, &prepared, &loaded, threads).map_err(|error| Failure::from_error(&error))?;
    if program.rate.is_none() {
        let sweep = Sweep::default();
        let test = search(program, &prepared, &loaded, session.as_mut(), &sweep, &signals)?;
        program.settle_rate(chosen(&test, &sweep)?);
    }
    let result = crate::train::run::run(program, &prepared, &loaded, session.as_mut(), None, &mut Silent);
    result.map_err(|error| Failure::from_error(&error))?;
    // However it ended, the first process says so, and has yet to write it: ending it now would be too early.
    Ok(Exit::Done)
}

fn train(
    program: &mut Program,
    folder: &mut Folder,
    sources: &Sources,
    args: &Run,
    began: Instant,
    output: &Output,
) -> Result<Exit, Failure> {
    let signals = Signals::listen().map_err(|error| Failure::world(format!("could not listen to signals: {error}")))?;
    let loaded = load(program, &Disk).map_err(|error| Failure::from_error(&error))?;
    let begins = Instant::now();
    let prepared = prepare(program, fusion(program));
    output.detail(format!("planned in {:.1} ms", begins.elapsed().as_secs_f64() * 1e3));
    let threads = args.threads.map(usize::from);
    let mut session =
        open_session(program, &prepared, &loaded, threads).map_err(|error| Failure::from_error(&error))?;
    if program.rate.is_none() {
        let sweep = Sweep::default();
        let test = search(program, &prepared, &loaded, session.as_mut(), &sweep, &signals)?;
        let rate = chosen(&test, &sweep)?;
        output.say(format!("lr = auto is {}: {}", Real(rate).show(), told(&test, &sweep)));
        if output.format == MessageFormat::Json {
            output.json(&object(&test, &sweep, &session.device()))?;
        }
        program.settle_rate(rate);
        folder.write(RESOLVED, &resolved::source_text(program)).map_err(folder_failure)?;
    }
    let program = &*program;
    let checkpoints = folder.checkpoints();
    let json = output.format == MessageFormat::Json;
    let progress = Progress::new(output.terminal && !json, output.quiet || json);
    let mut watch = Watch { folder: &mut *folder, progress, signals: &signals, output, json, began, failure: None };
    let result = crate::train::run::run(program, &prepared, &loaded, session.as_mut(), Some(&checkpoints), &mut watch);
    watch.progress.finish();
    if let Some(allocated) = session.allocated_bytes() {
        output.detail(format!("{} are allocated on the device", bytes(allocated)));
    }
    let failure = watch.failure.take();
    let summary = result.map_err(|error| Failure::from_error(&error))?;
    folder.finish(&summary).map_err(folder_failure)?;
    report(&summary, folder.path(), sources, output)?;
    match (failure, summary.status) {
        // The training went on without its record; that is known only now.
        (Some(error), _) => Err(folder_failure(error)),
        (None, Status::Completed | Status::EarlyStopped) => Ok(Exit::Done),
        (None, Status::Diverged) => Ok(Exit::Failed),
        (None, Status::Interrupted) => Ok(Exit::Signal(signals.received().unwrap_or(2))),
    }
}

/// `--device D` is the setting `train.devices`: a word, a number, a list, or else a part of a name.
pub fn device_setting(device: &str) -> String {
    let is_bare = matches!(device, "auto" | "cpu" | "gpu" | "all")
        || device.starts_with('[')
        || device.bytes().all(|byte| byte.is_ascii_digit());
    if is_bare && !device.is_empty() {
        return format!("train.devices={device}");
    }
    format!("train.devices=\"{}\"", device.replace('\\', "\\\\").replace('"', "\\\""))
}

fn create_folder(args: &Run) -> Result<Folder, Failure> {
    let created = match &args.out {
        Some(path) => Folder::create(path),
        None => {
            let stem = args.pipeline.file.file_stem().unwrap_or_default().to_string_lossy();
            Folder::create_numbered(&PathBuf::from("runs"), &stem)
        }
    };
    created.map_err(folder_failure)
}

fn folder_failure(error: FolderError) -> Failure {
    let failure = Failure::from_error(&error);
    match error {
        FolderError::Taken { .. } => failure.help("name another folder with `--out`, or remove this one"),
        FolderError::Locked { .. } => failure.help("wait for it, or name another folder with `--out`"),
        FolderError::File { .. } | FolderError::Format(_) => {
            failure.help("name a folder that can be written with `--out`")
        }
    }
}

/// Passes what happens on to people and files, and signals to the training.
struct Watch<'a> {
    folder: &'a mut Folder,
    progress: Progress,
    signals: &'a Signals,
    output: &'a Output,
    json: bool,
    /// When the command began.
    began: Instant,
    failure: Option<FolderError>,
}

impl Observer for Watch<'_> {
    fn event(&mut self, event: &Event) {
        self.progress.show(event);
        if let Event::Start { .. } = event {
            let took = self.began.elapsed().as_secs_f64();
            self.output.detail(format!("the first step begins {took:.3} s after the command"));
        }
        if let Event::Epoch(record) = event {
            let object = epoch_object(record);
            if let Err(error) = self.folder.append(&object) {
                self.failure.get_or_insert(error);
            }
            if self.json {
                // A reader that has gone away does not end the training.
                let _ = self.output.json(&object);
            }
        }
        if let (Event::Note(text), true) = (event, self.json) {
            let _ = self.output.json(&json!({ "event": "note", "message": text }));
        }
    }

    fn interrupted(&self) -> bool {
        self.signals.received().is_some()
    }
}

/// The end: a table for people, the figures of the test split as data.
fn report(summary: &Summary, folder: &Path, sources: &Sources, output: &Output) -> Result<(), Failure> {
    let said = summary.diagnostic.as_slice();
    if output.format == MessageFormat::Json {
        show(sources, said, output)?;
        let mut object = json!({ "event": "summary", "folder": folder });
        if let (Some(all), serde_json::Value::Object(rest)) = (object.as_object_mut(), summary_object(summary)) {
            all.extend(rest);
        }
        return output.json(&object);
    }
    output.say(format!("\n{}", summary_table(summary, folder).to_string().trim_end()));
    match &summary.failure {
        // The log of the check is out already, and there can be only one.
        Some(failure) if output.format == MessageFormat::Sarif => output.complain(format!("error: {failure}")),
        _ => show(sources, said, output)?,
    }
    if summary.status == Status::Interrupted {
        let checkpoint = folder.join("checkpoints").join("last.safetensors");
        output.complain(format!("interrupted; the state is in `{}`", checkpoint.display()));
    }
    let figures: Vec<String> =
        summary.test.iter().map(|(name, value)| format!("test.{name} {}\n", figure(*value))).collect();
    output.data(&figures.concat())
}

fn summary_table(summary: &Summary, folder: &Path) -> Table {
    let mut table = Table::new([("", Align::Left), ("", Align::Left)]);
    let plural = |n: u64, word: &str| format!("{n} {word}{}", if n == 1 { "" } else { "s" });
    let length = format!("{}, {}", plural(summary.epochs as u64, "epoch"), plural(summary.steps, "step"));
    table.row(["status".to_owned(), format!("{} after {length}", summary.status.name().replace('_', " "))]);
    if let Some(best) = &summary.best {
        let value = best.metrics.iter().find(|(name, _)| *name == summary.monitor);
        let value = value.map_or(String::new(), |(name, value)| format!(", {name} {}", figure(*value)));
        table.row(["best".to_owned(), format!("epoch {}{value}", best.epoch)]);
    }
    if summary.epochs > 0 {
        let speed = format!("{} samples/s, {} in all", scaled(summary.samples_per_second), duration(summary.seconds));
        table.row(["speed".to_owned(), speed]);
    }
    table.row(["device".to_owned(), format!("{}, {}", summary.device, bytes(summary.peak_memory_bytes))]);
    table.row(["folder".to_owned(), folder.display().to_string()]);
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_is_a_word_a_number_or_a_name() {
        assert_eq!(device_setting("cpu"), "train.devices=cpu");
        assert_eq!(device_setting("1"), "train.devices=1");
        assert_eq!(device_setting("H100 \"x\""), r#"train.devices="H100 \"x\"""#);
        assert_eq!(device_setting(""), "train.devices=\"\"");
    }
}
