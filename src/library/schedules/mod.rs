//! Schedules.

use super::Schedule;
use crate::schema::Schema;

pub mod constant;
pub mod cosine;
pub mod step;

/// Every schedule, in the order of the reference.
pub const ALL: &[&Schema<dyn Schedule>] = &[&constant::Constant::SCHEMA, &step::Step::SCHEMA, &cosine::Cosine::SCHEMA];
