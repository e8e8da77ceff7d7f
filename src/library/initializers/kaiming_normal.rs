//! He's normal initialization.

use crate::ir::graph::Init;
use crate::item;
use crate::library::Initializer;
use crate::schema::NonNegative;

item! {
    /// Normal with deviation `√(2 / ((1 + a²)·fan_in))`, after He et al. 2015; `a` is the slope of a leaky rectifier.
    ///
    /// As `torch.nn.init.kaiming_normal_`.
    ///
    /// ```nnopt
    /// kaiming_normal
    /// ```
    "kaiming_normal" => pub struct KaimingNormal: Initializer {
        /// The negative slope of the rectifier that follows.
        a: NonNegative = NonNegative(0.0),
    }
}

impl Initializer for KaimingNormal {
    fn init(&self, fan_in: usize, _fan_out: usize) -> Init {
        Init::Normal { std: (2.0 / ((1.0 + self.a.0 * self.a.0) * fan_in as f64)).sqrt() }
    }
}
