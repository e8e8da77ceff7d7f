//! `nnoptc` compiles a training pipeline, written as one `.nnopt` file, to a few fused kernels and runs it.

pub mod diagnostic;
pub mod report;
pub mod source;
pub mod syntax;
