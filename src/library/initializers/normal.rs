//! A normal distribution.

use crate::ir::graph::Init;
use crate::item;
use crate::library::Initializer;
use crate::schema::Positive;

item! {
    /// Normal around 0 with a given deviation.
    ///
    /// ```nnopt
    /// normal(std = 0.02)
    /// ```
    "normal" => pub struct Normal: Initializer {
        /// The standard deviation.
        std: Positive = Positive(0.01),
    }
}

impl Initializer for Normal {
    fn init(&self, _fan_in: usize, _fan_out: usize) -> Init {
        Init::Normal { std: self.std.0 }
    }
}
