//! Tests of the renderings of diagnostics.

use super::*;
use crate::diagnostic::Code;
use crate::syntax::robustness::mutants;

fn rendered(diagnostics: &[Diagnostic], sources: &Sources, format: Format) -> String {
    let mut out = Vec::new();
    render(diagnostics, sources, format, false, &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

fn parsed(text: &str) -> (Vec<Diagnostic>, Sources) {
    let mut sources = Sources::default();
    let file = sources.add("mnist.nnopt", text);
    (crate::syntax::parse(file, text).diagnostics, sources)
}

const MISTAKEN: &str = "model {\n    conv2d(32, kernel = 3 -> relu\n    x: relu\n";

#[test]
fn for_people() {
    let (diagnostics, sources) = parsed(MISTAKEN);
    let expected = "  × error[E0108]: expected `)`, found `->`
   ╭─[mnist.nnopt:2:26]
 1 │ model {
 2 │     conv2d(32, kernel = 3 -> relu
   ·           ┬              ▲
   ·           │              ╰── `)` missing
   ·           ╰── this `(` is not closed
 3 │     x: relu
   ╰────
  help: insert `)`
      2 │     conv2d(32, kernel = 3) -> relu

  × error[E0102]: expected `=`, found `:`
   ╭─[mnist.nnopt:3:6]
 2 │     conv2d(32, kernel = 3 -> relu
 3 │     x: relu
   ·      ┬
   ·      ╰── settings are written `name = value`
   ╰────
  help: write `=`
      3 │     x = relu

  × error[E0108]: expected `}`, found the end of the file
   ╭─[mnist.nnopt:3:12]
 1 │ model {
   ·       ┬
   ·       ╰── this `{` is not closed
 2 │     conv2d(32, kernel = 3 -> relu
 3 │     x: relu
   ·            ▲
   ·            ╰── `}` missing
   ╰────
  help: insert `}`
      3 │     x: relu
      4 │ }

3 errors
";
    assert_eq!(rendered(&diagnostics, &sources, Format::Human), expected);
}

#[test]
fn short() {
    let (diagnostics, sources) = parsed(MISTAKEN);
    let expected = "mnist.nnopt:2:26: error[E0108]: expected `)`, found `->`
mnist.nnopt:3:6: error[E0102]: expected `=`, found `:`
mnist.nnopt:3:12: error[E0108]: expected `}`, found the end of the file
";
    assert_eq!(rendered(&diagnostics, &sources, Format::Short), expected);
}

#[test]
fn for_programs() {
    let (diagnostics, sources) = parsed("# é\nlr: \"é\"");
    let line: Value = serde_json::from_str(&rendered(&diagnostics, &sources, Format::Json)).unwrap();
    let place = json!({
        "file": "mnist.nnopt", "byte_start": 7, "byte_end": 8, "line": 2, "column": 3, "end_line": 2, "end_column": 4,
    });
    let with = |key: &str, text: &str| {
        let mut object = place.clone();
        object[key] = json!(text);
        object
    };
    let expected = json!({
        "code": "E0102", "severity": "error", "message": "expected `=`, found `:`",
        "labels": [with("text", "settings are written `name = value`")], "notes": [], "help": null,
        "fixes": [{ "title": "write `=`", "applicability": "safe", "edits": [with("replacement", " =")] }],
    });
    assert_eq!(line, expected);
}

#[test]
fn notes_warnings_and_labels_in_two_files() {
    let mut sources = Sources::default();
    let (main, blocks) =
        (sources.add("main.nnopt", "include \"b\"\nhead(3)\n"), sources.add("b.nnopt", "block head() {}\n"));
    let diagnostic =
        Diagnostic::warning(Code("E9999"), Span::new(main, 17, 18), "`head` takes no arguments, found `3`")
            .label("one argument")
            .also(Span::new(blocks, 6, 10), "`head` is declared here")
            .note("blocks take what their parameters say")
            .help("remove it");
    let text = rendered(&[diagnostic], &sources, Format::Human);
    assert!(text.starts_with("  ⚠ warning[E9999]: `head` takes no arguments, found `3`\n"), "{text}");
    for part in
        ["main.nnopt:2:6", "b.nnopt:1:7", "`head` is declared here", "note: blocks", "help: remove it", "1 warning\n"]
    {
        assert!(text.contains(part), "{part} in {text}");
    }
}

#[test]
fn spans_beyond_the_text_and_within_characters_are_drawn() {
    for text in ["", "é", "a\n", "\n", "aé\r\nb"] {
        let mut sources = Sources::default();
        sources.add("a", text);
        for start in 0..text.len() + 3 {
            for end in 0..text.len() + 3 {
                let span = Span { file: 0, start: start as u32, end: end as u32 };
                let diagnostic = Diagnostic::error(Code("E0101"), span, "said").label("here").fix(
                    Applicability::Safe,
                    "write `x`",
                    span,
                    "x",
                );
                let text = rendered(std::slice::from_ref(&diagnostic), &sources, Format::Human);
                assert!(text.contains("── here"), "{text}");
                rendered(&[diagnostic], &sources, Format::Json);
            }
        }
    }
    let nowhere = Diagnostic::error(Code("E0101"), Span::new(7, 0, 0), "said");
    assert!(rendered(&[nowhere], &Sources::default(), Format::Human).contains("said"));
}

#[test]
fn control_characters_do_not_reach_the_terminal() {
    let (diagnostics, sources) = parsed("x = \u{1b}[31m \u{9b}31m \u{202E}\0\rz\n");
    for format in [Format::Human, Format::Short] {
        let text = rendered(&diagnostics, &sources, format);
        assert!(!text.contains(|c: char| c.is_control() && c != '\n'), "{text:?}");
        assert!(!text.contains('\u{202E}'));
    }
}

#[test]
fn long_lines_and_long_labels_are_shown_in_part() {
    let (diagnostics, sources) =
        parsed(&format!("model {{ {}@ {} }}", "relu -> ".repeat(10_000), "relu -> ".repeat(10_000)));
    let text = rendered(&diagnostics, &sources, Format::Human);
    assert!(text.contains('@') && text.len() < 3000, "{}", text.len());
    let mut sources = Sources::default();
    sources.add("a", "line\n".repeat(1000));
    let diagnostic = Diagnostic::error(Code("E0101"), Span::new(0, 10, 4000), "said").label("here");
    assert!(rendered(&[diagnostic], &sources, Format::Human).lines().count() < 12);
}

#[test]
fn many_diagnostics_are_counted() {
    let (diagnostics, sources) = parsed(&"@\n".repeat(120));
    let text = rendered(&diagnostics, &sources, Format::Human);
    assert!(text.ends_with("… and 70 more\n\n120 errors\n"));
    assert_eq!(text.matches("error[E0101]").count(), MAX_SHOWN);
    assert_eq!(rendered(&diagnostics, &sources, Format::Short).lines().count(), 120);
    assert_eq!(rendered(&[], &sources, Format::Human), "");
}

#[test]
fn every_mutant_is_rendered() {
    for text in mutants() {
        let (diagnostics, sources) = parsed(&text);
        let human = rendered(&diagnostics, &sources, Format::Human);
        for label in diagnostics.iter().flat_map(|diagnostic| &diagnostic.labels) {
            assert!(human.contains(&label.text), "{} in {human}", label.text);
        }
        for line in rendered(&diagnostics, &sources, Format::Json).lines() {
            assert!(serde_json::from_str::<Value>(line).is_ok(), "{line}");
        }
    }
}
