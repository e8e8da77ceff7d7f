//! The hyperbolic tangent.

use crate::ir::{Unary, Value};
use crate::item;
use crate::library::{Layer, ModelBuilder, Role, ShapeError, Type};

item! {
    /// Bends each number into `−1..1`: `(eˣ − e⁻ˣ)/(eˣ + e⁻ˣ)`.
    ///
    /// ```nnopt
    /// tanh
    /// ```
    "tanh" => pub struct Tanh: Layer {}
}

impl Layer for Tanh {
    fn role(&self) -> Role {
        Role::Activation { saturates: true }
    }

    fn infer(&self, input: &Type) -> Result<Type, ShapeError> {
        Ok(Type::features(input.shape.clone()))
    }

    fn lower(&self, model: &mut ModelBuilder, input: Value) -> Value {
        model.graph.unary(Unary::Tanh, input)
    }
}
