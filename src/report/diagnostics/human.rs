//! Diagnostics for people, with the source around each label; the only file that names `miette`.

use std::fmt::{self, Write as _};
use std::io;
use std::ops::Range;

use miette::{GraphicalReportHandler, GraphicalTheme, LabeledSpan, MietteError, MietteSpanContents, SourceSpan};

use super::excerpt::{Excerpt, excerpt, printable};
use super::{short_line, title};
use crate::diagnostic::{Diagnostic, Fix, Severity};
use crate::source::Span;

/// More than this help nobody; the rest is counted.
pub(super) const MAX_SHOWN: usize = 50;

/// A line longer than this is shown in part.
const MAX_LINE: usize = 240;

/// A label over more lines than this is drawn on its first line only.
const MAX_LABEL_LINES: usize = 6;

/// Writes each diagnostic with its source, and their number.
pub(super) fn render_human(
    diagnostics: &[Diagnostic],
    excerpts: &[Excerpt],
    color: bool,
    out: &mut dyn io::Write,
) -> io::Result<()> {
    if diagnostics.is_empty() {
        return Ok(());
    }
    let theme = if color { GraphicalTheme::unicode() } else { GraphicalTheme::unicode_nocolor() };
    let handler =
        GraphicalReportHandler::new_themed(theme).with_links(false).with_wrap_lines(false).with_context_lines(1);
    let paint = |style: &str, text: &str| if color { format!("\x1b[{style}m{text}\x1b[0m") } else { text.to_string() };
    for diagnostic in diagnostics.iter().take(MAX_SHOWN) {
        let mut text = String::new();
        if handler.render_report(&mut text, &Report::new(diagnostic, excerpts)).is_err() {
            text = short_line(diagnostic, excerpts) + "\n";
        }
        for note in &diagnostic.notes {
            let _ = writeln!(text, "  {} {}", paint("36", "note:"), printable(note));
        }
        if let Some(help) = &diagnostic.help {
            let _ = writeln!(text, "  {} {}", paint("36", "help:"), printable(help));
        }
        for fix in &diagnostic.fixes {
            let _ = writeln!(text, "  {} {}", paint("36", "help:"), printable(&fix.title));
            for (number, line) in mended_lines(fix, excerpts) {
                let _ = writeln!(text, "  {} {line}", paint("2", &format!("{number:>5} │")));
            }
        }
        writeln!(out, "{text}")?;
    }
    if diagnostics.len() > MAX_SHOWN {
        writeln!(out, "… and {} more\n", diagnostics.len() - MAX_SHOWN)?;
    }
    let count = |severity| diagnostics.iter().filter(|diagnostic| diagnostic.severity == severity).count();
    // `advice` has no plural.
    let plural = |count, what| format!("{count} {what}{}", if count == 1 || what == "advice" { "" } else { "s" });
    let counts = [
        (count(Severity::Error), "error", "1;31"),
        (count(Severity::Warning), "warning", "1;33"),
        (count(Severity::Advice), "advice", "1;36"),
    ];
    let counts = counts.into_iter().filter(|(count, ..)| *count > 0);
    let counts: Vec<String> = counts.map(|(count, what, style)| paint(style, &plural(count, what))).collect();
    writeln!(out, "{}", counts.join(", "))
}

/// The lines that a fix changes, as they would be, with their numbers; nothing where a line would only become empty.
fn mended_lines(fix: &Fix, excerpts: &[Excerpt]) -> Vec<(usize, String)> {
    let Some(excerpt) = fix.edits.first().and_then(|(span, _)| excerpt(excerpts, *span)) else { return Vec::new() };
    let mut edits: Vec<(Range<usize>, String)> = fix
        .edits
        .iter()
        .filter(|(span, _)| self::excerpt(excerpts, *span).is_some_and(|other| std::ptr::eq(other, excerpt)))
        .map(|(span, replacement)| (excerpt.clamp(*span), printable(replacement)))
        .collect();
    edits.sort_by_key(|(range, _)| (range.start, range.end));
    let (Some((first, _)), Some((last, _))) = (edits.first(), edits.last()) else { return Vec::new() };
    // Where whole lines go, nothing is left to show.
    let whole_lines = |range: &Range<usize>| {
        excerpt.line_range(excerpt.line_idx(range.start)).start == range.start
            && excerpt.text[range.clone()].ends_with('\n')
    };
    if edits.iter().all(|(range, replacement)| replacement.is_empty() && whole_lines(range)) {
        return Vec::new();
    }
    let (first_line, last_line) = (excerpt.line_idx(first.start), excerpt.line_idx(last.end));
    let start = excerpt.line_range(first_line).start.max(first.start.saturating_sub(MAX_LINE / 2));
    let end = excerpt.line_range(last_line).end.min(last.end + MAX_LINE / 2);
    let (mut at, end) = (excerpt.boundary(start), excerpt.boundary(end));
    let mut mended = String::new();
    for (range, replacement) in &edits {
        if range.start >= at {
            mended.push_str(&excerpt.text[at..range.start]);
            mended.push_str(replacement);
            at = range.end;
        }
    }
    mended.push_str(&excerpt.text[at..end.max(at)]);
    let lines = mended.lines().map(|line| line.trim_end().replace('\t', "    "));
    let lines = lines.enumerate().map(|(idx, line)| (first_line + 1 + idx, line));
    lines.filter(|(_, line)| !line.is_empty()).take(4).collect()
}

/// A label's bytes, cut where drawing all of them would drown the message.
fn label_range(source: &Excerpt, span: Span) -> Range<usize> {
    let range = source.clamp(span);
    let first = source.line_idx(range.start);
    let mut end = range.end;
    if source.line_idx(end) - first > MAX_LABEL_LINES {
        end = source.line_range(first).end.max(range.start);
    }
    range.start..source.boundary(end.min(range.start + MAX_LINE)).max(range.start)
}

/// What miette reads of a source: whole lines by the index, long ones in part.
impl miette::SourceCode for Excerpt<'_> {
    fn read_span<'b>(
        &'b self,
        span: &SourceSpan,
        lines_before: usize,
        lines_after: usize,
    ) -> Result<Box<dyn miette::SpanContents<'b> + 'b>, MietteError> {
        let (start, end) = (span.offset(), span.offset() + span.len());
        if end > self.text.len() {
            return Err(MietteError::OutOfBounds);
        }
        let (first, last) = (self.line_idx(start), self.line_idx(end));
        let from = self.line_range(first.saturating_sub(lines_before)).start;
        // The empty line after the last line end is not worth showing.
        let final_line = self.line_idx(self.file.text.len().saturating_sub(1)).max(last);
        let to = self.line_range((last + lines_after).min(final_line)).end;
        let (from, to) = match to.saturating_sub(from) > (last - first + 3) * MAX_LINE {
            true => (self.line_range(first).start.max(start.saturating_sub(MAX_LINE / 2)), to.min(end + MAX_LINE / 2)),
            false => (from, to),
        };
        // With its line end: only there can an empty label after the last character be drawn.
        let to = to.max(end);
        let to = if self.text.as_bytes().get(to) == Some(&b'\n') { to + 1 } else { to };
        let (from, to) = (self.boundary(from), self.boundary(to));
        let (line, column) = match lines_before {
            // Asked for the place alone, to name it in the header.
            0 => self.line_column(start),
            _ => self.line_column(from),
        };
        let data = &self.text.as_bytes()[from..to];
        let place = SourceSpan::from((from, to - from));
        let lines = self.text[from..to].matches('\n').count().max(1);
        Ok(Box::new(MietteSpanContents::new_named(self.name.clone(), data, place, line - 1, column - 1, lines)))
    }
}

/// One diagnostic as miette wants it: labels of the primary file, then other files as related reports.
struct Report<'a> {
    message: String,
    severity: miette::Severity,
    source: Option<&'a Excerpt<'a>>,
    labels: Vec<LabeledSpan>,
    related: Vec<Report<'a>>,
}

impl<'a> Report<'a> {
    fn new(diagnostic: &Diagnostic, excerpts: &'a [Excerpt<'a>]) -> Report<'a> {
        let severity = match diagnostic.severity {
            Severity::Error => miette::Severity::Error,
            Severity::Warning => miette::Severity::Warning,
            Severity::Advice => miette::Severity::Advice,
        };
        let message = format!("{}: {}", title(diagnostic), printable(&diagnostic.message));
        let mut report = Report { message, severity, source: None, labels: Vec::new(), related: Vec::new() };
        let mut file = None;
        for (idx, label) in diagnostic.labels.iter().enumerate() {
            let Some(source) = excerpt(excerpts, label.span) else { continue };
            let range = label_range(source, label.span);
            let text = Some(printable(&label.text)).filter(|text| !text.is_empty());
            let place = (range.start, range.end - range.start);
            if *file.get_or_insert(label.span.file) == label.span.file {
                report.source = Some(source);
                report.labels.push(match idx {
                    0 => LabeledSpan::new_primary_with_span(text, place),
                    _ => LabeledSpan::new_with_span(text, place),
                });
            } else {
                report.related.push(Report {
                    message: text.unwrap_or_else(|| "see here".into()),
                    severity: miette::Severity::Advice,
                    source: Some(source),
                    labels: vec![LabeledSpan::new_primary_with_span(None, place)],
                    related: Vec::new(),
                });
            }
        }
        report
    }
}

impl fmt::Debug for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl fmt::Display for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Report<'_> {}

impl miette::Diagnostic for Report<'_> {
    fn severity(&self) -> Option<miette::Severity> {
        Some(self.severity)
    }

    fn source_code(&self) -> Option<&dyn miette::SourceCode> {
        self.source.map(|source| source as &dyn miette::SourceCode)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        Some(Box::new(self.labels.iter().cloned()))
    }

    fn related<'b>(&'b self) -> Option<Box<dyn Iterator<Item = &'b dyn miette::Diagnostic> + 'b>> {
        match self.related.is_empty() {
            true => None,
            false => Some(Box::new(self.related.iter().map(|report| report as &dyn miette::Diagnostic))),
        }
    }
}
