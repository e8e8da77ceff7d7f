//! The loss of regression.

use crate::ir::{Builder, Value};
use crate::item;
use crate::library::{Loss, ShapeError, TargetType, Type};

item! {
    /// The mean of the squared differences between outputs and targets, over all outputs of all samples.
    ///
    /// As `torch.nn.MSELoss`.
    ///
    /// ```nnopt
    /// mse
    /// ```
    "mse" aka "mse_loss", "mean_squared_error", "l2_loss" => pub struct Mse: Loss {}
}

impl Loss for Mse {
    fn is_regression(&self) -> bool {
        true
    }

    fn check(&self, output: &Type, targets: TargetType) -> Result<(), ShapeError> {
        match targets {
            TargetType::Classes(_) => Err(ShapeError::new("`mse` takes numbers as targets, found classes")
                .help("use `cross_entropy`, or `task = regression` in the data")),
            TargetType::Values(width) if output.shape != [width] => {
                let found = output.show();
                Err(ShapeError::new(format!("the model ends in {found}, the data has [batch, {width}] targets"))
                    .help(format!("end the model with `linear({width})`")))
            }
            TargetType::Values(_) => Ok(()),
        }
    }

    fn lower(&self, graph: &mut Builder, output: Value, targets: Value) -> Value {
        let difference = graph.sub(output, targets);
        let square = graph.mul(difference, difference);
        super::mean_all(graph, square)
    }
}
