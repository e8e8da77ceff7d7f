//! The program as it is used: exit codes, streams, texts.

use std::path::Path;
use std::process::{Command, Output, Stdio};

pub fn nnoptc(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_nnoptc"));
    command.current_dir(folder).args(arguments).stdin(Stdio::null());
    for name in ["NO_COLOR", "CLICOLOR", "CLICOLOR_FORCE"] {
        command.env_remove(name);
    }
    command.output().unwrap()
}

pub fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

/// Runs in an empty folder and compares everything.
#[track_caller]
fn check_exactly(arguments: &[&str], code: i32, stdout: &str, stderr: &str) {
    let folder = tempfile::tempdir().unwrap();
    let output = nnoptc(folder.path(), arguments);
    assert_eq!((text(&output.stdout), text(&output.stderr)), (stdout, stderr));
    assert_eq!(output.status.code(), Some(code));
}

#[test]
fn usage_errors_exit_with_2() {
    for arguments in [
        &["nosuch"][..],
        &["check"],
        &["run"],
        &["run", "a.nnopt", "--threads", "0"],
        &["emit", "a.nnopt", "--stage", "nosuch"],
        &["--message-format", "xml", "devices"],
        &["check", "a.nnopt", "-q", "-v"],
    ] {
        let folder = tempfile::tempdir().unwrap();
        let output = nnoptc(folder.path(), arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(output.stdout.is_empty() && text(&output.stderr).starts_with("error: "), "{arguments:?}");
    }
}

#[test]
fn a_misspelt_command_is_recognized() {
    let stderr = "error: unrecognized subcommand 'chek'\n\n  tip: a similar subcommand exists: 'check'\n\n\
                  Usage: nnoptc [OPTIONS] <COMMAND>\n\nFor more information, try '--help'.\n";
    check_exactly(&["chek", "a.nnopt"], 2, "", stderr);
}

#[test]
fn help_and_version_are_data() {
    check_exactly(&["--version"], 0, concat!("nnoptc ", env!("CARGO_PKG_VERSION"), "\n"), "");
    let folder = tempfile::tempdir().unwrap();
    let output = nnoptc(folder.path(), &["--help"]);
    let help = text(&output.stdout);
    for command in ["check", "run", "eval", "plan", "emit", "devices", "fmt", "explain", "new"] {
        assert!(help.contains(&format!("\n  {command} ")), "{help}");
    }
    assert!(help.contains("Exit codes: 0 done; 1 diagnostics") && output.status.success(), "{help}");
}

#[test]
fn a_missing_file_is_the_worlds_fault() {
    let folder = tempfile::tempdir().unwrap();
    for command in ["check", "run", "plan"] {
        let output = nnoptc(folder.path(), &[command, "nosuch.nnopt"]);
        assert_eq!(output.status.code(), Some(3), "{command}");
        assert!(text(&output.stderr).starts_with("error: could not read `nosuch.nnopt`"), "{}", text(&output.stderr));
    }
    assert!(!folder.path().join("runs").exists());
}

#[test]
fn codes_are_explained() {
    let folder = tempfile::tempdir().unwrap();
    let output = nnoptc(folder.path(), &["explain", "e0301"]);
    assert!(text(&output.stdout).starts_with("# E0301: A shape that does not fit\n"), "{}", text(&output.stdout));
    assert!(output.stderr.is_empty() && output.status.success());
}

#[test]
fn items_are_explained() {
    let folder = tempfile::tempdir().unwrap();
    let output = nnoptc(folder.path(), &["explain", "linear"]);
    assert!(
        text(&output.stdout).starts_with("# linear (layer)\n\n```nnopt\nlinear(units, "),
        "{}",
        text(&output.stdout)
    );
}

#[test]
fn without_a_topic_all_are_listed() {
    let folder = tempfile::tempdir().unwrap();
    let output = nnoptc(folder.path(), &["explain"]);
    let list = text(&output.stdout);
    for line in ["sources:\n", "\nlayers:\n", "\nlosses:\n", "\noptimizers:\n", "\ncodes:\n", "  E0301 "] {
        assert!(list.contains(line), "{line} in {list}");
    }
}

#[test]
fn unknown_topics_get_a_suggestion() {
    check_exactly(
        &["explain", "linaer"],
        2,
        "",
        "error: nothing is known of `linaer`\n  help: a similar topic is `linear`\n",
    );
    check_exactly(
        &["explain", "zzz"],
        2,
        "",
        "error: nothing is known of `zzz`\n  help: `nnoptc explain` lists all codes and items\n",
    );
}

#[test]
fn a_new_pipeline_has_no_mistakes_and_is_not_overwritten() {
    let folder = tempfile::tempdir().unwrap();
    let run = |arguments: &[&str]| nnoptc(folder.path(), arguments);
    let output = run(&["new", "first"]);
    let said = "wrote first.nnopt and first.csv\ntrain it with `nnoptc run first.nnopt`\n";
    assert_eq!((text(&output.stdout), text(&output.stderr)), ("", said));

    let output = run(&["check", "first.nnopt"]);
    assert_eq!(text(&output.stderr), "first.nnopt: no mistakes found\n");
    assert_eq!(output.status.code(), Some(0));

    let before = std::fs::read(folder.path().join("first.nnopt")).unwrap();
    let output = run(&["new", "first.nnopt"]);
    let said = "error: `first.nnopt` exists already\n  help: choose another name\n";
    assert_eq!((text(&output.stderr), output.status.code()), (said, Some(3)));
    assert_eq!(std::fs::read(folder.path().join("first.nnopt")).unwrap(), before);
}

#[test]
fn diagnostics_exit_with_1_and_go_where_they_belong() {
    let folder = tempfile::tempdir().unwrap();
    let run = |arguments: &[&str]| nnoptc(folder.path(), arguments);
    run(&["new", "a"]);
    let arguments = ["check", "a.nnopt", "--set", "train.epoch=3"];

    let output = run(&[&arguments[..], &["--message-format", "short"]].concat());
    assert!(output.stdout.is_empty() && output.status.code() == Some(1));
    assert_eq!(text(&output.stderr), "--set:1:1: error[E0203]: `train` has no setting `epoch`\n");

    let output = run(&[&arguments[..], &["--message-format", "json"]].concat());
    assert!(output.stderr.is_empty() && output.status.code() == Some(1));
    let object: serde_json::Value = serde_json::from_str(text(&output.stdout)).unwrap();
    assert_eq!(object["code"], "E0203");

    let output = run(&[&arguments[..], &["--color", "always"]].concat());
    assert!(text(&output.stderr).contains('\x1b'));
    let output = run(&arguments);
    assert!(!text(&output.stderr).contains('\x1b'));
}

/// A pipeline with something safe to mend, a warning and a piece of advice.
const ODD: &str = "data { train: csv(\"first.csv\", target = label); normalize = auto }
model { linear(8) -> batch_norm -> relu => linear(classes) }
loss = cross_entropy
optimizer = adam(lr = 10)
train { epochs = 1; batch = 32 }
";

#[test]
fn fixes_are_written_and_what_is_left_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("odd.nnopt");
    let run = |arguments: &[&str]| nnoptc(folder.path(), arguments);
    run(&["new", "first"]);
    std::fs::write(&path, ODD).unwrap();
    let output = run(&["check", "odd.nnopt", "--message-format", "short"]);
    assert_eq!(text(&output.stderr).matches("error[").count(), 2, "{}", text(&output.stderr));
    assert_eq!(std::fs::read_to_string(&path).unwrap(), ODD, "without --fix nothing is written");

    let arguments = ["check", "odd.nnopt", "--fix", "--message-format", "short"];
    let output = run(&arguments);
    // The first two lay bare the third.
    let mended = ODD.replace("train:", "train =").replace("=>", "->").replace("linear(8)", "linear(8, bias = false)");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), mended);
    let said = "mended 3 mistakes in odd.nnopt\n\
                odd.nnopt:4:23: warning[W0305]: a learning rate of 10 is very high for `adam`\n";
    assert_eq!((text(&output.stderr), output.status.code()), (said, Some(0)));
    let names: Vec<_> = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names.len(), 3, "no file is left beside it: {names:?}");

    // What is mended stays as it is.
    let before = std::fs::metadata(&path).unwrap().modified().unwrap();
    let output = run(&arguments);
    assert!(!text(&output.stderr).contains("mended"));
    assert_eq!(std::fs::metadata(&path).unwrap().modified().unwrap(), before);
}

#[test]
fn warnings_fail_only_where_they_are_denied() {
    let folder = tempfile::tempdir().unwrap();
    let run = |arguments: &[&str]| nnoptc(folder.path(), arguments).status.code();
    nnoptc(folder.path(), &["new", "first"]);
    let rate = ["check", "first.nnopt", "--set", "optimizer.lr=10"];
    assert_eq!(run(&rate), Some(0));
    assert_eq!(run(&[&rate[..], &["--deny", "warnings"]].concat()), Some(1));
    assert_eq!(run(&["check", "first.nnopt", "--deny", "warnings"]), Some(0));
    // Advice fails nothing, and only `check` gives it.
    let source = std::fs::read_to_string(folder.path().join("first.nnopt")).unwrap();
    let source = source.replacen("linear(32) -> relu", "linear(32) -> batch_norm -> relu", 1);
    std::fs::write(folder.path().join("first.nnopt"), source).unwrap();
    assert_eq!(run(&["check", "first.nnopt", "--deny", "warnings"]), Some(0));
    assert!(text(&nnoptc(folder.path(), &["check", "first.nnopt"]).stderr).contains("advice[W0201]"));
    assert!(!text(&nnoptc(folder.path(), &["plan", "first.nnopt"]).stderr).contains("advice"));
}

#[test]
fn several_files_are_one_sarif_log() {
    let folder = tempfile::tempdir().unwrap();
    nnoptc(folder.path(), &["new", "first"]);
    std::fs::write(folder.path().join("odd.nnopt"), ODD).unwrap();
    let output =
        nnoptc(folder.path(), &["check", "first.nnopt", "odd.nnopt", "nosuch.nnopt", "--message-format", "sarif"]);
    assert_eq!(output.status.code(), Some(3));
    let log: serde_json::Value = serde_json::from_str(text(&output.stdout)).unwrap();
    let results = log["runs"][0]["results"].as_array().unwrap();
    let rules: Vec<&str> = results.iter().map(|result| result["ruleId"].as_str().unwrap()).collect();
    assert_eq!(rules, ["E0102", "E0117"]);
    assert!(text(&output.stderr).contains("could not read `nosuch.nnopt`"), "{}", text(&output.stderr));

    let output = nnoptc(folder.path(), &["check", "odd.nnopt", "--message-format", "github"]);
    let lines: Vec<&str> = text(&output.stdout).lines().collect();
    assert_eq!(lines.len(), 2);
    assert!(lines[0].starts_with("::error file=odd.nnopt,line=1,endLine=1,col=13,"), "{}", lines[0]);
}

#[test]
fn lints_are_explained_by_code_and_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let page = |topic: &str| text(&nnoptc(folder.path(), &["explain", topic]).stdout).to_owned();
    assert!(page("w0201").starts_with("# W0201: `bias_before_norm`: A bias before batch normalization\n"));
    assert_eq!(page("bias_before_norm"), page("W0201"));
    check_exactly(
        &["explain", "bias_before_nrom"],
        2,
        "",
        "error: nothing is known of `bias_before_nrom`\n  help: a similar topic is `bias_before_norm`\n",
    );
}

#[test]
fn pipelines_are_formatted_checked_and_compared() {
    let folder = tempfile::tempdir().unwrap();
    let run = |arguments: &[&str]| nnoptc(folder.path(), arguments);
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    let read = |name: &str| std::fs::read_to_string(folder.path().join(name)).unwrap();
    let untidy = "loss=mse # c\n\n\n\nmodel{a}\n";
    let tidy = "loss = mse  # c\n\nmodel { a }\n";
    write("a.nnopt", untidy);
    write("b.nnopt", tidy);
    write("c.nnopt", "model {");

    let output = run(&["fmt", "a.nnopt", "b.nnopt", "--check"]);
    let said = "a.nnopt: not in canonical style\n1 of 2 files would be formatted\n";
    assert_eq!((text(&output.stdout), text(&output.stderr), output.status.code()), ("", said, Some(1)));

    let output = run(&["fmt", "a.nnopt", "b.nnopt", "--diff"]);
    let difference = "--- a.nnopt\n+++ a.nnopt\n@@ -1,5 +1,3 @@\n-loss=mse # c\n+loss = mse  # c\n \n-\n-\n-model{a}\n+model { a }\n";
    assert_eq!((text(&output.stdout), text(&output.stderr), output.status.code()), (difference, "", Some(1)));
    assert_eq!(read("a.nnopt"), untidy);

    // A file with mistakes is shown and left alone; the others are formatted.
    let output = run(&["fmt", "c.nnopt", "a.nnopt", "--message-format", "short"]);
    let said = "c.nnopt:1:8: error[E0108]: expected `}`, found the end of the file\n1 of 2 files formatted\n";
    assert_eq!((text(&output.stdout), text(&output.stderr), output.status.code()), ("", said, Some(1)));
    assert_eq!((read("a.nnopt").as_str(), read("c.nnopt").as_str()), (tidy, "model {"));
    assert_eq!(run(&["fmt", "a.nnopt", "--check", "-q"]).status.code(), Some(0));
    assert_eq!(run(&["fmt", "nosuch.nnopt"]).status.code(), Some(3));
}

#[test]
fn stdin_is_formatted_to_stdout() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_nnoptc"))
        .args(["fmt", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), b"loss=mse").unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!((text(&output.stdout), text(&output.stderr), output.status.code()), ("loss = mse\n", "", Some(0)));
}

#[test]
fn devices_begin_with_the_cpu() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_nnoptc"));
    // No driver at all: the list has the native executor, and says how to get more.
    let output =
        command.arg("devices").env("VK_ICD_FILENAMES", "").env("VK_DRIVER_FILES", folder.path()).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let mut lines = text(&output.stdout).lines();
    assert!(lines.next().is_some_and(|line| line.starts_with("devices =  name")));
    assert!(lines.next().is_some_and(|line| line.starts_with("cpu        native executor, ")));
}

#[test]
fn adapters_are_checked_and_timed() {
    let adapters = crate::harness::adapters();
    let folder = tempfile::tempdir().unwrap();
    let output = nnoptc(folder.path(), &["--message-format", "json", "devices", "--check"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let said: Vec<serde_json::Value> =
        text(&output.stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(said.len(), adapters.len());
    for device in said {
        assert_eq!(device["check"], "ok", "{device}");
        for figure in ["products_per_second", "copied_bytes_per_second"] {
            assert!(device[figure].as_f64().is_some_and(|figure| (1e6..1e15).contains(&figure)), "{device}");
        }
        let sizes = device["subgroup_sizes"].as_array();
        assert_eq!(sizes.is_some(), device["features"].as_array().unwrap().contains(&"subgroups".into()), "{device}");
        assert!(device["cooperative_matrices"].is_array(), "{device}");
    }
}

#[test]
fn a_run_leaves_a_folder_that_can_be_measured() {
    let folder = tempfile::tempdir().unwrap();
    let run = |arguments: &[&str]| nnoptc(folder.path(), arguments);
    run(&["new", "a"]);
    let short = ["run", "a.nnopt", "--set", "train.epochs=2", "--device", "cpu"];
    let output = run(&short);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let figures = text(&output.stdout).to_owned();
    assert!(figures.starts_with("test.loss ") && figures.lines().count() == 2, "{figures}");

    let runs = folder.path().join("runs");
    let read = |path: &str| std::fs::read_to_string(runs.join(path)).unwrap();
    assert_eq!(read("a/pipeline.nnopt"), std::fs::read_to_string(folder.path().join("a.nnopt")).unwrap());
    assert_eq!(read("a/metrics.jsonl").lines().count(), 2);
    let summary: serde_json::Value = serde_json::from_str(&read("a/summary.json")).unwrap();
    assert_eq!(summary["status"], "completed");

    // The weights are measured as they were at the end of the training.
    let output = run(&["eval", "runs/a"]);
    assert_eq!((text(&output.stdout), output.status.code()), (&*figures, Some(0)), "{}", text(&output.stderr));

    // The same of the pipeline's file with a checkpoint.
    let weights = "runs/a/checkpoints/last.safetensors";
    let output = run(&["eval", "a.nnopt", "--weights", weights, "--device", "cpu"]);
    assert_eq!((text(&output.stdout), output.status.code()), (&*figures, Some(0)), "{}", text(&output.stderr));
    let output = run(&["eval", "a.nnopt"]);
    assert_eq!(output.status.code(), Some(2), "{}", text(&output.stderr));
    assert!(text(&output.stderr).starts_with("error: `a.nnopt` is a pipeline, which has no weights\n"));

    // The resolved pipeline is the same program, and the same program gives the same weights.
    let output = run(&["run", "runs/a/resolved.nnopt", "--out", "again", "-q"]);
    assert_eq!((text(&output.stdout), text(&output.stderr)), (&*figures, ""));
    let output = run(&["fmt", "--check", "runs/a/resolved.nnopt"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let again = std::fs::read_to_string(folder.path().join("again/summary.json")).unwrap();
    let again: serde_json::Value = serde_json::from_str(&again).unwrap();
    assert_eq!(again["weights_sha256"], summary["weights_sha256"]);

    // A second run gets a folder of its own; a folder that was named is not overwritten.
    run(&short);
    assert!(runs.join("a-2/summary.json").exists());
    let output = run(&["run", "a.nnopt", "--out", "again"]);
    assert_eq!(output.status.code(), Some(3));
    assert!(text(&output.stderr).starts_with("error: `again` holds a run already\n"), "{}", text(&output.stderr));
}

#[cfg(unix)]
#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let folder = tempfile::tempdir().unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_nnoptc"))
        .arg("explain")
        .current_dir(folder.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), text(&output.stderr)), (Some(0), ""));
}

#[test]
fn a_damaged_cache_is_no_cache() {
    for adapter in crate::harness::adapters() {
        let folder = tempfile::tempdir().unwrap();
        let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/iris.nnopt");
        let train = |name: &str| {
            let out = folder.path().join(name);
            let mut command = Command::new(env!("CARGO_BIN_EXE_nnoptc"));
            // The driver keeps its own cache, which is not what is damaged here.
            if let Some(cache) = std::env::home_dir().map(|home| home.join(".cache")) {
                command.env("MESA_SHADER_CACHE_DIR", cache);
            }
            command.env("XDG_CACHE_HOME", folder.path());
            command.args(["run", example.to_str().unwrap(), "--set", "train.epochs=1", "--out", out.to_str().unwrap()]);
            let output = command.args(["--device", &adapter.index.to_string()]).output().unwrap();
            assert!(output.status.success(), "{}", text(&output.stderr));
            let summary = std::fs::read_to_string(out.join("summary.json")).unwrap();
            let summary: serde_json::Value = serde_json::from_str(&summary).unwrap();
            summary["weights_sha256"].as_str().unwrap().to_owned()
        };
        let weights = train("first");
        let Ok(files) = std::fs::read_dir(folder.path().join("nnoptc")) else {
            eprintln!("the driver of {} keeps no pipelines", adapter.name);
            continue;
        };
        let files: Vec<_> = files.map(|file| file.unwrap().path()).collect();
        for (number, file) in files.iter().enumerate() {
            let whole = std::fs::read(file).unwrap();
            let mut flipped = whole.clone();
            let middle = flipped.len() / 2;
            flipped[middle] ^= 1;
            let damaged = [b"not a cache".to_vec(), Vec::new(), whole[..middle].to_vec(), flipped];
            for (index, bytes) in damaged.into_iter().enumerate() {
                std::fs::write(file, &bytes).unwrap();
                assert_eq!(train(&format!("damaged-{number}-{index}")), weights, "{}", adapter.name);
                assert_ne!(std::fs::read(file).unwrap(), bytes, "a damaged file is replaced");
            }
        }
    }
}
