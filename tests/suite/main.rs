//! Tests of the whole: one binary, one module a subject.

mod cli;
mod diagnostics;
mod editors;
mod failures;
mod floors;
mod harness;
mod lsp;
mod operations;
mod parity;
mod training;
