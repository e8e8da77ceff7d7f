//! Optimizers.

use super::Optimizer;
use crate::schema::Schema;

pub mod sgd;

/// Every optimizer, in the order of the reference.
pub const ALL: &[&Schema<dyn Optimizer>] = &[&sgd::Sgd::SCHEMA];
