//! Documents: text with the places where lines may end, and the printer that chooses among them.
//!
//! A group is written on one line if it fits, else all its own line ends are taken (Wadler, "A prettier printer").
//! Comments are part of a document: one that closes a line waits until the line is written, and every comment forces
//! the groups around it to break.

/// Lines are broken where they would be longer, in characters; comments do not count.
const WIDTH: usize = 100;

/// Comments after code stand in one column; code wider than this has its comment after it and does not push others.
const WIDEST_BEFORE_COMMENT: usize = 72;

/// One level of indentation.
const INDENT: usize = 4;

/// Text that may be laid out in several ways.
#[derive(Clone, Debug)]
pub(super) enum Doc {
    /// Text without line ends.
    Text(String),
    /// A line end if the group is broken, else this text.
    Line(&'static str),
    /// A line end in any case.
    Hard,
    /// A line end and an empty line.
    Blank,
    /// Text that is written only if the group is broken.
    IfBroken(String),
    /// A comment.
    Comment(Comment),
    /// One after another.
    Concat(Vec<Doc>),
    /// One level further in.
    Indent(Vec<Doc>),
    /// On one line if it fits.
    Group(Vec<Doc>),
}

/// A comment and where it stands.
#[derive(Clone, Debug)]
pub(super) struct Comment {
    /// From `#` on.
    pub text: String,
    /// Where.
    pub place: Place,
}

/// Where a comment stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// After code.
    Trailing,
    /// On a line of its own.
    Own,
    /// On a line of its own, below a comment after code and in its column: one more line of that comment.
    Continued,
}

impl Doc {
    /// Text.
    pub fn text(text: impl Into<String>) -> Doc {
        Doc::Text(text.into())
    }
}

/// Lays a document out; every line ends in `\n`.
pub(super) fn print(doc: &Doc) -> String {
    let mut printer = Printer { lines: vec![Line::default()], must_break: false };
    let mut rest = vec![Piece { doc, indent: 0, broken: true }];
    while let Some(piece) = rest.pop() {
        let Piece { doc, indent, broken } = piece;
        match doc {
            Doc::Text(text) => printer.text(text, indent),
            Doc::Line(_) if broken => printer.end_line(),
            Doc::Line(flat) => printer.text(flat, indent),
            Doc::Hard => printer.end_line(),
            Doc::Blank => {
                printer.end_line();
                printer.lines.push(Line::default());
            }
            Doc::IfBroken(text) if broken => printer.text(text, indent),
            Doc::IfBroken(_) => {}
            Doc::Comment(comment) => printer.comment(comment, indent),
            Doc::Concat(parts) => push(&mut rest, parts, indent, broken),
            Doc::Indent(parts) => push(&mut rest, parts, indent + INDENT, broken),
            Doc::Group(parts) => {
                let left = WIDTH.saturating_sub(printer.width(indent));
                let flat = !printer.must_break && fits(parts, &rest, left);
                push(&mut rest, parts, indent, !flat);
            }
        }
    }
    printer.finish()
}

#[derive(Clone, Copy)]
struct Piece<'a> {
    doc: &'a Doc,
    indent: usize,
    broken: bool,
}

fn push<'a>(rest: &mut Vec<Piece<'a>>, parts: &'a [Doc], indent: usize, broken: bool) {
    rest.extend(parts.iter().rev().map(|doc| Piece { doc, indent, broken }));
}

/// Whether a group, written flat, and what follows it up to the next line end take at most `left` characters.
fn fits(parts: &[Doc], rest: &[Piece], mut left: usize) -> bool {
    let mut inside: Vec<&Doc> = parts.iter().rev().collect();
    let mut after = rest.iter().rev();
    let mut outside: Vec<Piece> = Vec::new();
    loop {
        let width = if let Some(doc) = inside.pop() {
            match doc {
                Doc::Text(text) => text.chars().count(),
                Doc::Line(flat) => flat.len(),
                Doc::Hard | Doc::Blank | Doc::Comment(_) => return false,
                Doc::IfBroken(_) => 0,
                Doc::Concat(parts) | Doc::Indent(parts) | Doc::Group(parts) => {
                    inside.extend(parts.iter().rev());
                    0
                }
            }
        } else {
            let Some(piece) = outside.pop().or_else(|| after.next().copied()) else { return true };
            match piece.doc {
                Doc::Text(text) => text.chars().count(),
                Doc::Line(_) if piece.broken => return true,
                Doc::Line(flat) => flat.len(),
                // A comment ends its line, so that nothing more follows.
                Doc::Hard | Doc::Blank | Doc::Comment(_) => return true,
                Doc::IfBroken(text) => {
                    if piece.broken {
                        text.len()
                    } else {
                        0
                    }
                }
                Doc::Concat(parts) | Doc::Indent(parts) => {
                    push(&mut outside, parts, 0, piece.broken);
                    0
                }
                // A later group may break on its own.
                Doc::Group(parts) => {
                    push(&mut outside, parts, 0, true);
                    0
                }
            }
        };
        match left.checked_sub(width) {
            Some(rest) => left = rest,
            None => return false,
        }
    }
}

/// A line of the result.
#[derive(Debug, Default)]
struct Line {
    code: String,
    comment: Option<String>,
    /// Whether the comment goes on from the line above.
    continued: bool,
}

impl Line {
    fn is_empty(&self) -> bool {
        self.code.is_empty() && self.comment.is_none()
    }
}

struct Printer {
    /// The last one is being written.
    lines: Vec<Line>,
    /// Whether a comment was written that only a line end can follow.
    must_break: bool,
}

impl Printer {
    fn line(&mut self) -> &mut Line {
        if self.lines.is_empty() {
            self.lines.push(Line::default());
        }
        let last = self.lines.len() - 1;
        &mut self.lines[last]
    }

    fn width(&mut self, indent: usize) -> usize {
        let line = self.line();
        if line.code.is_empty() { indent } else { line.code.chars().count() }
    }

    fn text(&mut self, text: &str, indent: usize) {
        if text.is_empty() {
            return;
        }
        if self.must_break {
            self.end_line();
        }
        let line = self.line();
        if line.code.is_empty() {
            line.code = " ".repeat(indent);
            // A blank between two words is not needed where the line ends between them.
            line.code.push_str(text.trim_start());
        } else {
            line.code.push_str(text);
        }
    }

    fn comment(&mut self, comment: &Comment, indent: usize) {
        let text = comment.text.clone();
        if comment.place == Place::Trailing && !self.must_break && !self.line().code.is_empty() {
            let line = self.line();
            if line.comment.is_none() {
                line.comment = Some(text);
                return;
            }
        }
        if !self.line().is_empty() {
            self.end_line();
        }
        let above = self.lines.len().checked_sub(2).map(|index| &self.lines[index]);
        let continued = comment.place == Place::Continued && above.is_some_and(|line| line.comment.is_some());
        let line = self.line();
        if continued {
            line.comment = Some(text);
            line.continued = true;
        } else {
            line.code = format!("{}{text}", " ".repeat(indent));
        }
        self.must_break = true;
    }

    fn end_line(&mut self) {
        self.must_break = false;
        let line = self.line();
        line.code.truncate(line.code.trim_end().len());
        self.lines.push(Line::default());
    }

    /// Puts the comments in their column and joins the lines.
    fn finish(mut self) -> String {
        let line = self.line();
        line.code.truncate(line.code.trim_end().len());
        let width = |line: &Line| line.code.chars().count();
        let widest = self
            .lines
            .iter()
            .filter(|line| line.comment.is_some() && !line.continued)
            .map(width)
            .filter(|&width| width <= WIDEST_BEFORE_COMMENT)
            .max()
            .unwrap_or(0);
        // At least two blanks; a multiple of the indentation, so that an edit seldom moves all comments.
        let column = (widest + 2).next_multiple_of(INDENT);
        let mut text = String::new();
        let mut above = column;
        for line in &self.lines {
            text.push_str(&line.code);
            if let Some(comment) = &line.comment {
                let width = width(line);
                let at = match line.continued {
                    true => above,
                    false if width <= WIDEST_BEFORE_COMMENT => column,
                    false => width + 2,
                };
                text.extend(std::iter::repeat_n(' ', at - width));
                text.push_str(comment);
                above = at;
            }
            text.push('\n');
        }
        let end = text.trim_end_matches('\n').len();
        text.truncate(end);
        if !text.is_empty() {
            text.push('\n');
        }
        text
    }
}
