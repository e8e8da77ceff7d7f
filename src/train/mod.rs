//! Steps, epochs, evaluation, checkpoints and early stopping: a program on a device.

pub mod events;
