//! From a graph to what a device runs: kernels in order, and a place in memory for everything.

pub mod kernel;

pub use kernel::{Access, Body, BufferRef, Instr, Kernel, KernelKind, Load, Place, Plan, Reduction, Reg, StepLayout, Store};
