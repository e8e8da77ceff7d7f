//! Tests of the whole: one binary, one module a subject.

mod cli;
mod floors;
mod harness;
mod parity;
mod training;
