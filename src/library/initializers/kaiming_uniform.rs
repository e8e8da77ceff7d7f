//! He's uniform initialization.

use crate::ir::graph::Init;
use crate::item;
use crate::library::Initializer;
use crate::schema::NonNegative;

item! {
    /// Uniform in `±√(6 / ((1 + a²)·fan_in))`, after He et al. 2015; `a` is the slope of a leaky rectifier.
    ///
    /// ```nnopt
    /// kaiming_uniform
    /// ```
    "kaiming_uniform" => pub struct KaimingUniform: Initializer {
        /// The negative slope of the rectifier that follows.
        a: NonNegative = NonNegative(0.0),
    }
}

impl KaimingUniform {
    /// `a = √5`, which gives `±1/√fan_in`: what PyTorch's `Linear` and `Conv2d` begin with.
    pub fn pytorch_default() -> KaimingUniform {
        KaimingUniform { a: NonNegative(5f64.sqrt()) }
    }
}

impl Initializer for KaimingUniform {
    fn init(&self, fan_in: usize, _fan_out: usize) -> Init {
        Init::Uniform { bound: (6.0 / ((1.0 + self.a.0 * self.a.0) * fan_in as f64)).sqrt() }
    }
}
