//! What is said where a required piece is missing.

use super::super::parse::Rule;
use super::super::*;
use super::Recovery;
use super::look::{name_length, shorten};
use crate::diagnostic::{Applicability, Label};

impl Recovery<'_> {
    /// Where a required piece is missing.
    pub(in crate::syntax) fn missing(&mut self, rule: Rule) {
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
                if after.starts_with('`') && name_length(after.trim_matches('`')) == after.len() - 2 {
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
            // `data:` has been told; what follows are the settings of the section.
            _ if self.is_section(self.last.0) => return,
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
            diagnostic.labels.push(Label { span: opened, text: cause });
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
            _ => diagnostic.fix(Applicability::Suggested, format!("insert `{closing}`"), here, closing.to_string()),
        };
        self.unclosed = Some((at, self.diagnostics.len()));
        self.push(diagnostic);
    }

    /// Tells the bracket around that so many braces inside it may be too many.
    pub(super) fn blame(&mut self, suspects: usize) {
        if let Some(outer) = self.open.iter_mut().rev().flatten().next() {
            outer.suspects += suspects;
        }
    }
}
