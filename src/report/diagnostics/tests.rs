//! Tests of the renderings of diagnostics.

use serde_json::{Value, json};

use super::human::MAX_SHOWN;
use super::*;
use crate::diagnostic::{Applicability, Code};
use crate::source::Span;
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
        "event": "diagnostic", "code": "E0102", "severity": "error", "message": "expected `=`, found `:`",
        "labels": [with("text", "settings are written `name = value`")], "notes": [], "help": null,
        "fixes": [{ "title": "write `=`", "applicability": "safe", "edits": [with("replacement", " =")] }],
    });
    assert_eq!(line, expected);
}

/// Checks a rendering against a schema of the repository.
fn check_schema(schema: &str, instance: &Value) {
    let path = format!("{}/{schema}", env!("CARGO_MANIFEST_DIR"));
    let schema: Value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
    jsonschema::meta::validate(&schema).unwrap_or_else(|error| panic!("{path}: {error}"));
    let validator = jsonschema::options().should_validate_formats(true).build(&schema).unwrap();
    let errors: Vec<String> =
        validator.iter_errors(instance).map(|error| format!("{}: {error}", error.instance_path())).collect();
    assert!(errors.is_empty(), "{}\nin {instance:#}", errors.join("\n"));
}

fn check_json(diagnostics: &[Diagnostic], sources: &Sources) {
    for line in rendered(diagnostics, sources, Format::Json).lines() {
        check_schema("docs/schemas/diagnostic.schema.json", &serde_json::from_str(line).unwrap());
    }
}

fn check_sarif(diagnostics: &[Diagnostic], sources: &Sources) -> Value {
    let log: Value = serde_json::from_str(&rendered(diagnostics, sources, Format::Sarif)).unwrap();
    check_schema("tests/schemas/sarif.schema.json", &log);
    let run = &log["runs"][0];
    for result in run["results"].as_array().unwrap() {
        let rule = &run["tool"]["driver"]["rules"][result["ruleIndex"].as_u64().unwrap() as usize];
        assert_eq!(rule["id"], result["ruleId"]);
    }
    log
}

#[test]
fn schemas_hold_for_mistakes_and_refuse_what_is_wrong() {
    let (diagnostics, sources) = parsed(MISTAKEN);
    check_json(&diagnostics, &sources);
    check_sarif(&diagnostics, &sources);
    check_sarif(&[], &sources);
    let path = format!("{}/docs/schemas/diagnostic.schema.json", env!("CARGO_MANIFEST_DIR"));
    let schema: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let line = rendered(&diagnostics[..1], &sources, Format::Json);
    let good: Value = serde_json::from_str(line.trim()).unwrap();
    assert!(jsonschema::is_valid(&schema, &good));
    for (pointer, wrong) in [
        ("/code", json!("X1")),
        ("/severity", json!("fatal")),
        ("/labels", json!([])),
        ("/labels/0/line", json!(0)),
        ("/labels/0/other", json!(1)),
        ("/fixes/0/edits", json!([])),
    ] {
        let mut bad = good.clone();
        let (parent, key) = pointer.rsplit_once('/').unwrap();
        bad.pointer_mut(parent).unwrap()[key] = wrong;
        assert!(!jsonschema::is_valid(&schema, &bad), "{pointer}");
    }
}

#[test]
fn sarif() {
    let (diagnostics, sources) = parsed("# é\nlr: \"é\"");
    let log = check_sarif(&diagnostics, &sources);
    let run = &log["runs"][0];
    assert_eq!(run["tool"]["driver"]["rules"][0]["shortDescription"]["text"], "`=` is written otherwise");
    let region = json!({ "startLine": 2, "startColumn": 3, "endLine": 2, "endColumn": 4 });
    let artifact = json!({ "uri": "mnist.nnopt" });
    let expected = json!([{
        "ruleId": "E0102", "ruleIndex": 0, "level": "error", "message": { "text": "expected `=`, found `:`" },
        "locations": [{
            "physicalLocation": { "artifactLocation": artifact, "region": region },
            "message": { "text": "settings are written `name = value`" },
        }],
        "fixes": [{
            "description": { "text": "write `=`" },
            "artifactChanges": [{
                "artifactLocation": artifact,
                "replacements": [{ "deletedRegion": region, "insertedContent": { "text": " =" } }],
            }],
        }],
    }]);
    assert_eq!(run["results"], expected);
    // Two compilations in one log share their rules.
    let mut log = SarifLog::new();
    log.add(&diagnostics, &sources);
    log.add(&diagnostics, &sources);
    let log = log.finish();
    assert_eq!(log["runs"][0]["tool"]["driver"]["rules"].as_array().unwrap().len(), 1);
    assert_eq!(log["runs"][0]["results"].as_array().unwrap().len(), 2);
}

#[test]
fn text_of_the_command_line_is_no_file_in_sarif() {
    let mut sources = Sources::default();
    let set = sources.add("--set", "a=b");
    let diagnostic = Diagnostic::error(Code("E0213"), Span::new(set, 0, 1), "nothing is set by `a`").fix(
        Applicability::Suggested,
        "write `b`",
        Span::new(set, 0, 1),
        "b",
    );
    let log = check_sarif(&[diagnostic], &sources);
    assert_eq!(log["runs"][0]["results"][0]["locations"], json!([]));
    assert_eq!(log["runs"][0]["results"][0]["fixes"], Value::Null);
}

#[test]
fn github() {
    let (diagnostics, sources) = parsed(MISTAKEN);
    let expected = "\
::error file=mnist.nnopt,line=2,endLine=2,col=26,endColumn=26,title=E0108::expected `)`, found `->`%0Ahelp: insert `)`
::error file=mnist.nnopt,line=3,endLine=3,col=6,endColumn=7,title=E0102::expected `=`, found `:`%0Ahelp: write `=`
::error file=mnist.nnopt,line=3,endLine=3,col=12,endColumn=12,title=E0108::expected `}`, found the end of the file%0Ahelp: insert `}`
";
    assert_eq!(rendered(&diagnostics, &sources, Format::Github), expected);
    let mut sources = Sources::default();
    let file = sources.add("a,b:c%.nnopt", "1\n2");
    let diagnostic = Diagnostic::warning(Code("E9999"), Span::new(file, 0, 3), "10% of\r\nit").note("n").help("h");
    let expected =
        "::warning file=a%2Cb%3Ac%25.nnopt,line=1,endLine=2,title=E9999::10%25 of%0D%0Ait%0Anote: n%0Ahelp: h\n";
    assert_eq!(rendered(&[diagnostic], &sources, Format::Github), expected);
    let advice = Diagnostic::advice(Code("E9999"), Span::new(file, 0, 1), "said");
    assert!(rendered(&[advice], &sources, Format::Github).starts_with("::notice file="));
}

#[test]
fn advice_is_counted_without_a_plural() {
    let mut sources = Sources::default();
    let file = sources.add("a", "text");
    let advice = Diagnostic::advice(Code("E9999"), Span::new(file, 0, 1), "said");
    let warning = Diagnostic::warning(Code("E9999"), Span::new(file, 0, 1), "said");
    let text = rendered(&[advice.clone(), warning, advice], &sources, Format::Human);
    assert!(text.ends_with("\n1 warning, 2 advice\n") && text.contains("☞ advice[E9999]: said"), "{text}");
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
                let regions = [Format::Json, Format::Sarif, Format::Github, Format::Short];
                for format in regions {
                    assert!(rendered(std::slice::from_ref(&diagnostic), &sources, format).contains("said"));
                }
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
        for line in rendered(&diagnostics, &sources, Format::Github).lines() {
            assert!(line.starts_with("::error file=mnist.nnopt,line="), "{line}");
        }
    }
}
