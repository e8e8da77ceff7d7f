//! Diagnostics as a SARIF 2.1.0 log, the format in which code scanning tools report.
//!
//! OASIS, *Static Analysis Results Interchange Format (SARIF) Version 2.1.0*, 2020.

use serde_json::{Value, json};

use super::excerpt::{Excerpt, excerpt};
use crate::diagnostic::{Code, Diagnostic, Fix, Severity};
use crate::explain;
use crate::source::{Sources, Span};

const SCHEMA: &str = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json";

/// One log, to which the diagnostics of several compilations may be added.
#[derive(Clone, Debug, Default)]
pub struct SarifLog {
    rules: Vec<Code>,
    results: Vec<Value>,
}

impl SarifLog {
    /// A log without results.
    pub fn new() -> SarifLog {
        SarifLog::default()
    }

    /// Adds the diagnostics of one compilation.
    pub fn add(&mut self, diagnostics: &[Diagnostic], sources: &Sources) {
        let excerpts: Vec<Excerpt> = sources.files().iter().map(Excerpt::new).collect();
        for diagnostic in diagnostics {
            let rule = self.rules.iter().position(|code| *code == diagnostic.code).unwrap_or_else(|| {
                self.rules.push(diagnostic.code);
                self.rules.len() - 1
            });
            self.results.push(result(diagnostic, rule, &excerpts));
        }
    }

    /// The whole log.
    pub fn finish(self) -> Value {
        let rules: Vec<Value> = self.rules.iter().map(|code| rule(*code)).collect();
        json!({
            "$schema": SCHEMA,
            "version": "2.1.0",
            "runs": [{
                "tool": {
                    "driver": { "name": "nnoptc", "semanticVersion": env!("CARGO_PKG_VERSION"), "rules": rules },
                },
                "columnKind": "unicodeCodePoints",
                "results": self.results,
            }],
        })
    }
}

/// What a code means: its page.
fn rule(code: Code) -> Value {
    let mut object = json!({ "id": code.0 });
    if let Some(page) = explain::page(code.0) {
        object["shortDescription"] = json!({ "text": page.title() });
        object["help"] = json!({ "text": page.text, "markdown": page.markdown() });
    }
    object
}

fn result(diagnostic: &Diagnostic, rule: usize, excerpts: &[Excerpt]) -> Value {
    let level = match diagnostic.severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
        Severity::Advice => "note",
    };
    let mut text = diagnostic.message.clone();
    text.extend(diagnostic.notes.iter().map(|note| format!("\nnote: {note}")));
    text.extend(diagnostic.help.iter().map(|help| format!("\nhelp: {help}")));
    let (mut primary, mut related) = (Vec::new(), Vec::new());
    for (idx, label) in diagnostic.labels.iter().enumerate() {
        let Some(place) = place(label.span, excerpts) else { continue };
        let mut object = json!({ "physicalLocation": place });
        if idx > 0 {
            object["id"] = json!(idx);
        }
        if !label.text.is_empty() {
            object["message"] = json!({ "text": label.text });
        }
        if idx == 0 { &mut primary } else { &mut related }.push(object);
    }
    let mut object = json!({
        "ruleId": diagnostic.code.0, "ruleIndex": rule, "level": level, "message": { "text": text },
        "locations": primary,
    });
    if !related.is_empty() {
        object["relatedLocations"] = json!(related);
    }
    let fixes: Vec<Value> = diagnostic.fixes.iter().filter_map(|found| fix(found, excerpts)).collect();
    if !fixes.is_empty() {
        object["fixes"] = json!(fixes);
    }
    object
}

/// A fix, its edits file by file; nothing where it changes what is no file, as the command line.
fn fix(fix: &Fix, excerpts: &[Excerpt]) -> Option<Value> {
    let mut changes: Vec<(Value, Vec<Value>)> = Vec::new();
    for (span, text) in &fix.edits {
        let artifact = artifact(span.file, excerpts)?;
        let replacement = json!({ "deletedRegion": region(*span, excerpts)?, "insertedContent": { "text": text } });
        match changes.iter_mut().find(|(other, _)| *other == artifact) {
            Some((_, replacements)) => replacements.push(replacement),
            None => changes.push((artifact, vec![replacement])),
        }
    }
    let changes: Vec<Value> = changes
        .into_iter()
        .map(|(artifact, replacements)| json!({ "artifactLocation": artifact, "replacements": replacements }))
        .collect();
    Some(json!({ "description": { "text": fix.title }, "artifactChanges": changes }))
}

fn place(span: Span, excerpts: &[Excerpt]) -> Option<Value> {
    Some(json!({ "artifactLocation": artifact(span.file, excerpts)?, "region": region(span, excerpts)? }))
}

/// The file; text of the command line (`--set`) is none.
fn artifact(file: u16, excerpts: &[Excerpt]) -> Option<Value> {
    let name = &excerpts.get(usize::from(file))?.file.name;
    (!name.starts_with("--")).then(|| json!({ "uri": uri(name) }))
}

/// Lines and columns counted from 1; the end column is one past the last character.
fn region(span: Span, excerpts: &[Excerpt]) -> Option<Value> {
    let excerpt = excerpt(excerpts, span)?;
    let range = excerpt.clamp(span);
    let (line, column) = excerpt.line_column(range.start);
    let (end_line, end_column) = excerpt.line_column(range.end);
    Some(json!({ "startLine": line, "startColumn": column, "endLine": end_line, "endColumn": end_column }))
}

/// A path as a reference of RFC 3986: `file://` where it is absolute, percent codes for what may not stand in one.
fn uri(path: &str) -> String {
    let path = path.replace('\\', "/");
    let mut uri = String::new();
    let drive = path.get(1..3) == Some(":/");
    if path.starts_with('/') {
        uri.push_str("file://");
    } else if drive {
        uri.push_str("file:///");
    }
    for (idx, byte) in path.bytes().enumerate() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => uri.push(char::from(byte)),
            b':' if drive && idx == 1 => uri.push(':'),
            _ => uri.push_str(&format!("%{byte:02X}")),
        }
    }
    uri
}

#[cfg(test)]
mod tests {
    use super::uri;

    #[test]
    fn paths_become_references() {
        assert_eq!(uri("examples/a b%.nnopt"), "examples/a%20b%25.nnopt");
        assert_eq!(uri("/home/é.nnopt"), "file:///home/%C3%A9.nnopt");
        assert_eq!(uri("C:\\x\\y.nnopt"), "file:///C:/x/y.nnopt");
        assert_eq!(uri("a:b.nnopt"), "a%3Ab.nnopt");
    }
}
