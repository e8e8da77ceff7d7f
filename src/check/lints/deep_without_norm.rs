//! Many layers with weights, and nothing that keeps the size of their numbers.

use super::super::program::ModelNode;
use super::walk::layers;
use super::{Code, Context, Diagnostic, Lint};
use crate::library::Role;

const CODE: Code = Code("W0203");

/// Simonyan and Zisserman (2015) could train 11 layers from random weights, and began deeper ones from those.
const DEEP: usize = 12;

pub(super) const LINT: Lint = Lint { code: CODE, name: "deep_without_norm", check };

fn check(context: &Context) -> Vec<Diagnostic> {
    let program = context.program;
    let joins = program
        .model
        .iter()
        .any(|node| matches!(node, ModelNode::Residual { .. } | ModelNode::Branch { .. } | ModelNode::Meet { .. }));
    let normalizes = layers(program).any(|step| step.is(Role::Normalization));
    let weights: Vec<_> = layers(program).filter(|step| step.is(Role::Weights)).collect();
    let (Some(first), Some(last)) = (weights.first(), weights.last()) else { return Vec::new() };
    if joins || normalizes || weights.len() < DEEP {
        return Vec::new();
    }
    let message = format!("{} layers with weights, without normalization or residuals", weights.len());
    let diagnostic = Diagnostic::warning(CODE, first.layer.span, message)
        .label("the first of them")
        .note("gradients shrink or grow from layer to layer, so that the first layers hardly learn")
        .help("normalize after each layer, or put pairs of layers into `residual { … }`");
    let diagnostic = match last.layer.span == first.layer.span {
        true => diagnostic,
        false => diagnostic.also(last.layer.span, "the last"),
    };
    vec![diagnostic]
}
