//! The Gaussian error linear unit.

use std::f64::consts::{FRAC_1_SQRT_2, FRAC_2_SQRT_PI, SQRT_2};

use crate::ir::{Unary, Value};
use crate::item;
use crate::library::{Layer, ModelBuilder, Role, ShapeError, Type};
use crate::words;

words! {
    /// How the error function is computed.
    pub enum Approximation {
        /// Exactly.
        None = "none",
        /// By a hyperbolic tangent.
        Tanh = "tanh",
    }
}

item! {
    /// Weights each number by the share of a normal distribution below it: `x·Φ(x)`.
    ///
    /// `none`: `x/2·(1 + erf(x/√2))`; `tanh`: `x/2·(1 + tanh(√(2/π)·(x + 0.044715·x³)))`. As `torch.nn.GELU`.
    ///
    /// ```nnopt
    /// gelu(approximate = tanh)
    /// ```
    "gelu" => pub struct Gelu: Layer {
        /// `tanh` for the approximation by a hyperbolic tangent.
        approximate: Approximation = Approximation::None,
    }
}

impl Layer for Gelu {
    fn role(&self) -> Role {
        Role::Activation { saturates: false }
    }

    fn infer(&self, input: &Type) -> Result<Type, ShapeError> {
        Ok(Type::features(input.shape.clone()))
    }

    fn lower(&self, model: &mut ModelBuilder, input: Value) -> Value {
        let graph = &mut model.graph;
        let share = match self.approximate {
            Approximation::None => {
                let scaled = graph.scale(input, FRAC_1_SQRT_2);
                graph.unary(Unary::Erf, scaled)
            }
            Approximation::Tanh => {
                let square = graph.mul(input, input);
                let cube = graph.mul(square, input);
                let bend = graph.scale(cube, 0.044715);
                let sum = graph.add(input, bend);
                let scaled = graph.scale(sum, SQRT_2 * FRAC_2_SQRT_PI / 2.0);
                graph.unary(Unary::Tanh, scaled)
            }
        };
        let share = graph.offset(share, 1.0);
        let half = graph.scale(input, 0.5);
        graph.mul(half, share)
    }
}
