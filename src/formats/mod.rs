//! File formats: bytes in, samples out, and the other way round.

mod bytes;
pub mod csv;
pub mod dataset;
pub mod error;
pub mod files;
pub mod idx;
mod labels;

pub use dataset::{Dataset, Header, Samples, TargetHeader, Targets, Task};
pub use error::{FormatError, Malformed, Place};
pub use files::{Disk, Files, Memory};
