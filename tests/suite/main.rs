//! Tests of the whole: one binary, one module a subject.

mod cli;
mod diagnostics;
mod failures;
mod floors;
mod harness;
mod operations;
mod parity;
mod renderings;
mod training;
