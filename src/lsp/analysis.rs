//! Checking off the main thread: one thread that answers at once, and one that reads data and measures.
//!
//! The first thread checks with what is known of the data files; where their headers have not been read it leaves out
//! what depends on them. The second reads them, after which the first checks again. Both take only the latest version
//! of each text. What they find carries the version that it is about.

use std::cell::Cell;
use std::collections::{BTreeMap, HashMap};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use crossbeam_channel::{Receiver, Sender, unbounded};

use crate::check::advice::{advise, latest_run};
use crate::check::program::{Findings, Program};
use crate::check::{Compilation, Headers, Request, compile_with};
use crate::diagnostic::Diagnostic;
use crate::formats::dataset::Header;
use crate::formats::files::{Disk, Files};
use crate::library::Source;
use crate::plan::Fusion;
use crate::plan::prepare::{Memory, prepare};
use crate::schema::Made;
use crate::source::Sources;
use crate::syntax::ast::{File, Item};

/// What is known of one version of a text.
pub struct Analysis {
    /// The version.
    pub version: i32,
    /// All files that were read; the text itself is the first.
    pub sources: Sources,
    /// Their paths.
    pub paths: Vec<PathBuf>,
    /// What is said about them.
    pub diagnostics: Vec<Diagnostic>,
    /// Shapes, parameters, rows.
    pub findings: Findings,
    /// Whether the text only defines what others include.
    pub is_part: bool,
    /// Whether the headers of all data files are known.
    pub is_complete: bool,
}

/// A text to check.
#[derive(Clone)]
pub struct Job {
    /// The text's address.
    pub uri: String,
    /// Its path.
    pub path: PathBuf,
    /// Its version.
    pub version: i32,
    /// All open texts by path; they stand for the files on the disk.
    pub open: HashMap<PathBuf, Arc<str>>,
}

/// What comes back from the threads.
pub enum Event {
    /// A text has been checked.
    Checked {
        /// The text's address.
        uri: String,
        /// What was found.
        analysis: Box<Analysis>,
    },
    /// Headers that this text needs have been read.
    HeadersRead {
        /// The text's address.
        uri: String,
    },
    /// It is known what a training of this text needs.
    Measured {
        /// The text's address.
        uri: String,
        /// The version.
        version: i32,
        /// Bytes on the device.
        memory: Memory,
    },
    /// A check ended in a panic, which is a mistake of ours.
    Panicked {
        /// The text's address.
        uri: String,
        /// The version.
        version: i32,
        /// What it said.
        message: String,
    },
}

/// The threads.
pub struct Analyst {
    check: Sender<Job>,
    /// What they found.
    pub events: Receiver<Event>,
}

/// A text rests for so long before it is measured.
const REST: Duration = Duration::from_millis(250);

impl Analyst {
    /// Starts the threads; they end with this value.
    pub fn start() -> Analyst {
        let cache = Arc::new(HeaderCache::default());
        let (sender, events) = unbounded();
        let (measure, measure_jobs) = unbounded();
        let known = cache.clone();
        spawn(measure_jobs, REST, sender.clone(), move |job| measure_training(job, &known));
        let (read, read_jobs) = unbounded();
        let known = cache.clone();
        spawn(read_jobs, Duration::ZERO, sender.clone(), move |job| read_headers(job, &known));
        let (check, check_jobs) = unbounded();
        spawn(check_jobs, Duration::ZERO, sender, move |job| {
            let analysis = check_now(job, &cache);
            // A thread that has ended takes no jobs, and this one is about to end too.
            let _ = if analysis.is_complete { measure.send(job.clone()) } else { read.send(job.clone()) };
            Some(Event::Checked { uri: job.uri.clone(), analysis: Box::new(analysis) })
        });
        Analyst { check, events }
    }

    /// Checks a text soon.
    pub fn submit(&self, job: Job) {
        // The thread only ends with this value.
        let _ = self.check.send(job);
    }
}

/// Does one kind of work on the latest version of each text, after the text has rested.
fn spawn(
    jobs: Receiver<Job>,
    rest: Duration,
    events: Sender<Event>,
    work: impl Fn(&Job) -> Option<Event> + Send + 'static,
) {
    thread::spawn(move || {
        while let Ok(first) = jobs.recv() {
            let mut latest = BTreeMap::from([(first.uri.clone(), first)]);
            while let Ok(job) = jobs.recv_timeout(rest) {
                latest.insert(job.uri.clone(), job);
            }
            for job in latest.into_values() {
                if let Some(event) = guard(&job, &work)
                    && events.send(event).is_err()
                {
                    return;
                }
            }
        }
    });
}

/// Works on a text; a panic becomes an event.
fn guard(job: &Job, work: &dyn Fn(&Job) -> Option<Event>) -> Option<Event> {
    catch_unwind(AssertUnwindSafe(|| work(job))).unwrap_or_else(|payload| {
        let message = panic_message(&*payload);
        Some(Event::Panicked { uri: job.uri.clone(), version: job.version, message })
    })
}

/// What a panic said.
pub fn panic_message(payload: &(dyn std::any::Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| payload.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no message".to_owned())
}

/// Checks with the headers that are known.
fn check_now(job: &Job, cache: &HeaderCache) -> Analysis {
    let headers = CachedHeaders { cache, read: None, is_complete: Cell::new(true) };
    let mut compilation = compile_job(job, &headers);
    if headers.is_complete.get() {
        add_advice(job, &mut compilation);
    }
    Analysis {
        version: job.version,
        is_complete: headers.is_complete.get(),
        is_part: compilation.ast.as_ref().is_some_and(is_part),
        sources: compilation.sources,
        paths: compilation.origins.paths,
        diagnostics: compilation.diagnostics,
        findings: compilation.findings,
    }
}

/// Adds what is to be said of the latest run of this very text, if its folder is beside the file or in the folder that
/// the editor was started in.
fn add_advice(job: &Job, compilation: &mut Compilation) {
    let (Some(program), Some(text)) = (&compilation.program, job.open.get(&normal(&job.path))) else { return };
    let places = [job.path.parent().unwrap_or(Path::new("")).join("runs"), PathBuf::from("runs")];
    let Some((folder, record)) = places.iter().find_map(|runs| latest_run(runs, &job.path, text)) else { return };
    let said = advise(program, &compilation.sources, &record).into_iter();
    compilation.diagnostics.extend(said.map(|said| said.note(format!("from the run `{}`", folder.display()))));
}

/// Whether a file only defines what others include, so that it need not be a whole pipeline.
fn is_part(file: &File) -> bool {
    let is_definition =
        |item: &Item| matches!(item, Item::Let(_) | Item::Block(_) | Item::Include { .. } | Item::Profile { .. });
    !file.items.is_empty() && file.items.iter().all(is_definition)
}

/// Reads what is not known or has changed.
fn read_headers(job: &Job, cache: &HeaderCache) -> Option<Event> {
    let headers = CachedHeaders { cache, read: Some(&Disk), is_complete: Cell::new(true) };
    compile_job(job, &headers);
    Some(Event::HeadersRead { uri: job.uri.clone() })
}

/// Plans all steps of the training.
fn measure_training(job: &Job, cache: &HeaderCache) -> Option<Event> {
    let headers = CachedHeaders { cache, read: None, is_complete: Cell::new(true) };
    let program: Program = compile_job(job, &headers).program?;
    let memory = prepare(&program, Fusion { epilogues: true, ..Fusion::default() }).memory();
    Some(Event::Measured { uri: job.uri.clone(), version: job.version, memory })
}

fn compile_job(job: &Job, headers: &dyn Headers) -> Compilation {
    let request = Request { path: job.path.clone(), ..Request::default() };
    compile_with(&request, &OpenTexts(&job.open), headers)
        .unwrap_or_else(|reason| unreachable!("an open text can be read: {reason}"))
}

/// Open texts, and the disk for everything else.
struct OpenTexts<'a>(&'a HashMap<PathBuf, Arc<str>>);

impl Files for OpenTexts<'_> {
    fn read(&self, path: &Path) -> io::Result<Arc<Vec<u8>>> {
        match self.0.get(&normal(path)) {
            Some(text) => Ok(Arc::new(text.as_bytes().to_vec())),
            None => Disk.read(path),
        }
    }

    fn read_prefix(&self, path: &Path, n: usize) -> io::Result<Vec<u8>> {
        Disk.read_prefix(path, n)
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<PathBuf>> {
        Disk.list(folder)
    }

    fn exists(&self, path: &Path) -> bool {
        Disk.exists(path)
    }

    fn is_folder(&self, path: &Path) -> bool {
        Disk.is_folder(path)
    }

    fn len(&self, path: &Path) -> io::Result<u64> {
        Disk.len(path)
    }
}

/// A path without `.` and `..`, as far as that can be said without the disk.
pub fn normal(path: &Path) -> PathBuf {
    let mut parts = PathBuf::new();
    for part in path.components() {
        match part {
            std::path::Component::CurDir => {}
            std::path::Component::ParentDir if parts.file_name().is_some() => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    parts
}

/// What the headers of data files say, as long as the files stay as they were.
#[derive(Default)]
struct HeaderCache {
    entries: Mutex<BTreeMap<(PathBuf, String), CachedHeader>>,
}

struct CachedHeader {
    header: Result<Header, String>,
    /// The files that were looked at, as they were then.
    files: Vec<(PathBuf, Stamp)>,
    /// When it was last seen that they are still so.
    seen: Instant,
}

/// The size and time of a file; `None` where there is none.
type Stamp = Option<(u64, Option<SystemTime>)>;

/// Files are looked at again after so long.
const TRUSTED: Duration = Duration::from_secs(1);

fn stamp(path: &Path) -> Stamp {
    let metadata = std::fs::metadata(path).ok()?;
    Some((metadata.len(), metadata.modified().ok()))
}

impl HeaderCache {
    /// What is known, and whether that is still so.
    fn look(&self, key: &(PathBuf, String)) -> Option<(Result<Header, String>, bool)> {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = entries.get_mut(key)?;
        let is_fresh = entry.seen.elapsed() < TRUSTED || entry.files.iter().all(|(path, then)| stamp(path) == *then);
        if is_fresh {
            entry.seen = Instant::now();
        }
        Some((entry.header.clone(), is_fresh))
    }

    fn insert(&self, key: (PathBuf, String), entry: CachedHeader) {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner).insert(key, entry);
    }
}

/// Headers from the cache, and from the disk if they may be read.
struct CachedHeaders<'a> {
    cache: &'a HeaderCache,
    read: Option<&'a dyn Files>,
    is_complete: Cell<bool>,
}

impl Headers for CachedHeaders<'_> {
    fn header(&self, source: &Made<dyn Source>, base: &Path) -> Option<Result<Header, String>> {
        let key = (base.to_owned(), source.show());
        let known = self.cache.look(&key);
        if let Some((header, true)) = known {
            return Some(header);
        }
        let Some(files) = self.read else {
            self.is_complete.set(false);
            return known.map(|(header, _)| header);
        };
        let recorder = Recorder { files, seen: Mutex::default() };
        let header = source.item.header(&recorder, base).map_err(|error| error.to_string());
        let files = recorder.seen.into_inner().unwrap_or_else(PoisonError::into_inner).into_iter().collect();
        self.cache.insert(key, CachedHeader { header: header.clone(), files, seen: Instant::now() });
        Some(header)
    }
}

/// Notes which files are looked at, as they are before.
struct Recorder<'a> {
    files: &'a dyn Files,
    seen: Mutex<BTreeMap<PathBuf, Stamp>>,
}

impl Recorder<'_> {
    fn note(&self, path: &Path) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.entry(path.to_owned()).or_insert_with(|| stamp(path));
    }
}

impl Files for Recorder<'_> {
    fn read(&self, path: &Path) -> io::Result<Arc<Vec<u8>>> {
        self.note(path);
        self.files.read(path)
    }

    fn read_prefix(&self, path: &Path, n: usize) -> io::Result<Vec<u8>> {
        self.note(path);
        self.files.read_prefix(path, n)
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<PathBuf>> {
        self.note(folder);
        self.files.list(folder)
    }

    fn exists(&self, path: &Path) -> bool {
        self.note(path);
        self.files.exists(path)
    }

    fn is_folder(&self, path: &Path) -> bool {
        self.note(path);
        self.files.is_folder(path)
    }

    fn len(&self, path: &Path) -> io::Result<u64> {
        self.note(path);
        self.files.len(path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(folder: &Path, text: &str) -> Job {
        let path = folder.join("a.nnopt");
        let open = HashMap::from([(path.clone(), Arc::from(text))]);
        Job { uri: "a".to_owned(), path, version: 1, open }
    }

    #[test]
    fn headers_are_read_once_and_again_when_files_change() {
        let folder = tempfile::tempdir().unwrap();
        let table = folder.path().join("t.csv");
        std::fs::write(&table, "a,label\n1,0\n2,1\n").unwrap();
        let job = job(folder.path(), "data { train = csv(\"t.csv\", target = label) }\n");
        let cache = HeaderCache::default();

        let before = check_now(&job, &cache);
        assert!(!before.is_complete && before.findings.splits.is_empty());
        assert!(before.diagnostics.iter().all(|said| said.code.0 == "E0209"), "{:?}", before.diagnostics);

        assert!(matches!(read_headers(&job, &cache), Some(Event::HeadersRead { .. })));
        let after = check_now(&job, &cache);
        assert!(after.is_complete && after.findings.splits[0].rows == 2);

        // What is known is shown until what is new has been read.
        std::fs::write(&table, "a,label\n1,0\n2,1\n3,0\n").unwrap();
        for entry in cache.entries.lock().unwrap().values_mut() {
            entry.seen -= TRUSTED;
        }
        let stale = check_now(&job, &cache);
        assert!(!stale.is_complete && stale.findings.splits[0].rows == 2);
        read_headers(&job, &cache);
        assert_eq!(check_now(&job, &cache).findings.splits[0].rows, 3);
    }

    #[test]
    fn a_panic_is_an_event() {
        let job = job(Path::new("/"), "");
        let event = guard(&job, &|_| panic!("a rule is broken"));
        assert!(matches!(event, Some(Event::Panicked { message, .. }) if message == "a rule is broken"));
    }

    #[test]
    fn the_latest_version_of_each_text_is_checked() {
        let analyst = Analyst::start();
        let mut job = job(Path::new("/nowhere"), "loss = mse\n");
        for version in 1..=50 {
            job.version = version;
            analyst.submit(job.clone());
        }
        let mut checked = Vec::new();
        while checked.last() != Some(&50) {
            if let Event::Checked { analysis, .. } = analyst.events.recv_timeout(Duration::from_secs(60)).unwrap() {
                checked.push(analysis.version);
            }
        }
        assert!(checked.len() < 50 && checked.is_sorted(), "{checked:?}");
    }

    #[test]
    fn paths_lose_what_leads_back() {
        assert_eq!(normal(Path::new("/a/./b/../c")), Path::new("/a/c"));
    }
}
