//! The outline of a text: sections with their settings, definitions, labels.

use gen_lsp_types as lsp;

use super::context::{child, name_of};
use super::document::Document;
use crate::syntax::{SyntaxKind as K, SyntaxNode};

/// The outline.
pub fn symbols(document: &Document) -> Vec<lsp::DocumentSymbol> {
    inside(document, &document.root())
}

/// The symbols among the descendants of a node that have no symbol between.
fn inside(document: &Document, node: &SyntaxNode) -> Vec<lsp::DocumentSymbol> {
    let mut symbols = Vec::new();
    for inner in node.children() {
        match symbol(document, &inner) {
            Some(symbol) => symbols.push(symbol),
            None => symbols.extend(inside(document, &inner)),
        }
    }
    symbols
}

fn symbol(document: &Document, node: &SyntaxNode) -> Option<lsp::DocumentSymbol> {
    let kind = match node.kind() {
        K::Section => lsp::SymbolKind::Module,
        K::Profile => lsp::SymbolKind::Namespace,
        K::Block => lsp::SymbolKind::Function,
        K::Let => lsp::SymbolKind::Constant,
        K::Setting => lsp::SymbolKind::Property,
        K::LabelStage => lsp::SymbolKind::Variable,
        _ => return None,
    };
    let name = name_of(node)?;
    let detail = child(node, K::Expr).map(|value| value.text().to_string()).filter(|text| !text.contains('\n'));
    let children = inside(document, node);
    Some(lsp::DocumentSymbol {
        name: name.text().to_owned(),
        detail,
        kind,
        tags: None,
        #[allow(deprecated, reason = "the type has this field and no default for it")]
        deprecated: None,
        range: document.node_range(node),
        selection_range: document.token_range(&name),
        children: (!children.is_empty()).then_some(children),
    })
}
