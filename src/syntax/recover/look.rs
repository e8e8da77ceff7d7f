//! What stands around a mistake, and how it is quoted in a message.

use super::Recovery;
use crate::source::Span;

impl Recovery<'_> {
    pub(super) fn span(&self, start: usize, end: usize) -> Span {
        Span::new(self.file, start, end)
    }

    pub(super) fn first_line(&self, start: usize, end: usize) -> Span {
        let line = self.text[start..end].lines().next().unwrap_or("");
        self.span(start, start + line.split('#').next().unwrap_or("").trim_end().len())
    }

    /// Whether nothing but blanks and comments follow on the line.
    pub(super) fn rest_of_line(&self, at: usize) -> bool {
        self.text[at..]
            .trim_start_matches([' ', '\t', '\r'])
            .chars()
            .next()
            .is_none_or(|c| matches!(c, '\n' | '#' | '}'))
    }

    pub(super) fn spaced_equals(&self, start: usize, end: usize) -> &'static str {
        let before = self.text[..start].ends_with([' ', '\t']);
        let after = self.text[end..].starts_with([' ', '\t', '\n', '\r']);
        match (before, after) {
            (true, true) => "=",
            (false, true) => " =",
            (true, false) => "= ",
            (false, false) => " = ",
        }
    }

    /// What stands at an offset, in words; with `far`, on later lines too.
    pub(super) fn found(&self, at: usize, far: bool) -> String {
        match self.next_token(at) {
            None => "the end of the file".into(),
            Some((start, _)) if !far && self.text[at..start].contains('\n') => "the end of the line".into(),
            Some((start, end)) => shorten(&self.text[start..end]),
        }
    }

    /// The next word or sign that is not trivia.
    pub(super) fn next_token(&self, mut at: usize) -> Option<(usize, usize)> {
        loop {
            let rest = &self.text[at..];
            let trimmed = rest.trim_start_matches(|c: char| c.is_whitespace() || c == '\u{FEFF}');
            at += rest.len() - trimmed.len();
            let first = trimmed.chars().next()?;
            if first == '#' {
                at += trimmed.find('\n').unwrap_or(trimmed.len());
                continue;
            }
            let length = match name_length(trimmed) {
                0 if trimmed.starts_with("->") => 2,
                0 => first.len_utf8(),
                length => length,
            };
            return Some((at, at + length));
        }
    }
}

/// The length of the name or number that a text begins with.
pub(super) fn name_length(text: &str) -> usize {
    text.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(text.len())
}

/// A piece of source in backticks, fit for a message: one line, short, without control characters.
pub(super) fn shorten(text: &str) -> String {
    let line = text.trim().lines().next().unwrap_or("");
    if line.is_empty() {
        return "the start of the file".into();
    }
    let mut short: String = line.chars().take(32).map(|c| if c.is_control() { '\u{FFFD}' } else { c }).collect();
    if line.chars().nth(32).is_some() {
        short.push('…');
    }
    format!("`{short}`")
}
