//! Measures a split.

use super::feed::{Queue, StepInputs};
use super::prepare::Prepared;
use crate::backend::{BackendError, Session};
use crate::check::program::Program;
use crate::ir::graph::count;
use crate::library::StepContext;
use crate::lower::{Mode, metric_state};

/// The figures of a split.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Measured {
    /// Means by name: `loss` first.
    pub means: Vec<(String, f64)>,
    /// Counts `[true class, predicted class]`, if they are asked for.
    pub confusion: Option<Vec<f64>>,
}

impl Measured {
    /// The mean of this name.
    pub fn mean(&self, name: &str) -> Option<f64> {
        self.means.iter().find(|(other, _)| other == name).map(|(_, value)| *value)
    }
}

/// Evaluates a split with the weights that the session has.
///
/// # Errors
/// When the device fails.
pub fn evaluate(
    program: &Program,
    prepared: &Prepared,
    session: &mut dyn Session,
    split: &str,
    rows: &[u32],
) -> Result<Measured, BackendError> {
    reset(program, prepared, session, split)?;
    let mut queue = Queue::default();
    let context = StepContext { step: 0, lr: 0.0 };
    for part in rows.chunks(program.micro_batch().max(1)) {
        let step = prepared.step(Mode::Evaluate, split, part.len());
        let inputs = StepInputs { rows: part, number: 0, share: 1.0, context };
        queue.push(session, prepared, step, program.train.seed, &inputs)?;
    }
    queue.flush(session)?;
    read(program, prepared, session, split, rows.len())
}

/// Names of what is measured on every split: the loss, then the program's metrics.
fn names(program: &Program) -> Vec<String> {
    std::iter::once("loss".to_owned()).chain(program.metrics.iter().map(|metric| metric.item.name())).collect()
}

/// Sets the sums of a split to zero.
pub(super) fn reset(
    program: &Program,
    prepared: &Prepared,
    session: &mut dyn Session,
    split: &str,
) -> Result<(), BackendError> {
    for name in names(program) {
        if let Some(id) = prepared.states.find(&metric_state(split, &name)) {
            session.write_state(id, &vec![0; count(&prepared.states.info(id).shape)])?;
        }
    }
    Ok(())
}

/// The means of a split over so many samples.
pub(super) fn read(
    program: &Program,
    prepared: &Prepared,
    session: &mut dyn Session,
    split: &str,
    samples: usize,
) -> Result<Measured, BackendError> {
    let mut measured = Measured::default();
    for name in names(program) {
        let Some(id) = prepared.states.find(&metric_state(split, &name)) else { continue };
        let sums: Vec<f64> = session.read_state(id)?.into_iter().map(|word| f64::from(f32::from_bits(word))).collect();
        if prepared.states.info(id).shape.is_empty() {
            measured.means.push((name, sums[0] / samples.max(1) as f64));
        } else {
            measured.confusion = Some(sums);
        }
    }
    Ok(measured)
}
