//! Devices that hang, are lost or compute wrongly under the program as it is used: what it says, leaves, and ends with.
//!
//! The faults are real ones (a kernel that does not end, a device that is destroyed), started by `NNOPTC_FAULT`, which
//! only builds with debug assertions know.

use std::fs::File;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use crate::cli::text;
use crate::harness::adapters;
use crate::training::repository;

/// Whether this build knows faults.
fn has_faults() -> bool {
    if !cfg!(debug_assertions) {
        eprintln!("faults are tried in builds with debug assertions only");
    }
    cfg!(debug_assertions)
}

/// Runs the program with a cache of its own; it has to end by itself.
fn nnoptc(folder: &Path, arguments: &[&str], variables: &[(&str, &str)]) -> Output {
    const PATIENCE: Duration = Duration::from_secs(300);
    let mut command = Command::new(env!("CARGO_BIN_EXE_nnoptc"));
    command.current_dir(folder).args(arguments).envs(variables.iter().copied());
    command.env("XDG_CACHE_HOME", folder.join("cache")).env("NO_COLOR", "1");
    // Files, since a pipe that nobody reads would stop a program that says much.
    let [out, err] = ["stdout", "stderr"].map(|name| folder.join(name));
    command.stdin(Stdio::null()).stdout(File::create(&out).unwrap()).stderr(File::create(&err).unwrap());
    let mut child = command.spawn().unwrap();
    let began = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        if began.elapsed() > PATIENCE {
            child.kill().unwrap();
            let said = std::fs::read(&err).unwrap();
            panic!("{arguments:?} with {variables:?} did not end in {PATIENCE:?}: {}", text(&said));
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    Output { status, stdout: std::fs::read(&out).unwrap(), stderr: std::fs::read(&err).unwrap() }
}

/// Trains digits for 40 epochs on a device, in the folder `run`.
fn run(folder: &Path, device: &str, variables: &[(&str, &str)]) -> Output {
    let digits = repository("examples/digits.nnopt");
    let (digits, device) = (digits.to_str().unwrap(), format!("train.devices={device}"));
    let sets = ["train.epochs=40", "train.early_stop=none", &device].map(|set| ["--set", set]).concat();
    std::fs::remove_dir_all(folder.join("run")).unwrap_or_default();
    nnoptc(folder, &[&["run", digits, "--out", "run", "-q"], &sets[..]].concat(), variables)
}

fn summary(folder: &Path) -> serde_json::Value {
    serde_json::from_slice(&std::fs::read(folder.join("run/summary.json")).unwrap()).unwrap()
}

/// The epoch of a checkpoint that can be read and that belongs to the pipeline.
fn kept_epochs(folder: &Path) -> usize {
    let output = nnoptc(folder, &["--message-format", "json", "eval", "run", "--device", "cpu"], &[]);
    assert_eq!(output.status.code(), Some(0), "{}{}", text(&output.stdout), text(&output.stderr));
    let lines = std::fs::read_to_string(folder.join("run/metrics.jsonl")).unwrap();
    assert!(folder.join("run/checkpoints/last.safetensors").is_file());
    lines.lines().count()
}

#[test]
fn a_kernel_that_does_not_end_ends_the_training_and_what_was_good_is_kept() {
    if !has_faults() {
        return;
    }
    for adapter in adapters() {
        let index = adapter.index.to_string();
        for devices in [index.clone(), format!("[cpu, {index}]")] {
            let folder = tempfile::tempdir().unwrap();
            let began = Instant::now();
            let output = run(folder.path(), &devices, &[("NNOPTC_FAULT", "hang 60"), ("NNOPTC_PATIENCE", "10")]);
            let took = began.elapsed();
            let said = text(&output.stderr);
            assert_eq!(output.status.code(), Some(3), "{}: {said}", adapter.name);
            let begin = format!("error: the device `{}` did not finish `", adapter.name);
            let rest = said.split_once(&begin).unwrap_or_else(|| panic!("{said}")).1;
            assert!(rest.contains(" in 10 s; if it is busy with other work, set `NNOPTC_PATIENCE`"), "{said}");
            // The kernel is one of a step.
            let (kernel, _) = rest.split_once('`').unwrap();
            if devices == index {
                let digits = repository("examples/digits.nnopt");
                let emit = |step| {
                    let arguments = ["emit", digits.to_str().unwrap(), "--stage", "wgsl", "--step", step, "--set"];
                    let device = format!("train.devices={index}");
                    let output = nnoptc(folder.path(), &[&arguments[..], &[&device]].concat(), &[]);
                    text(&output.stdout).contains(&format!("// {kernel}\n"))
                };
                assert!(emit("train") || emit("eval"), "no kernel of a step is `{kernel}`");
            }
            assert!(kept_epochs(folder.path()) >= 1, "{said}");
            // A generous bound on a training of seconds, a wait of ten, and a machine that others use.
            assert!(took < Duration::from_secs(120), "{took:?}");
        }
    }
}

#[test]
fn a_device_that_is_lost_is_opened_again_and_the_weights_are_the_same() {
    if !has_faults() {
        return;
    }
    for adapter in adapters() {
        let index = adapter.index.to_string();
        for devices in [index.clone(), format!("[{index}, {index}]")] {
            let folder = tempfile::tempdir().unwrap();
            let output = run(folder.path(), &devices, &[]);
            assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
            let expected = summary(folder.path());
            let faults = [("NNOPTC_FAULT", "lose 3 40 90")];
            let output = run(folder.path(), &devices, &faults);
            assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
            let found = summary(folder.path());
            assert_eq!(found["recoveries"], 3, "{devices} of {}", adapter.name);
            for figure in ["weights_sha256", "epochs", "steps", "test"] {
                assert_eq!(found[figure], expected[figure], "{figure} of {devices} of {}", adapter.name);
            }
        }
    }
}

#[test]
fn a_device_that_is_lost_a_fourth_time_ends_the_training_and_what_was_good_is_kept() {
    if !has_faults() {
        return;
    }
    for adapter in adapters() {
        let folder = tempfile::tempdir().unwrap();
        let faults = [("NNOPTC_FAULT", "lose 40 60 80 100")];
        let output = run(folder.path(), &adapter.index.to_string(), &faults);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(3), "{said}");
        assert!(said.contains(&format!("error: the device `{}` was lost: ", adapter.name)), "{said}");
        assert!(kept_epochs(folder.path()) >= 1, "{said}");
    }
}

#[test]
fn an_adapter_that_computes_wrongly_is_refused_with_the_part_that_is_wrong() {
    if !has_faults() {
        return;
    }
    for adapter in adapters() {
        let folder = tempfile::tempdir().unwrap();
        let index = adapter.index.to_string();
        let digits = repository("examples/digits.nnopt");
        let run = |part: &str, mixed: bool| {
            let precision = format!("train.precision={}", if mixed { "mixed" } else { "f32" });
            let arguments = ["run", digits.to_str().unwrap(), "-q", "--set", "train.epochs=1", "--set", &precision];
            // What the cache remembers would be used in its stead.
            std::fs::remove_dir_all(folder.path().join("cache")).unwrap_or_default();
            let fault = format!("wrong {part}");
            nnoptc(folder.path(), &[&arguments[..], &["--device", &index]].concat(), &[("NNOPTC_FAULT", &fault)])
        };
        let native = adapter.features.contains(&"shader-f16");
        let always =
            ["long loops", "infinity and NaN by their bits", "ReLU of NaN", "barriers", "random numbers", "a product"];
        let halves = ["atomics", "16-bit storage in words"];
        for part in always.into_iter().chain(halves) {
            let output = run(part, halves.contains(&part));
            let said = text(&output.stderr);
            if halves.contains(&part) && native {
                // It is not needed here.
                assert_eq!(output.status.code(), Some(0), "{part}: {said}");
            } else {
                assert_eq!(output.status.code(), Some(3), "{part}: {said}");
                let begin =
                    format!("error: the device `{}` failed: its driver computes wrongly ({part}: ", adapter.name);
                assert!(said.starts_with(&begin), "{said}");
                assert!(said.contains("); update the driver or use `devices = cpu`"), "{said}");
            }
        }
        if native {
            // Then they are stored in words.
            let output = run("16-bit storage", true);
            assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        }
        let output = nnoptc(folder.path(), &["devices", "--check"], &[("NNOPTC_FAULT", "wrong barriers")]);
        assert_eq!(output.status.code(), Some(3));
        let line = text(&output.stdout).lines().find(|line| line.starts_with(&index)).unwrap();
        assert!(line.contains("unusable: barriers: found ") && line.contains(" is right"), "{line}");
    }
}

#[test]
fn the_second_start_takes_pipelines_and_self_test_from_the_cache() {
    if !has_faults() {
        return;
    }
    for adapter in adapters() {
        let folder = tempfile::tempdir().unwrap();
        let cache = folder.path().join("cache/nnoptc");
        let index = adapter.index.to_string();
        let run = |example: &str, fault: &[(&str, &str)]| {
            let example = repository(example);
            let arguments = ["run", example.to_str().unwrap(), "-q", "--set", "train.epochs=1", "--device", &index];
            nnoptc(folder.path(), &arguments, fault).status.code()
        };
        let file = |kind: &str| {
            let entries = std::fs::read_dir(&cache).unwrap().map(|entry| entry.unwrap().path());
            let found: Vec<_> = entries.filter(|path| path.to_str().unwrap().contains(kind)).collect();
            assert_eq!(found.len(), 1, "{found:?}");
            found[0].clone()
        };
        assert_eq!(run("examples/iris.nnopt", &[]), Some(0));
        // `devices --check` remembers other adapters too.
        let has_pipelines = adapter.features.contains(&"pipeline-cache");
        let (checks, pipelines) = (file("checks"), has_pipelines.then(|| file("pipelines")));
        // A test that would fail now is not made again; it is once what was remembered is damaged, or asked for.
        let wrong = [("NNOPTC_FAULT", "wrong barriers")];
        assert_eq!(run("examples/iris.nnopt", &wrong), Some(0), "{}", adapter.name);
        let output = nnoptc(folder.path(), &["devices", "--check"], &wrong);
        assert_eq!(output.status.code(), Some(3), "{}", text(&output.stdout));
        let mut remembered = std::fs::read(&checks).unwrap();
        remembered[40] ^= 1;
        std::fs::write(&checks, &remembered).unwrap();
        assert_eq!(run("examples/iris.nnopt", &wrong), Some(3), "{}", adapter.name);
        assert_eq!(run("examples/iris.nnopt", &[]), Some(0));
        let Some(pipelines) = pipelines else { continue };
        // Pipelines of another training come to those that were read, which stay.
        let size = || std::fs::metadata(&pipelines).unwrap().len();
        let first = size();
        assert_eq!(run("examples/digits.nnopt", &[]), Some(0));
        let both = size();
        std::fs::remove_file(&pipelines).unwrap();
        assert_eq!(run("examples/digits.nnopt", &[]), Some(0));
        let second = size();
        let grows = first > 1000;
        assert!(!grows || both > second, "{}: {first}, {second} and together {both} bytes", adapter.name);
    }
}

#[test]
fn a_wrong_patience_is_an_error_that_says_what_is_right() {
    let folder = tempfile::tempdir().unwrap();
    for adapter in adapters() {
        let output = run(folder.path(), &adapter.index.to_string(), &[("NNOPTC_PATIENCE", "soon")]);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(3), "{said}");
        assert!(
            said.contains("`NNOPTC_PATIENCE` is `soon`, expected the seconds to wait for a piece of work"),
            "{said}"
        );
    }
}
