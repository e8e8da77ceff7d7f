//! What each mistake found by the grammar is called, and which of them only follow from another.

use super::kind::SyntaxKind;
use super::parse::Rule;
use super::*;
use crate::diagnostic::{Applicability, did_you_mean};

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
            self.section_end = Some((self.last.0, self.diagnostics.len()));
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
            Rule::any_close if text == "}" && self.section_end.is_some_and(|(_, idx)| self.diagnostics.len() > idx) => {
                self.report_early_close(span);
            }
            Rule::stray_close | Rule::any_close => self.push_vague(
                Diagnostic::error(STRAY_CLOSE, span, format!("`{text}` closes nothing"))
                    .label("no bracket is open here")
                    .fix(Applicability::Suggested, format!("remove `{text}`"), span, ""),
            ),
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
                Diagnostic::error(BAD_VERSION, span, format!("expected a version number, found `{}`", text.trim_end()))
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

    /// Where a required piece is missing.
    pub(super) fn missing(&mut self, rule: Rule) {
        match rule {
            Rule::missing_close_brace => return self.report_unclosed('{', '}'),
            Rule::missing_close_paren => return self.report_unclosed('(', ')'),
            Rule::missing_close_bracket => return self.report_unclosed('[', ']'),
            Rule::missing_open_brace => self.open.push(None),
            _ => {}
        }
        let at = self.last.1;
        if self.missing_at == Some(at) {
            return;
        }
        self.missing_at = Some(at);
        let here = self.span(at, at);
        let after = shorten(&self.text[self.last.0..self.last.1]);
        let found = self.found(at, matches!(rule, Rule::missing_open_brace | Rule::missing_comma));
        let diagnostic = match rule {
            Rule::missing_name if self.text[..at].ends_with("join") => {
                Diagnostic::error(MISSING_JOIN, here, format!("expected `concat` or `add` after `join`, found {found}"))
                    .label("how do the arms meet")
                    .fix(Applicability::Suggested, "write `join concat`", here, " concat")
            }
            Rule::missing_name => {
                Diagnostic::error(MISSING_NAME, here, format!("expected a name after {after}, found {found}"))
                    .label("name missing")
                    .help(format!("write `{} name …`", after.trim_matches('`')))
            }
            Rule::missing_path => {
                Diagnostic::error(MISSING_VALUE, here, format!("expected a file after `include`, found {found}"))
                    .label("file missing")
                    .help("write `include \"file.nnopt\"`")
            }
            Rule::missing_version => {
                Diagnostic::error(BAD_VERSION, here, format!("expected a version number after `nnopt`, found {found}"))
                    .label("version missing")
                    .fix(Applicability::Safe, "write `nnopt 1`", here, " 1")
            }
            Rule::missing_equals => {
                let diagnostic =
                    Diagnostic::error(MISSING_EQUALS, here, format!("expected `=` after {after}, found {found}"))
                        .label("`=` missing")
                        .fix(Applicability::Suggested, "insert `=`", here, " =");
                return self.push_vague(diagnostic);
            }
            Rule::missing_setting => {
                let name = after.trim_matches('`');
                let help = match self.bodies.last() {
                    None => format!("write `{name} = value` or `{name} {{ … }}`"),
                    Some(_) => format!("write `{name} = value`"),
                };
                let diagnostic = Diagnostic::error(
                    MISSING_EQUALS,
                    here,
                    format!("expected `=` and a value after {after}, found {found}"),
                )
                .label("value missing")
                .help(help);
                return self.push_vague(diagnostic);
            }
            Rule::missing_count => {
                Diagnostic::error(MISSING_VALUE, here, format!("expected a count after `repeat`, found {found}"))
                    .label("count missing")
                    .help("write how often, as in `repeat 3 { … }`")
            }
            Rule::missing_stage if after == "`->`" => {
                Diagnostic::error(MISSING_STAGE, here, format!("expected a layer after `->`, found {found}"))
                    .label("layer missing")
                    .fix(Applicability::Suggested, "remove `->`", self.span(self.last.0, self.last.1), "")
            }
            Rule::missing_stage => {
                let diagnostic =
                    Diagnostic::error(MISSING_STAGE, here, format!("expected a layer after {after}, found {found}"))
                        .label("layer missing")
                        .help("a chain starts with a layer: `conv2d(32) -> relu`");
                return self.push_vague(diagnostic);
            }
            Rule::missing_join => Diagnostic::error(
                MISSING_JOIN,
                here,
                format!("expected `join` after the arms of `branch`, found {found}"),
            )
            .label("how do the arms meet")
            .fix(Applicability::Suggested, "write `join concat`", here, " join concat")
            .fix(Applicability::Suggested, "write `join add`", here, " join add"),
            Rule::missing_comma => {
                let diagnostic =
                    Diagnostic::error(MISSING_COMMA, here, format!("expected `,` after {after}, found {found}"))
                        .label("`,` missing")
                        .fix(Applicability::Suggested, "insert `,`", here, ",");
                if after.starts_with(|c: char| c == '`') && name_length(after.trim_matches('`')) == after.len() - 2 {
                    diagnostic.fix(Applicability::Suggested, "insert `=`", here, " =")
                } else {
                    diagnostic
                }
            }
            Rule::missing_open_brace => {
                Diagnostic::error(MISSING_OPEN, here, format!("expected `{{` after {after}, found {found}"))
                    .label("`{` missing")
                    .fix(Applicability::Suggested, "insert `{`", here, " {")
            }
            _ => Diagnostic::error(MISSING_VALUE, here, format!("expected a value after {after}, found {found}"))
                .label("value missing"),
        };
        self.push(diagnostic);
    }

    fn report_unclosed(&mut self, opening: char, closing: char) {
        let Some(Some(open)) = self.open.pop() else { return };
        let at = self.last.1;
        if self.open_string.is_some_and(|(start, end)| end == at && self.text[start..end].contains(closing)) {
            return;
        }
        // What stands in place of a value has been reported just there.
        if closing != '}' && self.missing_at == Some(at) && self.found(at, false).starts_with('`') {
            return;
        }
        if closing == '}' && open.suspects + usize::from(open.suspect) > 0 {
            self.blame(open.suspects + usize::from(open.suspect) - 1);
            return;
        }
        if closing == '}' {
            // The `let`s that seem to stand inside are outside, once the brace is closed.
            let mut idx = 0;
            self.diagnostics.retain(|diagnostic| {
                idx += 1;
                idx <= open.before || diagnostic.code != MISPLACED || !diagnostic.message.starts_with("`let`")
            });
        }
        let (here, opened) = (self.span(at, at), self.span(open.offset, open.offset + 1));
        let cause = format!("this `{opening}` is not closed");
        if let Some((place, idx)) = self.unclosed
            && place == at
            && let Some(diagnostic) = self.diagnostics.get_mut(idx)
            && diagnostic.code == UNCLOSED
        {
            diagnostic.labels.push(crate::diagnostic::Label { span: opened, text: cause });
            if let Some((_, text)) = diagnostic.fixes.first_mut().and_then(|fix| fix.edits.first_mut()) {
                text.push(closing);
            }
            return;
        }
        let found = self.found(at, closing == '}');
        let diagnostic = Diagnostic::error(UNCLOSED, here, format!("expected `{closing}`, found {found}"))
            .label(format!("`{closing}` missing"))
            .also(opened, cause);
        let wrong = self.next_token(at).filter(|&(start, end)| matches!(&self.text[start..end], ")" | "]"));
        let diagnostic = match wrong {
            Some((start, end)) if closing != '}' => {
                let span = self.span(start, end);
                diagnostic.fix(Applicability::Suggested, format!("write `{closing}`"), span, closing.to_string())
            }
            _ if closing == '}' => diagnostic.fix(Applicability::Suggested, format!("insert `{closing}`"), here, "\n}"),
            _ => diagnostic.fix(Applicability::Safe, format!("insert `{closing}`"), here, closing.to_string()),
        };
        self.unclosed = Some((at, self.diagnostics.len()));
        self.push(diagnostic);
    }

    /// Tells the bracket around that so many braces inside it may be too many.
    fn blame(&mut self, suspects: usize) {
        if let Some(outer) = self.open.iter_mut().rev().flatten().next() {
            outer.suspects += suspects;
        }
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
                .help("remove one of them"),
        );
    }

    fn report_open_string(&mut self, start: usize, end: usize) {
        let text = &self.text[start..end];
        // The quote was most likely meant before what closes the call, not after it.
        let kept = text.trim_end_matches([' ', '\t', ')', ']', '}', ',', ';', '\\']);
        let close = if kept.len() > 1 { start + kept.len() } else { end };
        let here = self.span(close, close);
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

    fn span(&self, start: usize, end: usize) -> Span {
        Span::new(self.file, start, end)
    }

    fn first_line(&self, start: usize, end: usize) -> Span {
        let line = self.text[start..end].lines().next().unwrap_or("");
        self.span(start, start + line.split('#').next().unwrap_or("").trim_end().len())
    }

    /// Whether nothing but blanks and comments follow on the line.
    fn rest_of_line(&self, at: usize) -> bool {
        self.text[at..]
            .trim_start_matches([' ', '\t', '\r'])
            .chars()
            .next()
            .is_none_or(|c| matches!(c, '\n' | '#' | '}'))
    }

    fn spaced_equals(&self, start: usize, end: usize) -> &'static str {
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
    fn found(&self, at: usize, far: bool) -> String {
        match self.next_token(at) {
            None => "the end of the file".into(),
            Some((start, _)) if !far && self.text[at..start].contains('\n') => "the end of the line".into(),
            Some((start, end)) => shorten(&self.text[start..end]),
        }
    }

    /// The next word or sign that is not trivia.
    fn next_token(&self, mut at: usize) -> Option<(usize, usize)> {
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

fn is_statement(rule: Rule) -> bool {
    matches!(
        rule,
        Rule::version
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

/// The length of the name or number that a text begins with.
fn name_length(text: &str) -> usize {
    text.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(text.len())
}

/// A piece of source in backticks, fit for a message: one line, short, without control characters.
fn shorten(text: &str) -> String {
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
