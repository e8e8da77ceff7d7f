//! Early stopping that has no time to stop.

use super::{Code, Context, Diagnostic, Lint, plural};

const CODE: Code = Code("W0405");

pub(super) const LINT: Lint = Lint { code: CODE, name: "patience_beyond_training", check };

fn check(context: &Context) -> Vec<Diagnostic> {
    let program = context.program;
    let Some(rule) = &program.train.early_stop else { return Vec::new() };
    let Some(place) = context.train_setting("early_stop") else { return Vec::new() };
    let run = program.run_shape();
    let patience = rule.patience.steps(run.steps_per_epoch);
    // The first epoch is the best so far, so a rule that waits for all others never stops anything.
    if patience + run.steps_per_epoch < run.total_steps {
        return Vec::new();
    }
    let message = format!("early stopping waits for {patience} steps, the training has {}", run.total_steps);
    let diagnostic = Diagnostic::warning(CODE, place, message).label("never stops the training");
    let diagnostic = diagnostic.help("choose a shorter patience, or leave `early_stop` out");
    vec![match context.train_setting("epochs") {
        Some(span) => diagnostic.also(span, plural(program.train.epochs, "epoch")),
        None => diagnostic,
    }]
}
