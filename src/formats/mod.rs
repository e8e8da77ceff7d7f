//! File formats: bytes in, samples out, and the other way round.

pub mod arrays;
pub mod atomic;
mod bytes;
pub mod csv;
pub mod dataset;
pub mod error;
pub mod files;
pub mod idx;
pub mod image_folder;
mod labels;
pub mod npy;
mod npy_header;
pub mod npz;
pub mod run_folder;
pub mod safetensors;

pub use dataset::{Dataset, Header, Samples, TargetHeader, Targets, Task};
pub use error::{FormatError, Malformed, Place};
pub use files::{Disk, Files, Memory};
