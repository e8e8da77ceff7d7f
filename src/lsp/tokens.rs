//! What every word of a text is, for colours that know more than a pattern can.

use gen_lsp_types as lsp;
use rowan::NodeOrToken;

use super::context::{is_named, is_stage, name_of, slot_of_value};
use super::document::Document;
use super::names::{Named, Names};
use crate::check::JOINS;
use crate::source::Span;
use crate::syntax::{SyntaxKind as K, SyntaxToken};

/// The types of tokens, in the order of their numbers.
const TYPES: [&str; 11] = [
    "keyword",
    "namespace",
    "function",
    "property",
    "parameter",
    "variable",
    "enumMember",
    "number",
    "string",
    "comment",
    "operator",
];

/// What the numbers of types and modifiers mean.
pub fn legend() -> lsp::SemanticTokensLegend {
    lsp::SemanticTokensLegend {
        token_types: TYPES.iter().map(|&name| name.to_owned()).collect(),
        token_modifiers: vec!["declaration".to_owned()],
    }
}

/// Every token that has a type, each relative to the one before.
pub fn tokens(document: &Document) -> Vec<lsp::SemanticToken> {
    let names = Names::new(document);
    let mut data = Vec::new();
    let (mut line, mut column) = (0, 0);
    for token in document.root().descendants_with_tokens().filter_map(NodeOrToken::into_token) {
        let Some((name, declares)) = classify(&token, &names) else { continue };
        let token_type =
            TYPES.iter().position(|known| *known == name).unwrap_or_else(|| unreachable!("types are listed"));
        let start = usize::from(token.text_range().start());
        let range = document.lines.range(Span::new(0, start, start + token.text().len()));
        let same_line = range.start.line == line;
        data.push(lsp::SemanticToken {
            delta_line: range.start.line - line,
            delta_start: if same_line { range.start.character - column } else { range.start.character },
            length: range.end.character - range.start.character,
            token_type: token_type as u32,
            token_modifiers_bitset: u32::from(declares),
        });
        (line, column) = (range.start.line, range.start.character);
    }
    data
}

fn classify(token: &SyntaxToken, names: &Names) -> Option<(&'static str, bool)> {
    let plain = |name| Some((name, false));
    match token.kind() {
        K::Keyword => plain("keyword"),
        K::Number => plain("number"),
        K::String | K::OpenString | K::WrongString => plain("string"),
        K::Comment => plain("comment"),
        K::Operator | K::Minus | K::Arrow | K::Equals => plain("operator"),
        K::Path => {
            if let Some((named, declares)) = names.named(token) {
                let name = match named {
                    Named::Let(_) | Named::Label(_) => "variable",
                    Named::Block(_) => "function",
                    Named::Param(..) => "parameter",
                };
                return Some((name, declares));
            }
            let parent = token.parent()?;
            match parent.kind() {
                K::Section => plain("namespace"),
                K::Profile => Some(("namespace", true)),
                K::Join => plain("keyword"),
                K::Setting => plain("property"),
                K::Call if is_stage(&parent) && JOINS.contains(&token.text()) => plain("keyword"),
                K::Call => plain("function"),
                K::Arg if is_named(&parent) && name_of(&parent).as_ref() == Some(token) => plain("parameter"),
                K::Expr => {
                    let entries = slot_of_value(&parent).map(|slot| slot.entries()).unwrap_or_default();
                    let is_item = entries.iter().any(|entry| entry.name == token.text());
                    plain(if is_item { "function" } else { "enumMember" })
                }
                _ => None,
            }
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_are_functions_wherever_they_stand() {
        let text = "loss = mse\nmodel { linear(3) -> add(a) }";
        let document = Document::new(lsp::Uri("file:///a".to_owned()), 1, text, crate::lsp::document::Encoding::Utf8);
        let types: Vec<&str> = tokens(&document).iter().map(|token| TYPES[token.token_type as usize]).collect();
        assert_eq!(
            types,
            [
                "property",
                "operator",
                "function",
                "namespace",
                "function",
                "number",
                "operator",
                "keyword",
                "enumMember"
            ]
        );
    }
}
