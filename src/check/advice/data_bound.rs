//! A device that waits for the host.

use super::{Context, show};
use crate::diagnostic::{Code, Diagnostic};

const CODE: Code = Code("W0607");

/// The share of the time from which on it is worth a word.
const MUCH: f64 = 0.3;

/// Shorter trainings are not worth it, in seconds.
const SHORT: f64 = 10.0;

pub(super) fn advise(context: &Context) -> Vec<Diagnostic> {
    let record = context.record;
    let seconds = record.epochs.last().map_or(0.0, |epoch| epoch.seconds).max(record.seconds);
    let preparing: f64 = record.epochs.iter().map(|epoch| epoch.data_seconds).sum();
    let percent = |part: f64, whole: f64| format!("{}%", show((part / whole * 100.0).round()));
    let mut said = Vec::new();
    if seconds >= SHORT && preparing >= MUCH * seconds {
        let share = percent(preparing, seconds);
        let message = format!("the device waited for the host in {share} of the training");
        said.push(
            Diagnostic::advice(CODE, context.program.train.batch_span, message)
                .label("few samples a step")
                .note(format!("choosing rows and writing inputs took {} s of {} s", show(preparing), show(seconds)))
                .help("a larger batch gives the device more to do for each word from the host"),
        );
    }
    let whole = seconds + record.load_seconds;
    if whole >= SHORT && record.load_seconds >= MUCH * whole {
        let share = percent(record.load_seconds, whole);
        let message = format!("reading the data took {share} of the run");
        said.push(
            Diagnostic::advice(CODE, context.program.data.splits[0].span, message)
                .label("read and decoded before the first step")
                .note(format!("{} s, and {} s for the training", show(record.load_seconds), show(seconds)))
                .help("keep the samples as one array of bytes, as `npy` and `idx` files do"),
        );
    }
    said
}
