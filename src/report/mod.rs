//! What people and programs are told: diagnostics, progress and results.

pub mod diagnostics;
