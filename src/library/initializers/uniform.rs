//! A uniform distribution.

use crate::ir::graph::Init;
use crate::item;
use crate::library::Initializer;
use crate::schema::Positive;

item! {
    /// Uniform in `±bound`.
    ///
    /// ```nnopt
    /// uniform(bound = 0.1)
    /// ```
    "uniform" => pub struct Uniform: Initializer {
        /// Half the width.
        bound: Positive = Positive(0.05),
    }
}

impl Initializer for Uniform {
    fn init(&self, _fan_in: usize, _fan_out: usize) -> Init {
        Init::Uniform { bound: self.bound.0 }
    }
}
