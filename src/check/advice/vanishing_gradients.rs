//! Gradients that die out on their way back through the layers.

use super::{Context, show};
use crate::diagnostic::{Applicability, Code, Diagnostic};
use crate::library::Role;

const CODE: Code = Code("W0606");

/// An element of the gradient that is so many times smaller than in the layer nearest to the loss.
const VANISHED: f64 = 1e-4;

pub(super) fn advise(context: &Context) -> Vec<Diagnostic> {
    let Some((first, last)) = context.record.measured() else { return Vec::new() };
    // Measured twice where it can be: a dead start may come alive.
    let shares = [first, last].map(|epoch| shares(context, &epoch.gradients));
    let vanished =
        |name: &str| shares.iter().all(|shares| shares.iter().any(|(other, share)| other == name && *share < VANISHED));
    let Some((name, share)) = shares[1].iter().find(|(name, share)| *share > 0.0 && vanished(name)) else {
        return Vec::new();
    };
    let Some(stage) = context.stage(name) else { return Vec::new() };
    let message = format!("the gradient vanishes before it reaches `{}`", stage.text);
    let mut diagnostic = Diagnostic::warning(CODE, stage.span, message).label("learns next to nothing").note(format!(
        "an element of it is {} of one in the last layer, after epoch {}",
        show(*share),
        last.number
    ));
    let mut saturating = Vec::new();
    crate::check::for_each_layer(&context.program.model, &mut |_, layer| {
        if layer.item.role() == (Role::Activation { saturates: true }) && !saturating.contains(&layer.span) {
            saturating.push(layer.span);
        }
    });
    let Some(first) = saturating.first() else {
        return vec![diagnostic.help("put normalization between the layers, or `residual` around them")];
    };
    diagnostic = diagnostic.also(*first, "each such activation divides it by 4 or more");
    if !saturating.iter().all(|span| context.is_in_file(*span)) {
        return vec![diagnostic.help("use `relu`, normalization between the layers, or `residual`")];
    }
    let edits = saturating.into_iter().map(|span| (span, "relu".to_owned())).collect();
    vec![
        diagnostic
            .help("activations that do not saturate, normalization between the layers, or `residual` let it through")
            .fix_all(Applicability::Suggested, "write `relu`, which does not saturate", edits),
    ]
}

/// The matrices and filters of the model, with the size of a gradient's element as a share of that in the last of them.
fn shares(context: &Context, gradients: &[(String, f64)]) -> Vec<(String, f64)> {
    let mut all: Vec<(String, f64)> = Vec::new();
    for (name, norm) in gradients.iter().filter(|(name, _)| name.ends_with(".weight")) {
        let Some(stage) = context.stage(name) else { continue };
        // Layers of normalization have few weights and no products.
        if stage.cost.flops > 0 && stage.cost.parameters > 0 {
            all.push((name.clone(), norm / (stage.cost.parameters as f64).sqrt()));
        }
    }
    let last = all.last().map_or(0.0, |(_, size)| *size);
    all.retain(|_| last > 0.0 && last.is_finite());
    all.iter().map(|(name, size)| (name.clone(), size / last)).collect()
}
