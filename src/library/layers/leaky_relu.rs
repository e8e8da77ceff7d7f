//! The rectifier with a leak.

use crate::ir::{Binary, Value};
use crate::item;
use crate::library::{Layer, ModelBuilder, Role, ShapeError, Type};
use crate::schema::Real;

item! {
    /// Multiplies negative numbers by a small slope: `x` if `x > 0`, else `slope·x`.
    ///
    /// As `torch.nn.LeakyReLU`, whose slope is 0.01; Keras begins with 0.3.
    ///
    /// ```nnopt
    /// leaky_relu(0.2)
    /// ```
    "leaky_relu" => pub struct LeakyRelu: Layer {
        /// The factor of negative numbers.
        slope: Real = Real(0.01),
    }
}

impl Layer for LeakyRelu {
    fn role(&self) -> Role {
        Role::Activation { saturates: false }
    }

    fn infer(&self, input: &Type) -> Result<Type, ShapeError> {
        Ok(Type::features(input.shape.clone()))
    }

    fn lower(&self, model: &mut ModelBuilder, input: Value) -> Value {
        let zero = model.graph.like(input, 0.0);
        let positive = model.graph.binary(Binary::Less, zero, input);
        let leak = model.graph.scale(input, self.slope.0);
        model.graph.select(positive, input, leak)
    }
}
