//! Tests that no text, however broken, makes the parser panic, hang or lose a byte.

use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::tests::{SAMPLE, check_source};
use super::*;

/// The sample cut short, with one character less, and with one character more, at every place.
pub(crate) fn mutants() -> impl Iterator<Item = String> {
    let places = || SAMPLE.char_indices().map(|(offset, _)| offset);
    let truncated = places().map(|offset| SAMPLE[..offset].to_string());
    let shortened = SAMPLE.char_indices().map(|(offset, c)| {
        let mut text = SAMPLE.to_string();
        text.replace_range(offset..offset + c.len_utf8(), "");
        text
    });
    let lengthened = ["{", "}", "(", "\"", "=", "é"].into_iter().flat_map(move |more| {
        places().map(move |offset| {
            let mut text = SAMPLE.to_string();
            text.insert_str(offset, more);
            text
        })
    });
    truncated.chain(shortened).chain(lengthened)
}

#[test]
fn every_mutant_is_parsed_without_loss_and_with_few_diagnostics() {
    let mut counts = [0_usize; 4];
    for text in mutants() {
        let count = check_source(&text).diagnostics.len();
        assert!(count <= 6, "{count} diagnostics for one mistake in {text}");
        counts[count.min(3)] += 1;
    }
    // Locality: one mistake is nearly always one diagnostic.
    let mistaken: usize = counts[1..].iter().sum();
    println!("mutants by number of diagnostics: {counts:?}");
    assert!(counts[3] * 20 < mistaken, "mutants by number of diagnostics: {counts:?}");
    assert!(counts[2] * 5 < mistaken, "mutants by number of diagnostics: {counts:?}");
}

#[test]
fn deep_nesting_is_refused_quickly() {
    for bracket in ["(", "[", "{", "model{", "x=f(", "repeat 2 {", "'\"' ("] {
        let start = Instant::now();
        for head in ["", "x = ", "model { "] {
            let text = format!("{head}{}", bracket.repeat(100_000));
            let parse = check_source(&text);
            assert!(parse.diagnostics.iter().any(|diagnostic| diagnostic.code == TOO_DEEP), "{bracket}");
        }
        assert!(start.elapsed() < Duration::from_secs(2), "{bracket}: {:?}", start.elapsed());
    }
}

#[test]
fn nesting_up_to_the_limit_is_parsed() {
    for (open, close) in [("f(", ")"), ("(", ")"), ("[", "]")] {
        let text = format!("x = {}1{}", open.repeat(128), close.repeat(128));
        assert_eq!(check_source(&text).diagnostics, [], "{open}");
    }
    for open in ["repeat 2 { ", "residual { ", "residual { relu } shortcut { "] {
        let text = format!("model {{ {}relu{} }}", open.repeat(126), " }".repeat(126));
        assert_eq!(check_source(&text).diagnostics, [], "{open}");
    }
    let text = format!("model {{ {}relu{} }}", "branch { { ".repeat(63), " } } join add".repeat(63));
    assert_eq!(check_source(&text).diagnostics, []);
}

#[test]
fn long_chains_of_operators_do_not_nest_without_bound() {
    for text in [format!("x = 1{}", " + 1".repeat(100_000)), format!("x = {}1", "1..".repeat(100_000))] {
        assert!(check_source(&text).diagnostics.iter().any(|diagnostic| diagnostic.code == TOO_DEEP));
    }
    assert_eq!(check_source(&format!("x = {}1", "- ".repeat(100_001))).diagnostics, []);
    assert_eq!(check_source(&format!("model {{ a{} }}", " -> a".repeat(10_000))).diagnostics, []);
}

/// Texts that would be slow if any rule looked far ahead.
fn junk(bytes: usize) -> Vec<String> {
    let pieces = [
        "@ ",
        "a ",
        "a\n",
        "a = ",
        "f(",
        "f(a b\n",
        "\"",
        "\"a\n",
        "x = [1 2\n",
        ")",
        "}",
        "-> ",
        "a -> ",
        "{ a = 1 } ",
        "1",
        "- ",
        "# c\n",
        "model { a\n",
        "a = 1 b\n",
        "x = f(1\n 2\n",
        "'",
        "“",
        "\n",
        " ",
        "é",
        "\\",
        "branch { a } ",
        "a(1) { b } ",
        "let ",
        "block ",
        "x = 1 + ",
    ];
    pieces.iter().map(|piece| piece.repeat(bytes / piece.len())).collect()
}

#[test]
fn junk_takes_time_in_proportion_to_its_size() {
    for text in junk(50_000) {
        let start = Instant::now();
        check_source(&text);
        // A second or two unoptimized; work that grew with the square of the size would take minutes.
        assert!(start.elapsed() < Duration::from_secs(20), "{:?} for {:?}", start.elapsed(), &text[..8]);
    }
}

#[test]
fn ten_megabytes_are_refused_at_once() {
    for text in junk(10 << 20) {
        let start = Instant::now();
        let parse = parse(0, &text);
        assert_eq!(parse.diagnostics.first().map(|diagnostic| diagnostic.code), Some(TOO_LARGE));
        assert!(start.elapsed() < Duration::from_secs(5), "{:?} for {:?}", start.elapsed(), &text[..8]);
        assert_eq!(parse.syntax().text_range().len(), rowan::TextSize::of(&*text));
    }
}

/// Every pipeline that is shipped: cut short, with a character less, and with a few more, at every place. The few are
/// others from place to place; where `CI` is set, all of them at every place.
pub(crate) fn shipped_mutants() -> impl Iterator<Item = String> {
    const MORE: [&str; 13] = ["{", "}", "(", ")", "[", "\"", "=", "->", "é", "\n", ",", "#", ";"];
    format::repository_pipelines().into_iter().flat_map(|(_, text)| {
        let places: Vec<(usize, char)> = text.char_indices().collect();
        places.into_iter().enumerate().flat_map(move |(number, (offset, c))| {
            let (before, after) = text.split_at(offset);
            let all = std::env::var_os("CI").is_some();
            let more = if all { &MORE[..] } else { &MORE[number % MORE.len()..][..1] };
            let longer = more.iter().map(|more| format!("{before}{more}{after}"));
            [before.to_owned(), format!("{before}{}", &after[c.len_utf8()..])]
                .into_iter()
                .chain(longer)
                .collect::<Vec<_>>()
        })
    })
}

#[test]
fn mutants_of_the_examples_are_parsed_without_loss() {
    let parsed = shipped_mutants().inspect(|text| drop(check_source(text))).count();
    assert!(parsed > 10_000, "{parsed} mutants");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_text(text in "\\PC{0,80}") {
        check_source(&text);
        parse_expression(0, &text);
    }

    #[test]
    fn any_mix_of_pieces(pieces in prop::collection::vec(prop::sample::select(vec![
        "model", "train", "{", "}", "(", ")", "[", "]", "=", "->", "\n", " ", ",", ";", "a", "b.c", "1", "3 epochs", "\"s\"",
        "\"", "'", "#", "repeat", "residual", "shortcut", "branch", "join", "let", "block", "include", "profile", "nnopt",
        "loss", "..", "-", "+", ":", "//", "\\", "é",
    ]), 0..60)) {
        check_source(&pieces.concat());
    }
}
