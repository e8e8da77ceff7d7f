//! A loss that was not finite, or that rose and stayed there.

use super::{Context, show};
use crate::diagnostic::{Code, Diagnostic};

const CODE: Code = Code("W0601");

/// A training loss so many times its lowest has risen.
const RISEN: f64 = 1.5;

pub(super) fn advise(context: &Context) -> Vec<Diagnostic> {
    let optimizer = &context.program.optimizer;
    let span = optimizer.span_of("lr");
    let diagnostic = if let Some(failure) = &context.record.failure {
        let what = if failure.starts_with("the weights") { "the weights" } else { "the loss" };
        let diagnostic = Diagnostic::warning(
            CODE,
            span,
            format!("the training diverged: {what} were not finite").replace("loss were", "loss was"),
        )
        .label("the first thing to lower")
        .note(failure.clone());
        match context.given_initializers().first() {
            Some(init) => diagnostic.also(*init, "or the cause, if weights begin too large"),
            None => diagnostic,
        }
    } else {
        let losses = context.record.series("train.loss");
        let (Some(&(_, first)), Some(&(end, last))) = (losses.first(), losses.last()) else { return Vec::new() };
        let (best, lowest) = losses.iter().copied().fold((0, f64::INFINITY), |a, b| if b.1 < a.1 { b } else { a });
        // A loss may be below 0; then a multiple of it says nothing.
        if lowest < 0.0 || last < RISEN * lowest || last < first || losses.len() < 3 {
            return Vec::new();
        }
        let message = format!("the training loss rose from {} to {}", show(lowest), show(last));
        Diagnostic::warning(CODE, span, message)
            .label("steps too long for this model")
            .note(format!("it was lowest after epoch {best}, and higher after epoch {end} than after the first"))
    };
    vec![context.offer_rate(diagnostic, 0.1)]
}
