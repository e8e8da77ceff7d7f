//! Where samples come from.

use super::Source;
use crate::formats::Task;
use crate::schema::Schema;
use crate::words;

pub mod csv;
pub mod idx;
pub mod image_folder;
pub mod npy;
pub mod npz;

/// Every source, in the order of the reference.
pub const ALL: &[&Schema<dyn Source>] =
    &[&csv::Csv::SCHEMA, &idx::Idx::SCHEMA, &npy::Npy::SCHEMA, &npz::Npz::SCHEMA, &image_folder::ImageFolder::SCHEMA];

words! {
    /// What a target is.
    pub enum TaskArg {
        /// One class of several.
        Classes = "classes",
        /// One or more numbers.
        Regression = "regression",
    }
}

impl From<TaskArg> for Task {
    fn from(arg: TaskArg) -> Task {
        match arg {
            TaskArg::Classes => Task::Classes,
            TaskArg::Regression => Task::Regression,
        }
    }
}
