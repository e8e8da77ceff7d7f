//! The exponential linear unit.

use crate::ir::{Binary, Unary, Value};
use crate::item;
use crate::library::{Layer, ModelBuilder, Role, ShapeError, Type};
use crate::schema::Real;

item! {
    /// Bends negative numbers towards `−alpha`: `x` if `x > 0`, else `alpha·(eˣ − 1)`.
    ///
    /// As `torch.nn.ELU`.
    ///
    /// ```nnopt
    /// elu(alpha = 0.5)
    /// ```
    "elu" => pub struct Elu: Layer {
        /// How far below 0 the result can come.
        alpha: Real = Real(1.0),
    }
}

impl Layer for Elu {
    fn role(&self) -> Role {
        Role::Activation { saturates: false }
    }

    fn infer(&self, input: &Type) -> Result<Type, ShapeError> {
        Ok(Type::features(input.shape.clone()))
    }

    fn lower(&self, model: &mut ModelBuilder, input: Value) -> Value {
        let zero = model.graph.like(input, 0.0);
        let positive = model.graph.binary(Binary::Less, zero, input);
        // The exponential sees no positive number: its overflow would make the gradient 0·∞. A `Min` would drop NaN.
        let negative = model.graph.select(positive, zero, input);
        let exponential = model.graph.unary(Unary::Exp, negative);
        let below = model.graph.offset(exponential, -1.0);
        let scaled = model.graph.scale(below, self.alpha.0);
        model.graph.select(positive, input, scaled)
    }
}
