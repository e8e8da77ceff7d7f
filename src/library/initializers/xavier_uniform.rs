//! Glorot's uniform initialization.

use crate::ir::graph::Init;
use crate::item;
use crate::library::Initializer;
use crate::schema::Positive;

item! {
    /// Uniform in `±gain·√(6 / (fan_in + fan_out))`, after Glorot and Bengio 2010.
    ///
    /// As `torch.nn.init.xavier_uniform_`; Keras's default.
    ///
    /// ```nnopt
    /// xavier_uniform
    /// ```
    "xavier_uniform" => pub struct XavierUniform: Initializer {
        /// A factor for the function that follows: 5/3 for `tanh`, √2 for `relu`.
        gain: Positive = Positive(1.0),
    }
}

impl Initializer for XavierUniform {
    fn init(&self, fan_in: usize, fan_out: usize) -> Init {
        Init::Uniform { bound: self.gain.0 * (6.0 / (fan_in + fan_out) as f64).sqrt() }
    }
}
