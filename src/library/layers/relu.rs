//! The rectifier.

use crate::ir::{Unary, Value};
use crate::item;
use crate::library::{Layer, ModelBuilder, Role, ShapeError, Type};

item! {
    /// Sets negative numbers to 0: `max(0, x)`.
    ///
    /// ```nnopt
    /// relu
    /// ```
    "relu" => pub struct Relu: Layer {}
}

impl Layer for Relu {
    fn role(&self) -> Role {
        Role::Activation { saturates: false }
    }

    fn is_idempotent(&self) -> bool {
        true
    }

    fn infer(&self, input: &Type) -> Result<Type, ShapeError> {
        Ok(Type::features(input.shape.clone()))
    }

    fn lower(&self, model: &mut ModelBuilder, input: Value) -> Value {
        model.graph.unary(Unary::Relu, input)
    }
}
