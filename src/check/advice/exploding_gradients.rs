//! Gradients that grow: through the layers on their way back, or from epoch to epoch.

use super::{Context, show};
use crate::diagnostic::{Code, Diagnostic};

const CODE: Code = Code("W0605");

/// Gradients that grow by so much from the first measured epoch to the last.
const GROWN: f64 = 100.0;

pub(super) fn advise(context: &Context) -> Vec<Diagnostic> {
    if context.program.train.clip_norm.is_some() {
        return Vec::new();
    }
    let Some((first, last)) = context.record.measured() else { return Vec::new() };
    // A gradient that began near 0, as that of a layer before normalization does, may grow by any factor.
    let begin = first.gradients.iter().map(|(_, norm)| *norm).filter(|norm| norm.is_finite()).fold(0.0, f64::max);
    let worst = last.gradients.iter().max_by(|a, b| a.1.total_cmp(&b.1));
    let Some((name, norm)) = worst.filter(|(_, norm)| *norm > GROWN * begin && begin > 0.0) else {
        return Vec::new();
    };
    let span = context.stage(name).map_or(context.program.optimizer.span, |stage| stage.span);
    let message = match norm.is_finite() {
        true => format!("the gradients grew from {} to {}", show(begin), show(*norm)),
        false => "the gradients are not finite any more".to_owned(),
    };
    let diagnostic = Diagnostic::warning(CODE, span, message)
        .label("the largest is here")
        .note(format!("norms of the largest gradient, after epoch {} and after epoch {}", first.number, last.number));
    vec![context.offer_train_setting(diagnostic, "limit the norm of the gradient", "clip_norm = 1")]
}
