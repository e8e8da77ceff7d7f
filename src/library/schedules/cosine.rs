//! The learning rate that falls like a cosine.

use std::f64::consts::PI;

use crate::item;
use crate::library::{RunShape, Schedule};
use crate::schema::{Auto, Duration, NonNegative, Period};

item! {
    /// Lets the learning rate fall along half a cosine: `min + (lr − min)·(1 + cos(π·t/over))/2`.
    ///
    /// After `over` it stays at `min`. As the closed form of `torch.optim.lr_scheduler.CosineAnnealingLR`; warm-up is a
    /// factor and does not shift the curve.
    ///
    /// ```nnopt
    /// cosine(warmup = 1 epoch)
    /// ```
    "cosine" => pub struct Cosine: Schedule {
        /// The time until the rate arrives at `min`; the whole training if `auto`.
        over: Auto<Period> = Auto::Auto,
        /// The last learning rate.
        min: NonNegative = NonNegative(0.0),
        /// For so long the rate rises linearly from nearly 0.
        warmup: Duration = Duration::Steps(0),
    }
}

impl Schedule for Cosine {
    fn length(&self, run: &RunShape) -> Option<u64> {
        match self.over {
            Auto::Auto => None,
            Auto::Given(period) => Some(period.steps(run.steps_per_epoch)),
        }
    }

    fn target(&self) -> Option<f64> {
        Some(self.min.0)
    }

    fn rate(&self, base: f64, step: u64, run: &RunShape) -> f64 {
        let over = match self.over {
            Auto::Auto => run.total_steps.max(1),
            Auto::Given(period) => period.steps(run.steps_per_epoch),
        };
        if step >= over {
            return self.min.0;
        }
        let angle = PI * step as f64 / over as f64;
        self.min.0 + (base - self.min.0) * (1.0 + angle.cos()) / 2.0
    }

    fn warmup(&self) -> Duration {
        self.warmup
    }
}
