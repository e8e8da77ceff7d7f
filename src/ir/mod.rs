//! The tensor program: a closed set of operations on statically shaped values.

pub mod builder;
pub mod graph;
pub mod interpret;
pub mod op;
pub mod print;
pub mod random;
pub mod scalar;
mod standardize;
pub mod verify;

pub use builder::Builder;
pub use graph::{DataId, DataInfo, Graph, InputId, InputInfo, Node, StateId, StateInfo, StateKind, States, Value};
pub use op::{ConvGeometry, DType, Op, PoolGeometry, ReduceKind};
pub use scalar::{Binary, Unary};
pub use standardize::Standardized;

/// Sizes of a value, outermost axis first; empty for a scalar.
pub type Shape = Vec<usize>;
