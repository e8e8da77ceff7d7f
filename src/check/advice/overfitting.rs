//! A validation loss that rises while the training loss falls.

use super::{Context, show};
use crate::diagnostic::{Code, Diagnostic};

const CODE: Code = Code("W0603");

/// So many times its lowest, the validation loss has risen.
const RISEN: f64 = 1.1;

/// Where the best weights are restored, their losses differ by this factor at least to be worth a word.
const GAP: f64 = 1.5;

/// For so many epochs it has not been lower.
const SINCE: usize = 3;

pub(super) fn advise(context: &Context) -> Vec<Diagnostic> {
    let (train, val) = (context.record.series("train.loss"), context.record.series("val.loss"));
    let Some(&(end, last)) = val.last() else { return Vec::new() };
    let (best, lowest) = val.iter().copied().fold((0, f64::INFINITY), |a, b| if b.1 < a.1 { b } else { a });
    let train_at = |epoch: usize| train.iter().find(|(other, _)| *other == epoch).map(|(_, loss)| *loss);
    let (Some(then), Some(now)) = (train_at(best), train_at(end)) else { return Vec::new() };
    if lowest < 0.0 || last < RISEN * lowest || now >= then || end < best + SINCE {
        return Vec::new();
    }
    let message = format!("the model overfits: `val.loss` rose from {} to {}", show(lowest), show(last));
    let note = format!(
        "it was lowest after epoch {best} of {end}; since then `train.loss` fell from {} to {}",
        show(then),
        show(now)
    );
    let stops = context.program.train.early_stop.is_some();
    if stops && lowest < GAP * then {
        return Vec::new();
    }
    // With a rule for stopping the best weights are restored; what is left to change is the model.
    let widest = context.program.stages.iter().max_by_key(|stage| stage.cost.parameters);
    let advice = "more data, `augment`, dropout or `regularization` keep it from learning the samples by heart";
    let diagnostic = match widest.filter(|_| stops) {
        Some(stage) => {
            let total: u64 = context.program.stages.iter().map(|stage| stage.cost.parameters).sum();
            let percent = 100 * stage.cost.parameters / total.max(1);
            Diagnostic::advice(CODE, stage.span, message).label(format!("has {percent}% of the weights"))
        }
        None => Diagnostic::advice(CODE, context.train_span("epochs"), message).label("too many for this model"),
    };
    let diagnostic = diagnostic.note(note).help(advice);
    if stops {
        // What has decay already needs another remedy, which the help names.
        let decays = context
            .program
            .optimizer
            .values
            .iter()
            .any(|value| value.name == "weight_decay" && value.value.parse::<f64>().is_ok_and(|decay| decay > 0.0));
        return vec![match context.is_default("regularization") && !decays {
            true => context.offer_setting(diagnostic, "keep the weights small", "regularization = l2(1e-3)"),
            false => diagnostic,
        }];
    }
    let text = format!("early_stop = patience({SINCE} epochs, on = val.loss)");
    vec![context.offer_train_setting(diagnostic, "stop when `val.loss` rises, and keep the best weights", &text)]
}
