//! `nnoptc advise` on trainings that go wrong, and what a run records for it.

use std::path::Path;

use serde_json::Value;

use crate::cli::{nnoptc, text};
use crate::training::repository;

/// Trains on the digits with these lines in place of the model and the optimizer, and asks for advice.
fn advice(folder: &Path, model: &str, optimizer: &str, train: &str) -> String {
    let data = repository("examples/data/digits.csv");
    let pipeline = format!(
        "nnopt 1\ndata {{\n    train     = csv({data:?}, target = label)\n    val       = split(train, 80%, stratified)\n    \
         normalize = auto\n}}\nmodel {{\n    {model}\n    linear(classes)\n}}\nloss      = cross_entropy\n\
         optimizer = {optimizer}\ntrain {{ seed = 1; batch = 64; {train} }}\n"
    );
    std::fs::write(folder.join("p.nnopt"), pipeline).unwrap();
    let trained = nnoptc(folder, &["run", "p.nnopt", "--device", "cpu", "--out", "run"]);
    assert!(trained.status.code().is_some_and(|code| code <= 1), "{}", text(&trained.stderr));
    let output = nnoptc(folder, &["--message-format", "short", "advise", "run"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    text(&output.stderr).to_owned()
}

#[track_caller]
fn check(model: &str, optimizer: &str, train: &str, wanted: &str) {
    let folder = tempfile::tempdir().unwrap();
    let said = advice(folder.path(), model, optimizer, train);
    assert!(
        said.contains(wanted) && said.matches(": advice[").count() + said.matches(": warning[").count() == 1,
        "{said}"
    );
}

#[test]
fn trainings_that_go_wrong_are_advised_at_their_lines() {
    check(
        "linear(64) -> relu",
        "sgd(lr = 1000)",
        "epochs = 2",
        "p.nnopt:12:22: warning[W0601]: the training diverged: the loss was not finite",
    );
    check(
        "repeat 8 { linear(32) -> sigmoid }",
        "adam(lr = 1e-4)",
        "epochs = 2",
        "p.nnopt:8:16: warning[W0606]: the gradient vanishes before it reaches `linear(32)`",
    );
    check(
        "linear(256) -> relu -> linear(256) -> relu",
        "adam(lr = 1e-2)",
        "epochs = 30",
        "p.nnopt:13:40: advice[W0603]: the model overfits: `val.loss` rose from ",
    );
    check(
        "linear(64) -> relu",
        "sgd(lr = 1e-5)",
        "epochs = 9",
        "p.nnopt:12:22: advice[W0602]: the training loss has not fallen in 9 epochs: from ",
    );
    check(
        "repeat 6 { linear(64, init = normal(1)) }",
        "sgd(lr = 1e-12)",
        "epochs = 2",
        "p.nnopt:8:16: warning[W0605]: the gradient explodes on its way back to `linear(64, init = normal(1))`",
    );
    check(
        "linear(64) -> relu -> linear(64) -> relu",
        "adam(lr = 0.3)",
        "epochs = 3",
        "p.nnopt:8:41: warning[W0604]: 9",
    );
}

#[test]
fn a_run_records_gradients_and_dead_units_and_is_not_changed_by_that() {
    let folder = tempfile::tempdir().unwrap();
    let dead = "linear(16, init = uniform(1e-3)) -> relu -> dropout(0.5)";
    let said = advice(folder.path(), dead, "adam(lr = 1e-3)", "epochs = 2");
    assert!(said.starts_with("run: nothing to say") || said.is_empty() || said.contains("W06"), "{said}");
    let lines = std::fs::read_to_string(folder.path().join("run/metrics.jsonl")).unwrap();
    for line in lines.lines() {
        let epoch: Value = serde_json::from_str(line).unwrap();
        let names: Vec<&String> = epoch["gradients"].as_object().unwrap().keys().collect();
        assert_eq!(names, ["model.0.weight", "model.0.bias", "model.3.weight", "model.3.bias"]);
        for norm in
            epoch["gradients"].as_object().unwrap().values().chain(epoch["weights"].as_object().unwrap().values())
        {
            assert!(norm.as_f64().is_some_and(|norm| norm > 0.0 && norm < 100.0), "{line}");
        }
        assert!(epoch["dead"]["model.1"].as_f64().is_some_and(|share| (0.0..=1.0).contains(&share)), "{line}");
        assert!(epoch["data_seconds"].as_f64().is_some_and(|seconds| seconds >= 0.0), "{line}");
    }
}

#[test]
fn what_is_no_run_is_the_worlds_fault() {
    let folder = tempfile::tempdir().unwrap();
    let output = nnoptc(folder.path(), &["advise", "nosuch"]);
    assert_eq!(output.status.code(), Some(3));
    assert!(
        text(&output.stderr).starts_with("error: could not read `nosuch/command.json`"),
        "{}",
        text(&output.stderr)
    );
}
