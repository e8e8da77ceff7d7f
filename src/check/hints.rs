//! What was probably meant, where that follows from the text around a mistake.

use super::load::Declarations;
use super::{Code, Diagnostic};
use crate::diagnostic::{Applicability, did_you_mean};
use crate::source::{Sources, Span};

const WRONG_ARGUMENT: Code = Code("E0207");
const UNEXPECTED: Code = Code("E0101");
const DUPLICATE_ARGUMENT: Code = Code("E0204");

/// Adds hints to diagnostics that have no fix.
pub(super) fn add_hints(sources: &Sources, declared: &Declarations, diagnostics: &mut Vec<Diagnostic>) {
    let mut commas = Vec::new();
    for diagnostic in diagnostics.iter_mut().filter(|found| found.fixes.is_empty()) {
        let hinted = match diagnostic.code {
            WRONG_ARGUMENT => similar_let(sources, declared, diagnostic)
                .or_else(|| size_of_input(sources, diagnostic))
                .or_else(|| decimal_comma(sources, diagnostic)),
            UNEXPECTED => without_parentheses(sources, diagnostic),
            DUPLICATE_ARGUMENT => decimal_comma(sources, diagnostic).inspect(|_| commas.push(diagnostic.span())),
            _ => None,
        };
        if let Some(hinted) = hinted {
            *diagnostic = hinted;
        }
    }
    // What stands before the comma is no value of its own.
    let before = |span: Span| commas.iter().any(|after| after.file == span.file && after.start == span.end + 1);
    diagnostics.retain(|found| found.code != WRONG_ARGUMENT || !before(found.span()));
}

/// `linear(hiden)`, with a `let hidden`.
fn similar_let(sources: &Sources, declared: &Declarations, found: &Diagnostic) -> Option<Diagnostic> {
    let text = sources.text(found.span());
    let close = did_you_mean(text, declared.lets.iter().map(|setting| setting.name.text.as_str()))?;
    (close != text).then(|| {
        found.clone().help(format!("a similar name is `{close}`")).fix(
            Applicability::Suggested,
            format!("write `{close}`"),
            found.span(),
            close,
        )
    })
}

/// `linear(784, 64)`, as where the size of the input is given.
fn size_of_input(sources: &Sources, found: &Diagnostic) -> Option<Diagnostic> {
    let is_number = |text: &str| !text.is_empty() && text.chars().all(|c| c.is_ascii_digit());
    let span = found.span();
    let before = sources.file(span.file).text[..span.start as usize].trim_end().strip_suffix(',')?;
    let digits = before.len() - before.trim_end_matches(|c: char| c.is_ascii_digit()).len();
    let (rest, first) = before.split_at(before.len() - digits);
    if !is_number(first) || !is_number(sources.text(span)) || !rest.ends_with('(') {
        return None;
    }
    let first = Span::new(span.file, rest.len(), span.start as usize);
    let title = format!("leave `{}` out", &before[rest.len()..]);
    Some(found.clone().help("sizes of inputs are inferred").fix(Applicability::Suggested, title, first, ""))
}

/// `lr = 0,1`.
fn decimal_comma(sources: &Sources, found: &Diagnostic) -> Option<Diagnostic> {
    let span = found.span();
    let digits = sources.text(span);
    let before = sources.file(span.file).text[..span.start as usize].strip_suffix(',')?;
    let whole = before.len() - before.trim_end_matches(|c: char| c.is_ascii_digit()).len();
    if whole == 0 || !digits.chars().all(|c| c.is_ascii_digit()) {
        return None;
    }
    let place = Span::new(span.file, before.len() - whole, span.end as usize);
    let number = format!("{}.{digits}", &before[before.len() - whole..]);
    let help = "a decimal point is written `.`; `,` separates arguments";
    Some(found.clone().help(help).fix(Applicability::Suggested, format!("write `{number}`"), place, number))
}

/// `linear 64`.
fn without_parentheses(sources: &Sources, found: &Diagnostic) -> Option<Diagnostic> {
    let span = found.span();
    let text = &sources.file(span.file).text;
    let before = text[..span.start as usize].trim_end_matches([' ', '\t']);
    let is_value = |text: &str| text.starts_with(|c: char| c.is_ascii_digit() || c == '"');
    let name_ends = before.ends_with(|c: char| c.is_alphanumeric() || c == '_') && before.len() < span.start as usize;
    let name = &before[before.trim_end_matches(|c: char| c.is_alphanumeric() || c == '_').len()..];
    if !name_ends || !is_value(sources.text(span)) || name.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    let place = Span::new(span.file, before.len(), span.end as usize);
    let call = format!("({})", sources.text(span));
    let title = format!("write `{name}{call}`");
    Some(found.clone().help("arguments stand in parentheses").fix(Applicability::Suggested, title, place, call))
}
