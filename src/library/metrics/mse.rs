//! The mean squared error.

use crate::ir::{Builder, Value};
use crate::item;
use crate::library::{Metric, ShapeError, TargetType, Type};

item! {
    /// The mean of the squared differences between outputs and targets.
    ///
    /// With several outputs, their mean.
    ///
    /// ```nnopt
    /// mse
    /// ```
    "mse" aka "mse_loss", "mean_squared_error", "l2_loss" => pub struct Mse: Metric {}
}

impl Metric for Mse {
    fn name(&self) -> String {
        "mse".to_owned()
    }

    fn check(&self, output: &Type, targets: TargetType) -> Result<(), ShapeError> {
        super::check_values("mse", output, targets)
    }

    fn lower(&self, graph: &mut Builder, output: Value, targets: Value) -> Value {
        let outputs = graph.shape(output)[1];
        let difference = graph.sub(output, targets);
        let size = graph.mul(difference, difference);
        let sum = graph.sum_all(size);
        graph.scale(sum, 1.0 / outputs as f64)
    }

    fn higher_is_better(&self) -> bool {
        false
    }
}
