//! Scores as shares.

use crate::ir::{ReduceKind, Unary, Value};
use crate::item;
use crate::library::{Layer, Meaning, ModelBuilder, ShapeError, Type};

item! {
    /// Turns scores into shares that add up to 1: `e^(xᵢ − max)/Σ e^(xⱼ − max)`.
    ///
    /// Not before `cross_entropy`, which takes logits and applies it itself. As `torch.nn.Softmax` over the last axis.
    ///
    /// ```nnopt
    /// softmax
    /// ```
    "softmax" => pub struct Softmax: Layer {}
}

impl Layer for Softmax {
    fn infer(&self, input: &Type) -> Result<Type, ShapeError> {
        match input.shape[..] {
            [features] => Ok(Type { shape: vec![features], meaning: Meaning::Distribution }),
            _ => Err(ShapeError::new(format!("`softmax` takes [batch, features], found {}", input.show()))
                .help("put `flatten` before it")),
        }
    }

    fn lower(&self, model: &mut ModelBuilder, input: Value) -> Value {
        let shape = model.graph.shape(input).to_vec();
        let max = model.graph.reduce(ReduceKind::Max, input, &[1]);
        let max = model.graph.broadcast(max, &shape);
        let shifted = model.graph.sub(input, max);
        let exponential = model.graph.unary(Unary::Exp, shifted);
        let sum = model.graph.sum(exponential, &[1]);
        let sum = model.graph.broadcast(sum, &shape);
        model.graph.div(exponential, sum)
    }
}
