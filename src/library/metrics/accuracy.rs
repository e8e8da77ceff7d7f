//! The share of samples that are right.

use crate::ir::{Binary, Builder, DType, ReduceKind, Value};
use crate::item;
use crate::library::{Metric, ShapeError, TargetType, Type};

item! {
    /// The share of samples whose most likely class is the right one.
    ///
    /// A model with one output is right where the sign of its score says the class (0 or 1).
    ///
    /// ```nnopt
    /// accuracy
    /// ```
    "accuracy" => pub struct Accuracy: Metric {}
}

impl Metric for Accuracy {
    fn name(&self) -> String {
        "accuracy".to_owned()
    }

    fn check(&self, output: &Type, targets: TargetType) -> Result<(), ShapeError> {
        super::check_classes("accuracy", output, targets)
    }

    fn lower(&self, graph: &mut Builder, output: Value, targets: Value) -> Value {
        let predicted = predicted_class(graph, output);
        let right = graph.binary(Binary::Equal, predicted, targets);
        graph.sum_all(right)
    }

    fn higher_is_better(&self) -> bool {
        true
    }
}

/// The most likely class of each sample, `u32 [batch]`.
pub fn predicted_class(graph: &mut Builder, output: Value) -> Value {
    let batch = graph.shape(output)[0];
    let predicted = if graph.shape(output)[1] == 1 {
        let zero = graph.like(output, 0.0);
        let positive = graph.binary(Binary::Less, zero, output);
        graph.cast(positive, DType::U32)
    } else {
        graph.reduce(ReduceKind::ArgMax, output, &[1])
    };
    graph.reshape(predicted, &[batch])
}
