//! The learning rate that does not change.

use crate::item;
use crate::library::{RunShape, Schedule};
use crate::schema::Duration;

item! {
    /// Keeps the optimizer's learning rate.
    ///
    /// ```nnopt
    /// constant(warmup = 100 steps)
    /// ```
    "constant" => pub struct Constant: Schedule {
        /// For so long the rate rises linearly from nearly 0.
        warmup: Duration = Duration::Steps(0),
    }
}

impl Schedule for Constant {
    fn is_constant(&self) -> bool {
        true
    }

    fn rate(&self, base: f64, _step: u64, _run: &RunShape) -> f64 {
        base
    }

    fn warmup(&self) -> Duration {
        self.warmup
    }
}
