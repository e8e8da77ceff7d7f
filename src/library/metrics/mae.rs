//! The mean absolute error.

use crate::ir::{Builder, Unary, Value};
use crate::item;
use crate::library::{Metric, ShapeError, TargetType, Type};

item! {
    /// The mean of the absolute differences between outputs and targets.
    ///
    /// With several outputs, their mean.
    ///
    /// ```nnopt
    /// mae
    /// ```
    "mae" => pub struct Mae: Metric {}
}

impl Metric for Mae {
    fn name(&self) -> String {
        "mae".to_owned()
    }

    fn check(&self, output: &Type, targets: TargetType) -> Result<(), ShapeError> {
        super::check_values("mae", output, targets)
    }

    fn lower(&self, graph: &mut Builder, output: Value, targets: Value) -> Value {
        let outputs = graph.shape(output)[1];
        let difference = graph.sub(output, targets);
        let size = graph.unary(Unary::Abs, difference);
        let sum = graph.sum_all(size);
        graph.scale(sum, 1.0 / outputs as f64)
    }

    fn higher_is_better(&self) -> bool {
        false
    }
}
