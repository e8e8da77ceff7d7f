//! Which diagnostics only follow from a mistake of syntax that has been reported.

use super::{Code, LOSS, METRIC, MISSING, MONITOR};
use crate::diagnostic::Diagnostic;
use crate::source::{Sources, Span};

/// Brackets that do not pair, and what stands where it must not: parts of the file are not where they were meant.
const STRUCTURE: [Code; 8] = [
    Code("E0101"),
    Code("E0103"),
    Code("E0108"),
    Code("E0109"),
    Code("E0110"),
    Code("E0119"),
    Code("E0198"),
    Code("E0199"),
];
const SEPARATOR: Code = Code("E0115");
const MISSING_ARGUMENT: Code = Code("E0206");
const STRAY_CLOSE: Code = Code("E0109");

/// What is said of the whole pipeline, and so of parts that may have been misread.
const WHOLE: [Code; 4] = [MISSING, LOSS, METRIC, MONITOR];

/// So many characters may lie between two halves of a word that was broken.
const BREAK: usize = 2;

/// Drops what is said of the meaning of text whose syntax is wrong.
///
/// That is: at the place of the wrong syntax, as of both halves of a name that a stray character has broken; on
/// what follows a section that was closed too early, up to the brace that is then one too many; and on the whole
/// pipeline, where parts of it are not where they were meant. Nothing is dropped where the syntax is right.
pub(super) fn drop_cascades(sources: &Sources, diagnostics: &mut Vec<Diagnostic>) {
    let is_syntax = |diagnostic: &Diagnostic| diagnostic.code.0.starts_with("E01");
    let syntax: Vec<Diagnostic> = diagnostics.iter().filter(|found| is_syntax(found)).cloned().collect();
    // A comma at the end of a line is no part of the word before it.
    let is_at_end = |span: Span| {
        let rest = &sources.file(span.file).text[span.end as usize..];
        rest.trim_start_matches([' ', '\t', '\r']).starts_with(['\n', '#']) && sources.text(span) == ","
    };
    let broken = syntax.iter().filter(|found| found.code != SEPARATOR || !is_at_end(found.span()));
    let places: Vec<Span> = broken.flat_map(|found| &found.labels).map(|label| label.span).collect();
    let disordered = syntax.iter().any(|found| STRUCTURE.contains(&found.code));
    let early: Vec<Span> = syntax.iter().filter_map(closed_early).collect();
    // `linear 64` has its argument, though not where it should be.
    let has_argument = |found: &Diagnostic| {
        let end = found.span().end;
        found.code == MISSING_ARGUMENT
            && syntax.iter().map(Diagnostic::span).any(|wrong| {
                let between = || sources.text(Span { start: end, end: wrong.start, ..wrong });
                wrong.file == found.span().file && wrong.start > end && between().trim_matches([' ', '\t']).is_empty()
            })
    };
    diagnostics.retain(|found| {
        let place = found.span();
        if has_argument(found) {
            return false;
        }
        is_syntax(found)
            || !(places.iter().any(|wrong| touch(sources, *wrong, place))
                || early
                    .iter()
                    .any(|range| range.file == place.file && range.start <= place.start && place.end <= range.end)
                || (disordered && WHOLE.contains(&found.code)))
    });
}

/// From the brace that closed a section too early to the one that is too many.
fn closed_early(found: &Diagnostic) -> Option<Span> {
    let cause = found.labels.get(1).filter(|_| found.code == STRAY_CLOSE)?;
    Some(cause.span.to(found.span()))
}

/// Whether two places are one word but for a character or two.
fn touch(sources: &Sources, a: Span, b: Span) -> bool {
    if a.file != b.file {
        return false;
    }
    let (first, second) = if a.start <= b.start { (a, b) } else { (b, a) };
    if second.start <= first.end {
        // What is said of a whole line, as of a call, may rest on the part of it that could not be read.
        return second.start == first.end || !sources.text(first).contains('\n');
    }
    let between = sources.text(Span { start: first.end, end: second.start, ..first });
    between.chars().count() <= BREAK && !between.contains(char::is_whitespace)
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use crate::check::{Request, compile};
    use crate::formats::Memory;
    use crate::formats::files::{Disk, Files};

    /// The examples whose data is in the repository, with their files.
    fn examples() -> Vec<(PathBuf, String, Memory)> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
        let mut data = Memory::new();
        for path in Disk.list(&folder.join("data")).unwrap() {
            let name = Path::new("data").join(path.file_name().unwrap());
            data.insert(name, Disk.read(&path).unwrap().to_vec());
        }
        let mut examples = Vec::new();
        for path in Disk.list(&folder).unwrap() {
            let Some(name) = path.file_name().filter(|name| name.to_string_lossy().ends_with(".nnopt")) else {
                continue;
            };
            let text = std::fs::read_to_string(&path).unwrap();
            if !text.contains("../data") {
                examples.push((PathBuf::from(name), text, data.clone()));
            }
        }
        assert!(examples.len() >= 5);
        examples
    }

    /// One character less, or one more, at every 23rd place, so that all kinds of places come up over the examples.
    fn mutants(text: &str, start: usize) -> Vec<String> {
        let mut mutants = Vec::new();
        for (offset, c) in text.char_indices().skip(start).step_by(23) {
            let mut shorter = text.to_owned();
            shorter.replace_range(offset..offset + c.len_utf8(), "");
            mutants.push(shorter);
            for more in ["{", "}", "(", ")", "\"", "=", ",", "x"] {
                let mut longer = text.to_owned();
                longer.insert_str(offset, more);
                mutants.push(longer);
            }
        }
        mutants
    }

    #[test]
    fn one_wrong_character_is_seldom_more_than_two_diagnostics() {
        let mut counts = [0_usize; 4];
        for (start, (name, text, files)) in examples().into_iter().enumerate() {
            for mutant in mutants(&text, start) {
                let files = files.clone().with(&name, mutant.into_bytes());
                let compilation = compile(&Request { path: name.clone(), ..Request::default() }, &files).unwrap();
                counts[compilation.diagnostics.len().min(3)] += 1;
            }
        }
        let mistaken: usize = counts[1..].iter().sum();
        println!("mutants by number of diagnostics: {counts:?}");
        assert!(mistaken > 400, "{counts:?}");
        // Of all that is wrong with one character, 98% is said in at most two diagnostics, and 80% in one.
        assert!(counts[3] * 50 < mistaken, "mutants by number of diagnostics: {counts:?}");
        assert!(counts[2] * 5 < mistaken, "mutants by number of diagnostics: {counts:?}");
    }
}
