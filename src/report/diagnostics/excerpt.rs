//! Sources made fit to be shown: clamped spans, lines and columns, no characters that steer a terminal.

use std::ops::Range;

use crate::source::{SourceFile, Span};

/// One source made fit to be shown: no control characters, a line end at its end, and an index of its lines.
pub(super) struct Excerpt<'a> {
    /// The source as it is.
    pub file: &'a SourceFile,
    /// Its name, printable.
    pub name: String,
    /// Its text, printable, with one line end more.
    pub text: String,
    line_starts: Vec<usize>,
}

/// The source that a span is in; spans of generated text have none.
pub(super) fn excerpt<'a, 'b>(excerpts: &'b [Excerpt<'a>], span: Span) -> Option<&'b Excerpt<'a>> {
    excerpts.get(usize::from(span.file))
}

impl<'a> Excerpt<'a> {
    pub fn new(file: &'a SourceFile) -> Excerpt<'a> {
        // miette draws nothing for an empty label at the end of a text without this line end.
        let text = printable(&file.text) + "\n";
        let line_starts = std::iter::once(0).chain(text.match_indices('\n').map(|(offset, _)| offset + 1));
        Excerpt { file, name: printable(&file.name), line_starts: line_starts.collect(), text }
    }

    /// The bytes of a span that are there, whole characters only; miette panics beyond the end.
    pub fn clamp(&self, span: Span) -> Range<usize> {
        let limit = self.file.text.len();
        let start = self.boundary((span.start as usize).min(limit));
        let mut end = (span.end as usize).min(limit).max(start);
        while !self.text.is_char_boundary(end) {
            end += 1;
        }
        start..end
    }

    /// The character boundary at or before an offset.
    pub fn boundary(&self, mut offset: usize) -> usize {
        offset = offset.min(self.text.len());
        while !self.text.is_char_boundary(offset) {
            offset -= 1;
        }
        offset
    }

    /// The 0-based line of an offset.
    pub fn line_idx(&self, offset: usize) -> usize {
        self.line_starts.partition_point(|&start| start <= offset).saturating_sub(1)
    }

    /// The bytes of a line without its line end.
    pub fn line_range(&self, line_idx: usize) -> Range<usize> {
        let start = self.line_starts.get(line_idx).copied().unwrap_or(self.text.len());
        let next = self.line_starts.get(line_idx + 1).copied().unwrap_or(self.text.len() + 1);
        start..(next - 1).max(start)
    }

    /// 1-based line and column, in characters.
    pub fn line_column(&self, offset: usize) -> (usize, usize) {
        let line_idx = self.line_idx(offset);
        let start = self.line_range(line_idx).start;
        (line_idx + 1, self.text[start..offset.max(start)].chars().count() + 1)
    }
}

/// The text with every character that could steer a terminal replaced by one of as many bytes, so that offsets hold.
pub(super) fn printable(text: &str) -> String {
    let replace = |c: char| match c {
        '\n' | '\t' => c,
        '\r' => ' ',
        '\u{0}'..='\u{1F}' | '\u{7F}' => '?',
        '\u{80}'..='\u{9F}' => '¿',
        // Marks that reorder the text around them, and the byte order mark.
        '\u{200B}' | '\u{200E}'..='\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}' | '\u{FEFF}' => {
            '\u{FFFD}'
        }
        _ => c,
    };
    text.chars().map(replace).collect()
}
