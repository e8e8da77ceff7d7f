//! A squared penalty in the loss and weight decay in the optimizer.

use super::{Code, Context, Diagnostic, Lint};
use crate::library::Decay;
use crate::schema::Origin;

const CODE: Code = Code("W0303");

pub(super) const LINT: Lint = Lint { code: CODE, name: "decay_twice", check };

fn check(context: &Context) -> Vec<Diagnostic> {
    let program = context.program;
    let optimizer = &program.optimizer;
    let (Decay::Coupled(decay) | Decay::Decoupled(decay)) = optimizer.item.decay() else { return Vec::new() };
    let Some(penalty) = program.regularization.as_ref().filter(|made| made.item.squared() > 0.0) else {
        return Vec::new();
    };
    let given =
        optimizer.values.iter().any(|value| value.name == "weight_decay" && matches!(value.origin, Origin::Given(_)));
    let place = optimizer.span_of("weight_decay");
    let what = if given { format!("weight decay of {decay}") } else { format!("weight decay of {decay} by default") };
    let diagnostic = Diagnostic::warning(CODE, penalty.span, "the weights decay twice")
        .label(format!("adds {} · w to the gradient", 2.0 * penalty.item.squared()))
        .also(place, format!("`{}` has a {what}", optimizer.name));
    vec![diagnostic.help("keep one of the two: remove `regularization`, or write `weight_decay = 0`")]
}
