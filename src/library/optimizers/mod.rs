//! Optimizers.

use super::Optimizer;
use crate::schema::Schema;

pub mod adagrad;
pub mod adam;
pub mod adamw;
mod parts;
pub mod rmsprop;
pub mod sgd;

/// Every optimizer, in the order of the reference.
pub const ALL: &[&Schema<dyn Optimizer>] = &[
    &sgd::Sgd::SCHEMA,
    &adagrad::Adagrad::SCHEMA,
    &rmsprop::RmsProp::SCHEMA,
    &adam::Adam::SCHEMA,
    &adamw::AdamW::SCHEMA,
];
