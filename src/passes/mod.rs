//! Graph to graph.

pub mod differentiate;
