//! Tests of the whole: one binary, one module a subject.

mod cli;
mod diagnostics;
mod failures;
mod floors;
mod harness;
mod normalization;
mod operations;
mod parity;
mod training;
