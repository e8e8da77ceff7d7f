//! `nnoptc find-lr`, `lr = auto` and `batch = auto`, on real data.

use std::path::Path;

use nnoptc::data::load::load;
use nnoptc::formats::Disk;
use nnoptc::train::find_rate::{RateTest, Sweep, find_rate};
use nnoptc::train::memory::{Limits, settle_batch};
use nnoptc::train::{device, prepare};
use serde_json::Value;

use crate::cli::{nnoptc, text};
use crate::training::{program, repository};

fn example(name: &str) -> String {
    repository("examples").join(name).display().to_string()
}

fn json(path: &Path) -> Value {
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn test_rates(device: &str) -> RateTest {
    let program = program("examples/digits.nnopt", &[device]);
    let prepared = prepare::prepare(&program, device::fusion(&program));
    let loaded = load(&program, &Disk).unwrap();
    let mut session = device::open_session(&program, &prepared, &loaded, Some(2)).unwrap();
    find_rate(&program, &prepared, &loaded, &mut *session, &Sweep::default(), &|| false).unwrap().unwrap()
}

#[test]
fn a_rate_is_found_the_same_each_time_and_on_each_device() {
    let first = test_rates("train.devices=cpu");
    assert_eq!(test_rates("train.devices=cpu"), first);
    let rate = first.rate().unwrap();
    // The usual rates of adam, of which 1e-3 is the default.
    assert!((1e-4..1e-2).contains(&rate), "{rate}");
    // It ends where the loss has grown, long before the highest rate.
    let last = first.points.last().unwrap();
    assert!(first.points.len() < 100 && last.smoothed > 4.0 * first.points[60].smoothed.min(1.6), "{last:?}");
    for adapter in crate::harness::adapters() {
        let found = test_rates(&format!("train.devices={}", adapter.index)).rate().unwrap();
        // Sums in another order may move the valley by a point or two of a factor of 1.2.
        assert!((found / rate).ln().abs() < 0.6, "{found} on {}, {rate} on the CPU", adapter.name);
    }
}

#[test]
fn find_lr_prints_a_rate_and_draws_its_curve() {
    let folder = tempfile::tempdir().unwrap();
    let output = nnoptc(folder.path(), &["find-lr", &example("digits.nnopt"), "--device", "cpu"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let rate: f64 = text(&output.stdout).trim_end().parse().unwrap();
    // Nothing is left but the picture.
    let left: Vec<_> = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["digits-lr.png"]);
    assert!(std::fs::read(folder.path().join("digits-lr.png")).unwrap().starts_with(b"\x89PNG"));

    let arguments = ["find-lr", &example("digits.nnopt"), "--device", "cpu", "--out", "found"];
    let output = nnoptc(folder.path(), &[&arguments[..], &["--message-format", "json"]].concat());
    let object: Value = serde_json::from_str(text(&output.stdout)).unwrap();
    assert_eq!((&object["event"], object["lr"].as_f64()), (&Value::from("find_lr"), Some(rate)));
    assert_eq!(json(&folder.path().join("found/find-lr.json")), object);
    let points = object["points"].as_array().unwrap();
    assert!(points.len() > 50 && points[0]["lr"].as_f64() == Some(1e-7), "{}", points.len());
    assert!(folder.path().join("found/find-lr.png").exists());
}

#[test]
fn rates_that_cannot_rise_are_a_mistake_of_usage() {
    let folder = tempfile::tempdir().unwrap();
    let output = nnoptc(folder.path(), &["find-lr", &example("iris.nnopt"), "--from", "1", "--to", "0.1"]);
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(text(&output.stderr), "error: rates cannot rise from 1 to 0.1\n");
}

#[test]
fn a_loss_that_never_falls_has_no_rate() {
    let folder = tempfile::tempdir().unwrap();
    // Targets that are 0 for inputs that are 0: nothing can be learned from the first step on.
    std::fs::write(folder.path().join("zero.csv"), "x,y\n".to_owned() + &"0,0\n".repeat(64)).unwrap();
    let pipeline = "nnopt 1\ndata {\n    train = csv(\"zero.csv\", target = y, task = regression)\n}\nmodel {\n    \
                    linear(1, init = zeros, bias = false)\n}\nloss = mse\noptimizer = sgd(lr = auto)\n";
    std::fs::write(folder.path().join("zero.nnopt"), pipeline).unwrap();
    for command in ["find-lr", "run"] {
        let output = nnoptc(folder.path(), &[command, "zero.nnopt", "--device", "cpu"]);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains("error: no learning rate from 1e-7 to 1e1 lowers the loss\n"), "{said}");
    }
    assert!(!folder.path().join("runs/zero").exists());
}

#[test]
fn a_run_uses_records_and_repeats_what_auto_became() {
    let folder = tempfile::tempdir().unwrap();
    let run = |arguments: &[&str]| {
        let output = nnoptc(folder.path(), arguments);
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        (text(&output.stdout).to_owned(), text(&output.stderr).to_owned())
    };
    let file = example("digits.nnopt");
    let auto = ["--set", "optimizer.lr=auto", "--set", "train.batch=auto", "--set", "train.epochs=2"];
    let arguments = [&["run", &file, "--device", "cpu", "--out", "a"], &auto[..]].concat();
    let (figures, said) = run(&arguments);
    // 1,258 training rows.
    assert!(said.contains("batch = auto is 1024: the largest power of two in the 1258 training rows\n"), "{said}");
    assert!(said.contains("lr = auto is 0.") && said.contains("steps with rates from 1e-7 to"), "{said}");

    let summary = json(&folder.path().join("a/summary.json"));
    let rate = summary["settled"]["optimizer.lr"].as_f64().unwrap();
    assert_eq!(summary["settled"]["train.batch"], 1024.0);
    let resolved = std::fs::read_to_string(folder.path().join("a/resolved.nnopt")).unwrap();
    let sets_batch = resolved.lines().any(|line| line.split_whitespace().eq(["batch", "=", "1024"]));
    assert!(resolved.contains(&format!("lr = {rate}")) && sets_batch, "{resolved}");

    // The resolved pipeline is the same training, and the run is measured as it was trained.
    let (again, _) = run(&["run", "a/resolved.nnopt", "--out", "b"]);
    assert_eq!(again, figures);
    assert_eq!(json(&folder.path().join("b/summary.json"))["weights_sha256"], summary["weights_sha256"]);
    assert_eq!(run(&["eval", "a"]).0, figures);

    let (listing, _) = run(&["plan", &file, "--set", "train.batch=auto"]);
    let line = listing.lines().find(|line| line.starts_with("train.batch")).unwrap();
    assert_eq!(line.split_whitespace().collect::<Vec<_>>(), ["train.batch", "1024", "inferred"]);
}

#[test]
fn a_batch_is_halved_until_the_plan_fits() {
    let settle = |sets: &[&str], total: Option<u64>| {
        let mut program = program("examples/digits_cnn.nnopt", &[&["train.devices=cpu"], sets].concat());
        let limits = Limits { device: "CPU".to_owned(), total, arena: None, gpu: false };
        let reason = settle_batch(&mut program, &limits);
        (program.train.batch, reason)
    };
    let needs = |batch: usize| {
        let program = program("examples/digits_cnn.nnopt", &["train.devices=cpu", &format!("train.batch={batch}")]);
        prepare::prepare(&program, device::fusion(&program)).memory().total()
    };
    assert_eq!(settle(&["train.batch=32"], Some(0)), (32, None));
    assert_eq!(settle(&["train.batch=auto"], None).0, 1024);
    for batch in [512, 64] {
        // What is enough for this batch is a byte short of it when one is taken away.
        let (found, reason) = settle(&["train.batch=auto"], Some(needs(batch)));
        assert_eq!(found, batch, "{reason:?}");
        let (found, reason) = settle(&["train.batch=auto"], Some(needs(batch) - 1));
        assert_eq!(found, batch / 2);
        let reason = reason.unwrap();
        let start = format!("batch = auto is {}: a batch of {batch} needs ", batch / 2);
        assert!(reason.starts_with(&start) && reason.contains(" of memory on `CPU`, which has "), "{reason}");
    }
    // Each part is a power of two, and what nothing fits is left to be refused.
    assert_eq!(settle(&["train.batch=auto", "train.accumulate=3"], None).0, 3 * 256);
    assert_eq!(settle(&["train.batch=auto", "train.accumulate=3"], Some(0)).0 % 3, 0);
}
