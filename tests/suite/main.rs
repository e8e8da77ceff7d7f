//! Tests of the whole: one binary, one module a subject.

mod harness;
mod parity;
mod training;
