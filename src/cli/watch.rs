//! `nnoptc watch`: checks a pipeline again whenever it, a file that it includes, or its data changes.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, unbounded};
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use serde_json::json;

use crate::check::{Request, compile};
use crate::diagnostic::{Severity, has_errors};
use crate::formats::files::{Disk, Files};

use super::args::{MessageFormat, Watch};
use super::compile::show;
use super::output::{Exit, Failure, Output};
use super::signals::Signals;

/// Editors write a file in several steps; what comes within this time belongs together.
const REST: Duration = Duration::from_millis(60);

/// How often a signal is looked for.
const LOOK: Duration = Duration::from_millis(100);

/// Checks at once and after each change, until a signal comes.
pub fn execute(args: &Watch, output: &Output) -> Result<Exit, Failure> {
    let signals = Signals::listen().map_err(|error| Failure::world(format!("could not listen to signals: {error}")))?;
    let request = Request { path: args.file.clone(), sets: args.sets.clone(), profile: args.profile.clone() };
    let (sender, events) = unbounded();
    let watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
        // Nobody listens any more when the command ends.
        let _ = sender.send(event);
    });
    let watcher = watcher.map_err(unwatchable)?;
    let mut watched = Watched { watcher, files: BTreeSet::new(), lists: BTreeSet::new(), folders: BTreeSet::new() };
    // Before the first look: what changes during it is not missed.
    watched.follow(&Looked { files: [args.file.clone()].into(), lists: BTreeSet::new() })?;
    check(&request, &mut watched, output)?;
    loop {
        if let Some(signal) = signals.received() {
            return Ok(Exit::Signal(signal));
        }
        match events.recv_timeout(LOOK) {
            Ok(event) => {
                if concerns(&watched, event) | rest(&watched, &events) {
                    check(&request, &mut watched, output)?;
                }
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => {
                return Err(Failure::world("the system has stopped telling of changes"));
            }
        }
    }
}

/// Takes all events until none comes for a while; whether one of them concerns the pipeline.
fn rest(watched: &Watched, events: &Receiver<notify::Result<Event>>) -> bool {
    let mut any = false;
    while let Ok(event) = events.recv_timeout(REST) {
        any |= concerns(watched, event);
    }
    any
}

/// Whether an event is about one of the files. When events were lost, anything may have changed.
fn concerns(watched: &Watched, event: notify::Result<Event>) -> bool {
    match event {
        Ok(event) if event.need_rescan() => true,
        // Reading is no change; the checks themselves read.
        Ok(event) if matches!(event.kind, EventKind::Access(_)) => false,
        Ok(event) => event.paths.iter().any(|path| watched.has(path)),
        Err(_) => true,
    }
}

fn check(request: &Request, watched: &mut Watched, output: &Output) -> Result<(), Failure> {
    let files = Looking::default();
    let compiled = compile(request, &files);
    let looked = files.0.into_inner().unwrap_or_else(PoisonError::into_inner);
    watched.follow(&looked)?;
    let path = request.path.display();
    let compilation = match compiled {
        Ok(compilation) => compilation,
        Err(reason) => {
            // Some editors remove a file before they write it.
            output.complain(format!("could not read `{path}`: {reason}"));
            return Ok(());
        }
    };
    if output.terminal && output.format == MessageFormat::Human {
        output.complain("\x1b[2J\x1b[H");
    }
    let said = &compilation.diagnostics;
    show(&compilation.sources, said, output)?;
    if output.format == MessageFormat::Json {
        let count = |severity| said.iter().filter(|diagnostic| diagnostic.severity == severity).count();
        let (errors, warnings) = (count(Severity::Error), count(Severity::Warning));
        return output
            .json(&json!({ "event": "checked", "file": request.path, "errors": errors, "warnings": warnings }));
    }
    if said.is_empty() {
        output.say(format!("{path}: no mistakes found"));
    } else if !has_errors(said) {
        output.say(format!("{path}: no errors"));
    }
    output.detail(format!("watching {} files", watched.files.len()));
    Ok(())
}

/// What a check has looked for.
#[derive(Debug, Default)]
struct Looked {
    /// Files, there or not.
    files: BTreeSet<PathBuf>,
    /// Folders that were listed: a new entry of theirs matters too.
    lists: BTreeSet<PathBuf>,
}

/// The files of this machine, noting what is looked for.
#[derive(Debug, Default)]
struct Looking(Mutex<Looked>);

impl Looking {
    fn note(&self, path: &Path) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).files.insert(path.to_path_buf());
    }
}

impl Files for Looking {
    fn read(&self, path: &Path) -> io::Result<Arc<Vec<u8>>> {
        self.note(path);
        Disk.read(path)
    }

    fn read_prefix(&self, path: &Path, n: usize) -> io::Result<Vec<u8>> {
        self.note(path);
        Disk.read_prefix(path, n)
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<PathBuf>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).lists.insert(folder.to_path_buf());
        Disk.list(folder)
    }

    fn exists(&self, path: &Path) -> bool {
        self.note(path);
        Disk.exists(path)
    }

    fn is_folder(&self, path: &Path) -> bool {
        self.note(path);
        Disk.is_folder(path)
    }

    fn len(&self, path: &Path) -> io::Result<u64> {
        self.note(path);
        Disk.len(path)
    }
}

/// What is watched: folders, since a file that is replaced is another file to the system.
struct Watched {
    watcher: RecommendedWatcher,
    /// The files, absolute.
    files: BTreeSet<PathBuf>,
    /// Folders of which every entry counts.
    lists: BTreeSet<PathBuf>,
    /// The folders that the system watches.
    folders: BTreeSet<PathBuf>,
}

impl Watched {
    /// Watches these too; none is forgotten, so that one whose name was misspelt for a moment is still known.
    fn follow(&mut self, looked: &Looked) -> Result<(), Failure> {
        let files: Vec<PathBuf> = looked.files.iter().map(|file| absolute(file)).collect();
        let lists: Vec<PathBuf> = looked.lists.iter().map(|folder| absolute(folder)).collect();
        let parents = files.iter().filter_map(|file| file.parent().map(Path::to_path_buf));
        let folders: BTreeSet<PathBuf> = parents.chain(lists.iter().cloned()).collect();
        for folder in folders {
            if folder.is_dir() && !self.folders.contains(&folder) {
                self.watcher.watch(&folder, RecursiveMode::NonRecursive).map_err(unwatchable)?;
                self.folders.insert(folder);
            }
        }
        self.files.extend(files);
        self.lists.extend(lists);
        Ok(())
    }

    /// Whether a path is one of the files, or an entry of a folder that was listed.
    fn has(&self, path: &Path) -> bool {
        let path = absolute(path);
        self.files.contains(&path) || path.parent().is_some_and(|folder| self.lists.contains(folder))
    }
}

/// The path as the system names it, also where the file is not there.
fn absolute(path: &Path) -> PathBuf {
    if let Ok(path) = path.canonicalize() {
        return path;
    }
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf());
    match (path.parent().and_then(|folder| folder.canonicalize().ok()), path.file_name()) {
        (Some(folder), Some(name)) => folder.join(name),
        _ => path,
    }
}

fn unwatchable(error: notify::Error) -> Failure {
    Failure::world(format!("could not watch for changes: {error}"))
}
