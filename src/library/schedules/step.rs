//! The learning rate that falls in steps.

use crate::item;
use crate::library::{RunShape, Schedule};
use crate::schema::{Duration, Period, Positive};

item! {
    /// Multiplies the learning rate by a factor again and again: `lr·gamma^⌊t/every⌋`.
    ///
    /// As `torch.optim.lr_scheduler.StepLR`.
    ///
    /// ```nnopt
    /// step(every = 10 epochs, gamma = 0.5)
    /// ```
    "step" => pub struct Step: Schedule {
        /// The time between two changes.
        every: Period,
        /// The factor.
        gamma: Positive = Positive(0.1),
        /// For so long the rate rises linearly from nearly 0.
        warmup: Duration = Duration::Steps(0),
    }
}

impl Schedule for Step {
    fn rate(&self, base: f64, step: u64, run: &RunShape) -> f64 {
        let changes = step / self.every.steps(run.steps_per_epoch);
        base * self.gamma.0.powf(changes as f64)
    }

    fn warmup(&self) -> Duration {
        self.warmup
    }
}
