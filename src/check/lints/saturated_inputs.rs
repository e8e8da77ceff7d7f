//! Large inputs into an activation that has no gradient for large numbers.

use super::super::program::Normalize;
use super::no_normalization::with_fix;
use super::walk::{Step, entry};
use super::{Code, Context, Diagnostic, Lint, normalization_scale};
use crate::library::Role;

const CODE: Code = Code("W0102");

/// The derivative of the sigmoid is below 0.02 beyond this, that of the hyperbolic tangent below 0.002.
const LARGE: f64 = 4.0;

pub(super) const LINT: Lint = Lint { code: CODE, name: "saturated_inputs", check };

fn check(context: &Context) -> Vec<Diagnostic> {
    let Some((activation, worst)) = find(context) else { return Vec::new() };
    let message = format!("`{}` saturates: the samples are not normalized", activation.layer.name);
    let diagnostic = Diagnostic::warning(CODE, activation.layer.span, message)
        .label("gives nearly no gradient for large numbers")
        .also(context.train().span, "the samples are read here")
        .note(worst.show());
    vec![with_fix(context, diagnostic)]
}

/// Whether this lint has something to say.
pub(super) fn finds(context: &Context) -> bool {
    find(context).is_some()
}

fn find<'a>(context: &Context<'a>) -> Option<(Step<'a>, normalization_scale::Figures)> {
    let program = context.program;
    if program.data.normalize != Normalize::None || program.source_of("train").header.bytes {
        return None;
    }
    let (first, second) = entry(program)?;
    let saturates = |step: &Step| step.is(Role::Activation { saturates: true });
    let activation = if saturates(&first) { first } else { second.filter(saturates)? };
    let worst = normalization_scale::widest(context)?;
    (worst.mean.abs() + worst.std > LARGE).then_some((activation, worst))
}
