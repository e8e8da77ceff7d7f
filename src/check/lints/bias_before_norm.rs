//! A learned offset that the normalization after it takes away again.

use super::edit::add_argument;
use super::walk::{places, runs};
use super::{Code, Context, Diagnostic, Lint};
use crate::diagnostic::Applicability;
use crate::library::{Layer, Role};
use crate::schema::{Made, Origin};

const CODE: Code = Code("W0201");

pub(super) const LINT: Lint = Lint { code: CODE, name: "bias_before_norm", check };

fn check(context: &Context) -> Vec<Diagnostic> {
    let runs = runs(context.program);
    let uses = runs.iter().flat_map(|run| {
        run.iter().enumerate().map(|(idx, step)| (step.layer.span, (*step, run.get(idx + 1).copied())))
    });
    // Only statistics of one channel over the batch take an offset of that channel away.
    let lost = places(uses, |(step, next)| {
        step.is(Role::Weights)
            && bias(step.layer) == Some("true")
            && next.is_some_and(|next| next.is(Role::Normalization) && next.layer.item.needs_batch())
    });
    let report = |(span, (step, next)): (_, (super::walk::Step, Option<super::walk::Step>))| {
        let norm = next?.layer;
        let diagnostic = Diagnostic::advice(
            CODE,
            span,
            format!("the bias of `{}` has no effect before `{}`", step.layer.name, norm.name),
        )
        .label("learns an offset for each channel")
        .also(norm.span, "subtracts the mean of each channel, and with it the offset");
        Some(match edit(context, step.layer) {
            Some((span, text)) => diagnostic.fix(Applicability::Safe, "write `bias = false`", span, text),
            None => diagnostic.help("write `bias = false`"),
        })
    };
    lost.filter_map(report).collect()
}

fn bias(layer: &Made<dyn Layer>) -> Option<&str> {
    layer.values.iter().find(|value| value.name == "bias").map(|value| value.value.as_str())
}

fn edit(context: &Context, layer: &Made<dyn Layer>) -> Option<(crate::source::Span, String)> {
    let value = layer.values.iter().find(|value| value.name == "bias")?;
    match value.origin {
        Origin::Given(span) if context.sources.text(span) == "true" => Some((span, "false".to_owned())),
        // It comes from a `let` or a parameter, which others may use.
        Origin::Given(_) => None,
        Origin::Default | Origin::Inferred => add_argument(context.sources, layer.span, "bias = false"),
    }
}
