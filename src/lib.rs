//! `nnoptc` compiles a training pipeline, written as one `.nnopt` file, to a few fused kernels and runs it.

pub mod backend;
pub mod diagnostic;
pub mod ir;
pub mod passes;
pub mod plan;
pub mod source;
pub mod syntax;
