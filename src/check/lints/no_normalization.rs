//! Samples that go into the model as they are.

use super::super::program::Normalize;
use super::edit::add_setting_after;
use super::walk::entry;
use super::{Code, Context, Diagnostic, Lint, normalization_scale, saturated_inputs};
use crate::diagnostic::Applicability;
use crate::library::Role;

const CODE: Code = Code("W0101");

pub(super) const LINT: Lint = Lint { code: CODE, name: "no_normalization", check };

fn check(context: &Context) -> Vec<Diagnostic> {
    let program = context.program;
    let normalizes_itself = entry(program).is_none_or(|(first, _)| first.is(Role::Normalization));
    // The sharper lint speaks for both.
    if program.data.normalize != Normalize::None || normalizes_itself || saturated_inputs::finds(context) {
        return Vec::new();
    }
    let place = context.train().span;
    let diagnostic = if program.source_of("train").header.bytes {
        Diagnostic::advice(CODE, place, "the samples are not normalized: bytes go in as shares of 255, from 0 to 1")
    } else {
        let Some(worst) = normalization_scale::widest(context) else { return Vec::new() };
        // Numbers that are near mean 0 and deviation 1 have been normalized before.
        if worst.mean.abs() < 3.0 && (0.1..10.0).contains(&worst.std) {
            return Vec::new();
        }
        Diagnostic::warning(CODE, place, "the samples are not normalized").note(worst.show())
    };
    vec![with_fix(context, diagnostic.label("read from here"))]
}

/// Offers `normalize = auto`.
pub(super) fn with_fix(context: &Context, diagnostic: Diagnostic) -> Diagnostic {
    let settings = &context.declared.data.settings;
    let (span, text) = match settings.iter().find(|setting| setting.name.text == "normalize") {
        Some(setting) => (setting.value.span, "auto".to_owned()),
        None => match settings.iter().max_by_key(|setting| setting.span) {
            Some(last) => add_setting_after(context.sources, last.span, "normalize = auto"),
            None => return diagnostic.help("write `normalize = auto`"),
        },
    };
    diagnostic.fix(Applicability::Suggested, "write `normalize = auto`", span, text)
}
