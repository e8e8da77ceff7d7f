//! The logistic function.

use crate::ir::{Unary, Value};
use crate::item;
use crate::library::{Layer, Meaning, ModelBuilder, Role, ShapeError, Type};

item! {
    /// Turns each number into a probability of its own: `1/(1 + e⁻ˣ)`.
    ///
    /// Not before `binary_cross_entropy`, which takes logits and applies it itself.
    ///
    /// ```nnopt
    /// sigmoid
    /// ```
    "sigmoid" => pub struct Sigmoid: Layer {}
}

impl Layer for Sigmoid {
    fn role(&self) -> Role {
        Role::Activation { saturates: true }
    }

    fn infer(&self, input: &Type) -> Result<Type, ShapeError> {
        Ok(Type { shape: input.shape.clone(), meaning: Meaning::Probabilities })
    }

    fn lower(&self, model: &mut ModelBuilder, input: Value) -> Value {
        model.graph.unary(Unary::Sigmoid, input)
    }
}
