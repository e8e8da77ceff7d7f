//! Losses.

use super::Loss;
use crate::schema::Schema;

pub mod cross_entropy;

/// Every loss, in the order of the reference.
pub const ALL: &[&Schema<dyn Loss>] = &[&cross_entropy::CrossEntropy::SCHEMA];
