//! Metrics.

use super::{Metric, ShapeError, TargetType, Type};
use crate::schema::Schema;

pub mod accuracy;
pub mod confusion;
pub mod mae;
pub mod mse;
pub mod top_k;

/// Every metric, in the order of the reference.
pub const ALL: &[&Schema<dyn Metric>] = &[
    &accuracy::Accuracy::SCHEMA,
    &top_k::TopK::SCHEMA,
    &confusion::Confusion::SCHEMA,
    &mae::Mae::SCHEMA,
    &mse::Mse::SCHEMA,
];

/// Whether the targets are classes and the output has a score for each, or one score for two.
fn check_classes(item: &str, output: &Type, targets: TargetType) -> Result<(), ShapeError> {
    match targets {
        TargetType::Values(_) => {
            Err(ShapeError::new(format!("`{item}` is for classes, found numbers as targets")).help("use `mae`"))
        }
        TargetType::Classes(classes) if output.shape == [classes] || output.shape == [1] && classes <= 2 => Ok(()),
        TargetType::Classes(classes) => {
            Err(ShapeError::new(format!("the model ends in {}, the data has {classes} classes", output.show()))
                .help(format!("end the model with `linear({classes})`")))
        }
    }
}

/// Whether the targets are as many numbers as the output.
fn check_values(item: &str, output: &Type, targets: TargetType) -> Result<(), ShapeError> {
    match targets {
        TargetType::Classes(_) => {
            Err(ShapeError::new(format!("`{item}` is for numbers, found classes as targets")).help("use `accuracy`"))
        }
        TargetType::Values(width) if output.shape == [width] => Ok(()),
        TargetType::Values(width) => {
            let found = output.show();
            Err(ShapeError::new(format!("the model ends in {found}, the data has [batch, {width}] targets"))
                .help(format!("end the model with `linear({width})`")))
        }
    }
}
