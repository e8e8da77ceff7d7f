//! Layers, transforms and penalties that change nothing.

use super::edit::{remove_stage, remove_statement};
use super::walk::{Step, places, runs};
use super::{Code, Context, Diagnostic, Lint};
use crate::diagnostic::Applicability;
use crate::library::Type;
use crate::source::Span;

const CODE: Code = Code("W0503");

pub(super) const LINT: Lint = Lint { code: CODE, name: "no_effect", check };

fn check(context: &Context) -> Vec<Diagnostic> {
    let program = context.program;
    let uses = runs(program).into_iter().flat_map(|run| {
        let before: Vec<Option<Step>> = std::iter::once(None).chain(run.iter().copied().map(Some)).collect();
        run.into_iter().zip(before).map(|(step, before)| (step.layer.span, (step, before)))
    });
    let idle = places(uses, |(step, before)| {
        step.layer.item.changes_nothing(&step.stage.input) || before.is_some_and(|before| repeats(step, &before))
    });
    let mut said: Vec<Diagnostic> = idle
        .map(|(span, (step, before))| {
            let diagnostic = report(context, span);
            if let Some(before) = before.filter(|before| repeats(&step, before)) {
                return match before.layer.span == span {
                    true => diagnostic,
                    false => diagnostic.also(before.layer.span, "has done the same"),
                };
            }
            let reshapes = !step.stage.input.shape.is_empty() && step.layer.values.is_empty();
            match reshapes {
                true => diagnostic.note(format!("what comes in is {} already", step.stage.input.show())),
                false => diagnostic,
            }
        })
        .map(|diagnostic| {
            let edit = remove_stage(context.sources, diagnostic.span());
            diagnostic.fix(Applicability::Suggested, "remove it", edit.0, edit.1)
        })
        .collect();
    let mut image = Type::features(program.data.sample_shape.clone());
    for transform in &program.augment {
        if transform.item.changes_nothing(&image) {
            let edit = remove_stage(context.sources, transform.span);
            let diagnostic = report(context, transform.span);
            said.push(diagnostic.fix(Applicability::Suggested, "remove it", edit.0, edit.1));
        }
        image = transform.item.infer(&image).unwrap_or(image);
    }
    let setting = context.declared.settings.iter().find(|setting| setting.name.text == "regularization");
    if let Some(penalty) = program.regularization.as_ref().filter(|made| made.item.changes_nothing()) {
        let diagnostic = report(context, penalty.span);
        said.push(match setting.filter(|setting| setting.value.span == penalty.span) {
            Some(setting) => {
                let edit = remove_statement(context.sources, setting.span);
                diagnostic.fix(Applicability::Suggested, "remove `regularization`", edit.0, edit.1)
            }
            None => diagnostic,
        });
    }
    said
}

/// Whether a layer does to a result what made it so.
fn repeats(step: &Step, before: &Step) -> bool {
    step.layer.item.is_idempotent() && step.layer.name == before.layer.name
}

fn report(context: &Context, place: Span) -> Diagnostic {
    let text = context.sources.text(place);
    Diagnostic::warning(CODE, place, format!("`{text}` changes nothing")).label("has no effect")
}
