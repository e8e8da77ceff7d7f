//! Glorot's normal initialization.

use crate::ir::graph::Init;
use crate::item;
use crate::library::Initializer;
use crate::schema::Positive;

item! {
    /// Normal with deviation `gain·√(2 / (fan_in + fan_out))`, after Glorot and Bengio 2010.
    ///
    /// As `torch.nn.init.xavier_normal_`.
    ///
    /// ```nnopt
    /// xavier_normal
    /// ```
    "xavier_normal" => pub struct XavierNormal: Initializer {
        /// A factor for the function that follows: 5/3 for `tanh`, √2 for `relu`.
        gain: Positive = Positive(1.0),
    }
}

impl Initializer for XavierNormal {
    fn init(&self, fan_in: usize, fan_out: usize) -> Init {
        Init::Normal { std: self.gain.0 * (2.0 / (fan_in + fan_out) as f64).sqrt() }
    }
}
