//! Hand-computed numbers for each operation.
