//! What can be folded: bodies, arguments over several lines, and comments in a row.

use gen_lsp_types as lsp;
use rowan::NodeOrToken;

use super::document::Document;
use crate::syntax::{SyntaxKind as K, SyntaxNode};

/// All ranges, in the order of the text.
pub fn ranges(document: &Document) -> Vec<lsp::FoldingRange> {
    let root = document.root();
    let mut ranges = Vec::new();
    let mut comments: Option<(u32, u32)> = None;
    for element in root.descendants_with_tokens() {
        match element {
            NodeOrToken::Node(node) => {
                if is_foldable(&node) {
                    let range = document.node_range(&node);
                    // The closing bracket stays to be seen.
                    add(&mut ranges, range.start.line, range.end.line.saturating_sub(1), None);
                }
            }
            NodeOrToken::Token(token) if token.kind() == K::Comment => {
                let range = document.token_range(&token);
                let alone = document.text[..usize::from(token.text_range().start())]
                    .rsplit('\n')
                    .next()
                    .is_some_and(|before| before.trim().is_empty());
                comments = match comments {
                    _ if !alone => comments,
                    Some((first, last)) if last + 1 == range.start.line => Some((first, range.start.line)),
                    before => {
                        fold_comments(&mut ranges, before);
                        Some((range.start.line, range.start.line))
                    }
                };
            }
            NodeOrToken::Token(_) => {}
        }
    }
    fold_comments(&mut ranges, comments);
    ranges.sort_by_key(|range| (range.start_line, range.end_line));
    ranges
}

fn is_foldable(node: &SyntaxNode) -> bool {
    matches!(node.kind(), K::SettingBody | K::StageBody | K::BranchBody | K::Args | K::List)
}

fn fold_comments(ranges: &mut Vec<lsp::FoldingRange>, comments: Option<(u32, u32)>) {
    if let Some((first, last)) = comments {
        add(ranges, first, last, Some(lsp::FoldingRangeKind::Comment));
    }
}

fn add(ranges: &mut Vec<lsp::FoldingRange>, start_line: u32, end_line: u32, kind: Option<lsp::FoldingRangeKind>) {
    if start_line < end_line {
        ranges.push(lsp::FoldingRange { start_line, end_line, kind, ..Default::default() });
    }
}
