//! The language server: what `nnoptc` knows of a pipeline, in an editor, while it is written.
//!
//! One thread owns the open texts and answers requests from their syntax and from what the threads of `analysis`
//! have found. Floors 0 to 5 only: no device is ever opened here.

mod actions;
mod analysis;
mod completion;
mod context;
mod diagnostics;
mod document;
mod folding;
mod hover;
mod inlay;
mod lens;
mod names;
#[cfg(test)]
mod robustness;
mod server;
mod signature;
mod symbols;
mod tokens;
mod uri;

pub use server::{Ended, run, serve};
