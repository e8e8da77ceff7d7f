//! Activations most of whose units are 0 whatever the sample.

use super::{Context, show};
use crate::diagnostic::{Code, Diagnostic};

const CODE: Code = Code("W0604");

/// From this share on, the layer is narrower than it was meant to be.
const MANY: f64 = 0.5;

pub(super) fn advise(context: &Context) -> Vec<Diagnostic> {
    let Some((first, last)) = context.record.measured() else { return Vec::new() };
    let mut said = Vec::new();
    for (path, share) in last.dead.iter().filter(|(_, share)| *share >= MANY) {
        let Some(stage) = context.stage(path) else { continue };
        let message = format!("{}% of the units of `{}` are dead", show((share * 1000.0).round() / 10.0), stage.text);
        let mut diagnostic = Diagnostic::warning(CODE, stage.span, message).label("0 for every sample");
        let before = first.dead.iter().find(|(other, _)| other == path).map_or(0.0, |(_, share)| *share);
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
