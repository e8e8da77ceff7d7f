//! The rows that the host gives a device for its steps, several steps at a time.

use std::time::{Duration as Time, Instant};

use crate::backend::{BackendError, Session};
use crate::check::program::Program;
use crate::ir::random::split_seed;
use crate::library::StepContext;
use crate::lower::Mode;
use crate::plan::Plan;

use super::prepare::{Prepared, PreparedStep};

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

/// Words that wait for the device; more would only take memory.
const MOST_WORDS: usize = 1 << 18;

/// Steps of one plan that wait to be given to the device together.
#[derive(Default)]
pub(super) struct Queue {
    plan: usize,
    words: Vec<u32>,
    /// How long the device was given steps, or ran them.
    pub given: Time,
}

impl Queue {
    /// A queue that never grows, for steps of these plans.
    pub fn for_plans(plans: &[Plan]) -> Queue {
        let longest = plans.iter().map(|plan| plan.step.words).max().unwrap_or(0);
        Queue { words: Vec::with_capacity(MOST_WORDS + longest), ..Queue::default() }
    }

    /// Adds a step. Steps of another plan that wait go to the device first, so that the order stays.
    pub fn push(
        &mut self,
        session: &mut dyn Session,
        prepared: &Prepared,
        step: &PreparedStep,
        seed: u64,
        inputs: &StepInputs,
    ) -> Result<(), BackendError> {
        if self.plan != step.plan || self.words.len() >= MOST_WORDS {
            self.flush(session)?;
            self.plan = step.plan;
        }
        append(&mut self.words, &prepared.plans[step.plan], step, seed, inputs);
        Ok(())
    }

    /// Adds an update over these rows, in as many parts as the program says; `number` counts the parts.
    pub fn push_update(
        &mut self,
        session: &mut dyn Session,
        program: &Program,
        prepared: &Prepared,
        samples: &[u32],
        number: &mut u32,
        context: StepContext,
    ) -> Result<(), BackendError> {
        let (train, seed) = (&program.train, program.train.seed);
        let mut left = samples;
        for size in train.part_sizes(samples.len()) {
            let (rows, rest) = left.split_at(size);
            left = rest;
            let is_last = rest.is_empty() && !train.is_parallel();
            let step = prepared.step(if is_last { Mode::Update } else { Mode::Accumulate }, "train", rows.len());
            let share = rows.len() as f32 / samples.len() as f32;
            self.push(session, prepared, step, seed, &StepInputs { rows, number: *number, share, context })?;
            *number = number.wrapping_add(1);
        }
        if train.is_parallel() {
            // It reads no samples, and is a step of the last part's number.
            let inputs = StepInputs { rows: &[0], number: number.wrapping_sub(1), share: 1.0, context };
            self.push(session, prepared, prepared.step(Mode::Apply, "train", 1), seed, &inputs)?;
        }
        Ok(())
    }

    /// Gives the device all steps that wait.
    pub fn flush(&mut self, session: &mut dyn Session) -> Result<(), BackendError> {
        if !self.words.is_empty() {
            let began = Instant::now();
            session.run(self.plan, &self.words)?;
            self.given += began.elapsed();
            self.words.clear();
        }
        Ok(())
    }
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
