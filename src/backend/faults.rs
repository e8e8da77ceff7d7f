//! Failures that are asked for, to test how processes end: only in builds with the feature `faults`.
//!
//! `NNOPTC_FAULT=1:panic:FILE` lets rank 1 fail in the first update that finds this file.

use std::path::Path;

use super::BackendError;
use super::peers::standing;

/// Whether this process is to fail so, now.
fn is_due(kind: &str) -> bool {
    let Ok(fault) = std::env::var("NNOPTC_FAULT") else { return false };
    let mut parts = fault.splitn(3, ':');
    let rank = parts.next().and_then(|rank| rank.parse().ok());
    rank == Some(standing().rank)
        && parts.next() == Some(kind)
        && parts.next().is_some_and(|file| Path::new(file).exists())
}

/// Before the update of a gang: `panic` or `error`.
pub fn in_an_update() -> Result<(), BackendError> {
    assert!(!is_due("panic"), "this panic was asked for");
    if is_due("error") {
        return Err(BackendError::Failed { device: "CPU".to_owned(), reason: "this was asked for".to_owned() });
    }
    Ok(())
}

/// On the thread of a replica: `thread`, a panic.
pub fn in_a_replica() {
    assert!(!is_due("thread"), "this panic of a thread was asked for");
}
