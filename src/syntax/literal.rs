//! Numbers with units and strings with escapes: from their text to their value.

use super::ast::{ExprKind, Unit};
use super::{BAD_ESCAPE, BAD_NUMBER, UNKNOWN_UNIT};
use crate::diagnostic::{Applicability, Diagnostic, did_you_mean};
use crate::source::Span;

/// Every unit as it is written: what it is, and what one of it is in bytes or seconds.
const UNITS: [(&str, Unit, f64); 12] = [
    ("%", Unit::Percent, 1.0),
    ("epoch", Unit::Epochs, 1.0),
    ("epochs", Unit::Epochs, 1.0),
    ("step", Unit::Steps, 1.0),
    ("steps", Unit::Steps, 1.0),
    ("B", Unit::Bytes, 1.0),
    ("KiB", Unit::Bytes, 1024.0),
    ("MiB", Unit::Bytes, 1_048_576.0),
    ("GiB", Unit::Bytes, 1_073_741_824.0),
    ("s", Unit::Seconds, 1.0),
    ("min", Unit::Seconds, 60.0),
    ("h", Unit::Seconds, 3600.0),
];

/// Every unit as it is written.
pub fn unit_names() -> impl Iterator<Item = &'static str> {
    UNITS.iter().map(|(name, ..)| *name)
}

/// Other ways to write a unit, too far from the right one for a measure of likeness.
const OTHER_UNITS: [(&str, &str); 22] = [
    ("percent", "%"),
    ("ep", "epochs"),
    ("iteration", "steps"),
    ("iterations", "steps"),
    ("iters", "steps"),
    ("batches", "steps"),
    ("b", "B"),
    ("bytes", "B"),
    ("kb", "KiB"),
    ("kib", "KiB"),
    ("k", "KiB"),
    ("mb", "MiB"),
    ("mib", "MiB"),
    ("m", "min"),
    ("gb", "GiB"),
    ("gib", "GiB"),
    ("g", "GiB"),
    ("sec", "s"),
    ("seconds", "s"),
    ("minutes", "min"),
    ("hour", "h"),
    ("hours", "h"),
];

/// The largest integer up to which a 64-bit float holds every integer.
const MAX_EXACT: f64 = 9_007_199_254_740_992.0;

/// Reads a number token, which may end in a unit.
pub(super) fn read_number(text: &str, span: Span, diagnostics: &mut Vec<Diagnostic>) -> ExprKind {
    let digits = number_length(text);
    let (number, unit_text) = (&text[..digits], text[digits..].trim_start());
    let integer = number.bytes().all(|byte| byte.is_ascii_digit() || byte == b'_');
    let number_span = Span { end: span.start + digits as u32, ..span };
    let value = match number.replace('_', "").parse::<f64>() {
        Ok(value) if value.is_finite() && !(integer && value > MAX_EXACT) => value,
        Ok(_) => {
            let limit = if integer { "2^53" } else { "1.8e308" };
            diagnostics.push(
                Diagnostic::error(
                    BAD_NUMBER,
                    number_span,
                    format!("`{number}` is too large, expected at most {limit}"),
                )
                .label("cannot be held exactly"),
            );
            return ExprKind::Missing;
        }
        Err(_) => {
            diagnostics.push(
                Diagnostic::error(BAD_NUMBER, number_span, format!("`{number}` is not a number"))
                    .label("one point too many")
                    .help("numbers are written `20`, `0.5`, `1e-4`; a range is written `0.35..1`"),
            );
            return ExprKind::Missing;
        }
    };
    if unit_text.is_empty() {
        return ExprKind::Number { value, integer, unit: None };
    }
    if let Some((_, unit, scale)) = UNITS.iter().find(|(name, ..)| *name == unit_text) {
        return ExprKind::Number { value: value * scale, integer, unit: Some(*unit) };
    }
    let unit_span = Span { start: span.end - unit_text.len() as u32, ..span };
    let diagnostic = Diagnostic::error(UNKNOWN_UNIT, unit_span, format!("unknown unit `{unit_text}`"));
    let diagnostic = match meant_unit(unit_text) {
        Some(meant) => diagnostic.label(format!("perhaps `{meant}`")).fix(
            Applicability::Suggested,
            format!("write `{meant}`"),
            unit_span,
            meant,
        ),
        None => diagnostic
            .label("not a unit")
            .help("units are `%`, `epochs`, `steps`, `B`, `KiB`, `MiB`, `GiB`, `s`, `min`, `h`"),
    };
    diagnostics.push(diagnostic);
    ExprKind::Number { value, integer, unit: None }
}

fn meant_unit(found: &str) -> Option<&'static str> {
    let lower = found.to_lowercase();
    let known = OTHER_UNITS.iter().find(|(other, _)| *other == lower).map(|(_, unit)| *unit);
    known.or_else(|| {
        let long = UNITS.iter().map(|(name, ..)| *name).filter(|name| name.len() > 2);
        did_you_mean(&lower, long.clone()).or_else(|| did_you_mean(found, long))
    })
}

/// The length of the digits, point and exponent, without the unit.
pub(super) fn number_length(text: &str) -> usize {
    let bytes = text.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        match bytes[at] {
            b'0'..=b'9' | b'_' | b'.' => at += 1,
            b'e' | b'E' => {
                let sign = usize::from(matches!(bytes.get(at + 1), Some(b'+' | b'-')));
                if !bytes.get(at + 1 + sign).is_some_and(u8::is_ascii_digit) {
                    break;
                }
                at += 2 + sign;
            }
            _ => break,
        }
    }
    at
}

/// Reads what stands between the quotes of a string; `span` is where that text stands.
pub(super) fn read_string(inner: &str, span: Span, diagnostics: &mut Vec<Diagnostic>) -> String {
    let mut value = String::with_capacity(inner.len());
    let mut chars = inner.char_indices();
    while let Some((offset, c)) = chars.next() {
        if c != '\\' {
            value.push(c);
            continue;
        }
        let escape = chars.next().map(|(_, c)| c);
        let known = match escape {
            Some('"') => Some('"'),
            Some('\\') => Some('\\'),
            Some('n') => Some('\n'),
            Some('t') => Some('\t'),
            Some('r') => Some('\r'),
            Some('u') => read_unicode(chars.as_str()).map(|(c, length)| {
                // Braces and hexadecimal digits are one byte each.
                chars.nth(length - 1);
                c
            }),
            _ => None,
        };
        match (known, escape) {
            (Some(c), _) => value.push(c),
            (None, escape) => {
                let start = span.start as usize + offset;
                let at = Span::new(span.file, start, start + 1 + escape.map_or(0, char::len_utf8));
                let found: String = escape.into_iter().flat_map(char::escape_debug).collect();
                diagnostics.push(
                    Diagnostic::error(BAD_ESCAPE, at, format!("unknown escape `\\{found}` in a string"))
                        .label("expected `\\\\`, `\\\"`, `\\n`, `\\t`, `\\r` or `\\u{…}`")
                        .help("write `/` between folders, on every system, or `\\\\` for a backslash")
                        .fix(Applicability::Suggested, "write `\\\\`", Span { end: at.start + 1, ..at }, "\\\\"),
                );
                value.push('\\');
                value.extend(escape);
            }
        }
    }
    value
}

/// Reads `{1F600}` and says how long it is.
fn read_unicode(text: &str) -> Option<(char, usize)> {
    let digits = text.strip_prefix('{')?.split_once('}')?.0;
    if digits.is_empty() || digits.len() > 6 || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let c = char::from_u32(u32::from_str_radix(digits, 16).ok()?)?;
    Some((c, digits.len() + 2))
}
