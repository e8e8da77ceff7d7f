//! The loss of yes or no.

use crate::ir::{Builder, DType, Unary, Value};
use crate::item;
use crate::library::{Loss, Meaning, ShapeError, TargetType, Type};
use crate::schema::Positive;

item! {
    /// The negative log-likelihood of yes-or-no targets under the sigmoid of the model's scores.
    ///
    /// Takes logits, not probabilities: the sigmoid is part of the loss. With targets `t` from 0 to 1 it is the mean
    /// of `pos_weight·t·ln(1 + e⁻ˣ) + (1 − t)·ln(1 + eˣ)` over all outputs, as `torch.nn.BCEWithLogitsLoss`. For two
    /// classes the model has one output, the score of the second class.
    ///
    /// ```nnopt
    /// binary_cross_entropy(pos_weight = 3)
    /// ```
    "binary_cross_entropy" aka "bce", "bce_loss", "bce_with_logits", "bce_with_logits_loss", "binary_crossentropy" => pub struct BinaryCrossEntropy: Loss {
        /// How much more a missed yes counts than a false one.
        pos_weight: Positive = Positive(1.0),
    }
}

impl Loss for BinaryCrossEntropy {
    fn weighs_classes(&self) -> Option<bool> {
        Some(self.pos_weight.0 != 1.0)
    }

    fn check(&self, output: &Type, targets: TargetType) -> Result<(), ShapeError> {
        let remove = match output.meaning {
            Meaning::Features => None,
            Meaning::Probabilities => Some("remove the `sigmoid`: the loss applies it"),
            Meaning::Distribution => Some("remove the `softmax`: the loss applies a sigmoid"),
        };
        if let Some(help) = remove {
            return Err(ShapeError::new("`binary_cross_entropy` takes logits, found probabilities").help(help));
        }
        let units = match targets {
            TargetType::Classes(classes) if classes > 2 => {
                let message = format!("`binary_cross_entropy` is for two classes, the data has {classes}");
                return Err(ShapeError::new(message).help("use `cross_entropy`"));
            }
            TargetType::Classes(_) => 1,
            TargetType::Values(width) => width,
        };
        if output.shape == [units] {
            return Ok(());
        }
        let found = output.show();
        let message = match targets {
            TargetType::Classes(_) => {
                format!("`binary_cross_entropy` takes one output for two classes, the model ends in {found}")
            }
            TargetType::Values(width) => format!("the model ends in {found}, the data has [batch, {width}] targets"),
        };
        Err(ShapeError::new(message).help(format!("end the model with `linear({units})`")))
    }

    fn lower(&self, graph: &mut Builder, output: Value, targets: Value) -> Value {
        let shape = graph.shape(output).to_vec();
        let targets = graph.reshape(targets, &shape);
        let targets = graph.cast(targets, DType::F32);
        // (1 − t)·x + (1 + (pos_weight − 1)·t)·ln(1 + e⁻ˣ), the same without overflow.
        let negative = graph.unary(Unary::Negate, output);
        let mut miss = graph.unary(Unary::Softplus, negative);
        if self.pos_weight.0 != 1.0 {
            let more = graph.scale(targets, self.pos_weight.0 - 1.0);
            let weight = graph.offset(more, 1.0);
            miss = graph.mul(miss, weight);
        }
        let no = graph.one_minus(targets);
        let score = graph.mul(no, output);
        let losses = graph.add(score, miss);
        super::mean_all(graph, losses)
    }
}
