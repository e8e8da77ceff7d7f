//! A training loss that has stopped falling.

use super::{Context, show};
use crate::diagnostic::{Applicability, Code, Diagnostic};
use crate::schema::Origin;

const CODE: Code = Code("W0602");

/// Fewer epochs than this tell nothing.
const FEWEST: usize = 9;

/// A share of its height by which the loss has to fall in the last third.
const LEAST: f64 = 0.01;

/// A share of its first height; a loss that has not fallen below it has not begun to fall.
const BEGUN: f64 = 0.95;

/// So many times the learning rate are worth a try where the loss has not begun to fall.
const RAISE: f64 = 10.0;

/// A share of its first height at which a loss is low enough to stay.
const LOW: f64 = 0.02;

pub(super) fn advise(context: &Context) -> Vec<Diagnostic> {
    let losses = context.record.series("train.loss");
    if losses.len() < FEWEST || context.record.failure.is_some() {
        return Vec::new();
    }
    let (before, after) = losses.split_at(losses.len() - losses.len() / 3);
    let lowest = |part: &[(usize, f64)]| part.iter().map(|(_, loss)| *loss).fold(f64::INFINITY, f64::min);
    let (first, earlier, later) = (losses[0].1, lowest(before), lowest(after));
    let last = losses[losses.len() - 1].1;
    // A loss that rises is another matter.
    if first <= 0.0 || earlier <= LOW * first || later < (1.0 - LEAST) * earlier || last > 1.2 * earlier {
        return Vec::new();
    }
    if later > BEGUN * first {
        return vec![not_begun(context, losses.len(), [first, last])];
    }
    let epochs = after.len();
    let message = format!("the training loss stayed at {} for the last {epochs} epochs", show(last));
    let schedule = &context.program.schedule;
    let note = format!("it fell from {} to {} in the epochs before", show(first), show(earlier));
    if !schedule.item.is_constant() {
        let span = context.train_span("epochs");
        let enough = before.len();
        let diagnostic = Diagnostic::advice(CODE, span, message).label("more than are of use").note(note);
        let is_given = matches!(&context.program.resolved.iter().find(|setting| (setting.section, &*setting.name) == ("train", "epochs")),
            Some(setting) if matches!(setting.origin, Origin::Given(_)));
        return vec![match is_given && context.is_in_file(span) {
            true => {
                diagnostic.fix(Applicability::Suggested, format!("train for {enough} epochs"), span, enough.to_string())
            }
            false => diagnostic.help(format!("train for {enough} epochs")),
        }];
    }
    let optimizer = context.program.optimizer.span;
    let diagnostic = Diagnostic::advice(CODE, optimizer, message)
        .label(format!("at a learning rate of {} throughout", show(losses_rate(context))))
        .note(note);
    if !context.is_default("schedule") {
        return vec![diagnostic.help("let the rate fall: `schedule = cosine`")];
    }
    vec![context.offer_setting(diagnostic, "let the learning rate fall to 0", "schedule = cosine")]
}

/// A loss that never fell needs longer steps, or has a cause that no rate mends; it needs no schedule.
fn not_begun(context: &Context, epochs: usize, [first, last]: [f64; 2]) -> Diagnostic {
    let optimizer = &context.program.optimizer;
    let message =
        format!("the training loss has not fallen in {epochs} epochs: from {} to {}", show(first), show(last));
    let diagnostic = Diagnostic::advice(CODE, optimizer.span_of("lr"), message)
        .label("steps too short, or what is learnt does not follow from the samples")
        .help("`nnoptc find-lr` measures which learning rates make the loss fall");
    match losses_rate(context) * RAISE <= optimizer.item.usual_rates()[1] {
        true => context.offer_rate(diagnostic, RAISE),
        false => {
            diagnostic.help("look at the targets, the normalization and the initialization; the rate is high already")
        }
    }
}

fn losses_rate(context: &Context) -> f64 {
    context.record.epochs.last().map_or(0.0, |epoch| epoch.lr)
}
