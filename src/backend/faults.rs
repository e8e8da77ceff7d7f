//! Faults on demand, for tests of what follows from them: only in builds with debug assertions, only by `NNOPTC_FAULT`.
//!
//! `panic 1 FILE` lets rank 1 panic in the first update that finds this file; `error` fails there, and `thread` panics on the
//! thread of a replica. What GPUs do wrong is in `gpu::fault`.

use std::path::Path;

use super::BackendError;
use super::peers::standing;

/// The faults that there are.
const KINDS: [&str; 6] = ["hang", "lose", "wrong", "panic", "error", "thread"];

/// What a fault of this kind is about, if it is the one that is wanted.
pub(super) fn wanted(kind: &str) -> Option<String> {
    let text = std::env::var("NNOPTC_FAULT").ok()?;
    let (found, rest) =
        text.split_once(' ').unwrap_or_else(|| panic!("a fault is a word and what it is about: {text}"));
    assert!(KINDS.contains(&found) && KINDS.contains(&kind), "there is no fault `{found}`, or no `{kind}`");
    (found == kind).then(|| rest.to_owned())
}

/// Whether this process is to fail so, now.
fn is_due(kind: &str) -> bool {
    let Some(about) = wanted(kind) else { return false };
    let (rank, file) = about.split_once(' ').unwrap_or_else(|| panic!("a rank and a file are wanted: {about}"));
    rank.parse() == Ok(standing().rank) && Path::new(file).exists()
}

/// Before the update of a gang.
pub(super) fn in_an_update() -> Result<(), BackendError> {
    assert!(!is_due("panic"), "this panic was asked for");
    if is_due("error") {
        return Err(BackendError::Failed { device: "CPU".to_owned(), reason: "this was asked for".to_owned() });
    }
    Ok(())
}

/// On the thread of a replica.
pub(super) fn in_a_replica() {
    assert!(!is_due("thread"), "this panic of a thread was asked for");
}
