//! `nnoptc` compiles a training pipeline, written as one `.nnopt` file, to a few fused kernels and runs it.

pub mod backend;
pub mod check;
pub mod cli;
pub mod data;
pub mod diagnostic;
pub mod explain;
pub mod figures;
pub mod formats;
pub mod ir;
pub mod library;
pub mod lower;
pub mod lsp;
pub mod passes;
pub mod plan;
pub mod report;
pub mod schema;
pub mod source;
pub mod syntax;
pub mod train;
