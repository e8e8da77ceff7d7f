//! The names of the files of a run folder.

/// The pipeline as given.
pub const PIPELINE: &str = "pipeline.nnopt";
/// The pipeline with every value.
pub const RESOLVED: &str = "resolved.nnopt";
/// One object a line.
pub const METRICS: &str = "metrics.jsonl";
/// The end.
pub const SUMMARY: &str = "summary.json";
/// How the run was started.
pub const COMMAND: &str = "command.json";
/// The folder of checkpoints.
pub const CHECKPOINTS: &str = "checkpoints";
