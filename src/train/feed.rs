//! The rows that the host gives a device for its steps.

use crate::ir::random::split_seed;
use crate::library::StepContext;
use crate::plan::Plan;

use super::prepare::PreparedStep;

/// What one step is given.
pub(super) struct StepInputs<'a> {
    /// Rows of the resident data.
    pub rows: &'a [u32],
    /// The number of the step, for random numbers.
    pub number: u32,
    /// The part of its update's samples that it has.
    pub share: f32,
    /// For the scalars of the optimizer.
    pub context: StepContext,
}

/// Appends one step's row.
pub(super) fn append(row: &mut Vec<u32>, plan: &Plan, step: &PreparedStep, seed: u64, inputs: &StepInputs) {
    let start = row.len();
    row.resize(start + plan.step.words, 0);
    for (name, offset, words, _) in &plan.step.inputs {
        let place = &mut row[start + offset..start + offset + words];
        match name.as_str() {
            "rows" => place.copy_from_slice(inputs.rows),
            "seed_low" => place[0] = split_seed(seed)[0],
            "seed_high" => place[0] = split_seed(seed)[1],
            "step" => place[0] = inputs.number,
            "share" => place[0] = inputs.share.to_bits(),
            other => {
                let scalar = step.scalars.iter().find(|scalar| scalar.name == other);
                let scalar = scalar.unwrap_or_else(|| unreachable!("`{other}` is a scalar of the step"));
                place[0] = ((scalar.value)(&inputs.context) as f32).to_bits();
            }
        }
    }
}
