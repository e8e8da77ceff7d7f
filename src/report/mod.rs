//! What people and files are told: diagnostics, progress, tables, the run folder.

pub mod curve;
pub mod diagnostics;
pub mod folder;
pub mod overview;
pub mod progress;
pub mod resolved;
pub mod table;
