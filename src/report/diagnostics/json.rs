//! Diagnostics for programs: a JSON object a line, described by `docs/schemas/diagnostic.schema.json`.

use serde_json::{Value, json};

use super::excerpt::{Excerpt, excerpt};
use super::severity_name;
use crate::diagnostic::{Applicability, Diagnostic, Fix};
use crate::source::Span;

/// One diagnostic; places have bytes, and lines and columns counted from 1, columns in characters.
pub(super) fn to_json(diagnostic: &Diagnostic, excerpts: &[Excerpt]) -> Value {
    let place = |span: Span| {
        let Some(excerpt) = excerpt(excerpts, span) else { return json!({ "file": null }) };
        let range = excerpt.clamp(span);
        let (line, column) = excerpt.line_column(range.start);
        let (end_line, end_column) = excerpt.line_column(range.end);
        json!({
            "file": excerpt.file.name.as_ref(), "byte_start": range.start, "byte_end": range.end,
            "line": line, "column": column, "end_line": end_line, "end_column": end_column,
        })
    };
    let with = |span: Span, key: &str, text: &str| {
        let mut object = place(span);
        object[key] = json!(text);
        object
    };
    let labels: Vec<Value> = diagnostic.labels.iter().map(|label| with(label.span, "text", &label.text)).collect();
    let fix = |fix: &Fix| {
        let applicability = match fix.applicability {
            Applicability::Safe => "safe",
            Applicability::Suggested => "suggested",
        };
        let edits: Vec<Value> = fix.edits.iter().map(|(span, text)| with(*span, "replacement", text)).collect();
        json!({ "title": fix.title, "applicability": applicability, "edits": edits })
    };
    json!({
        "event": "diagnostic",
        "code": diagnostic.code.0,
        "severity": severity_name(diagnostic.severity),
        "message": diagnostic.message,
        "labels": labels,
        "notes": diagnostic.notes,
        "help": diagnostic.help,
        "fixes": diagnostic.fixes.iter().map(fix).collect::<Vec<_>>(),
    })
}
