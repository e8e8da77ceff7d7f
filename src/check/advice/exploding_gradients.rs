//! Gradients that grow: through the layers on their way back, or from epoch to epoch.

use super::{Context, Epoch, show};
use crate::diagnostic::{Code, Diagnostic};

const CODE: Code = Code("W0605");

/// Gradients that grow by so much from the first measured epoch to the last.
const GROWN: f64 = 100.0;

/// A gradient that is so many times larger than in the layer nearest to the loss.
const EXPLODED: f64 = 1e3;

pub(super) fn advise(context: &Context) -> Vec<Diagnostic> {
    let through = through_layers(context);
    // A clipped gradient still points where the largest layer says; its growth from epoch to epoch does no harm.
    if !through.is_empty() || context.program.train.clip_norm.is_some() {
        return through;
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

/// A gradient that grows from layer to layer.
fn through_layers(context: &Context) -> Vec<Diagnostic> {
    let initializers = context.given_initializers();
    // Where the loss itself grew without bound, that is the reason, unless it began so.
    if context.record.failure.is_some() && initializers.is_empty() {
        return Vec::new();
    }
    let Some((first, last)) = context.record.measured() else { return Vec::new() };
    // Those of offsets are the gradient itself, summed over samples; those of matrices also grow with what goes in.
    let offsets = |epoch: &Epoch| -> Vec<(String, f64)> {
        epoch.gradients.iter().filter(|(name, _)| name.ends_with(".bias")).cloned().collect()
    };
    let found = [first, last].map(|epoch| {
        let all = offsets(epoch);
        let nearest = all.last().map_or(0.0, |(_, norm)| *norm);
        let largest = all.into_iter().max_by(|a, b| a.1.total_cmp(&b.1));
        largest
            .filter(|(_, norm)| nearest > 0.0 && *norm > EXPLODED * nearest)
            .map(|(name, norm)| (name, norm / nearest))
    });
    // Measured twice where it can be: the first updates may mend it.
    let [Some(_), Some((name, times))] = found else { return Vec::new() };
    let Some(stage) = context.stage(&name) else { return Vec::new() };
    let message = format!("the gradient explodes on its way back to `{}`", stage.text);
    let diagnostic = Diagnostic::warning(CODE, stage.span, message).label("the largest is here").note(format!(
        "it is {} times that in the last layer, after epoch {}",
        show(times),
        last.number
    ));
    vec![match initializers.first() {
        Some(span) => diagnostic
            .also(*span, "weights this large multiply it in every layer")
            .help("leave `init` out: the default keeps the size of what goes through a layer"),
        None => diagnostic.help("put normalization between the layers, or `residual` around them"),
    }]
}
