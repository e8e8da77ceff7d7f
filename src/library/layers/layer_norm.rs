//! Normalization of each sample.

use crate::ir::Value;
use crate::ir::graph::Init;
use crate::item;
use crate::library::{Layer, ModelBuilder, Role, ShapeError, Type};
use crate::schema::Positive;

item! {
    /// Brings all numbers of each sample to mean 0 and variance 1.
    ///
    /// `y = (x − mean)/√(variance + eps)·weight + bias` with the biased variance, over all axes but the batch; `weight`
    /// and `bias` have one number for each of the sample's. As `torch.nn.LayerNorm`.
    ///
    /// ```nnopt
    /// layer_norm
    /// ```
    "layer_norm" aka "ln", "layer_normalization" => pub struct LayerNorm: Layer {
        /// Added to the variance, against division by 0.
        eps: Positive = Positive(1e-5),
        /// Whether to scale and shift the result by learned numbers.
        affine: bool = true,
    }
}

impl Layer for LayerNorm {
    fn role(&self) -> Role {
        Role::Normalization
    }

    fn infer(&self, input: &Type) -> Result<Type, ShapeError> {
        Ok(Type::features(input.shape.clone()))
    }

    fn lower(&self, model: &mut ModelBuilder, input: Value) -> Value {
        let shape = model.graph.shape(input).to_vec();
        let axes: Vec<usize> = (1..shape.len()).collect();
        let normal = model.graph.standardize(input, &axes, self.eps.0).result;
        if !self.affine {
            return normal;
        }
        let weight = self.learned(model, "weight", 1.0, &shape);
        let bias = self.learned(model, "bias", 0.0, &shape);
        let scaled = model.graph.mul(normal, weight);
        model.graph.add(scaled, bias)
    }
}

impl LayerNorm {
    fn learned(&self, model: &mut ModelBuilder, name: &str, fill: f64, shape: &[usize]) -> Value {
        let weight = model.weight(name, &shape[1..], Init::Fill(fill));
        let mut one = shape.to_vec();
        one[0] = 1;
        let one = model.graph.reshape(weight, &one);
        model.graph.broadcast(one, shape)
    }
}
