//! A module imports only from its own floor or below.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The modules of the library by floor; ARCHITECTURE.md says why.
const FLOORS: &[&[&str]] = &[
    &["source", "diagnostic", "explain", "figures"],
    &["syntax", "ir", "formats"],
    &["schema"],
    &["library"],
    &["check"],
    &["lower", "passes", "plan"],
    &["backend", "data"],
    &["train", "report"],
    &["lsp", "cli"],
];

fn floor_of(module: &str) -> Option<usize> {
    FLOORS.iter().position(|floor| floor.contains(&module))
}

fn source_files(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            source_files(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

/// Tests may use what they test with.
fn is_test(path: &Path) -> bool {
    path.components().any(|part| part.as_os_str().to_str().is_some_and(|name| name.contains("tests")))
        || ["mistakes.rs", "robustness.rs"].iter().any(|name| path.ends_with(name))
}

/// The modules that a source text names after `crate::`, without comments and the tests that close it.
fn imports(text: &str) -> Vec<(usize, String)> {
    let mut all = Vec::new();
    for (number, line) in text.lines().enumerate() {
        if line == "mod tests {" {
            break;
        }
        if line.trim_start().starts_with("//") {
            continue;
        }
        for rest in line.split("crate::").skip(1) {
            let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
            all.push((number + 1, rest[..end].to_owned()));
        }
    }
    all
}

#[test]
fn modules_import_from_their_own_floor_or_below() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    source_files(&root, &mut files);
    let mut wrong = Vec::new();
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    for path in files {
        let inside = path.strip_prefix(&root).unwrap();
        let first = inside.components().next().unwrap().as_os_str().to_str().unwrap();
        let module = first.trim_end_matches(".rs");
        if ["lib", "main"].contains(&module) || is_test(inside) {
            continue;
        }
        let Some(floor) = floor_of(module) else {
            wrong.push(format!("`{module}` has no floor"));
            continue;
        };
        *seen.entry(module.to_owned()).or_default() += 1;
        let text = std::fs::read_to_string(&path).unwrap();
        for (line, import) in imports(&text) {
            if floor_of(&import).is_some_and(|other| other > floor) {
                wrong.push(format!("{}:{line}: `{module}` imports `{import}`, which is above it", inside.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    for module in FLOORS.iter().copied().flatten() {
        assert!(seen.contains_key(*module), "there is no module `{module}`");
    }
}

#[test]
fn imports_are_read_from_code_only() {
    let text = "use crate::ir::Op;\n// crate::cli\nlet x = crate::plan::plan(crate::lower::lower());\nmod tests {\nuse crate::cli;";
    let expected = [(1, "ir"), (3, "plan"), (3, "lower")].map(|(line, name)| (line, name.to_owned()));
    assert_eq!(imports(text), expected);
}
