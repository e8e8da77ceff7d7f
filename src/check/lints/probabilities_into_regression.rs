//! Probabilities compared by their difference.

use super::walk::layers;
use super::{Code, Context, Diagnostic, Lint};
use crate::library::{Meaning, TargetType};

const CODE: Code = Code("W0301");

pub(super) const LINT: Lint = Lint { code: CODE, name: "probabilities_into_regression", check };

fn check(context: &Context) -> Vec<Diagnostic> {
    let program = context.program;
    let TargetType::Values(width) = program.data.targets else { return Vec::new() };
    // One share of one class is always 1; a sigmoid may well bound a single number.
    if !program.loss.item.is_regression() || program.output.meaning != Meaning::Distribution {
        return Vec::new();
    }
    let Some(last) = layers(program).filter(|step| step.stage.output.meaning == Meaning::Distribution).last() else {
        return Vec::new();
    };
    let message = format!("`{}` compares probabilities by their difference", program.loss.name);
    let diagnostic = Diagnostic::warning(CODE, program.loss.span, message)
        .label("gives nearly no gradient where the model is sure and wrong")
        .also(last.layer.span, format!("the {width} outputs are shares that add up to 1"));
    vec![diagnostic.help(format!(
        "for classes read them as classes and use a loss that takes logits; for numbers remove `{}`",
        last.layer.name
    ))]
}
