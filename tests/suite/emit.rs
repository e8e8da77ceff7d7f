//! Every stage of every example as text: well formed, and the same each time.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use crate::cli::{nnoptc, text};
use crate::harness::adapters;
use crate::training::repository;

/// What a stage of an example prints, and whether it could.
fn emit(example: &Path, stage: &str) -> String {
    let arguments = [example.to_str().unwrap(), "--stage", stage];
    let output = Command::new(env!("CARGO_BIN_EXE_nnoptc")).arg("emit").args(arguments).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{} {stage}: {said}", example.display());
    String::from_utf8(output.stdout).unwrap()
}

/// The examples whose data is in the repository or has been fetched.
fn examples() -> Vec<std::path::PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mnist = root.join("data/mnist/train-images-idx3-ubyte").exists();
    let entries = std::fs::read_dir(root.join("examples")).unwrap().map(|entry| entry.unwrap().path());
    let all = entries.filter(|path| path.extension().is_some_and(|extension| extension == "nnopt"));
    let mut all: Vec<_> =
        all.filter(|path| mnist || !std::fs::read_to_string(path).unwrap().contains("data/mnist")).collect();
    all.sort();
    assert!(all.len() >= 5, "{all:?}");
    all
}

#[test]
fn stages_are_the_same_each_time() {
    for example in examples() {
        for stage in ["ast", "program", "graph", "plan", "wgsl", "dot"] {
            let text = emit(&example, stage);
            assert!(text.ends_with('\n') && text.len() > 100, "{} {stage}", example.display());
            assert_eq!(text, emit(&example, stage), "{} {stage}", example.display());
        }
    }
}

#[test]
fn every_example_is_planned() {
    for example in examples() {
        let output = Command::new(env!("CARGO_BIN_EXE_nnoptc")).arg("plan").arg(&example).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success() && text.contains("launches"), "{}: {text}", example.display());
    }
}

#[test]
fn an_emitted_program_is_the_same_program() {
    for example in examples() {
        let folder = tempfile::tempdir().unwrap();
        let again = folder.path().join("again.nnopt");
        std::fs::write(&again, emit(&example, "program")).unwrap();
        for stage in ["program", "graph", "plan"] {
            assert_eq!(emit(&again, stage), emit(&example, stage), "{} {stage}", example.display());
        }
    }
}

#[test]
fn every_emitted_kernel_is_valid_wgsl() {
    for example in examples() {
        let text = emit(&example, "wgsl");
        // Each module begins with its parameters; the line before, a comment, names the kernel.
        let modules: Vec<&str> = text.split("// Where buffers begin, in words; sizes.\n").skip(1).collect();
        assert!(modules.len() > 1, "{}", example.display());
        for module in modules {
            let parsed = naga::front::wgsl::parse_str(module);
            let parsed = parsed.unwrap_or_else(|error| panic!("{}", error.emit_to_string(module)));
            let (flags, capabilities) = (naga::valid::ValidationFlags::all(), naga::valid::Capabilities::empty());
            let valid = naga::valid::Validator::new(flags, capabilities).validate(&parsed);
            valid.unwrap_or_else(|error| panic!("{}", error.emit_to_string(module)));
            assert_eq!(parsed.entry_points.len(), 1, "{module}");
        }
    }
}

#[test]
fn emitted_graphs_are_valid_dot() {
    for example in examples() {
        let text = emit(&example, "dot");
        let lines: Vec<&str> = text.lines().map(str::trim).collect();
        assert_eq!((lines[0], *lines.last().unwrap()), ("digraph {", "}"));
        let mut nodes = BTreeSet::new();
        let mut edges = Vec::new();
        for line in &lines[1..lines.len() - 1] {
            if let Some((from, to)) = line.split_once(" -> ") {
                edges.push((from, to.split([' ', ';']).next().unwrap()));
            } else {
                let (name, rest) = line.split_once(" [").unwrap_or_else(|| panic!("{line}"));
                assert!(rest.ends_with(']') || rest.ends_with("];"), "{line}");
                // Quotes within a label are escaped.
                assert_eq!(rest.replace("\\\"", "").matches('"').count() % 2, 0, "{line}");
                nodes.insert(name);
            }
        }
        assert!(!edges.is_empty());
        for (from, to) in edges {
            assert!(nodes.contains(from) && nodes.contains(to), "{from} -> {to} in {}", example.display());
        }
    }
}

#[test]
fn each_launch_is_measured_on_a_device() {
    let pipeline = repository("examples/digits.nnopt");
    let pipeline = pipeline.to_str().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let measure = |device: &str| {
        let output = nnoptc(folder.path(), &["plan", pipeline, "--measure", "--device", device]);
        assert!(output.status.success(), "{device}: {}", text(&output.stderr));
        let listing = text(&output.stdout).to_owned();
        let (_, measured) = listing.split_once("\non ").unwrap_or_else(|| panic!("{listing}"));
        let steps = measured.matches("update, train of").count() + measured.matches("evaluate, ").count();
        assert_eq!(measured.matches("the whole step").count(), steps, "{measured}");
        assert!(steps >= 3 && !measured.contains("NaN") && !measured.contains("inf"), "{measured}");
        measured.lines().count() - 2 - steps
    };
    assert_eq!(measure("cpu"), 0, "the processor runs a step as a whole");
    for adapter in adapters() {
        assert!(measure(&adapter.index.to_string()) >= 12, "each launch has a line");
    }
    // Two devices have no one time.
    let output = nnoptc(folder.path(), &["plan", pipeline, "--measure", "--device", "[cpu, cpu]"]);
    assert_eq!(output.status.code(), Some(2), "{}", text(&output.stdout));
    assert!(text(&output.stderr).contains("`--measure` takes the time of one device"), "{}", text(&output.stderr));
}
