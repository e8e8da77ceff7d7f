//! Tests of the whole: one binary, one module a subject.

mod advice;
mod chains;
mod cli;
mod diagnostics;
mod dispatches;
mod editors;
mod emit;
mod failures;
mod finders;
mod floors;
mod frozen;
mod harness;
mod lsp;
mod mixed;
mod normalization;
mod operations;
mod parallel;
mod parity;
mod renderings;
mod settings;
mod shell;
mod speed;
mod steps;
mod storage;
mod training;
