//! Tests of each lint: its exact words and place, that its fix silences it, and near misses at which it is silent.

mod data;
mod idle;
mod model;
mod training;

use std::path::PathBuf;

use super::*;
use crate::check::{Compilation, Request, compile};
use crate::formats::Memory;

/// Images of 6×6 pixels with labels that count up to 3, and tables.
const IMAGES: &str = "data { train = idx(\"train\"); normalize = auto }
model { conv2d(4, kernel = 3) -> relu -> flatten -> linear(classes) }
loss = cross_entropy
optimizer = adam
train { epochs = 4; batch = 5 }
";

const TABLE: &str = "data { train = csv(\"small.csv\", target = y); normalize = auto }
model { linear(8) -> relu -> linear(classes) }
loss = cross_entropy
optimizer = adam
train { epochs = 4; batch = 5 }
";

const REGRESSION: &str = "data { train = csv(\"shares.csv\", target = [p, q], task = regression); normalize = auto }
model { linear(8) -> relu -> linear(2) }
loss = mse
optimizer = adam
train { epochs = 4; batch = 5 }
";

fn idx(count: usize) -> (Vec<u8>, Vec<u8>) {
    let size = |n: usize| (n as u32).to_be_bytes();
    let mut images = vec![0, 0, 8, 3];
    images.extend([size(count), size(6), size(6)].concat());
    images.extend((0..count * 36).map(|pixel| pixel as u8));
    let mut labels = vec![0, 0, 8, 1];
    labels.extend(size(count));
    labels.extend((0..count).map(|row| (row % 3) as u8));
    (images, labels)
}

fn files() -> Memory {
    let mut files = Memory::new();
    for (stem, count) in
        [("train", 20), ("mnist/train", 20), ("fashion-mnist/train", 20), ("pathmnist", 20), ("one", 21), ("many", 600)]
    {
        let (images, labels) = idx(count);
        files.insert(format!("{stem}-images-idx3-ubyte"), images);
        files.insert(format!("{stem}-labels-idx1-ubyte"), labels);
    }
    let table = |line: &dyn Fn(usize) -> String, header: &str, rows: usize| {
        std::iter::once(header.to_owned()).chain((0..rows).map(line)).collect::<Vec<_>>().join("\n")
    };
    let small = |row: usize| format!("{},{},{}", row as f64 / 10.0 - 1.0, (row % 7) as f64 / 3.0 - 1.0, row % 2);
    files.insert("small.csv", table(&small, "a,b,y", 20));
    files.insert("large.csv", table(&|row| format!("{},{},{}", row, 300_000 + 1000 * row, row % 2), "age,price,y", 20));
    files.insert("rare.csv", table(&|row| format!("{},{}", row % 5, usize::from(row % 22 == 0)), "a,y", 44));
    files.insert("uneven.csv", table(&|row| format!("{},{}", row % 5, usize::from(row % 11 == 0)), "a,y", 44));
    files.insert("letters.csv", table(&|row| format!("0,1,2,3,{}", ["a", "b", "c"][row % 3]), "a,b,c,d,y", 20));
    files.insert("shares.csv", table(&|row| format!("{},{},0.25,0.75", row % 5, row % 3), "a,b,p,q", 20));
    files.insert("lib.nnopt", "let unused = 3\nblock spare() { relu }\n");
    files
}

fn compiled(source: &str) -> Compilation {
    let files = files().with("a.nnopt", source);
    compile(&Request { path: PathBuf::from("a.nnopt"), ..Request::default() }, &files).unwrap()
}

/// Each diagnostic as `line:column..column code message`, then its labels, notes, help and fixes.
fn said(source: &str) -> Vec<String> {
    let compilation = compiled(source);
    let mut lines = Vec::new();
    for diagnostic in &compilation.diagnostics {
        let place = |span: Span| {
            let (line, column) = compilation.sources.line_column(span.file, span.start as usize);
            let (_, end) = compilation.sources.line_column(span.file, span.end as usize);
            format!("{line}:{column}..{end}")
        };
        lines.push(format!("{} {} {}", place(diagnostic.span()), diagnostic.code.0, diagnostic.message));
        lines.extend(diagnostic.labels.iter().map(|label| format!("  {}: {}", place(label.span), label.text)));
        lines.extend(diagnostic.notes.iter().map(|note| format!("  note: {note}")));
        lines.extend(diagnostic.help.iter().map(|help| format!("  help: {help}")));
        lines.extend(diagnostic.fixes.iter().map(|fix| format!("  fix: {}", fix.title)));
    }
    lines
}

/// The base with parts replaced.
fn with(base: &str, changes: &[(&str, &str)]) -> String {
    changes.iter().fold(base.to_owned(), |text, (from, to)| {
        assert!(text.contains(from), "{from}");
        text.replacen(from, to, 1)
    })
}

/// What a lint says of a mistake; its fix silences it; near misses are silent.
#[track_caller]
fn check_lint(code: &str, wrong: &str, expected: &[&str], near_misses: &[String]) {
    assert_eq!(said(wrong), expected, "in\n{wrong}");
    let compilation = compiled(wrong);
    let diagnostic = compilation.diagnostics.iter().find(|diagnostic| diagnostic.code.0 == code).unwrap();
    for fix in &diagnostic.fixes {
        let mut text = wrong.to_owned();
        let mut edits = fix.edits.clone();
        edits.sort_by_key(|(span, _)| std::cmp::Reverse(span.start));
        for (span, replacement) in edits {
            text.replace_range(span.range(), &replacement);
        }
        let after = said(&text);
        assert!(after.iter().all(|line| !line.contains(code) && !line.contains(" E0")), "{after:#?} in\n{text}");
    }
    let allowed = format!("allow({})\n{wrong}", LINTS.iter().find(|lint| lint.code.0 == code).unwrap().name);
    let after = said(&allowed);
    assert!(after.iter().all(|line| !line.contains(code)), "{after:#?} in\n{allowed}");
    for text in near_misses {
        let after = said(text);
        assert!(after.is_empty(), "{after:#?} in\n{text}");
    }
}

#[test]
fn the_bases_are_clean() {
    for base in [IMAGES, TABLE, REGRESSION] {
        assert_eq!(said(base), [""; 0]);
    }
}

#[test]
fn lints_are_in_order_and_have_pages_with_their_names() {
    assert!(LINTS.is_sorted_by_key(|lint| lint.code));
    for lint in LINTS {
        let page = crate::explain::page(lint.code.0).unwrap_or_else(|| panic!("{}", lint.code.0));
        assert!(
            page.title().starts_with(&format!("`{}`: ", lint.name)) || lint.name == "unused_allow",
            "{}",
            lint.name
        );
        assert!(page.text.contains(&format!("allow({})", lint.name)) || lint.name == "unused_allow", "{}", lint.name);
    }
}

#[test]
fn examples_are_clean() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("examples");
    let mut checked = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "nnopt") {
            continue;
        }
        let request = Request { path: path.clone(), ..Request::default() };
        let compilation = compile(&request, &crate::formats::files::Disk).unwrap();
        // Examples of data that has to be fetched first are checked where it is.
        if compilation.diagnostics.iter().any(|diagnostic| diagnostic.code.0 == "E0401") {
            continue;
        }
        assert_eq!(compilation.diagnostics, [], "{}", path.display());
        checked += 1;
    }
    assert!(checked >= 5, "{checked} examples");
}
