//! Looks for a learning rate: a short training whose rate rises from step to step, and the valley of its loss.
//!
//! The range test is that of Smith (2017, arXiv:1506.01186); its numbers and the rule of the valley are those of fastai,
//! which took the rule from ESRI's `arcgis.learn`.

use super::evaluate;
use super::feed::Queue;
use super::initialize::initialize;
use super::prepare::Prepared;
use super::run::TrainError;
use crate::backend::Session;
use crate::check::program::Program;
use crate::data::Sampler;
use crate::data::load::Loaded;
use crate::library::StepContext;

/// Which rates are tried.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sweep {
    /// The first.
    pub from: f64,
    /// The last.
    pub to: f64,
    /// How many updates, each with a rate that is the same factor larger than the one before.
    pub steps: usize,
}

impl Default for Sweep {
    /// As fastai's `lr_find`.
    fn default() -> Sweep {
        Sweep { from: 1e-7, to: 10.0, steps: 100 }
    }
}

impl Sweep {
    /// The rate of a step, counted from 0.
    fn rate(&self, step: usize) -> f64 {
        let way = step as f64 / (self.steps.max(2) - 1) as f64;
        self.from * (self.to / self.from).powf(way)
    }
}

/// One update of a range test.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RatePoint {
    /// The learning rate.
    pub lr: f64,
    /// The mean loss of its batch, before the update.
    pub loss: f64,
    /// The losses up to here, averaged with weights that fall by [`KEPT`] a step.
    pub smoothed: f64,
}

/// The share of the smoothed loss that one step keeps.
pub const KEPT: f64 = 0.98;

/// A smoothed loss that is so many times the lowest ends the test.
const GROWN: f64 = 4.0;

/// So many points at the end belong to the loss that grows.
const LAST: usize = 5;

/// What a range test found.
#[derive(Clone, Debug, PartialEq)]
pub struct RateTest {
    /// Its rates, in order; fewer than asked for where the loss has grown too much.
    pub points: Vec<RatePoint>,
    /// The chosen point, by its index; none where the loss has not fallen.
    pub chosen: Option<usize>,
}

impl RateTest {
    /// The rate to train with, of three digits; none where the loss has not fallen.
    pub fn rate(&self) -> Option<f64> {
        let lr = self.points[self.chosen?].lr;
        Some(format!("{lr:.2e}").parse().unwrap_or(lr))
    }
}

/// Trains from the first states with a rising rate. The session's states are those of a started training afterwards;
/// [`super::run::run`] begins anew. `None` where `interrupted` said so.
///
/// # Errors
/// When the device fails.
pub fn find_rate(
    program: &Program,
    prepared: &Prepared,
    loaded: &Loaded,
    session: &mut dyn Session,
    sweep: &Sweep,
    interrupted: &dyn Fn() -> bool,
) -> Result<Option<RateTest>, TrainError> {
    // Notes on the data are for the training.
    initialize(program, loaded, &prepared.states, session)?;
    let rows = &loaded.rows[0];
    let train = &program.train;
    let mut sampler = Sampler::new(rows.len(), train.batch, train.drop_last, train.seed)?;
    let mut queue = Queue::for_plans(&prepared.plans);
    let mut points: Vec<RatePoint> = Vec::with_capacity(sweep.steps);
    let (mut number, mut average, mut lowest) = (0, 0.0, f64::INFINITY);
    for step in 0..sweep.steps {
        if interrupted() {
            return Ok(None);
        }
        let place = step % sampler.batches();
        if place == 0 {
            sampler.shuffle((step / sampler.batches()) as u32 + 1);
        }
        let samples: Vec<u32> = sampler.batch(place).iter().map(|&index| rows[index as usize]).collect();
        let lr = sweep.rate(step);
        evaluate::reset(program, prepared, session, "train")?;
        let context = StepContext { step: step as u64, lr };
        queue.push_update(session, program, prepared, &samples, &mut number, context)?;
        queue.flush(session)?;
        let measured = evaluate::read(program, prepared, session, "train", samples.len())?;
        let loss = measured.mean("loss").unwrap_or(f64::NAN);
        if !loss.is_finite() {
            break;
        }
        average = KEPT * average + (1.0 - KEPT) * loss;
        // The average begins at 0, which this takes away.
        let smoothed = average / (1.0 - KEPT.powi(step as i32 + 1));
        points.push(RatePoint { lr, loss, smoothed });
        if smoothed > GROWN * lowest {
            break;
        }
        lowest = smoothed.min(lowest);
    }
    let skipped = sweep.steps / 10;
    let end = points.len().saturating_sub(LAST).max(skipped.min(points.len()));
    let losses: Vec<f64> = points[skipped.min(end)..end].iter().map(|point| point.smoothed).collect();
    let chosen = valley(&losses).map(|index| skipped + index);
    Ok(Some(RateTest { points, chosen }))
}

/// The point in the longest valley: in the longest strictly falling subsequence, half of its length before its end.
///
/// Where several are longest, the first to end counts. A valley of fewer than three points is none.
pub fn valley(losses: &[f64]) -> Option<usize> {
    let mut lengths = vec![1_usize; losses.len()];
    let mut end = 0;
    for at in 1..losses.len() {
        let before = (0..at).filter(|&other| losses[at] < losses[other]).map(|other| lengths[other]);
        lengths[at] = before.max().unwrap_or(0) + 1;
        if lengths[at] > lengths[end] {
            end = at;
        }
    }
    let length = *lengths.get(end)?;
    // A third and a sixth of the way, each rounded down, as fastai counts.
    (length >= 3).then(|| end + length / 3 + length / 6 - length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_rise_by_one_factor() {
        let sweep = Sweep { from: 1e-4, to: 1.0, steps: 5 };
        for (step, rate) in [1e-4, 1e-3, 1e-2, 1e-1, 1.0].into_iter().enumerate() {
            assert!((sweep.rate(step) / rate - 1.0).abs() < 1e-12, "{step}");
        }
    }

    /// The answers of fastai 2.8's `valley`, computed by hand from its definition.
    #[test]
    fn the_valley_is_that_of_fastai() {
        // Falls over points 2 to 9 (length 8 with point 2), then rises: 9 + 2 + 1 - 8.
        let falls = [1.0, 1.0, 1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.9, 2.0];
        assert_eq!(valley(&falls), Some(4));
        // A bump within a valley does not end it: 9, 8, 7, 5, 4, 2 end at point 6.
        assert_eq!(valley(&[9.0, 8.0, 7.0, 8.5, 5.0, 4.0, 2.0, 6.0]), Some(6 + 2 + 1 - 6));
        assert_eq!(valley(&[3.0, 2.0, 1.0]), Some(0));
    }

    #[test]
    fn a_loss_that_does_not_fall_has_no_valley() {
        assert_eq!(valley(&[]), None);
        assert_eq!(valley(&[1.0, 1.0, 1.0, 1.0]), None);
        assert_eq!(valley(&[1.0, 2.0, 3.0, 2.5]), None);
    }
}
