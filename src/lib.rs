//! `nnoptc` compiles a training pipeline, written as one `.nnopt` file, to a few fused kernels and runs it.

pub mod backend;
pub mod data;
pub mod diagnostic;
pub mod formats;
pub mod ir;
pub mod plan;
pub mod source;
pub mod syntax;
