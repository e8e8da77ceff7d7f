//! How long the steps of a training take on the device, launch by launch.

use super::feed::{StepInputs, append};
use super::initialize::initialize;
use super::prepare::{Prepared, PreparedStep};
use super::run::TrainError;
use crate::backend::{LaunchTime, Session};
use crate::check::program::Program;
use crate::data::load::Loaded;
use crate::library::StepContext;

/// The learning rate of what is measured, whose weights nobody keeps, where the pipeline leaves it to be found.
const RATE: f64 = 1e-6;

/// The times of each kind of step over the first rows of its data, in the order of [`Prepared::steps`]. The session's states
/// are something else afterwards; [`super::run::run`] begins anew.
///
/// # Errors
/// When the device fails.
pub fn measure<'a>(
    program: &Program,
    prepared: &'a Prepared,
    loaded: &Loaded,
    session: &mut dyn Session,
) -> Result<Vec<(&'a PreparedStep, Vec<LaunchTime>)>, TrainError> {
    let context = StepContext { step: 0, lr: program.rate_at(0).unwrap_or(RATE) };
    let mut all = Vec::new();
    for step in &prepared.steps {
        // What one step leaves behind is no input of another kind.
        initialize(program, loaded, &prepared.states, session)?;
        let split = program.data.splits.iter().position(|split| split.name == step.spec.split).unwrap_or(0);
        let plan = &prepared.plans[step.plan];
        let wanted = plan.step.inputs.iter().find(|(name, ..)| name == "rows").map_or(0, |(_, _, words, _)| *words);
        // A small data set has fewer rows than a part of a batch, so they are taken again.
        let rows: Vec<u32> = loaded.rows[split].iter().copied().cycle().take(wanted).collect();
        let mut row = Vec::new();
        append(&mut row, plan, step, program.train.seed, &StepInputs { rows: &rows, number: 0, share: 1.0, context });
        all.push((step, session.times(step.plan, &row)?));
    }
    Ok(all)
}
