//! Trainings of real data to a threshold, on every executor.

use std::path::{Path, PathBuf};

use nnoptc::check::program::Program;
use nnoptc::check::{Request, compile};
use nnoptc::data::load::load;
use nnoptc::formats::Disk;
use nnoptc::train::events::{Event, Observer, Status, Summary};
use nnoptc::train::{device, prepare, run};

/// Keeps quiet.
pub struct Silent;

impl Observer for Silent {
    fn event(&mut self, _event: &Event) {}
}

/// A file of the repository.
pub fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// Compiles an example with overrides.
pub fn program(path: &str, sets: &[&str]) -> Program {
    let sets = sets.iter().map(|set| (*set).to_owned()).collect();
    let request = Request { path: repository(path), sets, profile: None };
    let compilation = compile(&request, &Disk).unwrap();
    let said: Vec<String> = compilation
        .diagnostics
        .iter()
        .map(|diagnostic| format!("{}: {}", compilation.sources.place(diagnostic.span()), diagnostic.message))
        .collect();
    compilation.program.unwrap_or_else(|| panic!("{path} does not compile:\n{}", said.join("\n")))
}

/// Trains a program.
pub fn train(program: &Program, threads: Option<usize>) -> Summary {
    let prepared = prepare::prepare(program);
    let loaded = load(program, &Disk).unwrap();
    let mut session = device::open_session(program, &prepared, &loaded, threads).unwrap();
    run::run(program, &prepared, &loaded, &mut *session, None, &mut Silent).unwrap()
}

fn test_figure(summary: &Summary, name: &str) -> f64 {
    summary.test.iter().find(|(other, _)| other == name).map_or(f64::NAN, |(_, value)| *value)
}

#[test]
fn digits_reach_95_percent_on_the_cpu() {
    let summary = train(&program("examples/digits.nnopt", &["train.devices=cpu"]), None);
    assert_eq!(summary.status, Status::Completed, "{summary:?}");
    let accuracy = test_figure(&summary, "accuracy");
    assert!(accuracy >= 0.95, "{accuracy}");
}

#[test]
fn the_same_file_seed_and_device_give_the_same_weights() {
    let short = ["train.devices=cpu", "train.epochs=2"];
    let first = train(&program("examples/digits.nnopt", &short), Some(2));
    for threads in [2, 1, 3] {
        let again = train(&program("examples/digits.nnopt", &short), Some(threads));
        assert_eq!(again.weights_sha256, first.weights_sha256, "with {threads} threads");
    }
    let other =
        train(&program("examples/digits.nnopt", &["train.devices=cpu", "train.epochs=2", "train.seed=7"]), None);
    assert_ne!(other.weights_sha256, first.weights_sha256);
}
