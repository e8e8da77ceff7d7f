//! Text to a lossless tree to the abstract syntax.

pub mod ast;
