//! Diagnostics for people and for programs.

mod excerpt;
mod github;
mod human;
mod json;
mod sarif;

use std::io;

use crate::diagnostic::{Diagnostic, Severity};
use crate::source::Sources;
use excerpt::{Excerpt, excerpt, printable};

pub use sarif::SarifLog;

/// How diagnostics are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// With the source around each label, and a count at the end.
    Human,
    /// `file:line:column: error[E0101]: message`, a line each.
    Short,
    /// A JSON object a line.
    Json,
    /// One SARIF 2.1.0 log.
    Sarif,
    /// Workflow commands of GitHub Actions, which mark lines of a change.
    Github,
}

impl Format {
    /// All of them.
    pub const ALL: [Format; 5] = [Format::Human, Format::Short, Format::Json, Format::Sarif, Format::Github];

    /// Whether a program reads it.
    pub fn is_for_programs(self) -> bool {
        matches!(self, Format::Json | Format::Sarif | Format::Github)
    }
}

/// Writes diagnostics; `color` matters for [`Format::Human`] only.
pub fn render(
    diagnostics: &[Diagnostic],
    sources: &Sources,
    format: Format,
    color: bool,
    out: &mut dyn io::Write,
) -> io::Result<()> {
    let excerpts: Vec<Excerpt> = sources.files().iter().map(Excerpt::new).collect();
    let mut lines = |line: &dyn Fn(&Diagnostic) -> String| {
        diagnostics.iter().try_for_each(|diagnostic| writeln!(out, "{}", line(diagnostic)))
    };
    match format {
        Format::Human => human::render_human(diagnostics, &excerpts, color, out),
        Format::Short => lines(&|diagnostic| short_line(diagnostic, &excerpts)),
        Format::Json => lines(&|diagnostic| json::to_json(diagnostic, &excerpts).to_string()),
        Format::Github => lines(&|diagnostic| github::command(diagnostic, &excerpts)),
        Format::Sarif => {
            let mut log = SarifLog::new();
            log.add(diagnostics, sources);
            writeln!(out, "{}", log.finish())
        }
    }
}

fn short_line(diagnostic: &Diagnostic, excerpts: &[Excerpt]) -> String {
    let said = format!("{}: {}", title(diagnostic), printable(&diagnostic.message));
    match diagnostic.labels.first().and_then(|label| Some((label.span, excerpt(excerpts, label.span)?))) {
        Some((span, excerpt)) => {
            let (line, column) = excerpt.line_column(excerpt.clamp(span).start);
            format!("{}:{line}:{column}: {said}", excerpt.name)
        }
        None => said,
    }
}

/// `error[E0101]`
fn title(diagnostic: &Diagnostic) -> String {
    format!("{}[{}]", severity_name(diagnostic.severity), diagnostic.code.0)
}

fn severity_name(severity: Severity) -> &'static str {
    match severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
        Severity::Advice => "advice",
    }
}

#[cfg(test)]
mod tests;
