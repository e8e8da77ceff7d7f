//! What each mistake found by the grammar is called, and which of them only follow from another.

mod look;
mod missing;

use super::kind::SyntaxKind;
use super::parse::Rule;
use super::*;
use crate::diagnostic::{Applicability, did_you_mean};
use look::{name_length, shorten};

/// More diagnostics than this help nobody; the rest of the text is still parsed.
const MAX_DIAGNOSTICS: usize = 1000;

/// Collects diagnostics while the tree is built, in the order of the text.
pub(super) struct Recovery<'a> {
    file: u16,
    text: &'a str,
    diagnostics: Vec<Diagnostic>,
    /// The last token that is not trivia.
    last: (usize, usize),
    /// The end of the last line with a mistake; vague reports on that line follow from it and are dropped.
    mistaken_until: Option<usize>,
    /// Where the last missing piece was reported; another one there would be the same mistake.
    missing_at: Option<usize>,
    /// The diagnostic for a missing closing bracket, to which others at the same place are added.
    unclosed: Option<(usize, usize)>,
    /// Brackets now open; `None` for one that is itself missing.
    open: Vec<Option<Open>>,
    bodies: Vec<SyntaxKind>,
    /// The layer being read.
    layer: (usize, usize),
    /// How many bodies of layers that take none are open.
    odd_bodies: usize,
    /// The brace that ended the last section, and how many diagnostics there were.
    section_end: Option<(usize, usize)>,
    /// A statement has ended, and nothing has separated it from the next yet.
    ended: bool,
    /// Where the last string without closing quote ends.
    open_string: Option<(usize, usize)>,
}

struct Open {
    offset: usize,
    /// How many diagnostics there were at this bracket.
    before: usize,
    /// It stands on a line with a mistake, and may itself be one.
    suspect: bool,
    /// How many suspects were closed inside; each may have taken the brace that was meant for this one.
    suspects: usize,
}

impl<'a> Recovery<'a> {
    pub(super) fn new(file: u16, text: &'a str) -> Recovery<'a> {
        Recovery {
            file,
            text,
            diagnostics: Vec::new(),
            last: (0, 0),
            mistaken_until: None,
            missing_at: None,
            unclosed: None,
            open: Vec::new(),
            bodies: Vec::new(),
            layer: (0, 0),
            odd_bodies: 0,
            section_end: None,
            ended: false,
            open_string: None,
        }
    }

    pub(super) fn file(&self) -> u16 {
        self.file
    }

    pub(super) fn finish(self) -> Vec<Diagnostic> {
        self.diagnostics
    }

    /// Adds a diagnostic.
    pub(super) fn push(&mut self, diagnostic: Diagnostic) {
        let span = diagnostic.span();
        if self.mistaken_until.is_none_or(|end| span.end as usize > end) {
            let end = span.end as usize;
            self.mistaken_until = Some(self.text[end..].find('\n').map_or(self.text.len(), |length| end + length));
        }
        if self.diagnostics.len() < MAX_DIAGNOSTICS {
            self.diagnostics.push(diagnostic);
        }
    }

    /// Adds a diagnostic that says little, unless its line already has one.
    fn push_vague(&mut self, diagnostic: Diagnostic) {
        if self.mistaken_until.is_none_or(|end| diagnostic.span().start as usize > end) {
            self.push(diagnostic);
        }
    }

    /// Before the children of a node.
    pub(super) fn enter(&mut self, rule: Rule, kind: SyntaxKind, start: usize, end: usize) {
        if is_statement(rule) {
            self.separate(rule, start);
        }
        match kind {
            SyntaxKind::StageBody | SyntaxKind::SettingBody | SyntaxKind::BranchBody => self.bodies.push(kind),
            _ => {}
        }
        match rule {
            Rule::layer => self.layer = (start, start + name_length(&self.text[start..])),
            Rule::misplaced_let => {
                let span = self.span(start, start + "let".len());
                self.push_vague(
                    Diagnostic::error(MISPLACED, span, "`let` stands at the top level, found it inside a section")
                        .label("inside a section")
                        .help("move it before the section"),
                );
            }
            Rule::nested_section => {
                let name = &self.text[start..start + name_length(&self.text[start..])];
                let span = self.span(start, start + name.len());
                self.push_vague(
                    Diagnostic::error(MISPLACED, span, format!("found section `{name}` inside a section"))
                        .label("sections do not nest")
                        .help(format!("write `{name} = …`, or close the section before with `}}`")),
                );
            }
            Rule::loose_stages => {
                let span = self.first_line(start, end);
                self.push_vague(
                    Diagnostic::error(MISPLACED, span, "found a layer at the top level")
                        .label("belongs to no model")
                        .help(
                            "layers stand inside `model { … }` or `block name() { … }`; look for a `}` too many before",
                        ),
                );
            }
            Rule::loose_arm => {
                let span = self.first_line(start, end);
                self.push_vague(
                    Diagnostic::error(MISPLACED, span, "found a layer in `branch` outside its arms")
                        .label("not in an arm")
                        .help("put each arm in its own braces: `branch { { … } { … } } join concat`"),
                );
            }
            // In a misspelt `branch { { … } { … } }` the arms look like this.
            Rule::loose_body if self.odd_bodies > 0 => {}
            Rule::loose_block | Rule::loose_body | Rule::loose_settings => {
                let span = self.span(start, start + 1);
                self.push_vague(
                    Diagnostic::error(MISPLACED, span, "found `{` without a name before it")
                        .label("opens nothing")
                        .help("write what it is, such as `model {` or `residual {`"),
                );
            }
            Rule::braced_value if self.section_before(start).is_some() => {
                let Some((name_start, name_end)) = self.section_before(start) else { return };
                let name = &self.text[name_start..name_end];
                let between = self.span(name_end, start);
                self.push(
                    Diagnostic::error(WRONG_EQUALS, between, format!("expected `{{` after `{name}`, found `=`"))
                        .label("a section has no `=`")
                        .also(self.span(name_start, name_end), "the section")
                        .fix(Applicability::Safe, "remove `=`", between, " "),
                );
            }
            Rule::braced_value => {
                let span = self.span(start, start + 1);
                self.push(
                    Diagnostic::error(MISPLACED, span, "expected a value, found `{`")
                        .label("not a value")
                        .help("write a call such as `name(setting = value)`"),
                );
            }
            Rule::odd_body => {
                self.report_body(start);
                self.odd_bodies += 1;
            }
            _ => {}
        }
    }

    /// After the children of a node.
    pub(super) fn leave(&mut self, rule: Rule, kind: SyntaxKind) {
        match kind {
            SyntaxKind::StageBody | SyntaxKind::SettingBody | SyntaxKind::BranchBody => {
                self.bodies.pop();
            }
            _ => {}
        }
        if matches!(
            rule,
            Rule::stages_section
                | Rule::settings_section
                | Rule::unknown_section
                | Rule::block_item
                | Rule::profile_item
        ) {
            // A section that nothing closes has not ended early.
            let is_closed = &self.text[self.last.0..self.last.1] == "}";
            self.section_end = is_closed.then_some((self.last.0, self.diagnostics.len()));
        }
        self.odd_bodies -= usize::from(rule == Rule::odd_body);
        self.ended |= is_statement(rule);
    }

    /// At a token that is not trivia.
    pub(super) fn token(&mut self, rule: Rule, start: usize, end: usize) {
        let span = self.span(start, end);
        let text = &self.text[start..end];
        match rule {
            Rule::open_paren | Rule::open_bracket | Rule::open_brace => {
                let suspect = text == "{" && self.mistaken_until.is_some_and(|end| start <= end);
                self.open.push(Some(Open { offset: start, before: self.diagnostics.len(), suspect, suspects: 0 }));
                self.ended = false;
            }
            Rule::close_paren | Rule::close_bracket | Rule::close_brace => {
                if let Some(closed) = self.open.pop().flatten() {
                    self.blame(closed.suspects + usize::from(closed.suspect));
                }
            }
            Rule::semicolon => self.ended = false,
            Rule::comma if matches!(self.text[self.last.0..self.last.1].chars().next(), Some('(' | '[' | ',')) => {
                self.push(
                    Diagnostic::error(EXTRA_COMMA, span, "expected a value, found `,`")
                        .label("nothing before this comma")
                        .fix(Applicability::Safe, "remove `,`", span, ""),
                );
            }
            Rule::stray_comma => {
                let (what, instead) = match self.bodies.last() {
                    Some(SyntaxKind::StageBody | SyntaxKind::BranchBody) => ("a layer", "`->`, a newline or `;`"),
                    _ => ("a setting", "a newline or `;`"),
                };
                let (title, replacement) = match self.rest_of_line(end) {
                    true => ("remove `,`", ""),
                    false => ("write `;`", ";"),
                };
                self.push_vague(
                    Diagnostic::error(MISSING_SEPARATOR, span, format!("expected {instead} after {what}, found `,`"))
                        .label("separates arguments only")
                        .fix(Applicability::Safe, title, span, replacement),
                );
                self.ended = false;
            }
            Rule::any_close if text == "}" && self.section_ended_early(start) => self.report_early_close(span),
            Rule::stray_close | Rule::any_close => self.push_vague(
                Diagnostic::error(STRAY_CLOSE, span, format!("`{text}` closes nothing"))
                    .label("no bracket is open here")
                    .fix(Applicability::Suggested, format!("remove `{text}`"), span, ""),
            ),
            Rule::wrong_equal if self.is_section(start) => {
                let name = self.text[..start].lines().next_back().unwrap_or("").trim_end();
                self.push(
                    Diagnostic::error(WRONG_EQUALS, span, format!("expected `{{` after `{name}`, found `{text}`"))
                        .label("a section stands in braces")
                        .help(format!("write `{name} {{` here, and `}}` at its end")),
                );
            }
            Rule::wrong_equal => self.push(
                Diagnostic::error(WRONG_EQUALS, span, format!("expected `=`, found `{text}`"))
                    .label("settings are written `name = value`")
                    .fix(
                        Applicability::Safe,
                        "write `=`",
                        span,
                        if text == ":" { self.spaced_equals(start, end) } else { "=" },
                    ),
            ),
            Rule::wrong_arrow => self.push(
                Diagnostic::error(WRONG_ARROW, span, format!("expected `->`, found `{text}`"))
                    .label("layers are chained with `->`")
                    .fix(Applicability::Safe, "write `->`", span, "->"),
            ),
            Rule::wrong_comment => self.push(
                Diagnostic::error(
                    WRONG_COMMENT,
                    span,
                    format!("expected `#` before a comment, found `{}`", &text[..2]),
                )
                .label("comments start with `#`")
                .fix(Applicability::Safe, "write `#`", self.span(start, start + 2), "#"),
            ),
            Rule::open_string => self.report_open_string(start, end),
            Rule::wrong_string => {
                let inner: String = text.chars().skip(1).take(text.chars().count().saturating_sub(2)).collect();
                let quote: String = text.chars().take(1).collect();
                let fixed = format!("\"{}\"", inner.replace('\\', "\\\\").replace('"', "\\\""));
                self.push(
                    Diagnostic::error(WRONG_QUOTES, span, format!("expected `\"` around a string, found `{quote}`"))
                        .label("strings are written in double quotes")
                        .fix(Applicability::Safe, format!("write `{fixed}`"), span, fixed),
                );
            }
            Rule::dashed => self.report_dashes(span, text),
            Rule::key if text.contains('-') => self.report_dashes(span, text),
            Rule::arg_name if text.contains('-') => self.report_dashes(span, text),
            Rule::bad_version => self.push(
                Diagnostic::error(BAD_VERSION, span, format!("expected a version number, found {}", shorten(text)))
                    .label("not a version")
                    .help("write `nnopt 1`"),
            ),
            Rule::bad_head | Rule::bad_header => {
                let diagnostic = self.unexpected(rule, start, end);
                self.push_vague(diagnostic);
                self.ended = false;
            }
            Rule::bad_value | Rule::bad_arg | Rule::lone_rest => {
                let diagnostic = self.unexpected(rule, start, end);
                self.push(diagnostic);
            }
            _ => {}
        }
        self.last = (start, end);
    }

    /// The name of the section before the `=` that stands before an offset.
    fn section_before(&self, at: usize) -> Option<(usize, usize)> {
        let name_end = self.text[..at].trim_end().strip_suffix('=')?.trim_end().len();
        let line = self.text[..name_end].rfind('\n').map_or(0, |newline| newline + 1);
        let indent = self.text[line..name_end].len() - self.text[line..name_end].trim_start().len();
        self.is_section(name_end).then_some((line + indent, name_end))
    }

    /// Whether the name before an offset is that of a section, at the beginning of a line.
    pub(super) fn is_section(&self, at: usize) -> bool {
        let line = self.text[..at].rfind('\n').map_or(0, |newline| newline + 1);
        ["data", "augment", "model", "train"].contains(&self.text[line..at].trim_end())
    }

    /// Whether the last section seems to have been closed too early, if a `}` here is one too many.
    fn section_ended_early(&self, at: usize) -> bool {
        let something = |end: usize| !self.text[end + 1..at].trim().is_empty();
        self.section_end.is_some_and(|(end, idx)| self.diagnostics.len() > idx || something(end))
    }

    /// At a `}` too many: what was odd since the last section is so because that ended too early.
    fn report_early_close(&mut self, span: Span) {
        let Some((end, before)) = self.section_end else { return };
        let follows = |code| matches!(code, MISPLACED | MISSING_EQUALS | UNEXPECTED | MISSING_SEPARATOR);
        let mut idx = 0;
        self.diagnostics.retain(|diagnostic| {
            idx += 1;
            idx <= before || !follows(diagnostic.code)
        });
        self.push(
            Diagnostic::error(STRAY_CLOSE, span, "`}` closes nothing")
                .label("no bracket is open here")
                .also(self.span(end, end + 1), "the section was closed here")
                .fix(Applicability::Suggested, "remove this `}`", span, "")
                .fix(Applicability::Suggested, "remove the `}` before", self.span(end, end + 1), ""),
        );
    }

    fn report_open_string(&mut self, start: usize, end: usize) {
        let text = &self.text[start..end];
        // The quote was most likely meant before what closes the call, not after it.
        let kept = text.trim_end_matches([' ', '\t', ')', ']', '}', ',', ';', '\\']);
        let close = if kept.len() > 1 { start + kept.len() } else { end };
        let here = self.span(close, close);
        // A quote too many or too few makes text of what separates the values before it on the line.
        let line = self.text[..start].rfind('\n').map_or(0, |at| at + 1);
        self.diagnostics
            .retain(|diagnostic| diagnostic.code != MISSING_COMMA || (diagnostic.span().start as usize) < line);
        self.push(
            Diagnostic::error(
                OPEN_STRING,
                self.span(start, end),
                "expected `\"` at the end of the string, found the end of the line",
            )
            .label("not closed on this line")
            .fix(Applicability::Suggested, "insert `\"`", here, "\""),
        );
        self.open_string = Some((start, end));
    }

    fn report_dashes(&mut self, span: Span, text: &str) {
        let fixed = text.replace('-', "_");
        self.push(
            Diagnostic::error(DASHED_NAME, span, format!("found `-` in the name `{text}`"))
                .label("names are written with `_`")
                .fix(Applicability::Safe, format!("write `{fixed}`"), span, fixed),
        );
    }

    fn report_body(&mut self, brace: usize) {
        let (start, end) = self.layer;
        let name = shorten(&self.text[start..end]);
        let span = self.span(start, end);
        let words = ["repeat", "residual", "branch"];
        let diagnostic = Diagnostic::error(NO_BODY, span, format!("{name} takes no `{{ … }}`"));
        let diagnostic = match did_you_mean(name.trim_matches('`'), words) {
            Some(word) => diagnostic.label(format!("perhaps `{word}`")).fix(
                Applicability::Suggested,
                format!("write `{word}`"),
                span,
                word,
            ),
            None => diagnostic
                .label("a layer")
                .also(self.span(brace, brace + 1), "this opens a body")
                .help("only `repeat n`, `residual`, `shortcut` and `branch` are followed by `{ … }`"),
        };
        self.push_vague(diagnostic);
    }

    /// Checks that a newline or `;` stands before this statement.
    fn separate(&mut self, rule: Rule, start: usize) {
        let gap = &self.text[self.last.1..start];
        if self.ended && !gap.contains('\n') && !self.text[..self.last.1].ends_with('}') {
            let at = self.span(self.last.1, self.last.1);
            let found = self.found(self.last.1, true);
            let after = shorten(&self.text[self.last.0..self.last.1]);
            let stage = rule == Rule::chain;
            let (expected, title, text) = match stage {
                true => ("`->`, a newline or `;`", "insert `->`", " ->"),
                false => ("a newline or `;`", "insert `;`", ";"),
            };
            self.push_vague(
                Diagnostic::error(MISSING_SEPARATOR, at, format!("expected {expected} after {after}, found {found}"))
                    .label("separator missing")
                    .fix(Applicability::Suggested, title, at, text),
            );
        }
        self.ended = false;
    }

    fn unexpected(&self, rule: Rule, start: usize, end: usize) -> Diagnostic {
        let (from, to) = self.next_token(start).unwrap_or((start, end));
        let to = to.min(end).max(from);
        let begins_value = self.text[..self.last.1].ends_with(['(', '[', ',', '=']);
        let (expected, help) = match (rule, self.bodies.last()) {
            (Rule::bad_arg, _) if !begins_value => ("`,` or a closing bracket", "arguments are separated by `,`"),
            (Rule::bad_arg, _) => ("a value", "arguments are `value` or `name = value`"),
            (Rule::bad_value, _) => (
                "a value",
                "values are numbers, words, strings, lists and calls: `0.1`, `auto`, `\"path\"`, `[0, 2]`, `adam()`",
            ),
            (Rule::lone_rest, _) => ("the end of the value", "one value stands after `=`"),
            (Rule::bad_header, _) => ("`{`", "nothing stands between the name and `{`"),
            (_, None) => ("a section or a setting", "a file holds sections, `model { … }`, and settings, `loss = mse`"),
            (_, Some(SyntaxKind::SettingBody)) => ("a setting", "settings are `name = value`, such as `epochs = 20`"),
            (_, Some(SyntaxKind::BranchBody)) => ("an arm", "`branch` holds arms, each in its own braces"),
            (_, Some(_)) => ("a layer", "layers are `name` or `name(arguments)`, such as `conv2d(32) -> relu`"),
        };
        let found = shorten(&self.text[from..to]);
        Diagnostic::error(UNEXPECTED, self.span(from, to), format!("expected {expected}, found {found}"))
            .label("not understood")
            .help(help)
    }
}

fn is_statement(rule: Rule) -> bool {
    matches!(
        rule,
        Rule::version
            | Rule::allow
            | Rule::let_item
            | Rule::block_item
            | Rule::include_item
            | Rule::profile_item
            | Rule::stages_section
            | Rule::settings_section
            | Rule::unknown_section
            | Rule::setting
            | Rule::nested_section
            | Rule::label
            | Rule::chain
    )
}
