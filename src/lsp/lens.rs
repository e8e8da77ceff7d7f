//! What a model amounts to, above it: parameters, operations, memory.

use gen_lsp_types as lsp;
use rowan::NodeOrToken;

use super::context::name_text;
use super::document::Document;
use crate::figures::{bytes, scaled, whole};
use crate::library::Cost;
use crate::plan::prepare::Memory;
use crate::syntax::SyntaxKind as K;

/// A line above `model`.
pub fn lenses(document: &Document, memory: Option<&Memory>) -> Vec<lsp::CodeLens> {
    let Some(analysis) = document.current() else { return Vec::new() };
    let root = document.root();
    let Some(model) = root.children().find(|node| node.kind() == K::Section && name_text(node) == "model") else {
        return Vec::new();
    };
    let stages = &analysis.findings.stages;
    if stages.is_empty() || !stages.iter().all(|stage| stage.known) {
        return Vec::new();
    }
    let cost: Cost = stages.iter().map(|stage| stage.cost).sum();
    let mut title = format!("{} parameters · {} FLOPs a sample", whole(cost.parameters), scaled(cost.flops as f64));
    if let Some(memory) = memory {
        let arena = bytes(memory.arena);
        title += &format!(" · {} to train, of which {arena} activations", bytes(memory.total()));
    }
    let Some(header) = model.children_with_tokens().find_map(NodeOrToken::into_token) else { return Vec::new() };
    let command = lsp::Command { title, ..Default::default() };
    vec![lsp::CodeLens { range: document.token_range(&header), command: Some(command), data: None }]
}
