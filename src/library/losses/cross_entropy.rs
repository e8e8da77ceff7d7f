//! The loss of classification.

use crate::ir::{Binary, Builder, DType, ReduceKind, Unary, Value};
use crate::item;
use crate::library::{Loss, Meaning, ShapeError, TargetType, Type};
use crate::schema::{NonNegative, Probability};

item! {
    /// The negative log-likelihood of the right class under the softmax of the model's scores.
    ///
    /// Takes logits, not probabilities: the softmax is part of the loss. As `torch.nn.CrossEntropyLoss`: with
    /// smoothing `s` and `C` classes the target is `1 − s + s/C` for the right class and `s/C` for the others; with
    /// class weights the mean is divided by the sum of the weights of the batch's classes.
    ///
    /// ```nnopt
    /// cross_entropy(label_smoothing = 0.1)
    /// ```
    "cross_entropy" aka "cross_entropy_loss", "categorical_crossentropy", "sparse_categorical_crossentropy", "nll" => pub struct CrossEntropy: Loss {
        /// Share of the target spread over all classes.
        label_smoothing: Probability = Probability(0.0),
        /// One weight a class; all 1 if `none`.
        weights: Option<Vec<NonNegative>> = None,
    }
}

impl Loss for CrossEntropy {
    fn weighs_classes(&self) -> Option<bool> {
        Some(self.weights.is_some())
    }

    fn check(&self, output: &Type, targets: TargetType) -> Result<(), ShapeError> {
        let TargetType::Classes(classes) = targets else {
            return Err(ShapeError::new("`cross_entropy` takes classes as targets, found numbers")
                .help("use `mse`, or `task = classes` in the data"));
        };
        if output.meaning == Meaning::Distribution {
            return Err(ShapeError::new("`cross_entropy` takes logits, found probabilities")
                .help("remove the `softmax`: the loss applies it"));
        }
        if output.meaning == Meaning::Probabilities {
            return Err(ShapeError::new("`cross_entropy` takes logits, found probabilities")
                .help("remove the `sigmoid`: the loss applies a softmax"));
        }
        if output.shape != [classes] {
            return Err(ShapeError::new(format!(
                "the model ends in {}, the data has {classes} classes",
                output.show()
            ))
            .help("end the model with `linear(classes)`"));
        }
        match &self.weights {
            Some(weights) if weights.len() != classes => {
                Err(ShapeError::new(format!("{} class weights for {classes} classes", weights.len())).at("weights"))
            }
            _ => Ok(()),
        }
    }

    fn lower(&self, graph: &mut Builder, output: Value, targets: Value) -> Value {
        let shape = graph.shape(output).to_vec();
        let classes = shape[1];
        let log_share = log_softmax(graph, output);
        let class = graph.iota(1, &shape);
        let target = graph.broadcast_axis(targets, 0, &shape);
        let right = graph.binary(Binary::Equal, class, target);
        let smoothing = self.label_smoothing.0;
        let scaled = if smoothing > 0.0 { graph.scale(right, 1.0 - smoothing) } else { right };
        let mut wanted = if smoothing > 0.0 { graph.offset(scaled, smoothing / classes as f64) } else { scaled };
        let mut total = graph.constant(shape[0] as f64, &[]);
        if let Some(weights) = &self.weights {
            let weight = class_weights(graph, &weights.iter().map(|weight| weight.0).collect::<Vec<_>>(), &shape);
            wanted = graph.mul(wanted, weight);
            let of_target = graph.mul(right, weight);
            total = graph.sum_all(of_target);
        }
        let likelihood = graph.mul(wanted, log_share);
        let sum = graph.sum_all(likelihood);
        let mean = graph.div(sum, total);
        graph.unary(Unary::Negate, mean)
    }
}

/// One number a class, spread over `[batch, classes]`.
fn class_weights(graph: &mut Builder, weights: &[f64], shape: &[usize]) -> Value {
    let parts: Vec<Value> = weights.iter().map(|&weight| graph.constant(weight, &[1])).collect();
    let vector = graph.concat(&parts, 0);
    graph.broadcast_axis(vector, 1, shape)
}

/// `x − max − ln Σ e^(x − max)` along the last axis of `[batch, classes]`.
pub fn log_softmax(graph: &mut Builder, x: Value) -> Value {
    let shape = graph.shape(x).to_vec();
    let max = graph.reduce(ReduceKind::Max, x, &[1]);
    let max = graph.broadcast(max, &shape);
    let shifted = graph.sub(x, max);
    let exponential = graph.unary(Unary::Exp, shifted);
    let sum = graph.sum(exponential, &[1]);
    let log = graph.unary(Unary::Log, sum);
    let log = graph.broadcast(log, &shape);
    debug_assert_eq!(graph.graph.dtype(x), DType::F32);
    graph.sub(shifted, log)
}
