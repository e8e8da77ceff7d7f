//! Schedules.

use super::Schedule;
use crate::schema::Schema;

pub mod constant;

/// Every schedule, in the order of the reference.
pub const ALL: &[&Schema<dyn Schedule>] = &[&constant::Constant::SCHEMA];
