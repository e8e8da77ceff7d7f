//! The one canonical style of a file: the lossless tree to a document, comments included, and the document to text.
//!
//! Four blanks a level; one statement a line; `=` and the comments after code in columns; chains, arguments and lists
//! on one line where they fit. A body that was written on one line stays on one line. Line ends between statements
//! and one empty line in a row are the writer's; everything else is decided here.

mod doc;
#[cfg(test)]
mod tests;
#[cfg(test)]
pub(crate) use tests::repository_pipelines;

use rowan::{NodeOrToken, TextSize};

use super::kind::{SyntaxKind as K, SyntaxNode, SyntaxToken};
use super::parse;
use crate::diagnostic::Diagnostic;
use doc::{Comment, Doc, Place, print};

/// The text in canonical style; a formatted text stays as it is.
///
/// # Errors
/// What is wrong with the syntax, of which `file` is the file: nothing is guessed from a broken text.
///
/// # Panics
/// If the result does not say the same as the text, which is a mistake of the formatter; the text is safe then.
pub fn format(file: u16, text: &str) -> Result<String, Vec<Diagnostic>> {
    let parsed = parse(file, text);
    if !parsed.diagnostics.is_empty() {
        return Err(parsed.diagnostics);
    }
    let mut root = parsed.syntax();
    let content = content(&root);
    let mut before = text.to_owned();
    // A body that does not fit on its line is broken, and then stands as if it had been written in several lines.
    for _ in 0..MAX_TURNS {
        let formatted = print(&Formatter { text: &before }.file(&root));
        if formatted == before {
            break;
        }
        let again = parse(file, &formatted);
        root = again.syntax();
        assert!(
            again.diagnostics.is_empty() && self::content(&root) == content,
            "formatting keeps every token and every comment"
        );
        before = formatted;
    }
    Ok(before)
}

/// After so many turns a text has long been stable; the tests hold the formatter to it.
const MAX_TURNS: usize = 8;

/// What formatting keeps: every token but separators, and every comment.
fn content(root: &SyntaxNode) -> (Vec<String>, Vec<String>) {
    let (mut tokens, mut comments) = (Vec::new(), Vec::new());
    for token in root.descendants_with_tokens().filter_map(NodeOrToken::into_token) {
        match token.kind() {
            K::Whitespace | K::Comma | K::Semicolon => {}
            K::Comment => comments.push(comment_text(token.text())),
            _ => tokens.push(token_text(&token)),
        }
    }
    (tokens, comments)
}

/// Something in a body: a statement or a comment.
struct Entry {
    blank_before: bool,
    kind: EntryKind,
}

enum EntryKind {
    Comment(Comment),
    Statement(SyntaxNode),
}

struct Formatter<'a> {
    text: &'a str,
}

impl Formatter<'_> {
    fn file(&self, root: &SyntaxNode) -> Doc {
        let mut entries = self.entries(root, Vec::new());
        space_items(&mut entries);
        let widths = name_widths(&entries);
        let mut parts = Vec::new();
        for (entry, width) in entries.iter().zip(widths) {
            self.entry(entry, width, Doc::Hard, &mut parts);
        }
        Doc::Concat(parts)
    }

    /// Statements and comments of a body, in order; `carried` are comments that belong at its start.
    fn entries(&self, body: &SyntaxNode, carried: Vec<Comment>) -> Vec<Entry> {
        let mut entries: Vec<Entry> = carried
            .into_iter()
            .map(|comment| Entry { blank_before: false, kind: EntryKind::Comment(comment) })
            .collect();
        let mut blank_before = false;
        let mut comments = Comments::new(self.text, body);
        for child in body.children_with_tokens() {
            let comment = comments.next(&child);
            let kind = match child {
                NodeOrToken::Node(node) => EntryKind::Statement(node),
                NodeOrToken::Token(token) => {
                    match comment {
                        Some(comment) => EntryKind::Comment(comment),
                        None => {
                            // Carriage returns and line ends come in pairs or not; an empty line has two of the latter.
                            blank_before |= token.text().matches('\n').count() > 1 && token.kind() == K::Whitespace;
                            continue;
                        }
                    }
                }
            };
            let trailing = matches!(&kind, EntryKind::Comment(comment) if comment.place == Place::Trailing);
            // An empty line before a `;` and its comment is one before what follows.
            let blank_before = !trailing && std::mem::take(&mut blank_before) && !entries.is_empty();
            entries.push(Entry { blank_before, kind });
        }
        entries
    }

    /// A statement or comment with what separates it from the one before.
    fn entry(&self, entry: &Entry, width: usize, separator: Doc, parts: &mut Vec<Doc>) {
        let first = parts.is_empty();
        let separator = if entry.blank_before { Doc::Blank } else { separator };
        match &entry.kind {
            EntryKind::Comment(comment) => {
                if comment.place != Place::Trailing && !first {
                    parts.push(separator);
                }
                parts.push(Doc::Comment(comment.clone()));
            }
            EntryKind::Statement(node) => {
                if !first {
                    parts.push(separator);
                }
                parts.push(self.statement(node, width));
            }
        }
    }

    fn statement(&self, node: &SyntaxNode, width: usize) -> Doc {
        match node.kind() {
            K::Setting | K::Let => self.setting(node, width),
            _ => self.node(node),
        }
    }

    fn node(&self, node: &SyntaxNode) -> Doc {
        match node.kind() {
            K::Chain => self.chain(node),
            K::SettingBody | K::StageBody | K::BranchBody => self.body(node, Vec::new()),
            K::Setting | K::Let | K::LabelStage => self.setting(node, 0),
            K::Args => self.bracketed(node, "(", ")"),
            K::List => self.bracketed(node, "[", "]"),
            K::Group => self.group(node),
            K::Expr => self.expr(node),
            _ => self.spaced(node, Vec::new()),
        }
    }

    /// Parts with a blank between them, as in `repeat 3 { … }`. Comments before a body move to its start.
    fn spaced(&self, node: &SyntaxNode, mut carried: Vec<Comment>) -> Doc {
        let mut parts = Vec::new();
        let mut comments = Comments::new(self.text, node);
        for child in node.children_with_tokens() {
            carried.extend(comments.next(&child));
            let kind = child.kind();
            if kind.is_trivia() {
                continue;
            }
            if kind == K::Join {
                // No body follows.
                parts.extend(std::mem::take(&mut carried).into_iter().map(Doc::Comment));
            }
            if !parts.is_empty() && kind != K::Args {
                parts.push(Doc::text(" "));
            }
            match child {
                NodeOrToken::Node(child) => match kind {
                    K::SettingBody | K::StageBody | K::BranchBody => {
                        parts.push(self.body(&child, std::mem::take(&mut carried)));
                    }
                    K::Shortcut => parts.push(self.spaced(&child, std::mem::take(&mut carried))),
                    _ => parts.push(self.node(&child)),
                },
                NodeOrToken::Token(token) => parts.push(Doc::text(token_text(&token))),
            }
        }
        parts.extend(carried.into_iter().map(Doc::Comment));
        Doc::Concat(parts)
    }

    /// `name = value` with the name as wide as those around it; also `let name = value` and `name = chain`.
    fn setting(&self, node: &SyntaxNode, width: usize) -> Doc {
        let mut parts = Vec::new();
        let mut comments = Comments::new(self.text, node);
        for child in node.children_with_tokens() {
            parts.extend(comments.next(&child).map(Doc::Comment));
            match child {
                NodeOrToken::Node(value) => parts.push(self.node(&value)),
                NodeOrToken::Token(token) => match token.kind() {
                    K::Keyword => parts.push(Doc::text(format!("{} ", token.text()))),
                    K::Path => {
                        parts.push(Doc::text(token.text()));
                        let missing = width.saturating_sub(token.text().chars().count());
                        parts.push(Doc::IfBroken(" ".repeat(missing)));
                    }
                    K::Equals => parts.push(Doc::text(" = ")),
                    _ => {}
                },
            }
        }
        Doc::Concat(parts)
    }

    /// `{ … }`
    fn body(&self, node: &SyntaxNode, carried: Vec<Comment>) -> Doc {
        let on_one_line = carried.is_empty() && !node.text().contains_char('\n');
        let entries = self.entries(node, carried);
        if entries.is_empty() {
            return Doc::text("{}");
        }
        let between = match (on_one_line, node.kind()) {
            (true, K::BranchBody) => Doc::Line(" "),
            (true, _) => Doc::Line("; "),
            (false, _) => Doc::Hard,
        };
        let edge = if on_one_line { Doc::Line(" ") } else { Doc::Hard };
        let mut parts = Vec::new();
        let mut opening = Vec::new();
        let widths = name_widths(&entries);
        for (entry, width) in entries.iter().zip(widths) {
            match &entry.kind {
                // A comment after the brace stays there.
                EntryKind::Comment(comment) if parts.is_empty() && comment.place != Place::Own => {
                    opening.push(Doc::Comment(comment.clone()));
                }
                _ => self.entry(entry, width, between.clone(), &mut parts),
            }
        }
        if !parts.is_empty() {
            parts.insert(0, edge.clone());
        }
        let mut whole = vec![Doc::text("{")];
        // Further lines of the comment after the brace stand inside.
        whole.push(Doc::Indent(opening));
        whole.extend([Doc::Indent(parts), edge, Doc::text("}")]);
        Doc::Group(whole)
    }

    /// `stage -> stage`: on one line if it fits, else a stage a line.
    fn chain(&self, node: &SyntaxNode) -> Doc {
        let stages = node.children().count();
        let has_body = node
            .children()
            .any(|stage| stage.descendants().any(|inner| is_body(&inner) && inner.text().contains_char('\n')));
        let mut comments = Comments::new(self.text, node);
        let (mut first, mut links) = (Vec::new(), Vec::new());
        let mut pending: Vec<Comment> = Vec::new();
        for child in node.children_with_tokens() {
            pending.extend(comments.next(&child));
            let NodeOrToken::Node(stage) = child else { continue };
            let doc = self.node(&stage);
            if first.is_empty() {
                first.push(doc);
                continue;
            }
            let own = pending.iter().position(|comment| comment.place == Place::Own).unwrap_or(pending.len());
            let commented = !pending.is_empty();
            let rest = pending.split_off(own);
            links.extend(std::mem::take(&mut pending).into_iter().map(Doc::Comment));
            links.push(match (commented, has_body) {
                (true, _) => Doc::Hard,
                // The lines of a body in the chain are line ends enough.
                (false, true) => Doc::text(" "),
                (false, false) => Doc::Line(" "),
            });
            links.extend(rest.into_iter().map(Doc::Comment));
            links.extend([Doc::text("-> "), doc]);
        }
        if stages == 1 {
            return Doc::Concat(first);
        }
        if has_body {
            first.extend(links);
            return Doc::Concat(first);
        }
        first.push(Doc::Indent(links));
        Doc::Group(first)
    }

    /// `(a, b)` and `[a, b]`: on one line if it fits, else an element a line.
    fn bracketed(&self, node: &SyntaxNode, open: &'static str, close: &'static str) -> Doc {
        let mut comments = Comments::new(self.text, node);
        let mut opening: Vec<Doc> = Vec::new();
        // Each element with the comments before it and those after it on its line.
        let mut elements: Vec<(Vec<Comment>, Doc, Vec<Comment>)> = Vec::new();
        let mut pending: Vec<Comment> = Vec::new();
        let mut all_short = true;
        for child in node.children_with_tokens() {
            if let Some(comment) = comments.next(&child) {
                match elements.last_mut() {
                    _ if comment.place == Place::Own || !pending.is_empty() => {
                        pending.push(Comment { place: Place::Own, ..comment });
                    }
                    Some((_, _, after)) => after.push(comment),
                    None => opening.push(Doc::Comment(comment)),
                }
                all_short = false;
            }
            if let NodeOrToken::Node(element) = child {
                all_short &= u32::from(element.text().len()) <= 12 && element.descendants().count() <= 2;
                // Comments between a name and its value stand before the argument.
                let mut inside = Comments::new(self.text, &element);
                let inside = element.children_with_tokens().filter_map(|child| inside.next(&child));
                pending.extend(inside.map(|comment| Comment { place: Place::Own, ..comment }));
                elements.push((std::mem::take(&mut pending), self.argument(&element), Vec::new()));
            }
        }
        if elements.is_empty() && pending.is_empty() && opening.is_empty() {
            return Doc::text(format!("{open}{close}"));
        }
        // Many short values fill their lines.
        let fills = open == "[" && all_short && elements.len() > 4;
        let count = elements.len();
        let mut inner = Vec::new();
        for (index, (before, doc, after)) in elements.into_iter().enumerate() {
            let comma = if index + 1 == count { Doc::IfBroken(",".to_owned()) } else { Doc::text(",") };
            let line = Doc::Line(if index == 0 { "" } else { " " });
            if fills && index > 0 {
                inner.extend([Doc::Group(vec![line, doc]), comma]);
                continue;
            }
            inner.push(line);
            inner.extend(before.into_iter().map(Doc::Comment));
            inner.extend([doc, comma]);
            inner.extend(after.into_iter().map(Doc::Comment));
        }
        if !pending.is_empty() {
            inner.push(Doc::Line(""));
            inner.extend(pending.into_iter().map(Doc::Comment));
        }
        opening.extend(inner);
        Doc::Group(vec![Doc::text(open), Doc::Indent(opening), Doc::Line(""), Doc::text(close)])
    }

    /// `value` or `name = value`, without comments between name and value.
    fn argument(&self, node: &SyntaxNode) -> Doc {
        let part = |child: rowan::SyntaxElement<super::Nnopt>| match child {
            NodeOrToken::Node(value) => Some(self.node(&value)),
            NodeOrToken::Token(token) if token.kind() == K::Equals => Some(Doc::text(" = ")),
            NodeOrToken::Token(token) if token.kind().is_trivia() => None,
            NodeOrToken::Token(token) => Some(Doc::text(token.text())),
        };
        Doc::Concat(node.children_with_tokens().filter_map(part).collect())
    }

    /// `(a + b)`
    fn group(&self, node: &SyntaxNode) -> Doc {
        let mut parts = vec![Doc::Line("")];
        let mut comments = Comments::new(self.text, node);
        for child in node.children_with_tokens() {
            parts.extend(comments.next(&child).map(Doc::Comment));
            if let NodeOrToken::Node(inner) = child {
                parts.push(self.node(&inner));
            }
        }
        Doc::Group(vec![Doc::text("("), Doc::Indent(parts), Doc::Line(""), Doc::text(")")])
    }

    /// Operands and operators; a line that is too long ends before operators.
    fn expr(&self, node: &SyntaxNode) -> Doc {
        let mut comments = Comments::new(self.text, node);
        let mut parts: Vec<Doc> = Vec::new();
        let mut pending: Vec<Comment> = Vec::new();
        let mut operator: Option<SyntaxToken> = None;
        let mut operand: Vec<Doc> = Vec::new();
        let mut before = String::new();
        for child in node.children_with_tokens() {
            pending.extend(comments.next(&child));
            let written = match &child {
                NodeOrToken::Token(token) => match token.kind() {
                    K::Operator => {
                        operator = Some(token.clone());
                        continue;
                    }
                    K::Minus => {
                        operand.push(Doc::text("-"));
                        continue;
                    }
                    kind if kind.is_trivia() => continue,
                    _ => Doc::text(token_text(token)),
                },
                NodeOrToken::Node(child) => self.node(child),
            };
            operand.push(written);
            let after = match &child {
                NodeOrToken::Token(token) => token_text(token),
                NodeOrToken::Node(node) => node.to_string(),
            };
            if let Some(operator) = operator.take() {
                let own = pending.iter().position(|comment| comment.place == Place::Own).unwrap_or(pending.len());
                let rest = pending.split_off(own);
                parts.extend(std::mem::take(&mut pending).into_iter().map(Doc::Comment));
                // `0.35..1`, but `a .. b`: a name may go on after a point.
                let tight = operator.text() == ".." && is_plain_number(&before) && is_plain_number(&after);
                if !tight {
                    parts.push(Doc::Line(" "));
                }
                parts.extend(rest.into_iter().map(Doc::Comment));
                parts.push(Doc::text(if tight { "..".to_owned() } else { format!("{} ", operator.text()) }));
            }
            parts.append(&mut operand);
            before = after;
        }
        if parts.len() == 1 {
            return parts.remove(0);
        }
        let rest = parts.split_off(1);
        parts.push(Doc::Indent(rest));
        Doc::Group(parts)
    }
}

/// Reads the comments among the children of a node and says where each stands.
struct Comments<'a> {
    text: &'a str,
    /// Whether code stands before on this line.
    after_code: bool,
    /// The column of the comment on the line above, if that line has code or goes on with a comment after code.
    column_above: Option<usize>,
    line_ends: usize,
}

impl<'a> Comments<'a> {
    fn new(text: &'a str, node: &SyntaxNode) -> Comments<'a> {
        // Whatever stands before a node on its line is code; a file begins with nothing.
        Comments { text, after_code: node.kind() != K::File, column_above: None, line_ends: 0 }
    }

    /// The comment that this child is, if it is one.
    fn next(&mut self, child: &rowan::SyntaxElement<super::Nnopt>) -> Option<Comment> {
        match child.kind() {
            K::Whitespace => {
                let ends = child.as_token().map_or(0, |token| token.text().matches('\n').count());
                if ends > 0 {
                    self.after_code = false;
                    self.line_ends += ends;
                }
                None
            }
            K::Comment => {
                let column = self.column(child.text_range().start());
                let place = if self.after_code {
                    Place::Trailing
                } else if self.line_ends == 1 && self.column_above == Some(column) {
                    Place::Continued
                } else {
                    Place::Own
                };
                self.column_above = (place != Place::Own).then_some(column);
                self.line_ends = 0;
                child.as_token().map(|token| Comment { text: comment_text(token.text()), place })
            }
            _ => {
                self.after_code = true;
                self.column_above = None;
                self.line_ends = 0;
                None
            }
        }
    }

    fn column(&self, offset: TextSize) -> usize {
        let before = &self.text[..usize::from(offset)];
        before.rsplit('\n').next().unwrap_or("").chars().count()
    }
}

/// Puts empty lines between the sections of a file; comments directly above an item belong to it.
fn space_items(entries: &mut [Entry]) {
    let is_spaced = |node: &SyntaxNode| matches!(node.kind(), K::Section | K::Block | K::Profile | K::Version);
    let mut after_spaced = false;
    let mut above: Option<usize> = None;
    for index in 0..entries.len() {
        let first = index == 0;
        match &entries[index].kind {
            EntryKind::Comment(comment) => {
                if comment.place != Place::Own {
                    continue;
                }
                if after_spaced {
                    entries[index].blank_before = true;
                    after_spaced = false;
                }
                if entries[index].blank_before || above.is_none() {
                    above = Some(index);
                }
            }
            EntryKind::Statement(node) => {
                let spaced = is_spaced(node);
                let attached = if entries[index].blank_before { None } else { above };
                if (spaced || after_spaced) && !first {
                    match attached {
                        // The version stands below the comment that opens the file as its writer put it.
                        Some(0) => {}
                        Some(comment) => entries[comment].blank_before = true,
                        None => entries[index].blank_before = true,
                    }
                }
                after_spaced = spaced;
                above = None;
            }
        }
    }
}

/// The width of the name of each setting, so that the `=` of settings in a row stand in one column.
fn name_widths(entries: &[Entry]) -> Vec<usize> {
    let mut widths = vec![0; entries.len()];
    let mut run: Vec<usize> = Vec::new();
    let mut kind_of_run = None;
    let mut finish = |run: &mut Vec<usize>| {
        let widest = run.iter().filter_map(|&index| name_width(&entries[index])).max().unwrap_or(0);
        run.drain(..).for_each(|index| widths[index] = widest);
    };
    for (index, entry) in entries.iter().enumerate() {
        let kind = match &entry.kind {
            EntryKind::Comment(_) if !entry.blank_before => continue,
            EntryKind::Comment(_) => None,
            EntryKind::Statement(node) => Some(node.kind()).filter(|kind| matches!(kind, K::Setting | K::Let)),
        };
        if entry.blank_before || kind != kind_of_run {
            finish(&mut run);
        }
        kind_of_run = kind;
        if kind.is_some() {
            run.push(index);
        }
    }
    finish(&mut run);
    widths
}

fn name_width(entry: &Entry) -> Option<usize> {
    let EntryKind::Statement(node) = &entry.kind else { return None };
    let tokens = node.children_with_tokens().filter_map(NodeOrToken::into_token);
    tokens.filter(|token| token.kind() == K::Path).map(|token| token.text().chars().count()).next()
}

fn is_body(node: &SyntaxNode) -> bool {
    matches!(node.kind(), K::SettingBody | K::StageBody | K::BranchBody)
}

/// A comment without blanks at its end and with one after its `#`; `#!` and lines of signs stay as they are.
fn comment_text(text: &str) -> String {
    let text = text.trim_end();
    let bare = text.strip_prefix('#').unwrap_or(text);
    let words = bare.starts_with(|c: char| c.is_alphanumeric() || matches!(c, '`' | '"' | '('));
    if words { format!("# {bare}") } else { text.to_owned() }
}

/// A token as it is written in canonical style: numbers have a digit on both sides of the point, a small `e`, and one
/// blank before a unit that is a word.
fn token_text(token: &SyntaxToken) -> String {
    let text = token.text();
    if token.kind() != K::Number || token.parent().is_some_and(|parent| parent.kind() == K::Version) {
        return text.to_owned();
    }
    let digits = super::literal::number_length(text);
    let (number, unit) = (&text[..digits], text[digits..].trim_start());
    let mut number = number.replace('E', "e");
    if number.starts_with('.') {
        number.insert(0, '0');
    }
    let end = number.find('e').unwrap_or(number.len());
    if number[..end].ends_with('.') {
        number.insert(end, '0');
    }
    match unit {
        "" => number,
        "%" => format!("{number}%"),
        unit => format!("{number} {unit}"),
    }
}

/// Whether a text is a number that `..` may touch.
fn is_plain_number(text: &str) -> bool {
    text.ends_with(|c: char| c.is_ascii_digit() || c == '%')
        && text.starts_with(|c: char| c.is_ascii_digit() || c == '.')
}
