//! The lossless tree: runs the grammar and turns its pairs into tree nodes, reporting mistakes on the way.

use pest::Parser as _;
use pest::iterators::Pair;
use rowan::{GreenNode, GreenNodeBuilder};

use super::kind::SyntaxKind;
use super::recover::Recovery;
use super::{TOO_DEEP, TOO_LARGE};
use crate::diagnostic::Diagnostic;
use crate::source::Span;

/// The grammar, compiled.
#[derive(pest_derive::Parser)]
#[grammar = "../grammar/nnopt.pest"]
struct Grammar;

/// Brackets deeper than this are refused before anything recurses over them.
const MAX_DEPTH: usize = 128;

/// A bracket costs at most five levels of pairs; deeper pairs than this cannot come from a text within `MAX_DEPTH`.
const MAX_PAIR_DEPTH: usize = 8 * MAX_DEPTH;

/// A pipeline is a few kilobytes; a text beyond this is some other file given by mistake.
const MAX_BYTES: usize = 1 << 20;

/// What a text is read as.
#[derive(Clone, Copy)]
pub(super) enum Entry {
    File,
    Value,
}

/// The tree of a text and what is wrong with its syntax.
pub(super) fn build_tree(file: u16, text: &str, entry: Entry) -> (GreenNode, Vec<Diagnostic>) {
    if text.len() > MAX_BYTES {
        let found = text.len() as f64 / f64::from(1 << 20);
        let message = format!("file of {found:.1} MiB, expected at most {} MiB", MAX_BYTES >> 20);
        let diagnostic = Diagnostic::error(TOO_LARGE, Span::new(file, 0, 0), message)
            .help("a pipeline is text; data files are named with a source such as `idx(\"path\")`");
        return (unread(text), vec![diagnostic]);
    }
    if let Some(offset) = too_deep(text) {
        return (unread(text), vec![report_depth(file, offset)]);
    }
    let rule = match entry {
        Entry::File => Rule::file,
        Entry::Value => Rule::lone_value,
    };
    match Grammar::parse(rule, text) {
        Ok(pairs) => {
            let mut builder = TreeBuilder {
                text,
                green: GreenNodeBuilder::new(),
                position: 0,
                depth: 0,
                recovery: Recovery::new(file, text),
            };
            builder.green.start_node(SyntaxKind::File.into());
            for pair in pairs.flat_map(Pair::into_inner) {
                builder.add(pair);
            }
            builder.add_trivia(text.len());
            builder.green.finish_node();
            (builder.green.finish(), builder.recovery.finish())
        }
        // The grammar accepts every text, so only the limit of pest's stack can end up here.
        Err(error) => {
            let offset = match error.location {
                pest::error::InputLocation::Pos(offset) | pest::error::InputLocation::Span((offset, _)) => offset,
            };
            (unread(text), vec![report_depth(file, offset.min(text.len()))])
        }
    }
}

/// A tree that holds the text as one token.
fn unread(text: &str) -> GreenNode {
    let mut green = GreenNodeBuilder::new();
    green.start_node(SyntaxKind::File.into());
    if !text.is_empty() {
        green.token(SyntaxKind::Error.into(), text);
    }
    green.finish_node();
    green.finish()
}

fn report_depth(file: u16, offset: usize) -> Diagnostic {
    let span = Span::new(file, offset, offset);
    Diagnostic::error(TOO_DEEP, span, format!("brackets are nested deeper than {MAX_DEPTH}"))
        .label("one level too many")
        .help("move the inner part to a `block`, or close a bracket that was left open before")
}

/// The first bracket that is nested too deeply, outside strings and comments.
fn too_deep(text: &str) -> Option<usize> {
    let mut depth = 0_usize;
    let mut bytes = text.bytes().enumerate();
    while let Some((offset, byte)) = bytes.next() {
        match byte {
            b'#' => {
                bytes.find(|&(_, byte)| byte == b'\n');
            }
            b'"' => {
                let mut escaped = false;
                bytes.find(|&(_, byte)| {
                    let ends = byte == b'\n' || (byte == b'"' && !escaped);
                    escaped = byte == b'\\' && !escaped;
                    ends
                });
            }
            b'(' | b'[' | b'{' => {
                depth += 1;
                if depth > MAX_DEPTH {
                    return Some(offset);
                }
            }
            b')' | b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    None
}

/// What a rule of the grammar becomes in the tree.
enum Shape {
    Node(SyntaxKind),
    Token(SyntaxKind),
    /// A zero-width sign that something is missing.
    Missing,
    /// The end of the input.
    End,
}

fn shape(rule: Rule) -> Shape {
    use SyntaxKind as K;
    match rule {
        Rule::version => Shape::Node(K::Version),
        Rule::allow => Shape::Node(K::Allow),
        Rule::let_item => Shape::Node(K::Let),
        Rule::block_item => Shape::Node(K::Block),
        Rule::include_item => Shape::Node(K::Include),
        Rule::profile_item => Shape::Node(K::Profile),
        Rule::stages_section | Rule::settings_section | Rule::unknown_section => Shape::Node(K::Section),
        Rule::setting => Shape::Node(K::Setting),
        Rule::setting_block | Rule::unopened_settings => Shape::Node(K::SettingBody),
        Rule::stage_block | Rule::unopened_stages => Shape::Node(K::StageBody),
        Rule::branch_body => Shape::Node(K::BranchBody),
        Rule::chain => Shape::Node(K::Chain),
        Rule::label => Shape::Node(K::LabelStage),
        Rule::repeat => Shape::Node(K::Repeat),
        Rule::residual => Shape::Node(K::Residual),
        Rule::shortcut => Shape::Node(K::Shortcut),
        Rule::branch => Shape::Node(K::Branch),
        Rule::join => Shape::Node(K::Join),
        Rule::layer | Rule::call => Shape::Node(K::Call),
        Rule::args => Shape::Node(K::Args),
        Rule::arg => Shape::Node(K::Arg),
        Rule::expr => Shape::Node(K::Expr),
        Rule::list => Shape::Node(K::List),
        Rule::group => Shape::Node(K::Group),
        Rule::misplaced_let
        | Rule::nested_section
        | Rule::loose_stages
        | Rule::loose_arm
        | Rule::loose_block
        | Rule::loose_body
        | Rule::loose_settings
        | Rule::odd_body
        | Rule::braced_value => Shape::Node(K::Misplaced),
        Rule::bad_item => Shape::Node(K::Bad),
        Rule::path
        | Rule::key
        | Rule::dashed
        | Rule::call_name
        | Rule::arg_name
        | Rule::label_name
        | Rule::stages_name
        | Rule::settings_name => Shape::Token(K::Path),
        Rule::kw_nnopt
        | Rule::kw_allow
        | Rule::kw_let
        | Rule::kw_block
        | Rule::kw_include
        | Rule::kw_profile
        | Rule::kw_repeat
        | Rule::kw_residual
        | Rule::kw_shortcut
        | Rule::kw_branch
        | Rule::kw_join => Shape::Token(K::Keyword),
        Rule::number | Rule::version_number => Shape::Token(K::Number),
        Rule::string => Shape::Token(K::String),
        Rule::open_string => Shape::Token(K::OpenString),
        Rule::wrong_string => Shape::Token(K::WrongString),
        Rule::operator => Shape::Token(K::Operator),
        Rule::minus => Shape::Token(K::Minus),
        Rule::open_paren => Shape::Token(K::OpenParen),
        Rule::close_paren => Shape::Token(K::CloseParen),
        Rule::open_bracket => Shape::Token(K::OpenBracket),
        Rule::close_bracket => Shape::Token(K::CloseBracket),
        Rule::open_brace => Shape::Token(K::OpenBrace),
        Rule::close_brace => Shape::Token(K::CloseBrace),
        Rule::comma => Shape::Token(K::Comma),
        Rule::semicolon => Shape::Token(K::Semicolon),
        Rule::equal | Rule::wrong_equal => Shape::Token(K::Equals),
        Rule::right_arrow | Rule::wrong_arrow => Shape::Token(K::Arrow),
        Rule::missing_name
        | Rule::missing_path
        | Rule::missing_version
        | Rule::missing_equals
        | Rule::missing_setting
        | Rule::missing_value
        | Rule::missing_count
        | Rule::missing_stage
        | Rule::missing_join
        | Rule::missing_comma
        | Rule::missing_open_brace
        | Rule::missing_close_brace
        | Rule::missing_close_paren
        | Rule::missing_close_bracket => Shape::Missing,
        Rule::EOI => Shape::End,
        // Unreadable text, and rules that are silent and so never become pairs.
        _ => Shape::Token(K::Error),
    }
}

struct TreeBuilder<'a> {
    text: &'a str,
    green: GreenNodeBuilder<'static>,
    /// How much of the text is in the tree.
    position: usize,
    depth: usize,
    recovery: Recovery<'a>,
}

impl TreeBuilder<'_> {
    fn add(&mut self, pair: Pair<'_, Rule>) {
        let rule = pair.as_rule();
        let (start, end) = (pair.as_span().start(), pair.as_span().end());
        match shape(rule) {
            Shape::Node(_) if self.depth >= MAX_PAIR_DEPTH => {
                self.recovery.push(report_depth(self.recovery.file(), start));
                self.add_token(SyntaxKind::Error, start, end);
            }
            Shape::Node(kind) => {
                // A body of which nothing is there would only carry the blanks before it into its parent.
                let empty = start == end;
                self.recovery.enter(rule, kind, start, end);
                if !empty {
                    self.add_trivia(start);
                    self.green.start_node(kind.into());
                }
                self.depth += 1;
                for inner in pair.into_inner() {
                    self.add(inner);
                }
                self.depth -= 1;
                if !empty {
                    self.green.finish_node();
                }
                self.recovery.leave(rule, kind);
            }
            Shape::Token(kind) => {
                self.recovery.token(rule, start, end);
                self.add_token(kind, start, end);
            }
            Shape::Missing => self.recovery.missing(rule),
            Shape::End => {}
        }
    }

    fn add_token(&mut self, kind: SyntaxKind, start: usize, end: usize) {
        self.add_trivia(start);
        if start < end {
            self.green.token(kind.into(), &self.text[start..end]);
            self.position = end;
        }
    }

    /// Adds the blanks and comments before `end`: whatever lies between two pairs.
    fn add_trivia(&mut self, end: usize) {
        while self.position < end {
            let gap = &self.text[self.position..end];
            let (kind, length) = if gap.starts_with('#') {
                (SyntaxKind::Comment, gap.find('\n').unwrap_or(gap.len()))
            } else {
                (SyntaxKind::Whitespace, gap.find('#').unwrap_or(gap.len()))
            };
            // A carriage return before the line end belongs to the line end.
            let length = match kind {
                SyntaxKind::Comment => gap[..length].trim_end_matches('\r').len().max(1),
                _ => length,
            };
            self.green.token(kind.into(), &gap[..length]);
            self.position += length;
        }
    }
}
