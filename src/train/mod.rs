//! Steps, epochs, evaluation, checkpoints and early stopping: a program on a device.

pub mod checkpoint;
pub mod device;
mod diagnose;
pub mod evaluate;
pub mod events;
mod feed;
pub mod find_rate;
pub mod health;
pub mod initialize;
mod keep;
pub mod measure;
pub mod memory;
mod monitor;
pub mod run;
#[cfg(test)]
mod tests;

pub use crate::plan::prepare;
