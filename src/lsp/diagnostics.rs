//! What is said about texts, for the client.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use gen_lsp_types as lsp;

use super::analysis::Analysis;
use super::document::{Document, Lines};
use super::server::address;
use crate::diagnostic::{Diagnostic, Severity};
use crate::source::Span;

/// The code of what every pipeline has and a file does not.
const MISSING: &str = "E0209";

/// The version of a text, if it is open, and what is said about it.
pub type Said = (Option<i32>, Vec<lsp::Diagnostic>);

/// What is said about each file, by its address: open texts, and files that they include.
pub fn by_file(documents: &BTreeMap<String, Document>) -> BTreeMap<String, Said> {
    let mut all: BTreeMap<String, Said> = BTreeMap::new();
    for document in documents.values() {
        let Some(analysis) = document.current() else {
            // Until it is checked, what was said stands; a text that is new has only its syntax.
            continue;
        };
        all.entry(document.uri.0.clone()).or_default().0 = Some(document.version);
        for diagnostic in &analysis.diagnostics {
            if analysis.is_part && diagnostic.code.0 == MISSING {
                continue;
            }
            let file = diagnostic.span().file;
            let uri = uri_of_file(documents, document, analysis, file);
            let included = documents.get(&uri.0).filter(|included| included.uri != document.uri);
            // What is said of an included text holds only for the version that was read.
            if included.is_some_and(|included| included.text != analysis.sources.file(file).text) {
                continue;
            }
            let said = convert(documents, document, analysis, diagnostic);
            let (_, list) = all.entry(uri.0).or_default();
            if !list.contains(&said) {
                list.push(said);
            }
        }
    }
    for document in documents.values().filter(|document| document.current().is_none()) {
        all.remove(&document.uri.0);
    }
    all
}

/// What is said about a file, for a client that asks; only that it is the same, where the client has it already.
pub fn report(
    documents: &BTreeMap<String, Document>,
    uri: &str,
    previous: Option<&str>,
) -> lsp::DocumentDiagnosticReport {
    let (_, items) = by_file(documents).remove(uri).unwrap_or_default();
    let mut hasher = DefaultHasher::new();
    items.hash(&mut hasher);
    let result_id = format!("{:016x}", hasher.finish());
    if previous == Some(&result_id) {
        let unchanged = lsp::UnchangedDocumentDiagnosticReport { result_id };
        return lsp::RelatedUnchangedDocumentDiagnosticReport::new(None, unchanged).into();
    }
    let full = lsp::FullDocumentDiagnosticReport { result_id: Some(result_id), items };
    lsp::RelatedFullDocumentDiagnosticReport::new(None, full).into()
}

/// The address of a file of an analysis.
pub fn uri_of_file(
    documents: &BTreeMap<String, Document>,
    document: &Document,
    analysis: &Analysis,
    file: u16,
) -> lsp::Uri {
    match analysis.paths.get(usize::from(file)) {
        Some(path) if file > 0 => address(documents, path),
        _ => document.uri.clone(),
    }
}

fn convert(
    documents: &BTreeMap<String, Document>,
    document: &Document,
    analysis: &Analysis,
    diagnostic: &Diagnostic,
) -> lsp::Diagnostic {
    let location = |span: Span| lsp::Location {
        uri: uri_of_file(documents, document, analysis, span.file),
        range: range_in(document, analysis, span),
    };
    let mut related: Vec<lsp::DiagnosticRelatedInformation> = Vec::new();
    for label in &diagnostic.labels[1..] {
        related.push(lsp::DiagnosticRelatedInformation { location: location(label.span), message: label.text.clone() });
    }
    lsp::Diagnostic {
        range: range_in(document, analysis, diagnostic.span()),
        severity: Some(match diagnostic.severity {
            Severity::Error => lsp::DiagnosticSeverity::Error,
            Severity::Warning => lsp::DiagnosticSeverity::Warning,
            Severity::Advice => lsp::DiagnosticSeverity::Information,
        }),
        code: Some(lsp::Code::String(diagnostic.code.0.to_owned())),
        source: Some("nnoptc".to_owned()),
        message: lsp::Message::String(message(diagnostic)),
        related_information: (!related.is_empty()).then_some(related),
        ..Default::default()
    }
}

/// The message with what is said at its place, facts and advice, a line each.
pub fn message(diagnostic: &Diagnostic) -> String {
    let mut lines = vec![diagnostic.message.clone()];
    lines.extend(Some(diagnostic.labels[0].text.clone()).filter(|text| !text.is_empty()));
    lines.extend(diagnostic.notes.iter().map(|note| format!("note: {note}")));
    lines.extend(diagnostic.help.iter().map(|help| format!("help: {help}")));
    lines.join("\n")
}

/// The range of a span of any file of an analysis.
pub fn range_in(document: &Document, analysis: &Analysis, span: Span) -> lsp::Range {
    match analysis.sources.files().get(usize::from(span.file)) {
        Some(file) if span.file > 0 => Lines::new(&file.text, document.lines.encoding()).range(span),
        _ => document.lines.range(span),
    }
}
