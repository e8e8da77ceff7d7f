//! A reader of single calls, so that these tests need no parser.

use crate::schema::{Given, GivenCall, GivenKind};
use crate::source::Span;
use crate::syntax::ast::{Name, Unit};

/// Reads a call such as `conv2d(8, kernel = [3, 5])`.
pub fn call(text: &str) -> GivenCall {
    value(text).as_call().unwrap_or_else(|| panic!("`{text}` is not a call"))
}

fn value(text: &str) -> Given {
    Given { kind: kind(text.trim()), span: Span::default() }
}

fn kind(text: &str) -> GivenKind {
    if let Some(items) = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        return GivenKind::List(split(items).into_iter().map(value).collect());
    }
    if let Some((name, args)) = text.strip_suffix(')').and_then(|rest| rest.split_once('(')) {
        let args = split(args).into_iter().map(argument).collect();
        return GivenKind::Call(GivenCall { name: name_of(name), args, span: Span::default() });
    }
    if let Some((low, high)) = text.split_once("..")
        && let (Ok(low), Ok(high)) = (low.parse(), high.parse())
    {
        return GivenKind::Range(low, high);
    }
    let (number, unit) = match text.split_once(' ') {
        Some((number, "epoch" | "epochs")) => (number, Some(Unit::Epochs)),
        Some((number, "step" | "steps")) => (number, Some(Unit::Steps)),
        _ => (text, None),
    };
    match number.parse() {
        Ok(value) => GivenKind::Number { value, integer: !number.contains(['.', 'e']), unit },
        Err(_) => GivenKind::Word(text.to_owned()),
    }
}

fn argument(text: &str) -> (Option<Name>, Given) {
    let end = text.find(['(', '[']).unwrap_or(text.len());
    match text[..end].find('=') {
        Some(at) => (Some(name_of(&text[..at])), value(&text[at + 1..])),
        None => (None, value(text)),
    }
}

fn name_of(text: &str) -> Name {
    Name { text: text.trim().to_owned(), span: Span::default() }
}

/// Splits at the commas outside of brackets.
fn split(text: &str) -> Vec<&str> {
    let (mut parts, mut start, mut depth) = (Vec::new(), 0, 0);
    for (at, c) in text.char_indices() {
        match c {
            '(' | '[' => depth += 1,
            ')' | ']' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    if !text.trim().is_empty() {
        parts.push(&text[start..]);
    }
    parts
}
