//! An open text: its lines, its tree, and positions in the units of the client.

use std::cell::OnceCell;
use std::path::PathBuf;
use std::sync::Arc;

use gen_lsp_types::{Position, Range, TextDocumentContentChangeEvent, TextEdit, Uri};
use line_index::{LineCol, LineIndex, TextSize, WideEncoding, WideLineCol};

use super::analysis::Analysis;
use super::uri::path_of;
use crate::source::Span;
use crate::syntax::{SyntaxNode, SyntaxToken, parse};

/// The units in which a client counts columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// Bytes.
    Utf8,
    /// Two bytes each; what clients count in unless something else is agreed on.
    Utf16,
}

/// The lines of a text.
#[derive(Clone, Debug)]
pub struct Lines {
    index: LineIndex,
    encoding: Encoding,
    length: usize,
}

impl Lines {
    /// The lines of this text.
    pub fn new(text: &str, encoding: Encoding) -> Lines {
        Lines { index: LineIndex::new(text), encoding, length: text.len() }
    }

    /// The units of columns.
    pub fn encoding(&self) -> Encoding {
        self.encoding
    }

    /// The position of a byte offset; offsets beyond the text are its end.
    pub fn position(&self, offset: usize) -> Position {
        let place = self.index.line_col(TextSize::new(offset.min(self.length) as u32));
        let column = match self.encoding {
            Encoding::Utf8 => place.col,
            Encoding::Utf16 => self.index.to_wide(WideEncoding::Utf16, place).map_or(place.col, |wide| wide.col),
        };
        Position { line: place.line, character: column }
    }

    /// The range of a span.
    pub fn range(&self, span: Span) -> Range {
        Range { start: self.position(span.start as usize), end: self.position(span.end as usize) }
    }

    /// The byte offset of a position; a column beyond its line is the line's end, as the protocol says.
    pub fn offset(&self, position: Position, text: &str) -> usize {
        let Some(line) = self.index.line(position.line) else { return text.len() };
        let (start, end) = (usize::from(line.start()), usize::from(line.end()));
        let end = start + text[start..end].trim_end_matches(['\n', '\r']).len();
        let column = match self.encoding {
            Encoding::Utf8 => position.character,
            Encoding::Utf16 => {
                let wide = WideLineCol { line: position.line, col: position.character };
                let narrow = self.index.to_utf8(WideEncoding::Utf16, wide);
                narrow.unwrap_or(LineCol { line: position.line, col: position.character }).col
            }
        };
        let mut offset = (start + column as usize).min(end);
        while !text.is_char_boundary(offset) {
            offset -= 1;
        }
        offset
    }
}

/// An open text.
pub struct Document {
    /// Its address.
    pub uri: Uri,
    /// Its path.
    pub path: PathBuf,
    /// The client's number for this state of it.
    pub version: i32,
    /// The text.
    pub text: Arc<str>,
    /// Its lines.
    pub lines: Lines,
    /// Its syntax, once it has been asked for: diagnostics do not wait for it.
    tree: OnceCell<SyntaxNode>,
    /// Whether checking this version ended in a panic, so that there is nothing to wait for.
    pub is_failed: bool,
    /// What is known of this text, or of an earlier version.
    pub analysis: Option<Arc<Analysis>>,
}

impl Document {
    /// A text that has just been opened.
    pub fn new(uri: Uri, version: i32, text: &str, encoding: Encoding) -> Document {
        Document {
            path: path_of(&uri),
            uri,
            version,
            text: Arc::from(text),
            lines: Lines::new(text, encoding),
            tree: OnceCell::new(),
            is_failed: false,
            analysis: None,
        }
    }

    /// Applies edits, each to the result of the one before.
    pub fn change(&mut self, version: i32, changes: Vec<TextDocumentContentChangeEvent>) {
        let encoding = self.lines.encoding;
        let mut text = self.text.to_string();
        for change in changes {
            match change {
                TextDocumentContentChangeEvent::TextDocumentContentChangePartial(change) => {
                    let lines = Lines::new(&text, encoding);
                    let start = lines.offset(change.range.start, &text);
                    let end = lines.offset(change.range.end, &text).max(start);
                    text.replace_range(start..end, &change.text);
                }
                TextDocumentContentChangeEvent::TextDocumentContentChangeWholeDocument(change) => text = change.text,
            }
        }
        self.version = version;
        self.lines = Lines::new(&text, encoding);
        self.tree = OnceCell::new();
        self.is_failed = false;
        self.text = Arc::from(text);
    }

    /// What is known of the text as it is now.
    pub fn current(&self) -> Option<&Analysis> {
        self.analysis.as_deref().filter(|analysis| analysis.version == self.version)
    }

    /// The root of the tree.
    pub fn root(&self) -> SyntaxNode {
        self.tree.get_or_init(|| parse(0, &self.text).syntax()).clone()
    }

    /// The byte offset of a position.
    pub fn offset(&self, position: Position) -> usize {
        self.lines.offset(position, &self.text)
    }

    /// The range of a node.
    pub fn node_range(&self, node: &SyntaxNode) -> Range {
        let range = node.text_range();
        self.lines.range(Span::new(0, range.start().into(), range.end().into()))
    }

    /// The range of a token.
    pub fn token_range(&self, token: &SyntaxToken) -> Range {
        let range = token.text_range();
        self.lines.range(Span::new(0, range.start().into(), range.end().into()))
    }

    /// The edit that makes this text from the document's: what is the same at both ends is left alone.
    pub fn edit_to(&self, text: &str) -> Option<TextEdit> {
        let old: &str = &self.text;
        if old == text {
            return None;
        }
        let mut start = old.bytes().zip(text.bytes()).take_while(|(a, b)| a == b).count();
        while !old.is_char_boundary(start) || !text.is_char_boundary(start) {
            start -= 1;
        }
        let (old_rest, rest) = (&old[start..], &text[start..]);
        let mut same = old_rest.bytes().rev().zip(rest.bytes().rev()).take_while(|(a, b)| a == b).count();
        while !old.is_char_boundary(old.len() - same) || !text.is_char_boundary(text.len() - same) {
            same -= 1;
        }
        let range = self.lines.range(Span::new(0, start, old.len() - same));
        Some(TextEdit { range, new_text: text[start..text.len() - same].to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gen_lsp_types::TextDocumentContentChangePartial;

    const TEXT: &str = "a😀é = 1\r\n\u{feff}b\n";

    #[test]
    fn columns_are_counted_in_the_units_agreed_on() {
        for (encoding, column) in [(Encoding::Utf8, 7), (Encoding::Utf16, 4)] {
            let lines = Lines::new(TEXT, encoding);
            let at = Position { line: 0, character: column };
            assert_eq!(lines.position(7), at);
            assert_eq!(lines.offset(at, TEXT), 7);
            assert_eq!(lines.offset(Position { line: 0, character: 99 }, TEXT), 11);
            assert_eq!(lines.offset(Position { line: 9, character: 0 }, TEXT), TEXT.len());
            for (offset, _) in TEXT.char_indices() {
                let back = lines.offset(lines.position(offset), TEXT);
                assert!(back == offset || TEXT[back..].starts_with(['\r', '\n']), "{offset}");
            }
        }
    }

    #[test]
    fn edits_apply_one_after_another() {
        let mut document = Document::new(Uri("file:///a".to_owned()), 1, TEXT, Encoding::Utf16);
        let change = |from: (u32, u32), to: (u32, u32), text: &str| {
            let position = |(line, character)| Position { line, character };
            let range = Range { start: position(from), end: position(to) };
            let change = TextDocumentContentChangePartial { range, text: text.to_owned(), ..Default::default() };
            TextDocumentContentChangeEvent::TextDocumentContentChangePartial(change)
        };
        document.change(2, vec![change((0, 1), (0, 4), "b"), change((0, 0), (0, 1), "x"), change((1, 0), (9, 0), "")]);
        assert_eq!((&*document.text, document.version), ("xb = 1\r\n", 2));
    }

    #[test]
    fn edits_leave_alone_what_is_the_same() {
        let document = Document::new(Uri("file:///a".to_owned()), 1, "aéb\ncd\n", Encoding::Utf8);
        let edit = document.edit_to("aèb\nd\n").unwrap();
        assert_eq!(edit.range, document.lines.range(Span::new(0, 1, 6)));
        assert_eq!(edit.new_text, "èb\n");
        assert_eq!(document.edit_to("aéb\ncd\n"), None);
    }
}
