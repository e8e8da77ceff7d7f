//! The run folder: what a training leaves behind.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use crate::formats::atomic::write_atomic;
use crate::formats::error::FormatError;
pub use crate::formats::run_folder::{CHECKPOINTS, COMMAND, METRICS, PIPELINE, RESOLVED, SUMMARY};
use crate::train::events::{EpochRecord, Summary};

/// Why the run folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// The file system failed.
    #[error("could not write `{path}`: {source}", path = path.display())]
    File {
        /// The file or folder.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// A file could not be replaced.
    #[error(transparent)]
    Format(#[from] FormatError),
    /// Another process has it.
    #[error("`{path}` belongs to a training that is running", path = path.display())]
    Locked {
        /// The folder.
        path: PathBuf,
    },
    /// There is a run in it.
    #[error("`{path}` holds a run already", path = path.display())]
    Taken {
        /// The folder.
        path: PathBuf,
    },
}

/// A run folder that is ours: locked until it is dropped.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    metrics: File,
    // The lock ends with the file, also when the process is killed.
    _lock: File,
}

const LOCK: &str = "lock";

impl Folder {
    /// The folder of this path, which may exist but may not hold a run.
    ///
    /// # Errors
    /// When it holds a run, or cannot be written.
    pub fn create(path: &Path) -> Result<Folder, FolderError> {
        if [METRICS, SUMMARY, PIPELINE].iter().any(|name| path.join(name).exists()) {
            // A run that is still going on is named as such.
            lock(path)?;
            return Err(FolderError::Taken { path: path.to_path_buf() });
        }
        let file_error = |path: &Path| {
            let path = path.to_path_buf();
            move |source| FolderError::File { path, source }
        };
        let checkpoints = path.join(CHECKPOINTS);
        fs::create_dir_all(&checkpoints).map_err(file_error(&checkpoints))?;
        let lock = lock(path)?;
        let metrics = path.join(METRICS);
        let metrics =
            OpenOptions::new().append(true).create_new(true).open(&metrics).map_err(|source| match source.kind() {
                // Another process was faster between the first look and the lock.
                io::ErrorKind::AlreadyExists => FolderError::Taken { path: path.to_path_buf() },
                _ => FolderError::File { path: metrics.clone(), source },
            })?;
        Ok(Folder { path: path.to_path_buf(), metrics, _lock: lock })
    }

    /// The first of `parent/name`, `parent/name-2`, `parent/name-3` … that holds no run.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn create_numbered(parent: &Path, name: &str) -> Result<Folder, FolderError> {
        let mut number = 1_u64;
        loop {
            let name = if number == 1 { name.to_owned() } else { format!("{name}-{number}") };
            match Folder::create(&parent.join(name)) {
                Err(FolderError::Taken { .. } | FolderError::Locked { .. }) => number += 1,
                result => return result,
            }
        }
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where checkpoints go.
    pub fn checkpoints(&self) -> PathBuf {
        self.path.join(CHECKPOINTS)
    }

    /// Writes a whole file; it is there as a whole or not at all.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&self, name: &str, text: &str) -> Result<(), FolderError> {
        Ok(write_atomic(&self.path.join(name), text.as_bytes())?)
    }

    /// Removes what was written, where a training ended before its first figures; other files stay.
    pub fn discard(self) {
        let Folder { path, metrics, _lock } = self;
        drop((metrics, _lock));
        // What cannot be removed does no harm.
        for name in [PIPELINE, RESOLVED, METRICS, COMMAND, LOCK] {
            let _ = fs::remove_file(path.join(name));
        }
        let _ = fs::remove_dir(path.join(CHECKPOINTS));
        let _ = fs::remove_dir(&path);
    }

    /// Whether a line was appended to `metrics.jsonl`.
    pub fn has_figures(&self) -> bool {
        self.metrics.metadata().is_ok_and(|metadata| metadata.len() > 0)
    }

    /// Appends a line to `metrics.jsonl`.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn append(&mut self, object: &Value) -> Result<(), FolderError> {
        let line = format!("{object}\n");
        let written = self.metrics.write_all(line.as_bytes());
        written.map_err(|source| FolderError::File { path: self.path.join(METRICS), source })
    }

    /// Writes `summary.json`.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn finish(&self, summary: &Summary) -> Result<(), FolderError> {
        self.write(SUMMARY, &format!("{:#}\n", summary_object(summary)))
    }
}

fn lock(path: &Path) -> Result<File, FolderError> {
    let file = path.join(LOCK);
    let file_error = |source| FolderError::File { path: file.clone(), source };
    let opened = OpenOptions::new().write(true).create(true).truncate(false).open(&file).map_err(file_error)?;
    match opened.try_lock() {
        Ok(()) => Ok(opened),
        Err(fs::TryLockError::WouldBlock) => Err(FolderError::Locked { path: path.to_path_buf() }),
        // Some network file systems know no locks; then `create_new` of the metrics has to do.
        Err(fs::TryLockError::Error(error)) if error.kind() == io::ErrorKind::Unsupported => Ok(opened),
        Err(fs::TryLockError::Error(error)) => Err(file_error(error)),
    }
}

/// An epoch as a line of `metrics.jsonl`. Numbers that are not finite are `null`.
pub fn epoch_object(record: &EpochRecord) -> Value {
    let mut object = Map::new();
    object.insert("event".to_owned(), json!("epoch"));
    object.insert("epoch".to_owned(), json!(record.epoch));
    object.insert("step".to_owned(), json!(record.step));
    for (name, value) in &record.metrics {
        object.insert(name.clone(), json!(value));
    }
    object.insert("lr".to_owned(), json!(record.lr));
    object.insert("samples_per_second".to_owned(), json!(record.samples_per_second));
    object.insert("seconds".to_owned(), json!(record.seconds));
    object.insert("best".to_owned(), json!(record.best));
    object.insert("data_seconds".to_owned(), json!(record.data_seconds));
    if let Some(scaling) = record.scaling {
        object.insert("loss_scale".to_owned(), json!(scaling.scale));
        object.insert("skipped_updates".to_owned(), json!(scaling.skipped));
    }
    if let Some(health) = &record.health {
        for (name, figures) in [("gradients", &health.gradients), ("weights", &health.weights), ("dead", &health.dead)]
        {
            let figures: Map<String, Value> =
                figures.iter().map(|(name, value)| (name.clone(), json!(value))).collect();
            object.insert(name.to_owned(), Value::Object(figures));
        }
    }
    Value::Object(object)
}

/// The end of a training as `summary.json` has it.
pub fn summary_object(summary: &Summary) -> Value {
    let best = summary.best.as_ref().map(|record| {
        let mut object = Map::new();
        object.insert("epoch".to_owned(), json!(record.epoch));
        object.insert("step".to_owned(), json!(record.step));
        object.extend(record.metrics.iter().map(|(name, value)| (name.clone(), json!(value))));
        object
    });
    let test: Map<String, Value> = summary.test.iter().map(|(name, value)| (name.clone(), json!(value))).collect();
    let settled: Map<String, Value> =
        summary.settled.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect();
    json!({
        "status": summary.status.name(),
        "failure": summary.failure,
        "epochs": summary.epochs,
        "steps": summary.steps,
        "monitor": summary.monitor,
        "best": best,
        "test": test,
        "confusion": summary.confusion,
        "samples_per_second": summary.samples_per_second,
        "seconds": summary.seconds,
        "load_seconds": summary.load_seconds,
        "peak_memory_bytes": summary.peak_memory_bytes,
        "device": summary.device,
        "weights_sha256": summary.weights_sha256,
        "settled": settled,
        "recoveries": summary.recoveries,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::health::Health;

    #[test]
    fn folders_are_numbered_and_never_shared() {
        let parent = tempfile::tempdir().unwrap();
        let first = Folder::create_numbered(parent.path(), "digits").unwrap();
        let second = Folder::create_numbered(parent.path(), "digits").unwrap();
        assert!(first.path().ends_with("digits") && second.path().ends_with("digits-2"));
        let error = Folder::create(first.path()).unwrap_err();
        assert!(matches!(error, FolderError::Locked { .. }), "{error}");
        drop(first);
        let error = Folder::create(&parent.path().join("digits")).unwrap_err();
        assert!(matches!(error, FolderError::Taken { .. }), "{error}");
    }

    #[test]
    fn an_epoch_is_a_line_of_json() {
        let parent = tempfile::tempdir().unwrap();
        let mut folder = Folder::create(&parent.path().join("run")).unwrap();
        let record = EpochRecord {
            epoch: 1,
            step: 10,
            metrics: vec![("train.loss".into(), 0.5), ("val.loss".into(), f64::NAN)],
            lr: 0.001,
            samples_per_second: 100.0,
            seconds: 2.0,
            best: true,
            data_seconds: 0.25,
            health: Some(Health { dead: vec![("model.1".into(), 0.5)], ..Health::default() }),
            scaling: None,
        };
        folder.append(&epoch_object(&record)).unwrap();
        folder.append(&epoch_object(&record)).unwrap();
        let line = r#"{"event":"epoch","epoch":1,"step":10,"train.loss":0.5,"val.loss":null,"lr":0.001,"samples_per_second":100.0,"seconds":2.0,"best":true,"data_seconds":0.25,"gradients":{},"weights":{},"dead":{"model.1":0.5}}"#;
        let text = fs::read_to_string(folder.path().join(METRICS)).unwrap();
        assert_eq!(text, format!("{line}\n{line}\n"));
    }
}
