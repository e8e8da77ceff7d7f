//! Tests of the formatter: its style in cases, its laws on every text there is.

use super::*;
use crate::syntax::ast::File;
use crate::syntax::robustness::{mutants, shipped_mutants};
use crate::syntax::tests::{SAMPLE, show_file};
use proptest::prelude::*;

/// Formats a text; says that it stays, keeps its comments and means the same.
fn check_laws(text: &str) -> Option<String> {
    let formatted = format(0, text).ok()?;
    assert_eq!(format(0, &formatted).as_ref(), Ok(&formatted), "not stable for {text}");
    assert_eq!(comments(text), comments(&formatted), "comments of {text}");
    assert_eq!(meaning(text), meaning(&formatted), "meaning of {text}");
    for line in formatted.lines() {
        assert_eq!(line.trim_end(), line, "blanks at the end of a line of {formatted}");
    }
    Some(formatted)
}

#[track_caller]
fn check_format(text: &str, expected: &str) {
    let formatted = check_laws(text);
    assert_eq!(formatted.as_deref(), Some(expected), "{}", formatted.clone().unwrap_or_default());
}

/// The comments of a text, without the blanks around their words.
fn comments(text: &str) -> Vec<String> {
    let tokens = parse(0, text).syntax().descendants_with_tokens().filter_map(NodeOrToken::into_token);
    let comments = tokens.filter(|token| token.kind() == K::Comment);
    comments.map(|token| token.text().trim_start_matches('#').trim().to_owned()).collect()
}

fn meaning(text: &str) -> String {
    let file: File = parse(0, text).ast;
    show_file(&file)
}

#[test]
fn settings_stand_in_columns() {
    check_format(
        "train{epochs=20 # all\n  batch= 128\n\n\n\n seed =42}\nloss =   mse\nregularization=l2( 1E-4 )\n",
        "\
train {
    epochs = 20     # all
    batch  = 128

    seed = 42
}

loss           = mse
regularization = l2(1e-4)
",
    );
}

#[test]
fn chains_stand_on_one_line_where_they_fit() {
    check_format(
        "model {\n a\n->b -> c\n  conv2d(32, kernel = 3, padding = same) -> batch_norm(momentum = 0.1, affine = true) -> relu -> max_pool(2)\n}",
        "\
model {
    a -> b -> c
    conv2d(32, kernel = 3, padding = same)
        -> batch_norm(momentum = 0.1, affine = true)
        -> relu
        -> max_pool(2)
}
",
    );
}

#[test]
fn bodies_stay_on_their_line_or_off_it() {
    check_format(
        "model { repeat 3 {conv2d(8)->relu}\nresidual{a;b}shortcut{c}\nbranch{{a}{b}}join  add\nresidual {\na } -> x }",
        "\
model {
    repeat 3 { conv2d(8) -> relu }
    residual { a; b } shortcut { c }
    branch { { a } { b } } join add
    residual {
        a
    } -> x
}
",
    );
    check_format("model{flatten->linear(classes)}", "model { flatten -> linear(classes) }\n");
    check_format("model {\n}", "model {}\n");
}

#[test]
fn long_calls_have_an_argument_a_line() {
    check_format(
        "optimizer = adam(lr = 1e-3, betas = [0.9, 0.999], eps = 1e-8, weight_decay = 1e-4, amsgrad = false, x = 1)",
        "\
optimizer = adam(
    lr = 1e-3,
    betas = [0.9, 0.999],
    eps = 1e-8,
    weight_decay = 1e-4,
    amsgrad = false,
    x = 1,
)
",
    );
    check_format("a = f(\n1,\n)", "a = f(1)\n");
}

#[test]
fn long_lists_fill_their_lines() {
    let numbers = ["0.125"; 30].join(",");
    let line = format!("    {}", ["0.125"; 13].join(", "));
    let rest = format!("    {}", ["0.125"; 4].join(", "));
    check_format(&format!("a = [{numbers}]"), &format!("a = [\n{line},\n{line},\n{rest},\n]\n"));
}

#[test]
fn values_are_written_one_way() {
    check_format(
        "a = -  4+ 2*( 3-.5 )/1.\nb=0.35 .. 1\nc = 10 % .. 20%\nd = 5epochs\ne = x .. y\nf = 64MiB\n",
        "\
a = -4 + 2 * (3 - 0.5) / 1.0
b = 0.35..1
c = 10%..20%
d = 5 epochs
e = x .. y
f = 64 MiB
",
    );
}

#[test]
fn comments_stay_where_they_say_something() {
    check_format(
        "#about\n#!sign\nnnopt 1 # version\n# data\n\n\n# more\ndata {# of data\n\n  #first\n  train = csv(\"a\", # the file\n   # the column\n   target = b) # after\n # last\n}\n# end",
        "\
# about
#!sign
nnopt 1         # version

# data

# more
data {          # of data
    # first
    train = csv(
        \"a\",    # the file
        # the column
        target = b,
    )           # after
    # last
}

# end
",
    );
    check_format(
        "model {\n a # one\n -> b\n # two\n -> # three\n c\n}\nloss = mse  # it goes\n            # on\n",
        "\
model {
    a       # one
        -> b
        # two
        # three
        -> c
}

loss = mse  # it goes
            # on
",
    );
    check_format(
        "model # a\n{\n residual { x } # b\n # c\n shortcut { y }\n branch { { x } } # d\n join add }",
        "\
model {                         # a
    residual { x } shortcut {   # b
        # c
        y
    }
    branch { { x } } join add   # d
}
",
    );
}

#[test]
fn sections_have_an_empty_line_between_them() {
    check_format(
        "nnopt 1\ndata { a = 1 }\nmodel { b }\nloss = mse\noptimizer = adam\n# of training\ntrain { c = 1 }",
        "\
nnopt 1

data { a = 1 }

model { b }

loss      = mse
optimizer = adam

# of training
train { c = 1 }
",
    );
}

#[test]
fn broken_texts_are_not_touched() {
    for text in ["model {", "a = ", "a = 1 b", "train { a : 1 }", "a = 5 lightyears"] {
        assert!(format(0, text).is_err_and(|diagnostics| !diagnostics.is_empty()), "{text}");
    }
    assert_eq!(format(0, ""), Ok(String::new()));
    assert_eq!(format(0, "\u{feff}\r\n a = 1\r\n"), Ok("a = 1\n".to_owned()));
}

/// Every pipeline in the repository that is a file of its own, by path.
pub(crate) fn repository_pipelines() -> Vec<(std::path::PathBuf, String)> {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    let mut folders = ["examples", "src", "tests", "bench"].map(|folder| root.join(folder)).to_vec();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "nnopt") {
                let text = std::fs::read_to_string(&path).unwrap();
                found.push((path, text));
            }
        }
    }
    found.sort();
    assert!(found.len() >= 8, "the examples are pipelines");
    found
}

#[test]
fn shipped_pipelines_are_canonical() {
    for (path, text) in repository_pipelines() {
        assert_eq!(check_laws(&text).as_ref(), Some(&text), "`nnoptc fmt {}` would change it", path.display());
    }
}

#[test]
fn the_laws_hold_for_mutants() {
    let mut formatted = 0;
    for text in mutants() {
        formatted += usize::from(check_laws(&text).is_some());
    }
    assert!(formatted > 500, "{formatted} mutants were formatted");
}

/// Every seventh, so that all kinds of mutants come up at all kinds of places; each is formatted twice and read four times.
#[test]
fn the_laws_hold_for_mutants_of_the_examples() {
    let formatted = shipped_mutants().step_by(7).filter(|text| check_laws(text).is_some()).count();
    assert!(formatted > 700, "{formatted} mutants were formatted");
}

/// All pipelines with blanks taken away, doubled, or made line ends or comments.
#[test]
fn the_laws_hold_whatever_the_blanks_are() {
    let texts = repository_pipelines().into_iter().map(|(_, text)| (text, 41)).chain([(SAMPLE.to_owned(), 3)]);
    let mut formatted = 0;
    for (text, stride) in texts {
        let places = text.char_indices().filter(|(_, c)| c.is_whitespace() || matches!(c, '(' | ',' | '{'));
        for (offset, c) in places.step_by(stride) {
            for more in ["", "  ", "\n", "\n\n\n", " # new\n", "\n# new\n", "\n    # new\n\n"] {
                let kept = if c.is_whitespace() { "" } else { &text[offset..offset + 1] };
                let changed = format!("{}{kept}{more}{}", &text[..offset], &text[offset + c.len_utf8()..]);
                formatted += usize::from(check_laws(&changed).is_some());
            }
        }
    }
    assert!(formatted > 700, "{formatted} texts were formatted");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_laws_hold_for_any_mix_of_blanks(
        blanks in prop::collection::vec(prop::sample::select(vec!["", " ", "\t", "\n", "\n\n", "\r\n", "# c\n", "\n # d\n", ";"]), 400)
    ) {
        let mut blanks = blanks.iter().cycle();
        let tokens = parse(0, SAMPLE).syntax().descendants_with_tokens().filter_map(NodeOrToken::into_token);
        let mut text = String::new();
        for token in tokens {
            if token.kind().is_trivia() {
                // Line ends separate statements, so they stay.
                text.push_str(if token.text().contains('\n') { "\n" } else { " " });
                text.push_str(blanks.next().unwrap_or(&""));
            } else {
                text.push_str(token.text());
                if matches!(token.text(), "(" | "," | "{" | "[" | "->") {
                    text.push_str(blanks.next().unwrap_or(&""));
                }
            }
        }
        check_laws(&text);
    }
}
