//! Tests of single mistakes: what is said, where, and that their fixes mend them.

use super::tests::{check_source, report};
use crate::diagnostic::Fix;

#[test]
fn each_mistake_is_one_diagnostic() {
    for (text, expected) in [
        // Brackets.
        ("train {\n epochs = 3\n", "2:12 E0108 expected `}`, found the end of the file"),
        ("model { residual { a\nrelu\ntrain { }", "2:5 E0108 expected `}`, found `train`"),
        ("x = f(1]", "1:8 E0108 expected `)`, found `]`"),
        ("x = [f(1, 2]", "1:12 E0108 expected `)`, found `]`"),
        ("x = [1, 2", "1:10 E0108 expected `]`, found the end of the file"),
        ("x = (1", "1:7 E0108 expected `)`, found the end of the file"),
        ("loss = f(a,\noptimizer = adam()\nmodel { relu }\n", "1:12 E0108 expected `)`, found the end of the line"),
        ("data {\n  train = idx(\"x\")\nloss = mse\nmodel { relu }", "2:19 E0108 expected `}`, found `loss`"),
        ("model {\n  conv2d(3\n  relu\n  linear(10)\n}\n", "2:11 E0108 expected `)`, found the end of the line"),
        ("train { let n = 3\nmodel {}", "1:18 E0108 expected `}`, found `model`"),
        ("}", "1:1 E0109 `}` closes nothing"),
        ("data:\n  val = csv(\"x\")", "1:5 E0102 expected `{` after `data`, found `:`"),
        ("model = {\n  relu\n}", "1:6 E0102 expected `{` after `model`, found `=`"),
        ("x = 3)", "1:6 E0109 `)` closes nothing"),
        ("model\n relu\n}\n", "1:6 E0110 expected `{` after `model`, found `relu`"),
        ("data train = 3\n}\n", "1:5 E0110 expected `{` after `data`, found `train`"),
        // Settings and values.
        ("loss cross_entropy", "1:5 E0103 expected `=` after `loss`, found `cross_entropy`"),
        ("x", "1:2 E0103 expected `=` and a value after `x`, found the end of the file"),
        ("x = a b c", "1:6 E0115 expected a newline or `;` after `a`, found `b`"),
        ("x = ,", "1:4 E0104 expected a value after `=`, found `,`"),
        ("x = -", "1:6 E0104 expected a value after `-`, found the end of the file"),
        ("x = 1 + \ny = 2", "1:8 E0104 expected a value after `+`, found the end of the line"),
        ("x = { a = 1 }", "1:5 E0119 expected a value, found `{`"),
        ("x = [a = 1]", "1:6 E0101 a list holds values, found the name `a`"),
        ("x=1..2..3", "1:9 E0101 a range has two ends, found a third"),
        ("x = f(a,,b)", "1:9 E0124 expected a value, found `,`"),
        ("x = f(,a)", "1:7 E0124 expected a value, found `,`"),
        ("x = f(a ! b)", "1:9 E0101 expected `,` or a closing bracket, found `!`"),
        ("x = conv2d(\n 3\n kernel = 3\n)", "2:3 E0107 expected `,` after `3`, found `kernel`"),
        ("epochs := 3", "1:8 E0102 expected `=`, found `:=`"),
        ("epochs == 3", "1:8 E0102 expected `=`, found `==`"),
        ("epochs: 3", "1:7 E0102 expected `=`, found `:`"),
        ("x = f(a: 3)", "1:8 E0102 expected `=`, found `:`"),
        // Numbers, strings, names.
        ("x = 1.2.3", "1:5 E0113 `1.2.3` is not a number"),
        ("x = 1e999", "1:5 E0113 `1e999` is too large, expected at most 1.8e308"),
        ("x = 90071992547409931", "1:5 E0113 `90071992547409931` is too large, expected at most 2^53"),
        ("x = 5 MB", "1:7 E0112 unknown unit `MB`"),
        ("x = 5 epocs", "1:7 E0112 unknown unit `epocs`"),
        ("x = \"a\\qb\"", "1:7 E0114 unknown escape `\\q` in a string"),
        ("x = \"\\u{D800}\"", "1:6 E0114 unknown escape `\\u` in a string"),
        ("x = 'abc'", "1:5 E0106 expected `\"` around a string, found `'`"),
        ("x = “abc”", "1:5 E0106 expected `\"` around a string, found `“`"),
        ("x = \"\n", "1:5 E0105 expected `\"` at the end of the string, found the end of the line"),
        ("x = f(\"a)\ny = 2", "1:7 E0105 expected `\"` at the end of the string, found the end of the line"),
        ("batch-size = 3", "1:1 E0121 found `-` in the name `batch-size`"),
        ("x = f(label-smoothing = 3)", "1:7 E0121 found `-` in the name `label-smoothing`"),
        ("let a.b = 3", "1:5 E0111 expected a name without dots, found `a.b`"),
        ("a = val.\n", "1:9 E0111 expected a name after `val.`"),
        // Items.
        ("nnopt", "1:6 E0123 expected a version number after `nnopt`, found the end of the file"),
        ("nnopt one", "1:7 E0123 expected a version number, found `one`"),
        ("a = 1\nnnopt 1", "2:1 E0123 `nnopt` stands once, at the start of the file, found it again or later"),
        ("include", "1:8 E0104 expected a file after `include`, found the end of the file"),
        ("include foo.nnopt", "1:9 E0104 expected a quoted path, found `foo.nnopt`"),
        ("block (n) { relu }", "1:6 E0111 expected a name after `block`, found `(`"),
        ("block f(1, a=2, b) { relu }", "1:9 E0111 expected the name of a parameter, found a value"),
        ("profile { a.b = 3 }", "1:8 E0111 expected a name after `profile`, found `{`"),
        ("@@@ {\n relu\n}\n", "1:1 E0101 expected a section or a setting, found `@`"),
        ("train 3 {\n a = 1\n}\n", "1:7 E0101 expected `{`, found `3`"),
        ("{ a }", "1:1 E0119 found `{` without a name before it"),
        ("train { let n = 3\n }", "1:9 E0119 `let` stands at the top level, found it inside a section"),
        ("train {\n early_stop { patience = 3 }\n}", "2:2 E0119 found section `early_stop` inside a section"),
        ("epochs = 20,\nbatch = 3", "1:12 E0115 expected a newline or `;` after a setting, found `,`"),
        ("a = 1 b = 2", "1:6 E0115 expected a newline or `;` after `1`, found `b`"),
        ("a = 3 // hi", "1:7 E0118 expected `#` before a comment, found `//`"),
        ("/* hi */\n", "1:1 E0118 expected `#` before a comment, found `/*`"),
        // Stages.
        ("model { a -> \n}", "1:13 E0116 expected a layer after `->`, found the end of the line"),
        ("model { -> a }", "1:8 E0116 expected a layer after `{`, found `->`"),
        ("model { x = }", "1:12 E0116 expected a layer after `=`, found `}`"),
        ("model { a,\n b }", "1:10 E0115 expected `->`, a newline or `;` after a layer, found `,`"),
        ("model { a |> b }", "1:11 E0117 expected `->`, found `|>`"),
        ("model { batch-norm }", "1:9 E0121 found `-` in the name `batch-norm`"),
        ("model { residul { a } }", "1:9 E0120 `residul` takes no `{ … }`"),
        ("model { repaet 3 { a } }", "1:9 E0120 `repaet` takes no `{ … }`"),
        ("model { brnch { { a } { b } } join add }", "1:9 E0120 `brnch` takes no `{ … }`"),
        ("model { f({1) -> a } }", "1:11 E0108 expected `)`, found `{`"),
        ("model { f(1) { a } }", "1:9 E0120 `f` takes no `{ … }`"),
        ("model { repeat { a } }", "1:15 E0104 expected a count after `repeat`, found `{`"),
        ("model { {a} }", "1:9 E0119 found `{` without a name before it"),
        ("model { branch { {a} {b} } }", "1:27 E0122 expected `join` after the arms of `branch`, found `}`"),
        ("model { branch { {a} {b} } join }", "1:32 E0122 expected `concat` or `add` after `join`, found `}`"),
        ("model { branch { a -> b \n {c} } join add }", "1:18 E0119 found a layer in `branch` outside its arms"),
    ] {
        assert_eq!(report(text), [expected], "{text:?}");
    }
}

/// Found by fuzzing: a section that nothing closes, after whose last letter, of two bytes, a brace closes nothing.
#[test]
fn a_section_may_end_with_any_letter() {
    let text = "data {\n    val = split(train, 15% {\n    ross_entropy$\nregularizaΘΘ = l2(1e-3)\noptimizer = adam(lr = 3al.loss )\n\
                seed = 42\n}\n";
    assert!(!check_source(text).diagnostics.is_empty());
    for end in text.char_indices().map(|(at, _)| at) {
        check_source(&text[..end]);
        check_source(&format!("{}}}", &text[..end]));
    }
}

#[test]
fn two_mistakes_on_one_line_are_both_told() {
    let expected = ["1:8 E0107 expected `,` after `a`, found `b`", "1:17 E0107 expected `,` after `c`, found `d`"];
    assert_eq!(report("x = f(a b = 3, c d)"), expected);
}

#[test]
fn braces_left_open_at_one_place_are_one_diagnostic_with_one_fix() {
    let parse = check_source("model {\n  residual {\n    repeat 2 {\n      relu\n\ntrain { epochs = 1 }\n");
    assert_eq!(parse.diagnostics.len(), 1);
    assert_eq!(parse.diagnostics[0].labels.len(), 4);
    assert_eq!(parse.diagnostics[0].fixes[0].edits[0].1, "\n}}}");
}

/// Applies the first fix.
fn mend(text: &str, fix: &Fix) -> String {
    let mut mended = text.to_string();
    for (span, replacement) in fix.edits.iter().rev() {
        mended.replace_range(span.range(), replacement);
    }
    mended
}

#[test]
fn fixes_mend() {
    for (text, expected) in [
        ("lr: 0.1", "lr = 0.1"),
        ("lr == 0.1", "lr = 0.1"),
        ("lr 0.1", "lr = 0.1"),
        ("x = f(\"a/b)", "x = f(\"a/b\")"),
        ("x = 'it\"s'", "x = \"it\\\"s\""),
        ("x = split(train 10%)", "x = split(train, 10%)"),
        ("x = f(1", "x = f(1)"),
        ("x = f(1]", "x = f(1)"),
        ("x = [1, 2", "x = [1, 2]"),
        ("train {\n  epochs = 1", "train {\n  epochs = 1\n}"),
        ("train {\n  epochs = 1\n}\n}", "train {\n  epochs = 1\n}\n"),
        ("train\n  epochs = 1\n}", "train {\n  epochs = 1\n}"),
        ("x = 5 epocs", "x = 5 epochs"),
        ("x = 5 MB", "x = 5 MiB"),
        ("x = 5 seconds", "x = 5 s"),
        ("x = \"a\\qb\"", "x = \"a\\\\qb\""),
        ("a = 1 b = 2", "a = 1; b = 2"),
        ("a = 1, b = 2", "a = 1; b = 2"),
        ("a = 1,", "a = 1"),
        ("model { a b }", "model { a -> b }"),
        ("model { a -> }", "model { a  }"),
        ("model { a => b }", "model { a -> b }"),
        ("// note", "# note"),
        ("model { residul { a } }", "model { residual { a } }"),
        ("label-smoothing = 1", "label_smoothing = 1"),
        ("model { branch { {a} {b} } }", "model { branch { {a} {b} } join concat }"),
        ("nnopt", "nnopt 1"),
        ("x = f(a,,b)", "x = f(a,b)"),
        ("include a.nnopt", "include \"a.nnopt\""),
        ("let a.b = 1", "let a_b = 1"),
    ] {
        let diagnostics = check_source(text).diagnostics;
        let mended =
            mend(text, diagnostics.first().and_then(|first| first.fixes.first()).unwrap_or_else(|| panic!("{text}")));
        assert_eq!(mended, expected);
        assert!(report(&mended).is_empty(), "{mended:?}: {:?}", report(&mended));
    }
}

#[test]
fn every_code_has_a_page_with_a_wrong_and_a_right_example() {
    for code in super::CODES {
        let path = format!("{}/src/explain/{}.md", env!("CARGO_MANIFEST_DIR"), code.0);
        let page = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
        assert!(page.starts_with("# ") && page.contains("```nnopt\n") && page.contains("right\n"), "{path}");
        // The example shows this mistake, and what is right in it is right.
        let Some(example) = page.split("```nnopt\n").nth(1).and_then(|rest| rest.split("```").next()) else { continue };
        let marked =
            |mark: &str| example.lines().filter(|line| line.trim_end().ends_with(mark)).collect::<Vec<_>>().join("\n");
        let found = |text: &str| {
            let in_body = format!("model {{\n{text}\n}}\n");
            [super::parse(0, text), super::parse(0, &in_body)].map(|parse| parse.diagnostics)
        };
        let wrong = marked("wrong");
        let told =
            |diagnostics: &Vec<_>| diagnostics.iter().any(|found: &crate::diagnostic::Diagnostic| found.code == code);
        assert!(wrong.is_empty() || found(&wrong).iter().any(told), "{path}: {:?}", found(&wrong));
        let right = marked("right");
        let alone = code == super::MISSING_OPEN;
        assert!(alone || found(&right).iter().any(Vec::is_empty), "{path}: {:?}", found(&right));
    }
}
