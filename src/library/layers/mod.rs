//! Layers of the model.

use super::Layer;
use crate::schema::Schema;

pub mod linear;
pub mod relu;

/// Every layer, in the order of the reference.
pub const ALL: &[&Schema<dyn Layer>] = &[&linear::Linear::SCHEMA, &relu::Relu::SCHEMA];
