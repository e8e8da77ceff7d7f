//! Dropout whose noise enters the statistics of the normalization after it.

use super::walk::{Step, places, runs};
use super::{Code, Context, Diagnostic, Lint};
use crate::library::Role;
use crate::source::Span;

const CODE: Code = Code("W0202");

pub(super) const LINT: Lint = Lint { code: CODE, name: "dropout_before_norm", check };

fn check(context: &Context) -> Vec<Diagnostic> {
    let runs = runs(context.program);
    let uses = runs.iter().flat_map(|run| {
        run.iter().enumerate().map(|(idx, step)| {
            // An activation between the two changes nothing about it.
            let next = run[idx + 1..].iter().find(|step| !step.is_activation()).copied();
            (step.layer.span, (*step, next))
        })
    });
    let wrong = places(uses, |(step, next): &(Step, Option<Step>)| {
        step.is(Role::Dropout)
            && !step.layer.item.changes_nothing(&step.stage.input)
            && next.is_some_and(|next| next.is(Role::Normalization) && next.layer.item.needs_batch())
    });
    let report = |(span, (step, next)): (Span, (Step, Option<Step>))| {
        let norm = next?.layer;
        let message = format!("`{}` stands before `{}`", step.layer.name, norm.name);
        Some(
            Diagnostic::warning(CODE, span, message)
                .label("raises the variance while training only")
                .also(norm.span, "keeps that variance for evaluation, where it is lower")
                .help(format!("move `{}` after the last `{}`", step.layer.name, norm.name)),
        )
    };
    wrong.filter_map(report).collect()
}
