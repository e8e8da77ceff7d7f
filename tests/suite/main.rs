//! Tests of the whole: one binary, one module a subject.

mod cli;
mod floors;
mod harness;
mod operations;
mod parity;
mod training;
