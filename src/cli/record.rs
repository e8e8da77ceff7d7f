//! How a run was started, as `command.json` in its folder, so that `eval` finds the same pipeline again.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::check::Request;
use crate::check::program::Program;
use crate::formats::files::{Disk, Files};
use crate::report::folder::{COMMAND, PIPELINE};

use super::output::Failure;

/// How a run was started.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Record {
    /// The program's version.
    pub nnoptc: String,
    /// The pipeline's absolute path: relative paths in it begin at its folder.
    pub file: PathBuf,
    /// The overrides.
    pub sets: Vec<String>,
    /// The profile.
    pub profile: Option<String>,
    /// What `batch = auto` became, as an override, so that the run is measured as it was trained.
    #[serde(default)]
    pub settled: Vec<String>,
}

impl Record {
    /// Of a request, and the program that came of it.
    pub fn new(request: &Request, program: &Program) -> Record {
        let file = std::path::absolute(&request.path).unwrap_or_else(|_| request.path.clone());
        let (sets, profile) = (request.sets.clone(), request.profile.clone());
        let settled = program.settled.iter().map(|(path, value)| format!("{path}={value}")).collect();
        Record { nnoptc: env!("CARGO_PKG_VERSION").to_owned(), file, sets, profile, settled }
    }

    /// As text.
    pub fn to_text(&self) -> String {
        serde_json::to_string_pretty(self).map_or_else(|_| String::new(), |text| text + "\n")
    }

    /// Of a run folder, with files in which the pipeline's text is the one that was trained.
    pub fn read(folder: &Path) -> Result<(Record, RunFiles), Failure> {
        let path = folder.join(COMMAND);
        let text = std::fs::read_to_string(&path).map_err(|error| {
            let failure = Failure::world(format!("could not read `{}`: {error}", path.display()));
            failure.help("name a run folder, such as `runs/digits`; `nnoptc run FILE` makes one")
        })?;
        let record: Record = serde_json::from_str(&text)
            .map_err(|error| Failure::world(format!("`{}` is damaged: {error}", path.display())))?;
        let path = folder.join(PIPELINE);
        let text = std::fs::read(&path)
            .map_err(|error| Failure::world(format!("could not read `{}`: {error}", path.display())))?;
        let files = RunFiles { path: record.file.clone(), text: Arc::new(text) };
        Ok((record, files))
    }

    /// The request that the run was started with.
    pub fn request(self) -> Request {
        let sets = self.sets.into_iter().chain(self.settled).collect();
        Request { path: self.file, sets, profile: self.profile }
    }
}

/// The files of this machine, but for the pipeline: its text is that of the run.
pub struct RunFiles {
    path: PathBuf,
    text: Arc<Vec<u8>>,
}

impl Files for RunFiles {
    fn read(&self, path: &Path) -> io::Result<Arc<Vec<u8>>> {
        if path == self.path { Ok(Arc::clone(&self.text)) } else { Disk.read(path) }
    }

    fn read_prefix(&self, path: &Path, n: usize) -> io::Result<Vec<u8>> {
        if path == self.path { Ok(self.text[..n.min(self.text.len())].to_vec()) } else { Disk.read_prefix(path, n) }
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<PathBuf>> {
        Disk.list(folder)
    }

    fn exists(&self, path: &Path) -> bool {
        path == self.path || Disk.exists(path)
    }

    fn is_folder(&self, path: &Path) -> bool {
        Disk.is_folder(path)
    }

    fn len(&self, path: &Path) -> io::Result<u64> {
        if path == self.path { Ok(self.text.len() as u64) } else { Disk.len(path) }
    }
}
