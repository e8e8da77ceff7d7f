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
    let prepared = prepare::prepare(program, nnoptc::train::device::fusion(program));
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
    assert!(matches!(summary.status, Status::Completed | Status::EarlyStopped), "{summary:?}");
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

/// MNIST, fetched by `scripts/fetch-data.sh`; with `NNOPTC_REQUIRE_DATA` set, it has to be there.
pub fn has_mnist() -> bool {
    let found = repository("data/mnist/train-images-idx3-ubyte").exists();
    assert!(
        found || std::env::var_os("NNOPTC_REQUIRE_DATA").is_none(),
        "MNIST is required: scripts/fetch-data.sh mnist"
    );
    if !found {
        eprintln!("no MNIST: its trainings are left out; `scripts/test` fetches it");
    }
    found
}

/// The accuracy on the test split after a whole training.
pub fn accuracy(path: &str, sets: &[&str]) -> f64 {
    let summary = train(&program(path, sets), None);
    assert_eq!(summary.status, Status::Completed, "{summary:?}");
    test_figure(&summary, "accuracy")
}

#[test]
fn mnist_mlp_reaches_97_3_percent_as_the_mean_of_five_seeds() {
    if has_mnist() {
        let seeds = [1, 2, 3, 4, 5].map(|seed| format!("train.seed={seed}"));
        let figures = seeds.map(|seed| accuracy("examples/mnist_mlp.nnopt", &["train.devices=cpu", &seed]));
        let mean = figures.iter().sum::<f64>() / 5.0;
        assert!(mean >= 0.973, "{figures:?}");
    }
}

#[test]
fn lenet_5_reaches_98_percent() {
    if has_mnist() {
        let figure = accuracy("examples/lenet5.nnopt", &["train.devices=cpu"]);
        assert!(figure >= 0.98, "{figure}");
    }
}

#[test]
fn mnist_mlp_reaches_97_percent_on_adapters() {
    for adapter in if has_mnist() { crate::harness::adapters() } else { &[] } {
        let device = format!("train.devices={}", adapter.index);
        let figure = accuracy("examples/mnist_mlp.nnopt", &[&device]);
        // One seed: five take minutes on an adapter that plays a GPU.
        assert!(figure >= 0.97, "{figure} on {}", adapter.name);
    }
}
