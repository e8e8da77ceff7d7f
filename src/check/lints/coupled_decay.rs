//! Weight decay through the gradient of an optimizer that divides it away.

use super::{Code, Context, Diagnostic, Lint};
use crate::diagnostic::Applicability;
use crate::library::{self, Decay};

const CODE: Code = Code("W0302");

pub(super) const LINT: Lint = Lint { code: CODE, name: "coupled_decay", check };

fn check(context: &Context) -> Vec<Diagnostic> {
    let optimizer = &context.program.optimizer;
    if !optimizer.item.is_adaptive() || !matches!(optimizer.item.decay(), Decay::Coupled(_)) {
        return Vec::new();
    }
    let message = format!("`weight_decay` of `{}` passes through the adaptive step", optimizer.name);
    let diagnostic = Diagnostic::warning(CODE, optimizer.span_of("weight_decay"), message)
        .label("weights with large gradients hardly decay")
        .note("Loshchilov and Hutter (2019): decay beside the step, not in the gradient");
    // The optimizer of the same name with a `w` takes the same arguments.
    let decoupled = format!("{}w", optimizer.name);
    if library::optimizers::ALL.iter().all(|schema| schema.name != decoupled) {
        return vec![diagnostic.help("write the penalty as `regularization = l2(…)` if it is meant")];
    }
    let name = context.sources.text(optimizer.span);
    let span = crate::source::Span { end: optimizer.span.start + optimizer.name.len() as u32, ..optimizer.span };
    let diagnostic = diagnostic.note(format!("`{decoupled}` decays every weight alike, by `lr · weight_decay`"));
    vec![match name.starts_with(optimizer.name) {
        true => diagnostic.fix(Applicability::Suggested, format!("write `{decoupled}`"), span, decoupled),
        false => diagnostic.help(format!("use `{decoupled}`")),
    }]
}
