//! The sigmoid linear unit.

use crate::ir::{Unary, Value};
use crate::item;
use crate::library::{Layer, ModelBuilder, Role, ShapeError, Type};

item! {
    /// Weights each number by its sigmoid: `x/(1 + e⁻ˣ)`.
    ///
    /// Also called Swish. As `torch.nn.SiLU`.
    ///
    /// ```nnopt
    /// silu
    /// ```
    "silu" => pub struct Silu: Layer {}
}

impl Layer for Silu {
    fn role(&self) -> Role {
        Role::Activation { saturates: false }
    }

    fn infer(&self, input: &Type) -> Result<Type, ShapeError> {
        Ok(Type::features(input.shape.clone()))
    }

    fn lower(&self, model: &mut ModelBuilder, input: Value) -> Value {
        let share = model.graph.unary(Unary::Sigmoid, input);
        model.graph.mul(input, share)
    }
}
