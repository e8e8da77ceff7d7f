//! Activations most of whose units are 0 whatever the sample.

use super::{Context, show};
use crate::diagnostic::{Code, Diagnostic};

const CODE: Code = Code("W0604");

/// From this share on, units have died if there are more than at first. Many trainings that go well begin with half of
/// the units at 0 for a few samples of few features.
const MANY: f64 = 0.5;

/// By so much the share has to have grown.
const GROWN: f64 = 0.2;

/// From this share on, it says enough by itself.
const MOST: f64 = 0.8;

pub(super) fn advise(context: &Context) -> Vec<Diagnostic> {
    let Some((first, last)) = context.record.measured() else { return Vec::new() };
    let mut said = Vec::new();
    for (path, share) in last.dead.iter().filter(|(_, share)| *share >= MANY) {
        let Some(stage) = context.stage(path) else { continue };
        let before = first.dead.iter().find(|(other, _)| other == path).map_or(0.0, |(_, share)| *share);
        if *share < MOST && *share < before + GROWN {
            continue;
        }
        let message = format!("{}% of the units of `{}` are dead", show((share * 1000.0).round() / 10.0), stage.text);
        let mut diagnostic = Diagnostic::warning(CODE, stage.span, message).label("0 for every sample");
        if first.number < last.number {
            let before = show((before * 1000.0).round() / 10.0);
            diagnostic = diagnostic.note(format!(
                "after epoch {}; it was {before}% after epoch {}: a unit that is 0 for all samples has no gradient",
                last.number, first.number
            ));
        }
        said.push(diagnostic.also(context.program.optimizer.span_of("lr"), "long steps kill units"));
    }
    // One rate is lowered once.
    if let Some(diagnostic) = said.pop() {
        said.push(context.offer_rate(diagnostic, 0.3));
    }
    said
}
