//! A device that waits for the host.

use super::{Context, show};
use crate::diagnostic::{Applicability, Code, Diagnostic};

const CODE: Code = Code("W0607");

/// The share of the time from which on it is worth a word.
const MUCH: f64 = 0.3;

/// So many times the batch are offered.
const MORE: usize = 4;

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
        let train = &context.program.train;
        let diagnostic = Diagnostic::advice(CODE, train.batch_span, message)
            .label("few samples a step")
            .note(format!("choosing rows and writing inputs took {} s of {} s", show(preparing), show(seconds)))
            .help("a larger batch gives the device more to do for each word from the host");
        let larger = MORE * train.batch;
        let is_number = context.sources.text(train.batch_span).parse::<usize>().is_ok();
        said.push(
            match is_number && context.is_in_file(train.batch_span) && larger <= context.program.data.splits[0].rows {
                true => diagnostic.fix(
                    Applicability::Suggested,
                    format!("write `{larger}`"),
                    train.batch_span,
                    larger.to_string(),
                ),
                false => diagnostic,
            },
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
