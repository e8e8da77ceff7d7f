//! Losses.

use super::Loss;
use crate::ir::graph::count;
use crate::ir::{Builder, Value};
use crate::schema::Schema;

pub mod binary_cross_entropy;
pub mod cross_entropy;
pub mod mse;

/// Every loss, in the order of the reference.
pub const ALL: &[&Schema<dyn Loss>] =
    &[&cross_entropy::CrossEntropy::SCHEMA, &binary_cross_entropy::BinaryCrossEntropy::SCHEMA, &mse::Mse::SCHEMA];

/// The mean of all elements, a scalar.
fn mean_all(graph: &mut Builder, x: Value) -> Value {
    let n = count(graph.shape(x));
    let sum = graph.sum_all(x);
    graph.scale(sum, 1.0 / n as f64)
}
