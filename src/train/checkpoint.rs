//! Checkpoints: the model's tensors (and, to go on, the optimizer's) in safetensors files.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use half::f16;
use sha2::{Digest, Sha256};

use crate::check::program::Program;
use crate::formats::atomic::write_atomic;
use crate::formats::safetensors::{Element, Tensor, Tensors, write};
use crate::formats::{Disk, FormatError};
use crate::ir::{DType, StateId, StateInfo, StateKind, States};

/// The format's version; older programs refuse newer files.
const FORMAT: u32 = 1;

/// The words of every state that a checkpoint can hold, one for each element, by name.
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
    /// The monitored metric and its best value so far, if it has been measured.
    pub monitor: Option<(String, f64)>,
    /// What [`pipeline_sha256`] gives for the pipeline.
    pub pipeline: String,
}

/// Why a checkpoint cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// The file is missing, damaged or cannot be written.
    #[error(transparent)]
    Format(#[from] FormatError),
    /// The file is no checkpoint of this program's.
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

/// SHA-256 over every resolved setting but `devices`, which changes where a training runs and not what it is.
pub fn pipeline_sha256(program: &Program) -> String {
    let mut hash = Sha256::new();
    for setting in program.resolved.iter().filter(|setting| (setting.section, &*setting.name) != ("train", "devices")) {
        for text in [setting.section, &setting.name, &setting.value] {
            hash.update((text.len() as u64).to_le_bytes());
            hash.update(text.as_bytes());
        }
    }
    hex(&hash.finalize())
}

/// The first weight or buffer, by name, with an element that is not finite.
pub fn first_non_finite<'a>(states: &States, snapshot: &'a Snapshot) -> Option<&'a str> {
    let is_bad = |name: &str, words: &[u32]| {
        let info = states.find(name).map(|id| states.info(id));
        let is_model = info.is_some_and(|info| info.dtype != DType::U32 && is_kept(info.kind, false));
        is_model && words.iter().any(|&word| !f32::from_bits(word).is_finite())
    };
    snapshot.iter().find(|(name, words)| is_bad(name, words)).map(|(name, _)| name.as_str())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Which states a checkpoint holds.
pub fn is_kept(kind: StateKind, with_optimizer: bool) -> bool {
    match kind {
        StateKind::Weight | StateKind::Buffer => true,
        StateKind::Optimizer => with_optimizer,
        StateKind::Metric | StateKind::Exchange => false,
    }
}

/// Writes a checkpoint; the file is the old one or the new one, never neither.
///
/// # Errors
/// When the file cannot be written.
pub fn save(path: &Path, states: &States, snapshot: &Snapshot, meta: &Meta) -> Result<(), CheckpointError> {
    let stored: Vec<(&str, &StateInfo, Vec<u8>)> = snapshot
        .iter()
        .filter_map(|(name, words)| {
            let info = states.info(states.find(name)?);
            Some((name.as_str(), info, bytes_of(words, info.dtype)))
        })
        .collect();
    let tensors: Vec<(&str, Tensor)> = stored
        .iter()
        .map(|(name, info, data)| (*name, Tensor { dtype: element(info.dtype), shape: &info.shape, data }))
        .collect();
    let mut metadata = BTreeMap::from([
        ("format".to_owned(), FORMAT.to_string()),
        ("epoch".to_owned(), meta.epoch.to_string()),
        ("step".to_owned(), meta.step.to_string()),
        ("seed".to_owned(), meta.seed.to_string()),
        ("pipeline".to_owned(), meta.pipeline.clone()),
    ]);
    if let Some((name, value)) = &meta.monitor {
        metadata.insert("monitor".to_owned(), name.clone());
        metadata.insert("monitor_value".to_owned(), value.to_string());
    }
    Ok(write_atomic(path, &write(&tensors, &metadata))?)
}

/// The type of a state's elements in a file.
fn element(dtype: DType) -> Element {
    match dtype {
        DType::F32 => Element::F32,
        DType::F16 => Element::F16,
        DType::U32 => Element::U32,
        DType::U8 => unreachable!("no state is of bytes"),
    }
}

/// The words of a state as its elements in a file.
fn bytes_of(words: &[u32], dtype: DType) -> Vec<u8> {
    let half = |&word: &u32| f16::from_f32(f32::from_bits(word)).to_le_bytes();
    match dtype {
        DType::F16 => words.iter().flat_map(half).collect(),
        _ => words.iter().flat_map(|word| word.to_le_bytes()).collect(),
    }
}

/// The words of a state whose elements these are.
fn words_from(data: &[u8], dtype: DType) -> Vec<u32> {
    match dtype {
        DType::F16 => data.as_chunks::<2>().0.iter().map(|half| f16::from_le_bytes(*half).to_f32().to_bits()).collect(),
        _ => data.as_chunks::<4>().0.iter().map(|word| u32::from_le_bytes(*word)).collect(),
    }
}

/// Reads a checkpoint of a model with these states.
///
/// # Errors
/// When the file is missing, damaged, or of another model.
pub fn load(path: &Path, states: &States, with_optimizer: bool) -> Result<(Snapshot, Meta), CheckpointError> {
    let file = Tensors::read(&Disk, path)?;
    let malformed = |reason: String| CheckpointError::Malformed { path: path.to_path_buf(), reason };
    let text = |name: &str| file.metadata.get(name).ok_or_else(|| malformed(format!("it has no `{name}`")));
    let number =
        |name: &str| text(name)?.parse::<u64>().map_err(|_| malformed(format!("its `{name}` is not a whole number")));
    let format = number("format")?;
    if format > u64::from(FORMAT) {
        return Err(malformed(format!("it was written by format {format}, this reads up to {FORMAT}")));
    }
    let monitor = match (file.metadata.get("monitor"), file.metadata.get("monitor_value")) {
        (Some(name), Some(value)) => {
            let value = value.parse().map_err(|_| malformed("its `monitor_value` is not a number".to_owned()))?;
            Some((name.clone(), value))
        }
        _ => None,
    };
    let meta = Meta {
        epoch: number("epoch")? as usize,
        step: number("step")?,
        seed: number("seed")?,
        monitor,
        pipeline: text("pipeline")?.clone(),
    };
    let reason = differences(&file, states, with_optimizer);
    if !reason.is_empty() {
        return Err(CheckpointError::Mismatch { path: path.to_path_buf(), reason: reason.join("; ") });
    }
    let mut snapshot = Snapshot::new();
    for info in states.infos().iter().filter(|info| is_kept(info.kind, with_optimizer)) {
        if let Some(tensor) = file.get(&info.name) {
            snapshot.insert(info.name.clone(), words_from(tensor.data, info.dtype));
        }
    }
    Ok((snapshot, meta))
}

/// Which tensors are missing, unexpected, or of another shape or type.
fn differences(file: &Tensors, states: &States, with_optimizer: bool) -> Vec<String> {
    let mut all = Vec::new();
    for info in states.infos().iter().filter(|info| is_kept(info.kind, with_optimizer)) {
        let dtype = element(info.dtype);
        match file.get(&info.name) {
            None => all.push(format!("`{}` is missing", info.name)),
            Some(tensor) if tensor.shape != info.shape => {
                all.push(format!("`{}` has the shape {:?}, not {:?}", info.name, tensor.shape, info.shape));
            }
            Some(tensor) if tensor.dtype != dtype => {
                all.push(format!("`{}` has the type {:?}, not {dtype:?}", info.name, tensor.dtype));
            }
            Some(_) => {}
        }
    }
    // Whoever wants no optimizer does not mind what it kept.
    for name in file.names().filter(|name| with_optimizer || !name.starts_with("optimizer.")) {
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
