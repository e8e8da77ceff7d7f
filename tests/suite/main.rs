//! Tests of the whole: one binary, one module a subject.

mod chains;
mod cli;
mod diagnostics;
mod dispatches;
mod editors;
mod emit;
mod failures;
mod floors;
mod frozen;
mod harness;
mod lsp;
mod normalization;
mod operations;
mod parity;
mod renderings;
mod settings;
mod speed;
mod steps;
mod training;
