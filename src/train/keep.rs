//! Keeps checkpoints on the disk without making short epochs wait for it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::checkpoint::{self, CheckpointError, Meta, Snapshot};
use crate::ir::States;

/// Files are not written more often than this: each waits for the disk.
const WRITE_EVERY: Duration = Duration::from_secs(1);

/// The checkpoints of a training, the newest of each name.
pub(super) struct Keeper<'a> {
    folder: Option<PathBuf>,
    states: &'a States,
    waiting: BTreeMap<&'static str, (Arc<Snapshot>, Meta)>,
    written: Option<Instant>,
}

impl<'a> Keeper<'a> {
    /// A keeper of files in a folder, or of none.
    pub fn new(folder: Option<&Path>, states: &'a States) -> Keeper<'a> {
        Keeper { folder: folder.map(Path::to_path_buf), states, waiting: BTreeMap::new(), written: None }
    }

    /// Replaces the checkpoint of a name, as `name.safetensors`; on the disk at the next [`Keeper::write`].
    pub fn put(&mut self, name: &'static str, snapshot: Arc<Snapshot>, meta: Meta) {
        if self.folder.is_some() {
            self.waiting.insert(name, (snapshot, meta));
        }
    }

    /// Writes what waits, if the last time is long enough ago. The first time is at once, so that a folder that cannot
    /// be written is known early.
    pub fn write_some(&mut self) -> Result<(), CheckpointError> {
        match self.written {
            Some(written) if written.elapsed() < WRITE_EVERY => Ok(()),
            _ => self.write(),
        }
    }

    /// Writes what waits.
    pub fn write(&mut self) -> Result<(), CheckpointError> {
        let Some(folder) = &self.folder else { return Ok(()) };
        while let Some((name, (snapshot, meta))) = self.waiting.pop_first() {
            checkpoint::save(&folder.join(format!("{name}.safetensors")), self.states, &snapshot, &meta)?;
        }
        self.written = Some(Instant::now());
        Ok(())
    }
}
