//! Applies fixes that need no asking, round by round, until none is left.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{Compilation, Request, compile};
use crate::diagnostic::{Applicability, Diagnostic, Fix};
use crate::formats::files::Files;
use crate::source::Span;

/// A fix can lay bare the next mistake; no file that a person wrote needs this many rounds.
const MAX_ROUNDS: usize = 20;

/// What became of a pipeline whose safe fixes were applied.
pub struct Fixed {
    /// The new texts of the files that changed; nothing has been written.
    pub texts: Vec<(PathBuf, String)>,
    /// How many fixes were applied.
    pub count: usize,
    /// The pipeline as it is now.
    pub compilation: Compilation,
}

/// Compiles, applies all safe fixes that do not overlap, and compiles again, until none is left.
///
/// # Errors
/// When the main file cannot be read.
pub fn compile_and_fix(request: &Request, files: &dyn Files) -> Result<Fixed, String> {
    let mut overlay = Overlay { below: files, texts: BTreeMap::new() };
    let mut compilation = compile(request, &overlay)?;
    let mut count = 0;
    for _ in 0..MAX_ROUNDS {
        let chosen = choose(&compilation);
        if chosen.is_empty() {
            break;
        }
        let before = overlay.texts.clone();
        for (file, edits) in group(&chosen) {
            let path = compilation.origins.paths[usize::from(file)].clone();
            let text = replace(&compilation.sources.file(file).text, &edits);
            overlay.texts.insert(path, Arc::new(text.into_bytes()));
        }
        let next = compile(request, &overlay)?;
        // A fix may lay bare what was hidden, but a text that reads worse than before was not mended by it.
        if syntax_errors(&next) > syntax_errors(&compilation) {
            overlay.texts = before;
            break;
        }
        count += chosen.len();
        compilation = next;
    }
    let text = |bytes: Arc<Vec<u8>>| String::from_utf8_lossy(&bytes).into_owned();
    let texts = overlay.texts.into_iter().map(|(path, bytes)| (path, text(bytes))).collect();
    Ok(Fixed { texts, count, compilation })
}

/// The first safe fix of each diagnostic, in their order, without those that meet one chosen before.
fn choose(compilation: &Compilation) -> Vec<&Fix> {
    let in_files = |fix: &&Fix| {
        let known = compilation.origins.paths.len();
        !fix.edits.is_empty() && fix.edits.iter().all(|(span, _)| usize::from(span.file) < known)
    };
    let safe = |diagnostic: &'_ Diagnostic| {
        let mut fixes = diagnostic.fixes.iter();
        fixes.position(|fix| fix.applicability == Applicability::Safe && in_files(&fix))
    };
    let mut chosen: Vec<&Fix> = Vec::new();
    for diagnostic in &compilation.diagnostics {
        let Some(fix) = safe(diagnostic).map(|idx| &diagnostic.fixes[idx]) else { continue };
        let mut taken = chosen.iter().flat_map(|other| &other.edits);
        if taken.all(|(other, _)| fix.edits.iter().all(|(span, _)| !meet(*span, *other))) {
            chosen.push(fix);
        }
    }
    chosen
}

/// Whether two edits change the same text or insert at the same place.
fn meet(a: Span, b: Span) -> bool {
    a.file == b.file && ((a.start < b.end && b.start < a.end) || a.start == b.start)
}

fn group(fixes: &[&Fix]) -> BTreeMap<u16, Vec<(Span, String)>> {
    let mut files: BTreeMap<u16, Vec<(Span, String)>> = BTreeMap::new();
    for (span, text) in fixes.iter().flat_map(|fix| &fix.edits) {
        files.entry(span.file).or_default().push((*span, text.clone()));
    }
    files
}

/// The text with its edits, which do not overlap, applied.
fn replace(text: &str, edits: &[(Span, String)]) -> String {
    let mut edits: Vec<&(Span, String)> = edits.iter().collect();
    edits.sort_by_key(|(span, _)| (span.start, span.end));
    let mut result = text.to_owned();
    for (span, replacement) in edits.into_iter().rev() {
        result.replace_range(span.range(), replacement);
    }
    result
}

fn syntax_errors(compilation: &Compilation) -> usize {
    compilation.diagnostics.iter().filter(|diagnostic| diagnostic.code.0.starts_with("E01")).count()
}

/// Files of which some have new texts that are not written yet.
struct Overlay<'a> {
    below: &'a dyn Files,
    texts: BTreeMap<PathBuf, Arc<Vec<u8>>>,
}

impl Files for Overlay<'_> {
    fn read(&self, path: &Path) -> io::Result<Arc<Vec<u8>>> {
        self.texts.get(path).map_or_else(|| self.below.read(path), |bytes| Ok(Arc::clone(bytes)))
    }

    fn read_prefix(&self, path: &Path, n: usize) -> io::Result<Vec<u8>> {
        match self.texts.get(path) {
            Some(bytes) => Ok(bytes[..n.min(bytes.len())].to_vec()),
            None => self.below.read_prefix(path, n),
        }
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<PathBuf>> {
        self.below.list(folder)
    }

    fn exists(&self, path: &Path) -> bool {
        self.below.exists(path)
    }

    fn is_folder(&self, path: &Path) -> bool {
        self.below.is_folder(path)
    }

    fn len(&self, path: &Path) -> io::Result<u64> {
        self.texts.get(path).map_or_else(|| self.below.len(path), |bytes| Ok(bytes.len() as u64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::Memory;

    const TABLE: &str = "x,y\n1,a\n2,b\n3,a\n4,b\n";

    fn fixed(main: &str, more: &[(&str, &str)]) -> Fixed {
        let mut files = Memory::new().with("t.csv", TABLE).with("a.nnopt", main);
        for (path, text) in more {
            files.insert(*path, *text);
        }
        compile_and_fix(&Request { path: "a.nnopt".into(), ..Request::default() }, &files).unwrap()
    }

    #[test]
    fn all_safe_fixes_are_applied_and_others_are_left() {
        let main = "nnopt 1\ndata { train: csv('t.csv', target = y); normalize = auto }\n// the model\nmodel { linear(8) => relu\n linear(classes) }\n\
                    loss = cros_entropy\noptimizer == adam\ntrain { epochs = 1, batch = 2 }\n";
        let Fixed { texts, count, compilation } = fixed(main, &[]);
        let expected = "nnopt 1\ndata { train = csv(\"t.csv\", target = y); normalize = auto }\n# the model\nmodel { linear(8) -> relu\n linear(classes) }\n\
                        loss = cros_entropy\noptimizer = adam\ntrain { epochs = 1; batch = 2 }\n";
        assert_eq!(texts, [(PathBuf::from("a.nnopt"), expected.to_owned())]);
        assert_eq!(count, 6);
        // A guess is offered, not written.
        assert_eq!(compilation.diagnostics.iter().map(|diagnostic| diagnostic.code.0).collect::<Vec<_>>(), ["E0202"]);
    }

    #[test]
    fn included_files_are_mended_too_and_clean_files_are_left_alone() {
        let good = "data { train = csv(\"t.csv\", target = y); normalize = auto }\ninclude \"m.nnopt\"\nloss = cross_entropy\n\
                    optimizer = adam\ntrain { epochs = 1; batch = 2 }\n";
        let files = [("m.nnopt", "model { linear(classes, batch-size = 3) }\n")];
        let Fixed { texts, count, .. } = fixed(good, &files);
        assert_eq!(count, 1);
        let mended = "model { linear(classes, batch_size = 3) }\n".to_owned();
        assert_eq!(texts, [(PathBuf::from("m.nnopt"), mended)]);
        let clean = fixed(good, &[("m.nnopt", "model { linear(classes) }\n")]);
        assert!(clean.texts.is_empty() && clean.count == 0 && clean.compilation.program.is_some());
    }

    #[test]
    fn edits_that_meet_are_not_applied_together() {
        let span = |start, end| Span::new(0, start, end);
        assert!(meet(span(2, 5), span(4, 6)) && meet(span(2, 2), span(2, 2)) && meet(span(2, 2), span(2, 4)));
        assert!(!meet(span(2, 4), span(4, 6)) && !meet(span(2, 3), Span::new(1, 2, 3)));
        assert_eq!(replace("abcd", &[(span(3, 4), "X".into()), (span(0, 1), String::new())]), "bcX");
    }
}
