//! Shapes after stages and rows of splits, between the words of the text.

use gen_lsp_types as lsp;

use super::context::{is_stage, span_of};
use super::document::Document;
use crate::figures::whole;
use crate::library::{TargetType, Type};
use crate::syntax::{SyntaxKind as K, SyntaxNode};

/// The hints of a range.
///
/// A stage has a hint where it changes the shape or ends its chain; a stage that is used several times has all its
/// shapes.
pub fn hints(document: &Document, range: lsp::Range) -> Vec<lsp::InlayHint> {
    let Some(analysis) = document.current() else { return Vec::new() };
    let findings = &analysis.findings;
    let mut hints = Vec::new();
    let mut hint = |offset: u32, label: String, tooltip: String| {
        let position = document.lines.position(offset as usize);
        if range.start <= position && position <= range.end {
            hints.push(lsp::InlayHint {
                position,
                label: lsp::Label::String(label),
                kind: Some(lsp::InlayHintKind::Type),
                tooltip: Some(lsp::Tooltip::String(tooltip)),
                padding_left: Some(true),
                padding_right: None,
                text_edits: None,
                data: None,
            });
        }
    };
    for split in findings.splits.iter().filter(|split| split.span.file == 0) {
        let mut label = format!("{} rows", whole(split.rows as u64));
        if split.name == "train"
            && let Some(TargetType::Classes(classes)) = findings.targets
        {
            label += &format!(", {classes} classes");
        }
        hint(split.span.end, label, format!("rows of the split `{}`", split.name));
    }
    let root = document.root();
    for stage in root.descendants().filter(is_shaped) {
        let span = span_of(&stage);
        let shapes = findings.stages_at(span);
        let Some(first) = shapes.first() else { continue };
        let changes = shapes.iter().any(|stage| stage.input.shape != stage.output.shape);
        if !changes && !ends_chain(&stage) {
            continue;
        }
        let mut outputs: Vec<String> = Vec::new();
        for stage in &shapes {
            let shown = show(&stage.output);
            if outputs.last() != Some(&shown) {
                outputs.push(shown);
            }
        }
        let label = match &outputs[..] {
            [first, _, .., last] => format!("{first} … {last}"),
            outputs => outputs.join(", "),
        };
        hint(span.end, label, format!("{} to {}", first.input.show(), outputs.join(", ")));
    }
    hints
}

/// Whether a node is a stage with a shape of its own.
fn is_shaped(node: &SyntaxNode) -> bool {
    match node.kind() {
        K::Call => is_stage(node),
        K::Residual | K::Branch | K::Repeat => true,
        _ => false,
    }
}

/// Whether nothing follows a stage on its line.
fn ends_chain(stage: &SyntaxNode) -> bool {
    stage.next_sibling().is_none()
}

/// `[32, 26, 26]`: without the batch, which is the same everywhere.
fn show(of: &Type) -> String {
    let sizes: Vec<String> = of.shape.iter().map(usize::to_string).collect();
    format!("[{}]", sizes.join(", "))
}
