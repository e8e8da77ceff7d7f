//! What makes the command line comfortable: completions, pages for `man`, templates, and checks after changes.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use serde_json::Value;

use crate::cli::{nnoptc, text};

#[test]
fn every_shell_gets_its_completions() {
    let folder = tempfile::tempdir().unwrap();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let output = nnoptc(folder.path(), &["completions", shell]);
        let script = text(&output.stdout);
        assert!(output.status.success() && output.stderr.is_empty(), "{shell}");
        for word in ["find-lr", "message-format", "checkpoint"] {
            assert!(script.contains(word), "{shell} knows no `{word}`");
        }
    }
    assert_eq!(nnoptc(folder.path(), &["completions", "cmd"]).status.code(), Some(2));
}

#[test]
fn bash_completes_commands_and_values() {
    if Command::new("bash").arg("--version").output().is_err() {
        eprintln!("no bash: its completion is not tried");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let script = nnoptc(folder.path(), &["completions", "bash"]).stdout;
    std::fs::write(folder.path().join("c.bash"), script).unwrap();
    let complete = |words: &str, last: usize| {
        // The shell gives the function the word and the one before it as well.
        let [before, word] = [last - 1, last].map(|at| words.split(' ').nth(at).unwrap());
        let line = format!(
            ". ./c.bash; COMP_WORDS=({words}); COMP_CWORD={last}; _nnoptc nnoptc {word} {before}; echo ${{COMPREPLY[@]}}"
        );
        let output = Command::new("bash").args(["-c", &line]).current_dir(folder.path()).output().unwrap();
        text(&output.stdout).trim().to_owned()
    };
    assert_eq!(complete("nnoptc fin", 1), "find-lr");
    assert_eq!(complete("nnoptc emit a.nnopt --stage w", 4), "wgsl");
    assert_eq!(complete("nnoptc new a --template im", 4), "images");
}

#[test]
fn each_command_has_a_page() {
    let folder = tempfile::tempdir().unwrap();
    let output = nnoptc(folder.path(), &["man", "pages"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let help = nnoptc(folder.path(), &["--help"]);
    let commands = text(&help.stdout).lines().skip_while(|line| *line != "Commands:").skip(1);
    let commands: Vec<&str> = commands.map_while(|line| line.split_whitespace().next()).collect();
    assert!(commands.len() > 12, "{commands:?}");
    for command in &commands {
        let page = std::fs::read_to_string(folder.path().join(format!("pages/nnoptc-{command}.1"))).unwrap();
        assert!(
            page.contains(".SH NAME\n") && page.contains(&format!("nnoptc {command}").replace('-', "\\-")),
            "{page}"
        );
    }
    let page = std::fs::read_to_string(folder.path().join("pages/nnoptc.1")).unwrap();
    assert!(page.contains("nnoptc\\-find\\-lr(1)"), "{page}");
    assert_eq!(std::fs::read_dir(folder.path().join("pages")).unwrap().count(), commands.len() + 1);
}

#[test]
fn templates_have_no_mistakes_and_learn() {
    for (template, data, line) in [
        ("classes", "a.csv", "test.accuracy "),
        ("regression", "a.csv", "test.mae "),
        ("images", "a/circle/00.png", "test.accuracy "),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let run = |arguments: &[&str]| nnoptc(folder.path(), arguments);
        let output = run(&["new", "a", "--template", template]);
        assert!(output.status.success() && folder.path().join(data).exists(), "{}", text(&output.stderr));
        assert_eq!(text(&run(&["check", "a.nnopt"]).stderr), "a.nnopt: no mistakes found\n", "{template}");
        assert!(run(&["fmt", "--check", "a.nnopt"]).status.success(), "{template}");
        let output = run(&["run", "a.nnopt", "--device", "cpu", "-q"]);
        let figures = text(&output.stdout);
        let figure = figures.lines().find_map(|found| found.strip_prefix(line)).unwrap_or_else(|| panic!("{figures}"));
        let figure: f64 = figure.parse().unwrap();
        // The powers of the windmill lie between -1 and 10.
        let good = if template == "regression" { figure < 0.5 } else { figure > 0.9 };
        assert!(good, "{template}: {figures}");
    }
}

/// A watch whose end ends the program.
struct Watching {
    child: Child,
    lines: Receiver<String>,
}

impl Watching {
    fn new(folder: &Path) -> Watching {
        let mut child = Command::new(env!("CARGO_BIN_EXE_nnoptc"))
            .args(["--message-format", "json", "watch", "p.nnopt"])
            .current_dir(folder)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let (sender, lines) = channel();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        std::thread::spawn(move || stdout.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        Watching { child, lines }
    }

    /// The codes of the next check, once it is done.
    fn next(&self) -> Vec<String> {
        let mut codes = Vec::new();
        loop {
            let line = self.lines.recv_timeout(Duration::from_secs(30)).unwrap();
            let object: Value = serde_json::from_str(&line).unwrap();
            if object["event"] == "checked" {
                return codes;
            }
            codes.push(object["code"].as_str().unwrap().to_owned());
        }
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_watch_checks_again_after_each_change() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, content: &str| std::fs::write(folder.path().join(name), content).unwrap();
    let table = |columns: &str| format!("{columns}\n") + &"1,2,0\n3,4,1\n".repeat(20);
    let pipeline = "nnopt 1\ninclude \"o.nnopt\"\ndata {\n    train = csv(\"d.csv\", target = y)\n    normalize = auto\n}\n\
                    model { linear(4) -> relu -> linear(classes) }\nloss = cross_entropy\n";
    write("p.nnopt", pipeline);
    write("o.nnopt", "optimizer = adam\n");
    write("d.csv", &table("a,b,y"));
    let mut watching = Watching::new(folder.path());
    assert_eq!(watching.next(), [""; 0]);
    // The pipeline, replaced as editors do it.
    write("new", &pipeline.replace("relu", "rleu"));
    std::fs::rename(folder.path().join("new"), folder.path().join("p.nnopt")).unwrap();
    assert_eq!(watching.next(), ["E0202"]);
    write("p.nnopt", pipeline);
    assert_eq!(watching.next(), [""; 0]);
    // A file that it includes, then its data.
    write("o.nnopt", "optimizer = adma\n");
    assert_eq!(watching.next(), ["E0202"]);
    write("o.nnopt", "optimizer = adam\n");
    assert_eq!(watching.next(), [""; 0]);
    write("d.csv", &table("a,b,z"));
    assert_eq!(watching.next(), ["E0401"]);
    // What has nothing to do with it is no reason.
    write("other.txt", "");
    assert!(watching.lines.recv_timeout(Duration::from_millis(600)).is_err());
    #[cfg(unix)]
    {
        // Ctrl-C ends it.
        let id = watching.child.id().to_string();
        assert!(Command::new("kill").args(["-INT", &id]).status().unwrap().success());
        assert_eq!(watching.child.wait().unwrap().code(), Some(130));
    }
}
