//! Preparing data: splits, statistics, sampling.
