//! `allow(lint, …)`: which diagnostics are not shown, and which `allow` silences nothing.

use super::edit::remove_statement;
use super::{Code, Context, Diagnostic, LINTS, Lint, lint};
use crate::diagnostic::{Applicability, did_you_mean};
use crate::source::{Sources, Span};
use crate::syntax::ast::{self, Allow, Name};

const UNKNOWN_LINT: Code = Code("E0220");
const UNUSED: Code = Code("W0504");

/// Found in [`silence`], after all others have spoken.
pub(super) const LINT: Lint = Lint { code: UNUSED, name: "unused_allow", check: |_| Vec::new() };

/// Reports names in `allow(…)` that are no lints.
pub(in crate::check) fn check_names(file: &ast::File, diagnostics: &mut Vec<Diagnostic>) {
    for name in file.allows.iter().flat_map(|allow| &allow.lints) {
        if lint(&name.text).is_some() {
            continue;
        }
        // A code is as good a guess as a name: the rendering shows codes.
        let by_code = LINTS.iter().find(|lint| lint.code.0.eq_ignore_ascii_case(&name.text)).map(|lint| lint.name);
        let close = by_code.or_else(|| did_you_mean(&name.text, LINTS.iter().map(|lint| lint.name)));
        let message = format!("there is no lint `{}`", name.text);
        let diagnostic = Diagnostic::error(UNKNOWN_LINT, name.span, message).label("not a lint");
        diagnostics.push(match close {
            Some(close) => diagnostic.help(format!("a similar lint is `{close}`")).fix(
                Applicability::Suggested,
                format!("write `{close}`"),
                name.span,
                close,
            ),
            None => diagnostic.help("`nnoptc explain` lists the lints with their codes"),
        });
    }
}

/// Takes out what is allowed; an `allow` that takes nothing out is said to be unused.
pub(in crate::check) fn silence(context: &Context, said: Vec<Diagnostic>) -> Vec<Diagnostic> {
    let allows: Vec<&Allow> = context.declared.asts.iter().flat_map(|file| &file.allows).collect();
    let main = context.declared.end.file;
    let mut used = vec![Vec::new(); allows.len()];
    let mut kept: Vec<Diagnostic> = Vec::new();
    for diagnostic in said {
        let mut silenced = false;
        for (allow, used) in allows.iter().zip(&mut used) {
            let named = allow.lints.iter().filter(|name| names(name, diagnostic.code)).map(|name| name.span);
            if covers(allow, diagnostic.span(), main) {
                let before = used.len();
                used.extend(named);
                silenced |= used.len() > before;
            }
        }
        if !silenced {
            kept.push(diagnostic);
        }
    }
    let mut unused = Vec::new();
    for (allow, used) in allows.iter().zip(&used) {
        for name in allow.lints.iter().filter(|name| !used.contains(&name.span) && !names(name, UNUSED)) {
            unused.push(report(context.sources, allow, name));
        }
    }
    unused.retain(|diagnostic| {
        !allows
            .iter()
            .any(|allow| allow.lints.iter().any(|name| names(name, UNUSED)) && covers(allow, diagnostic.span(), main))
    });
    kept.extend(unused);
    kept
}

fn names(name: &Name, code: Code) -> bool {
    lint(&name.text).is_some_and(|lint| lint.code == code)
}

/// At the top level of the main file it holds for everything, in an included file for that file, inside braces for the
/// statement after it.
fn covers(allow: &Allow, place: Span, main: u16) -> bool {
    match allow.covers {
        None => allow.span.file == main || allow.span.file == place.file,
        Some(next) => next.file == place.file && next.start <= place.start && place.end <= next.end,
    }
}

fn report(sources: &Sources, allow: &Allow, name: &Name) -> Diagnostic {
    let message = format!("`allow({})` silences nothing", name.text);
    let diagnostic = Diagnostic::warning(UNUSED, name.span, message).label("has nothing to say here");
    let (title, edit) = match allow.lints.len() {
        1 => ("remove this `allow`".to_owned(), remove_statement(sources, allow.span)),
        _ => (format!("remove `{}`", name.text), remove_name(sources, name.span)),
    };
    diagnostic.fix(Applicability::Safe, title, edit.0, edit.1)
}

/// A name of several, with the comma after it, or before it if it is the last.
fn remove_name(sources: &Sources, name: Span) -> (Span, String) {
    let text = &sources.file(name.file).text;
    let (start, end) = (name.start as usize, name.end as usize);
    let after = text[end..].trim_start();
    let (start, end) = match after.strip_prefix(',') {
        Some(rest) => (start, text.len() - rest.trim_start().len()),
        None => (text[..start].trim_end().trim_end_matches(',').len(), end),
    };
    (Span::new(name.file, start, end), String::new())
}
