//! Diagnostics as workflow commands of GitHub Actions: `::error file=…,line=…::message`.
//!
//! The form is that of `@actions/core`: `%`, line ends and, in properties, `:` and `,` are written as percent codes.

use super::excerpt::{Excerpt, excerpt};
use crate::diagnostic::{Diagnostic, Severity};

/// One diagnostic as one line.
pub(super) fn command(diagnostic: &Diagnostic, excerpts: &[Excerpt]) -> String {
    let word = match diagnostic.severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
        Severity::Advice => "notice",
    };
    let mut properties = String::new();
    if let Some(excerpt) = excerpt(excerpts, diagnostic.span()) {
        let range = excerpt.clamp(diagnostic.span());
        let (line, column) = excerpt.line_column(range.start);
        let (end_line, end_column) = excerpt.line_column(range.end);
        properties = format!("file={},line={line},endLine={end_line}", property(&excerpt.file.name));
        // Columns are allowed only where the annotation keeps to one line.
        if line == end_line {
            properties += &format!(",col={column},endColumn={end_column}");
        }
        properties.push(',');
    }
    let mut text = diagnostic.message.clone();
    text.extend(diagnostic.notes.iter().map(|note| format!("\nnote: {note}")));
    text.extend(diagnostic.help.iter().map(|help| format!("\nhelp: {help}")));
    text.extend(diagnostic.fixes.iter().map(|fix| format!("\nhelp: {}", fix.title)));
    format!("::{word} {properties}title={}::{}", property(diagnostic.code.0), data(&text))
}

fn data(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}
