//! Noise against overfitting.

use crate::ir::{Binary, Value};
use crate::item;
use crate::library::{Layer, ModelBuilder, Role, ShapeError, Type};
use crate::schema::Probability;

item! {
    /// Zeroes a random share of the numbers while training.
    ///
    /// Those that stay are scaled by `1/(1 − rate)`, so that evaluation changes nothing. As `torch.nn.Dropout`.
    ///
    /// ```nnopt
    /// dropout(0.3)
    /// ```
    "dropout" => pub struct Dropout: Layer {
        /// The share that is zeroed.
        rate: Probability = Probability(0.5),
    }
}

impl Layer for Dropout {
    fn role(&self) -> Role {
        Role::Dropout
    }

    fn changes_nothing(&self, _input: &Type) -> bool {
        self.rate.0 == 0.0
    }

    fn infer(&self, input: &Type) -> Result<Type, ShapeError> {
        Ok(Type::features(input.shape.clone()))
    }

    fn lower(&self, model: &mut ModelBuilder, input: Value) -> Value {
        let rate = self.rate.0;
        if !model.training || rate == 0.0 {
            return input;
        }
        let shape = model.graph.shape(input).to_vec();
        let uniform = model.random(&shape);
        let limit = model.graph.like(uniform, rate);
        let kept = model.graph.binary(Binary::LessEqual, limit, uniform);
        // What the backward pass needs is only zeros and ones.
        let masked = model.graph.mul(input, kept);
        model.graph.scale(masked, 1.0 / (1.0 - rate))
    }
}
