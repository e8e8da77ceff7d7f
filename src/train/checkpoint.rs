//! Checkpoints: the model's tensors (and, to go on, the optimizer's) in safetensors files.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::formats::atomic::write_atomic;
use crate::ir::graph::count;
use crate::ir::{DType, StateId, StateKind, States};

/// The format's version; older programs refuse newer files.
const FORMAT: u32 = 1;

/// The words of every state that a checkpoint can hold, by name.
pub type Snapshot = BTreeMap<String, Vec<u32>>;

/// What is known of a checkpoint beside its tensors.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Meta {
    /// Epochs done.
    pub epoch: usize,
    /// Updates done.
    pub step: u64,
    /// The seed of the training.
    pub seed: u64,
}

/// Why a checkpoint cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// The file system failed.
    #[error("could not {action} `{path}`: {source}")]
    File {
        /// "read" or "write".
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// The file is not a checkpoint, or damaged.
    #[error("`{path}` is not a checkpoint that can be read: {reason}")]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The file belongs to another model.
    #[error("`{path}` is of another model: {reason}")]
    Mismatch {
        /// The file.
        path: PathBuf,
        /// Which tensors are missing, unexpected or of another shape.
        reason: String,
    },
}

/// SHA-256 over the names, shapes and words of the model's tensors, in the order of their names.
pub fn weights_sha256(states: &States, snapshot: &Snapshot) -> String {
    let mut hash = Sha256::new();
    for (name, words) in snapshot {
        let Some(id) = states.find(name) else { continue };
        let info = states.info(id);
        if matches!(info.kind, StateKind::Weight | StateKind::Buffer) {
            hash.update(name.as_bytes());
            hash.update([0]);
            for size in &info.shape {
                hash.update((*size as u64).to_le_bytes());
            }
            for word in words {
                hash.update(word.to_le_bytes());
            }
        }
    }
    hex(&hash.finalize())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Which states a checkpoint holds.
pub fn is_kept(kind: StateKind, with_optimizer: bool) -> bool {
    match kind {
        StateKind::Weight | StateKind::Buffer => true,
        StateKind::Optimizer => with_optimizer,
        StateKind::Metric => false,
    }
}

/// Writes a checkpoint; the file is the old one or the new one, never neither.
///
/// # Errors
/// When the file cannot be written.
pub fn save(path: &Path, states: &States, snapshot: &Snapshot, meta: &Meta) -> Result<(), CheckpointError> {
    let tensors: Vec<(String, Vec<usize>, DType, Vec<u8>)> = snapshot
        .iter()
        .filter_map(|(name, words)| {
            let info = states.info(states.find(name)?);
            let bytes = words.iter().flat_map(|word| word.to_le_bytes()).collect();
            Some((name.clone(), info.shape.clone(), info.dtype, bytes))
        })
        .collect();
    let views = tensors.iter().map(|(name, shape, dtype, bytes)| {
        let dtype = if *dtype == DType::U32 { safetensors::Dtype::U32 } else { safetensors::Dtype::F32 };
        let view = safetensors::tensor::TensorView::new(dtype, shape.clone(), bytes);
        (name.clone(), view.unwrap_or_else(|error| unreachable!("a state has its size: {error}")))
    });
    let metadata = [
        ("format".to_owned(), FORMAT.to_string()),
        ("epoch".to_owned(), meta.epoch.to_string()),
        ("step".to_owned(), meta.step.to_string()),
        ("seed".to_owned(), meta.seed.to_string()),
        ("sha256".to_owned(), content_sha256(snapshot, meta)),
    ];
    let bytes = safetensors::serialize(views, Some(metadata.into_iter().collect()))
        .unwrap_or_else(|error| unreachable!("states are tensors: {error}"));
    write_atomic(path, &bytes)
        .map_err(|source| CheckpointError::File { action: "write", path: path.to_path_buf(), source })
}

/// A checksum over everything in the file, since safetensors has none.
fn content_sha256(snapshot: &Snapshot, meta: &Meta) -> String {
    let mut hash = Sha256::new();
    hash.update(format!("{FORMAT} {} {} {}", meta.epoch, meta.step, meta.seed));
    for (name, words) in snapshot {
        hash.update((name.len() as u64).to_le_bytes());
        hash.update(name.as_bytes());
        hash.update((words.len() as u64).to_le_bytes());
        hash.update(bytemuck::cast_slice::<u32, u8>(words));
    }
    hex(&hash.finalize())
}

/// Reads a checkpoint of a model with these states.
///
/// # Errors
/// When the file is missing, damaged, or of another model.
pub fn load(path: &Path, states: &States, with_optimizer: bool) -> Result<(Snapshot, Meta), CheckpointError> {
    let bytes = std::fs::read(path)
        .map_err(|source| CheckpointError::File { action: "read", path: path.to_path_buf(), source })?;
    let malformed = |reason: String| CheckpointError::Malformed { path: path.to_path_buf(), reason };
    let (_, header) = safetensors::SafeTensors::read_metadata(&bytes).map_err(|error| malformed(error.to_string()))?;
    let file = safetensors::SafeTensors::deserialize(&bytes).map_err(|error| malformed(error.to_string()))?;
    let metadata = header.metadata().clone().unwrap_or_default();
    let field = |name: &str| metadata.get(name).ok_or_else(|| malformed(format!("it has no `{name}`")));
    let number = |name: &str| {
        field(name)?.parse::<u64>().map_err(|_| malformed(format!("its `{name}` is not a whole number")))
    };
    let format = number("format")?;
    if format > u64::from(FORMAT) {
        return Err(malformed(format!("it was written by format {format}, this reads up to {FORMAT}")));
    }
    let meta = Meta { epoch: number("epoch")? as usize, step: number("step")?, seed: number("seed")? };
    let mut snapshot = Snapshot::new();
    for (name, view) in file.tensors() {
        if !matches!(view.dtype(), safetensors::Dtype::F32 | safetensors::Dtype::U32) {
            return Err(malformed(format!("`{name}` has the type {:?}", view.dtype())));
        }
        let words = view.data().chunks_exact(4).map(|word| u32::from_le_bytes([word[0], word[1], word[2], word[3]]));
        snapshot.insert(name, words.collect());
    }
    if *field("sha256")? != content_sha256(&snapshot, &meta) {
        return Err(malformed("its content does not have the checksum that it names".to_owned()));
    }
    let reason = differences(&snapshot, &file, states, with_optimizer);
    if !reason.is_empty() {
        return Err(CheckpointError::Mismatch { path: path.to_path_buf(), reason: reason.join("; ") });
    }
    Ok((snapshot, meta))
}

fn differences(
    snapshot: &Snapshot,
    file: &safetensors::SafeTensors,
    states: &States,
    with_optimizer: bool,
) -> Vec<String> {
    let mut all = Vec::new();
    for info in states.infos().iter().filter(|info| is_kept(info.kind, with_optimizer)) {
        match file.tensor(&info.name) {
            Err(_) => all.push(format!("`{}` is missing", info.name)),
            Ok(view) if view.shape() != info.shape => {
                all.push(format!("`{}` has the shape {:?}, not {:?}", info.name, view.shape(), info.shape));
            }
            Ok(view) => {
                debug_assert_eq!(view.data().len(), count(&info.shape) * 4);
            }
        }
    }
    for name in snapshot.keys().filter(|name| !name.starts_with("optimizer.")) {
        if states.find(name).is_none() {
            all.push(format!("`{name}` is not in the model"));
        }
    }
    all
}

/// The ids and words of a snapshot's states.
pub fn words_of<'a>(states: &States, snapshot: &'a Snapshot) -> Vec<(StateId, &'a [u32])> {
    snapshot.iter().filter_map(|(name, words)| Some((states.find(name)?, &words[..]))).collect()
}
