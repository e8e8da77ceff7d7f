//! Which class is taken for which.

use super::accuracy::predicted_class;
use crate::ir::{Binary, Builder, Value};
use crate::item;
use crate::library::{Metric, ShapeError, TargetType, Type};

item! {
    /// Counts for each right class (row) how often each class (column) was found most likely.
    ///
    /// ```nnopt
    /// confusion
    /// ```
    "confusion" => pub struct Confusion: Metric {}
}

impl Metric for Confusion {
    fn name(&self) -> String {
        "confusion".to_owned()
    }

    fn check(&self, output: &Type, targets: TargetType) -> Result<(), ShapeError> {
        super::check_classes("confusion", output, targets)
    }

    fn lower(&self, graph: &mut Builder, output: Value, targets: Value) -> Value {
        // One output tells two classes apart.
        let classes = graph.shape(output)[1].max(2);
        let predicted = predicted_class(graph, output);
        let rows = one_hot(graph, targets, classes);
        let columns = one_hot(graph, predicted, classes);
        graph.matmul(rows, columns, true, false)
    }

    fn higher_is_better(&self) -> bool {
        true
    }
}

/// `u32 [batch]` to `f32 [batch, classes]`: 1 at the class, else 0.
fn one_hot(graph: &mut Builder, class: Value, classes: usize) -> Value {
    let shape = [graph.shape(class)[0], classes];
    let each = graph.iota(1, &shape);
    let class = graph.broadcast_axis(class, 0, &shape);
    graph.binary(Binary::Equal, each, class)
}
