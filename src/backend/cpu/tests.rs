//! Kernels of the CPU executor against the definitions of the operations.
