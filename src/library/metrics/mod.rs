//! Metrics.

use super::Metric;
use crate::schema::Schema;

pub mod accuracy;

/// Every metric, in the order of the reference.
pub const ALL: &[&Schema<dyn Metric>] = &[&accuracy::Accuracy::SCHEMA];
