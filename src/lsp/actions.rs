//! Quick fixes: the fixes of diagnostics as edits, one by one and all safe ones together.

use std::collections::HashMap;

use gen_lsp_types as lsp;

use super::analysis::Analysis;
use super::diagnostics::{message, range_in};
use super::document::Document;
use super::uri::uri_of;
use crate::diagnostic::{Applicability, Diagnostic, Fix};

/// The fixes of what is said about a range.
pub fn actions(
    document: &Document,
    range: lsp::Range,
    only: Option<&[lsp::CodeActionKind]>,
) -> Vec<lsp::CodeActionResponse> {
    let wants = |kind: lsp::CodeActionKind| {
        let text = String::from(kind);
        let under = |wanted: &lsp::CodeActionKind| {
            let wanted = String::from(wanted.clone());
            text == wanted || text.starts_with(&format!("{wanted}.")) || wanted.is_empty()
        };
        only.is_none_or(|only| only.iter().any(under))
    };
    let Some(analysis) = document.current() else { return Vec::new() };
    let mut actions = Vec::new();
    if wants(lsp::CodeActionKind::QuickFix) {
        let here = analysis.diagnostics.iter().filter(|diagnostic| {
            let at = document.lines.range(diagnostic.span());
            diagnostic.span().file == 0 && at.start <= range.end && range.start <= at.end
        });
        for diagnostic in here {
            actions.extend(diagnostic.fixes.iter().map(|fix| quick_fix(document, analysis, diagnostic, fix)));
        }
    }
    let safe: Vec<&Fix> = analysis
        .diagnostics
        .iter()
        .filter(|diagnostic| diagnostic.span().file == 0)
        .filter_map(|diagnostic| diagnostic.fixes.iter().find(|fix| fix.applicability == Applicability::Safe))
        .collect();
    if !safe.is_empty() && wants(lsp::CodeActionKind::SourceFixAll) {
        actions.push(lsp::CodeAction {
            title: "Apply all safe fixes".to_owned(),
            kind: Some(lsp::CodeActionKind::SourceFixAll),
            edit: Some(edit(document, analysis, &safe)),
            ..Default::default()
        });
    }
    actions.into_iter().map(lsp::CodeActionResponse::CodeAction).collect()
}

fn quick_fix(document: &Document, analysis: &Analysis, diagnostic: &Diagnostic, fix: &Fix) -> lsp::CodeAction {
    let said = lsp::Diagnostic {
        range: document.lines.range(diagnostic.span()),
        code: Some(lsp::Code::String(diagnostic.code.0.to_owned())),
        source: Some("nnoptc".to_owned()),
        message: lsp::Message::String(message(diagnostic)),
        ..Default::default()
    };
    let mut letters = fix.title.chars();
    let title = letters.next().into_iter().flat_map(char::to_uppercase).chain(letters).collect();
    lsp::CodeAction {
        title,
        kind: Some(lsp::CodeActionKind::QuickFix),
        diagnostics: Some(vec![said]),
        is_preferred: (diagnostic.fixes.len() == 1).then_some(true),
        edit: Some(edit(document, analysis, &[fix])),
        ..Default::default()
    }
}

/// The edits of fixes; of two that overlap, the first.
fn edit(document: &Document, analysis: &Analysis, fixes: &[&Fix]) -> lsp::WorkspaceEdit {
    let mut changes: HashMap<lsp::Uri, Vec<lsp::TextEdit>> = HashMap::new();
    let mut taken: Vec<crate::source::Span> = Vec::new();
    for fix in fixes {
        let overlaps = |span: crate::source::Span| {
            taken.iter().any(|other| other.file == span.file && other.start < span.end && span.start < other.end)
        };
        if fix.edits.iter().any(|(span, _)| overlaps(*span)) {
            continue;
        }
        for (span, text) in &fix.edits {
            taken.push(*span);
            let uri = match analysis.paths.get(usize::from(span.file)) {
                Some(path) if span.file > 0 => uri_of(path),
                _ => document.uri.clone(),
            };
            let range = range_in(document, analysis, *span);
            changes.entry(uri).or_default().push(lsp::TextEdit { range, new_text: text.clone() });
        }
    }
    lsp::WorkspaceEdit { changes: Some(changes), ..Default::default() }
}
