//! Whether a training fits in the memory of its device, and with which batch it would.

use super::prepare::{Prepared, prepare_steps, specs_with_batch};
use crate::check::program::Program;
use crate::plan::Tensor;
use crate::report::table::bytes;

/// A training that needs more memory than there is.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("the training needs {}, there is {}; {}", bytes(*needed), bytes(*limit), advice(largest, *batch))]
pub struct DoesNotFit {
    /// Bytes that it needs.
    pub needed: u64,
    /// Bytes that there are.
    pub limit: u64,
    /// The largest tensors, largest first.
    pub largest: Vec<Tensor>,
    /// The largest batch with which it fits; `None` where not even the smallest does.
    pub batch: Option<usize>,
}

/// How many tensors a message names.
const NAMED: usize = 3;

fn advice(largest: &[Tensor], batch: Option<usize>) -> String {
    let named = |tensor: &Tensor| format!("{} ({})", tensor.name, bytes(tensor.bytes as u64));
    let named: Vec<String> = largest.iter().take(NAMED).map(named).collect();
    let fix = match batch {
        Some(batch) => format!("`batch = {batch}` fits"),
        None => "no batch fits, the model or the data is too large".to_owned(),
    };
    format!("the largest tensors are {}; {fix}", named.join(", "))
}

impl Prepared {
    /// Whether a training fits in so many bytes.
    ///
    /// # Errors
    /// When it does not: what takes most, and the largest batch that fits, found by planning smaller ones.
    pub fn check_memory(&self, program: &Program, limit: u64) -> Result<(), DoesNotFit> {
        let needed = self.memory().total();
        if needed <= limit {
            return Ok(());
        }
        let mut largest = self.largest_tensors();
        largest.truncate(NAMED);
        Err(DoesNotFit { needed, limit, largest, batch: largest_batch(program, limit) })
    }
}

/// The largest batch below the program's with which it needs at most so many bytes.
fn largest_batch(program: &Program, limit: u64) -> Option<usize> {
    let parts = program.train.accumulate;
    let fits = |micro: usize| {
        let specs = specs_with_batch(program, micro * parts);
        prepare_steps(program, &specs).memory().total() <= limit
    };
    if program.micro_batch() < 2 || !fits(1) {
        return None;
    }
    // Memory grows with the batch, but for the last batch's rest: what is offered has itself been planned.
    let (mut best, mut too_large) = (1, program.micro_batch());
    while too_large - best > 1 {
        let middle = best.midpoint(too_large);
        if fits(middle) { best = middle } else { too_large = middle }
    }
    Some(best * parts)
}
