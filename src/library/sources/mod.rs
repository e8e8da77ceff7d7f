//! Where samples come from.

use super::Source;
use crate::schema::Schema;

pub mod idx;

/// Every source, in the order of the reference.
pub const ALL: &[&Schema<dyn Source>] = &[&idx::Idx::SCHEMA];
