//! Edits of source text that fixes are made of.

use crate::source::{Sources, Span};

/// One more argument at the end of a call that has parentheses.
pub(in crate::check) fn add_argument(sources: &Sources, call: Span, argument: &str) -> Option<(Span, String)> {
    let text = sources.text(call);
    let inside = text.strip_suffix(')')?;
    let separator = match inside.trim_end().chars().next_back()? {
        '(' => "",
        ',' => " ",
        _ => ", ",
    };
    let at = call.start as usize + inside.trim_end().len();
    Some((Span::new(call.file, at, at), format!("{separator}{argument}")))
}

/// One more setting after another: on a line of its own where the other has one, else after a `;`.
pub(in crate::check) fn add_setting_after(sources: &Sources, setting: Span, text: &str) -> (Span, String) {
    let source = &sources.file(setting.file).text;
    let (start, end) = (setting.start as usize, setting.end as usize);
    let line_start = source[..start].rfind('\n').map_or(0, |at| at + 1);
    let line_end = source[end..].find('\n').map_or(source.len(), |length| end + length);
    let (indent, rest) = (&source[line_start..start], source[end..line_end].trim_start());
    let alone = indent.chars().all(char::is_whitespace) && (rest.is_empty() || rest.starts_with('#'));
    match alone {
        true => {
            let end = line_start + source[line_start..line_end].trim_end_matches('\r').len();
            (Span::new(setting.file, end, end), format!("\n{indent}{text}"))
        }
        false => (setting.after(), format!("; {text}")),
    }
}

/// Removes a stage with the arrow that leads to it or away from it, or its whole line if it stands alone there.
pub(in crate::check) fn remove_stage(sources: &Sources, stage: Span) -> (Span, String) {
    let source = &sources.file(stage.file).text;
    let (start, end) = (stage.start as usize, stage.end as usize);
    let before = source[..start].trim_end();
    if let Some(before) = before.strip_suffix("->") {
        return (Span::new(stage.file, before.trim_end().len(), end), String::new());
    }
    let after = source[end..].trim_start();
    if let Some(rest) = after.strip_prefix("->") {
        let next = source.len() - rest.trim_start().len();
        return (Span::new(stage.file, start, next), String::new());
    }
    remove_statement(sources, stage)
}

/// Removes a statement with its line, comment included, if nothing else stands there; else with its `;`.
pub(in crate::check) fn remove_statement(sources: &Sources, statement: Span) -> (Span, String) {
    let source = &sources.file(statement.file).text;
    let (start, end) = (statement.start as usize, statement.end as usize);
    let line_start = source[..start].rfind('\n').map_or(0, |at| at + 1);
    let line_end = source[end..].find('\n').map_or(source.len(), |length| end + length + 1);
    let rest = source[end..line_end].trim();
    if source[line_start..start].trim().is_empty() && (rest.is_empty() || rest.starts_with('#')) {
        return (Span::new(statement.file, line_start, line_end), String::new());
    }
    let after = source[end..].trim_start_matches([' ', '\t']);
    let stop = match after.strip_prefix(';') {
        Some(rest) => source.len() - rest.trim_start_matches([' ', '\t']).len(),
        None => end,
    };
    (Span::new(statement.file, start, stop), String::new())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The text with one edit at the place of `needle`.
    fn edited(text: &str, needle: &str, edit: impl Fn(&Sources, Span) -> (Span, String)) -> String {
        let mut sources = Sources::default();
        let file = sources.add("a", text);
        let at = text.find(needle).unwrap();
        let (span, replacement) = edit(&sources, Span::new(file, at, at + needle.len()));
        let mut text = text.to_owned();
        text.replace_range(span.range(), &replacement);
        text
    }

    #[test]
    fn arguments_are_added() {
        let add = |text: &str| edited(text, text, |sources, span| add_argument(sources, span, "b = 1").unwrap());
        assert_eq!(add("f(a)"), "f(a, b = 1)");
        assert_eq!(add("f()"), "f(b = 1)");
        assert_eq!(add("f(a, )"), "f(a, b = 1 )");
        let mut sources = Sources::default();
        sources.add("a", "f");
        assert_eq!(add_argument(&sources, Span::new(0, 0, 1), "b = 1"), None);
    }

    #[test]
    fn settings_are_added() {
        let add =
            |text: &str, after: &str| edited(text, after, |sources, span| add_setting_after(sources, span, "z = 9"));
        assert_eq!(add("t {\n    a = 1  # why\n}", "a = 1"), "t {\n    a = 1  # why\n    z = 9\n}");
        assert_eq!(add("t {\r\n\ta = 1\r\n}", "a = 1"), "t {\r\n\ta = 1\n\tz = 9\r\n}");
        assert_eq!(add("t { a = 1 }", "a = 1"), "t { a = 1; z = 9 }");
    }

    #[test]
    fn stages_and_statements_are_removed() {
        let stage = |text: &str| edited(text, "x", remove_stage);
        assert_eq!(stage("a -> x -> b"), "a -> b");
        assert_eq!(stage("x -> b"), "b");
        assert_eq!(stage("a\n  -> x\nb"), "a\nb");
        assert_eq!(stage("a\n  x  # why\nb"), "a\nb");
        assert_eq!(stage("a; x; b"), "a; b");
        assert_eq!(edited("{ x }", "x", remove_statement), "{  }");
        assert_eq!(edited("a\nx", "x", remove_statement), "a\n");
    }
}
