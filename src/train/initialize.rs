//! The states before the first step.

use half::f16;
use sha2::{Digest, Sha256};

use crate::backend::{BackendError, Session};
use crate::check::program::{Normalize, Program};
use crate::data::load::Loaded;
use crate::data::statistics;
use crate::ir::graph::{Init, StateInfo, count};
use crate::ir::random::Sequence;
use crate::ir::{DType, StateId, States};

/// The words of a state before the first step. They depend on the seed and the state's name only, so that a change in
/// one layer leaves the others as they are.
pub fn initial_words(info: &StateInfo, seed: u64) -> Vec<u32> {
    let size = count(&info.shape);
    let mut sequence = Sequence::new(seed, stream_of(&info.name), 0);
    let float = |value: f64| stored(value as f32, info.dtype).to_bits();
    match &info.init {
        Init::Fill(value) if info.dtype == DType::U32 => vec![*value as u32; size],
        Init::Fill(value) => vec![float(*value); size],
        Init::Uniform { bound } => (0..size).map(|_| float((2.0 * sequence.next_uniform() - 1.0) * bound)).collect(),
        Init::Normal { std } => (0..size).map(|_| float(sequence.next_normal() * std)).collect(),
        Init::Given(values) => values.iter().map(|&value| float(f64::from(value))).collect(),
    }
}

/// A number as a state of this type holds it.
fn stored(number: f32, dtype: DType) -> f32 {
    if dtype == DType::F16 { f16::from_f32(number).to_f32() } else { number }
}

/// A stream of its own for each name.
fn stream_of(name: &str) -> u32 {
    let digest = Sha256::digest(name.as_bytes());
    u32::from_le_bytes([digest[0], digest[1], digest[2], digest[3]])
}

/// Sets every state to its first value, and the data's mean and standard deviation to those that the program says.
/// Gives notes about the data.
///
/// # Errors
/// When the device fails.
pub fn initialize(
    program: &Program,
    loaded: &Loaded,
    states: &States,
    session: &mut dyn Session,
) -> Result<Vec<String>, BackendError> {
    let (statistics, notes) = measure(program, loaded);
    for (index, info) in states.infos().iter().enumerate() {
        let given = match (info.name.as_str(), &statistics) {
            ("data.mean", Some((mean, _))) => Some(spread(mean, info)),
            ("data.std", Some((_, std))) => Some(spread(std, info)),
            _ => None,
        };
        let words = given.unwrap_or_else(|| initial_words(info, program.train.seed));
        session.write_state(StateId(index as u32), &words)?;
    }
    Ok(notes)
}

/// One number for each of the state's elements, or one for all.
fn spread(values: &[f64], info: &StateInfo) -> Vec<u32> {
    let size = count(&info.shape);
    (0..size).map(|index| (values[if values.len() == 1 { 0 } else { index }] as f32).to_bits()).collect()
}

type MeanAndStd = (Vec<f64>, Vec<f64>);

fn measure(program: &Program, loaded: &Loaded) -> (Option<MeanAndStd>, Vec<String>) {
    match &program.data.normalize {
        Normalize::None => (None, Vec::new()),
        Normalize::Given { mean, std } => (Some((mean.clone(), std.clone())), Vec::new()),
        Normalize::Auto => {
            let source = program.data.splits[0].source;
            let measured = statistics::measure(&loaded.datasets[source], Some(&loaded.rows[0]));
            (Some((measured.mean, measured.std)), measured.notes)
        }
    }
}
