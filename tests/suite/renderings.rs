//! One sample of every diagnostic, in every rendering, against frozen texts and schemas.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;

use nnoptc::check::advice::{Record, advise};
use nnoptc::check::{Compilation, Request, compile};
use nnoptc::data::load::load;
use nnoptc::diagnostic::Diagnostic;
use nnoptc::explain::PAGES;
use nnoptc::formats::Memory;
use nnoptc::formats::files::{Disk, Files};
use nnoptc::formats::run_folder::{COMMAND, METRICS, PIPELINE};
use nnoptc::plan::prepare::prepare;
use nnoptc::report::diagnostics::{Format, render};
use nnoptc::train::device;
use nnoptc::train::run::run;
use serde_json::{Value, json};

use crate::diagnostics::{GOOD, files, with};
use crate::lsp::Client;
use crate::training::Silent;

/// The code that a training ends with.
const TRAINED: &str = "E0408";

/// A pipeline that shows a code, with its files and overrides.
struct Sample {
    code: &'static str,
    source: String,
    files: Memory,
    sets: Vec<String>,
    /// The figures of a run that advice is about: `metrics.jsonl`.
    figures: Option<String>,
}

fn table(header: &str, rows: usize, line: impl Fn(usize) -> String) -> String {
    std::iter::once(header.to_owned()).chain((0..rows).map(line)).collect::<Vec<_>>().join("\n")
}

/// The good pipeline over a table, with parts replaced.
fn tabular(file: &str, changes: &[(&str, &str)]) -> String {
    let base = format!(
        "data {{\n    train     = {file}\n    normalize = auto\n}}\nmodel {{\n    linear(8) -> relu\n    linear(classes)\n}}\n\
         loss      = cross_entropy\noptimizer = adam\ntrain {{\n    epochs = 4\n    batch  = 5\n}}\n"
    );
    changes.iter().fold(base, |text, (from, to)| {
        assert!(text.contains(from), "{from}");
        text.replacen(from, to, 1)
    })
}

fn samples() -> Vec<Sample> {
    let mut data = files();
    data.insert("small.csv", table("a,b,y", 20, |row| format!("{},{},{}", row % 3, row % 5, row % 2)));
    data.insert("large.csv", table("age,price,y", 20, |row| format!("{row},{},{}", 300_000 + 1000 * row, row % 2)));
    data.insert("rare.csv", table("a,y", 44, |row| format!("{},{}", row % 5, usize::from(row % 22 == 0))));
    data.insert("odd.csv", table("a,b,c,d,y", 21, |row| format!("{},1,0,{},{}", row % 3, row % 2, row % 2)));
    data.insert("deep.nnopt", "include \"deep.nnopt\"\n");
    for kind in ["images-idx3", "labels-idx1"] {
        let bytes = data.read(Path::new(&format!("train-{kind}-ubyte")));
        data.insert(format!("mnist-{kind}-ubyte"), bytes.unwrap().to_vec());
    }
    let mut samples = Vec::new();
    let mut add = |code, source: String| {
        samples.push(Sample { code, source, files: data.clone(), sets: Vec::new(), figures: None });
    };
    let good = |from: &str, to: &str| with(from, to);
    let model = "conv2d(4, kernel = 3) -> relu";
    // Syntax.
    add("E0101", good("    flatten", "    @\n    flatten"));
    add("E0102", good("loss      =", "loss:"));
    add("E0103", good("epochs = 2", "epochs 2"));
    add("E0104", good("epochs = 2", "epochs ="));
    add("E0105", good("idx(\"train\")", "idx(\"train)"));
    add("E0106", good("idx(\"train\")", "idx('train')"));
    add("E0107", good("conv2d(4, kernel", "conv2d(4 kernel"));
    add("E0108", good("kernel = 3)", "kernel = 3"));
    add("E0109", good("flatten", "flatten)"));
    add("E0110", good("model {", "model"));
    add("E0111", good("nnopt 1", "nnopt 1\nlet = 3"));
    add("E0112", good("epochs = 2", "epochs = 2\n    early_stop = patience(3 epoks)"));
    add("E0113", good("epochs = 2", "epochs = 2.0.1"));
    add("E0114", good("idx(\"train\")", "idx(\"tr\\qain\")"));
    add("E0115", good("flatten\n", "flatten relu\n"));
    add("E0116", good("model {\n", "model {\n    -> relu\n"));
    add("E0117", good("3) -> relu", "3) => relu"));
    add("E0118", good("nnopt 1", "nnopt 1 // version"));
    add("E0119", good("    flatten", "    { flatten }"));
    add("E0120", good("    flatten", "    residul { relu }\n    flatten"));
    add("E0121", good("epochs = 2", "drop-last = true"));
    add("E0122", good("    flatten", "    branch { { relu } { relu } }\n    flatten"));
    add("E0123", good("nnopt 1", "nnopt"));
    add("E0124", good("conv2d(4, kernel", "conv2d(4,, kernel"));
    add("E0198", "a = 1\n".repeat(1 << 18));
    add("E0199", format!("x = {}1", "(".repeat(129)));
    // Names, arguments, files.
    add("E0201", good("model {", "modle {"));
    add("E0202", good("flatten", "flaten"));
    add("E0203", good("kernel = 3", "kernal = 3"));
    add("E0204", good("conv2d(4, kernel = 3)", "conv2d(4, kernel = 3, filters = 4)"));
    add("E0205", good("linear(classes)", "softmax(classes) -> linear(classes)"));
    add("E0206", good("conv2d(4, kernel = 3)", "conv2d(4)"));
    add("E0207", good("conv2d(4", "conv2d(0"));
    add("E0208", good("epochs = 2", "epochs = 2\n    epochs = 3"));
    add("E0209", good("loss      = cross_entropy\n", ""));
    add("E0210", good("batch  = 4", "batch  = 4 * bach"));
    add("E0211", good("nnopt 1", "nnopt 1\nlet a = a + 1").replace("batch  = 4", "batch  = a"));
    add("E0212", good("nnopt 1", "nnopt 1\ninclude \"deep.nnopt\""));
    add("E0213", good("nnopt 1", "nnopt 1\nprofile quick { optimiser.lr = 1 }"));
    add("E0214", good("nnopt 1", "nnopt 1\nblock a() { a }").replace("flatten", "a -> flatten"));
    add("E0215", good("flatten", "add(stem) -> flatten"));
    add("E0216", good("nnopt 1", "nnopt 2"));
    add("E0217", good("nnopt 1", "nnopt 1\nblock a(n) { linear(n) }").replace("linear(classes)", "a()"));
    add("E0218", good("    flatten", "    branch { { relu } { relu } } join mean\n    flatten"));
    add("E0219", tabular("csv(\"small.csv\", target = y, task = regression)", &[("cross_entropy", "mse")]));
    add("E0220", good("nnopt 1", "nnopt 1\nallow(no_warmpu)"));
    // Shapes, losses, metrics, optimizers.
    add("E0301", good("    flatten\n", "    flatten\n    conv2d(8, kernel = 3)\n"));
    add("E0302", good("-> relu", "-> relu\n    residual { conv2d(5, kernel = 3, padding = 1) }"));
    add("E0303", good("linear(classes)", "linear(classes) -> softmax"));
    add("E0304", good("optimizer", "metrics   = mae\noptimizer"));
    add("E0305", good("adam(lr = 1e-3)", "sgd(nesterov = true)"));
    add("E0306", good("epochs = 2", "epochs = 2\n    balance = measured\n    reproducible = shards(2)"));
    let synchronized = good("conv2d(4, kernel = 3)", "conv2d(4, kernel = 3) -> batch_norm(sync = true)");
    add("E0307", synchronized.replace("epochs = 2", "epochs = 2\n    reproducible = shards(2)"));
    // Data and training.
    add("E0401", good("idx(\"train\")", "idx(\"trian\")"));
    add("E0402", good("test      = idx(\"test\")", "test = split(train, 12)"));
    add("E0403", good("batch  = 4", "batch  = 64"));
    add("E0404", good("linear(classes)", "batch_norm -> linear(classes)").replace("batch  = 4", "batch = 11"));
    add("E0405", good("epochs = 2", "epochs = 2\n    early_stop = patience(3 epochs, on = val.accuracy)"));
    add("E0406", good("batch  = 4", "batch  = 4\n    accumulate = 3"));
    add("E0407", good("idx(\"test\")", "csv(\"small.csv\", target = y)"));
    // What only a training finds: a layer whose results are larger than 16 bits hold.
    add(
        TRAINED,
        tabular(
            "csv(\"small.csv\", target = y)",
            &[
                ("epochs = 4", "precision = mixed\n    devices = cpu\n    epochs = 10"),
                (
                    "linear(8) -> relu",
                    "linear(8, init = normal(std = 3000)) -> relu\n    linear(8, init = normal(std = 3000)) -> relu",
                ),
            ],
        ),
    );
    // Lints.
    add("W0101", good("    normalize = auto\n", ""));
    let raw = ("    normalize = auto\n", "");
    add("W0102", tabular("csv(\"large.csv\", target = y)", &[raw, ("relu", "sigmoid")]));
    add("W0103", good("normalize = auto", "normalize = given(mean = 33.3, std = 78.6)"));
    add("W0104", good("idx(\"train\")", "idx(\"mnist\")").replace("model {", "augment { horizontal_flip }\nmodel {"));
    add("W0105", tabular("csv(\"rare.csv\", target = y)", &[]));
    add("W0201", good(model, "conv2d(4, kernel = 3) -> batch_norm -> relu"));
    add("W0202", good(model, "conv2d(4, kernel = 3) -> dropout(0.2) -> batch_norm -> relu"));
    add(
        "W0203",
        tabular("csv(\"small.csv\", target = y)", &[("linear(8) -> relu", "repeat 12 { linear(8) -> relu }")]),
    );
    add(
        "W0204",
        tabular(
            "csv(\"odd.csv\", target = y, shape = [1, 2, 2])",
            &[("linear(8) -> relu", "conv2d(2, kernel = 1, bias = false) -> batch_norm -> flatten")],
        ),
    );
    add(
        "W0301",
        tabular(
            "csv(\"odd.csv\", target = [c, d], task = regression)",
            &[("linear(classes)", "linear(2) -> softmax"), ("cross_entropy", "mse")],
        ),
    );
    add("W0302", good("lr = 1e-3", "weight_decay = 1e-2"));
    add("W0303", good("optimizer = adam(lr = 1e-3)", "regularization = l2(1e-4)\noptimizer = adamw"));
    add("W0304", good("adam(lr = 1e-3)", "sgd(weight_decay = 1e-4)").replace("3) -> relu", "3) -> relu -> batch_norm"));
    add("W0305", good("lr = 1e-3", "lr = 10"));
    data.insert("many-images-idx3-ubyte", crate::diagnostics::idx(600, 3).0);
    data.insert("many-labels-idx1-ubyte", crate::diagnostics::idx(600, 3).1);
    samples.push(Sample {
        code: "W0306",
        source: good("idx(\"train\")", "idx(\"many\")")
            .replace("lr = 1e-3", "lr = 0.01")
            .replace("batch  = 4", "batch  = 512"),
        files: data.clone(),
        sets: Vec::new(),
        figures: None,
    });
    let mut add = |code, source: String| {
        samples.push(Sample { code, source, files: data.clone(), sets: Vec::new(), figures: None });
    };
    let optimizer = "optimizer = adam(lr = 1e-3)";
    add("W0401", good(optimizer, "optimizer = adam(lr = 1e-3)\nschedule  = step(every = 5 epochs)"));
    add("W0402", good(optimizer, "optimizer = adam(lr = 1e-3)\nschedule  = cosine(over = 5 epochs)"));
    add("W0403", good(optimizer, "optimizer = adam(lr = 1e-3)\nschedule  = cosine(min = 1e-2)"));
    add("W0404", good("epochs = 2", "epochs = 5\n    early_stop = patience(1 epoch)"));
    add(
        "W0405",
        good("test      = idx(\"test\")", "val       = split(train, 2)")
            .replace("epochs = 2", "epochs = 2\n    early_stop = patience(9 epochs)"),
    );
    add("W0501", good("nnopt 1", "nnopt 1\nlet width = 3"));
    add("W0502", good("nnopt 1", "nnopt 1\nblock head() { relu }"));
    add("W0503", good("-> relu", "-> relu -> dropout(0)"));
    add("W0504", good("nnopt 1", "nnopt 1\nallow(no_warmup)"));
    samples.push(Sample {
        code: "E0213",
        source: GOOD.to_owned(),
        files: data.clone(),
        sets: vec!["optimiser.lr=3e-4".to_owned()],
        figures: None,
    });
    // Advice from runs.
    let losses = |losses: &[(f64, f64)]| -> String {
        let line = |(epoch, (train, val)): (usize, &(f64, f64))| {
            format!(
                "{{\"event\":\"epoch\",\"epoch\":{},\"lr\":1e-3,\"train.loss\":{train},\"val.loss\":{val}}}\n",
                epoch + 1
            )
        };
        losses.iter().enumerate().map(line).collect()
    };
    let health = |last: f64, norm: f64, dead: f64| -> String {
        let line = |epoch: usize, first: f64, last: f64| {
            format!(
                "{{\"event\":\"epoch\",\"epoch\":{epoch},\"seconds\":20,\"data_seconds\":{last},\"gradients\":\
                 {{\"model.0.weight\":{first},\"model.3.weight\":1}},\"dead\":{{\"model.1\":{dead}}}}}\n"
            )
        };
        line(1, norm.min(1.0), 0.0) + &line(9, norm, last)
    };
    let mut flat = vec![(2.0, 2.0)];
    flat.extend([(1.0, 1.0); 11]);
    for (code, figures) in [
        ("W0601", losses(&[(1.0, 1.0), (0.5, 0.5), (2.0, 2.0)])),
        ("W0602", losses(&flat)),
        ("W0603", losses(&[(2.0, 1.0), (1.0, 0.5), (0.9, 0.6), (0.8, 0.7), (0.7, 0.8)])),
        ("W0604", health(0.0, 1.0, 0.875)),
        ("W0605", health(0.0, 500.0, 0.0)),
        ("W0606", health(0.0, 1e-7, 0.0)),
        ("W0607", health(12.0, 1.0, 0.0)),
    ] {
        let (source, files) = (GOOD.to_owned(), data.clone());
        samples.push(Sample { code, source, files, sets: Vec::new(), figures: Some(figures) });
    }
    samples
}

fn compiled(sample: &Sample) -> Compilation {
    let files = sample.files.clone().with("a.nnopt", sample.source.as_bytes());
    let request = Request { path: "a.nnopt".into(), sets: sample.sets.clone(), profile: None };
    let mut compilation = compile(&request, &files).unwrap();
    if let Some(figures) = &sample.figures {
        let record = Record::read(figures, None).unwrap();
        let program = compilation.program.as_ref().unwrap();
        compilation.diagnostics.extend(advise(program, &compilation.sources, &record));
    }
    if sample.code == TRAINED {
        let program = compilation.program.as_ref().unwrap();
        let prepared = prepare(program, device::fusion(program));
        let loaded = load(program, &files).unwrap();
        let mut session = device::open_session(program, &prepared, &loaded, Some(1)).unwrap();
        let summary = run(program, &prepared, &loaded, &mut *session, None, &mut Silent).unwrap();
        compilation.diagnostics.extend(summary.diagnostic);
    }
    compilation
}

fn rendered(compilation: &Compilation, format: Format) -> String {
    let mut out = Vec::new();
    render(&compilation.diagnostics, &compilation.sources, format, false, &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

fn schema(path: &str) -> jsonschema::Validator {
    let text = std::fs::read_to_string(crate::training::repository(path)).unwrap();
    jsonschema::options().should_validate_formats(true).build(&serde_json::from_str(&text).unwrap()).unwrap()
}

#[track_caller]
fn check_schema(schema: &jsonschema::Validator, instance: &Value) {
    let errors: Vec<String> =
        schema.iter_errors(instance).map(|error| format!("{}: {error}", error.instance_path())).collect();
    assert!(errors.is_empty(), "{}", errors.join("\n"));
}

#[test]
fn every_code_has_a_sample_that_says_it_and_nothing_else() {
    let samples = samples();
    let mut wrong = String::new();
    for sample in &samples {
        let compilation = compiled(sample);
        let codes: Vec<&str> = compilation.diagnostics.iter().map(|found| found.code.0).collect();
        if codes.is_empty() || codes.iter().any(|code| *code != sample.code) {
            writeln!(wrong, "{} gives {codes:?}", sample.code).unwrap();
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
    let shown: BTreeSet<&str> = samples.iter().map(|sample| sample.code).collect();
    let known: BTreeSet<&str> = PAGES.iter().map(|page| page.code).collect();
    assert_eq!(shown, known);
}

/// The texts are in tests/golden/renderings; `NNOPTC_BLESS=1` writes them anew, to be read before they are kept.
#[test]
fn every_diagnostic_in_every_rendering() {
    let (json, sarif) = (schema("docs/schemas/diagnostic.schema.json"), schema("tests/schemas/sarif.schema.json"));
    let samples = samples();
    for format in Format::ALL {
        let mut out = String::new();
        for sample in &samples {
            let text = rendered(&compiled(sample), format);
            let text = match format {
                Format::Json => {
                    text.lines().for_each(|line| check_schema(&json, &serde_json::from_str(line).unwrap()));
                    text
                }
                Format::Sarif => {
                    let log: Value = serde_json::from_str(&text).unwrap();
                    check_schema(&sarif, &log);
                    // The rules are the pages of `nnoptc explain`.
                    format!("{}\n", log["runs"][0]["results"])
                }
                Format::Human | Format::Short | Format::Github => text,
            };
            writeln!(out, "== {}\n{text}", sample.code).unwrap();
        }
        check_frozen(&format!("{format:?}").to_lowercase(), &out);
    }
}

#[track_caller]
fn check_frozen(name: &str, out: &str) {
    let path = crate::training::repository(&format!("tests/golden/renderings/{name}.txt"));
    if std::env::var_os("NNOPTC_BLESS").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, out).unwrap();
    }
    let wanted = std::fs::read_to_string(&path).unwrap();
    for (found, wanted) in out.split("== ").zip(wanted.split("== ")) {
        assert_eq!(found, wanted);
    }
    assert_eq!(out, wanted);
}

/// A sample and all its files on the disk, with the run that its advice is about.
fn lay(sample: &Sample, folder: &Path) {
    let file = folder.join("a.nnopt");
    for path in sample.files.list(Path::new("")).unwrap() {
        std::fs::write(folder.join(&path), &*sample.files.read(&path).unwrap()).unwrap();
    }
    std::fs::write(&file, &sample.source).unwrap();
    if let Some(figures) = &sample.figures {
        let run = folder.join("runs/a");
        std::fs::create_dir_all(&run).unwrap();
        std::fs::write(run.join(PIPELINE), &sample.source).unwrap();
        std::fs::write(run.join(METRICS), figures).unwrap();
        std::fs::write(run.join(COMMAND), json!({ "file": file, "sets": [], "profile": null }).to_string()).unwrap();
    }
}

/// What an editor shows of a diagnostic: everything but the excerpt.
fn shown(diagnostic: &Diagnostic) -> String {
    let mut text = diagnostic.message.clone();
    let label = Some(&diagnostic.labels[0].text).filter(|label| !label.is_empty());
    label.into_iter().for_each(|label| text += &format!("\n{label}"));
    diagnostic.notes.iter().for_each(|note| text += &format!("\nnote: {note}"));
    diagnostic.help.iter().for_each(|help| text += &format!("\nhelp: {help}"));
    text
}

/// What the language server publishes of every sample, and the actions that it offers for it.
#[test]
fn every_diagnostic_in_an_editor() {
    let root = tempfile::tempdir().unwrap();
    let mut client = Client::start(root.path(), &["utf-16"]);
    let mut out = String::new();
    // Overrides are given to commands, and so is what a training ends with; no editor has them.
    let is_shown = |sample: &Sample| sample.sets.is_empty() && sample.code != TRAINED;
    for (index, sample) in samples().iter().enumerate().filter(|(_, sample)| is_shown(sample)) {
        let folder = root.path().join(index.to_string());
        std::fs::create_dir(&folder).unwrap();
        lay(sample, &folder);

        // What is to be shown once the data has been read, which the server does in the background.
        let request = Request { path: folder.join("a.nnopt"), ..Request::default() };
        let mut compilation = compile(&request, &Disk).unwrap();
        if let Some(figures) = &sample.figures {
            let record = Record::read(figures, None).unwrap();
            let advice = advise(compilation.program.as_ref().unwrap(), &compilation.sources, &record);
            let run = folder.join("runs/a");
            compilation
                .diagnostics
                .extend(advice.into_iter().map(|said| said.note(format!("from the run `{}`", run.display()))));
        }
        let wanted: BTreeSet<String> = compilation.diagnostics.iter().map(shown).collect();

        let address = format!("file://{}/", folder.display());
        client.uri = format!("{address}a.nnopt");
        client.open_silently(&sample.source);
        let mut published: BTreeMap<String, Vec<Value>> = BTreeMap::new();
        let message = |said: &Value| said["message"].as_str().unwrap().to_owned();
        while published.values().flatten().map(message).collect::<BTreeSet<_>>() != wanted {
            let mut params = client.published();
            let uri = params["uri"].as_str().unwrap().to_owned();
            if let Some(file) = uri.strip_prefix(&address) {
                published.insert(file.to_owned(), params["diagnostics"].take().as_array().unwrap().clone());
            }
        }
        let mut text = String::new();
        for (file, said) in &published {
            said.iter().for_each(|said| writeln!(text, "{file} {said}").unwrap());
        }
        let everything = json!({ "start": { "line": 0, "character": 0 }, "end": { "line": u32::MAX, "character": 0 } });
        let document = json!({ "uri": client.uri });
        let params = json!({ "textDocument": document, "range": everything, "context": { "diagnostics": [] } });
        for mut action in client.request("textDocument/codeAction", params).as_array().unwrap().clone() {
            // It stands above.
            action.as_object_mut().unwrap().remove("diagnostics");
            writeln!(text, "action {action}").unwrap();
        }
        client.notify("textDocument/didClose", json!({ "textDocument": document }));
        // Where the samples lie is another place each time.
        let text = text.replace(&address, "file:///").replace(&format!("{}/", folder.display()), "/");
        writeln!(out, "== {}\n{text}", sample.code).unwrap();
    }
    client.end();
    check_frozen("lsp", &out);
}
