//! Wrong pipelines and wrong data, each with the exact text that is said about it.

use std::path::PathBuf;

use nnoptc::check::{Request, compile};
use nnoptc::formats::Memory;
use nnoptc::report::diagnostics::{Format, render};

/// A pipeline without mistakes; cases replace parts of it.
pub const GOOD: &str = r#"nnopt 1
data {
    train     = idx("train")
    test      = idx("test")
    normalize = auto
}
model {
    conv2d(4, kernel = 3) -> relu
    flatten
    linear(classes)
}
loss      = cross_entropy
optimizer = adam(lr = 1e-3)
train {
    epochs = 2
    batch  = 4
}
"#;

/// Images of 6×5 pixels in IDX, with labels that count up to `classes`.
pub fn idx(count: usize, classes: usize) -> (Vec<u8>, Vec<u8>) {
    let size = |n: usize| (n as u32).to_be_bytes();
    let mut images = vec![0, 0, 8, 3];
    images.extend([size(count), size(6), size(5)].concat());
    images.extend((0..count * 30).map(|pixel| pixel as u8));
    let mut labels = vec![0, 0, 8, 1];
    labels.extend(size(count));
    labels.extend((0..count).map(|row| (row % classes) as u8));
    (images, labels)
}

pub fn files() -> Memory {
    let mut files = Memory::new();
    for (stem, count) in [("train", 12), ("test", 6)] {
        let (images, labels) = idx(count, 3);
        files.insert(format!("{stem}-images-idx3-ubyte"), images);
        files.insert(format!("{stem}-labels-idx1-ubyte"), labels);
    }
    files
}

/// What is said about a pipeline, in the short format and with its help.
fn said(source: &str, mut files: Memory, sets: &[&str]) -> String {
    files.insert("a.nnopt", source.as_bytes().to_vec());
    let sets = sets.iter().map(|set| (*set).to_owned()).collect();
    let request = Request { path: PathBuf::from("a.nnopt"), sets, profile: None };
    let compilation = compile(&request, &files).unwrap();
    // Everything said can be rendered.
    for format in [Format::Human, Format::Json] {
        render(&compilation.diagnostics, &compilation.sources, format, false, &mut Vec::new()).unwrap();
    }
    let mut text = Vec::new();
    render(&compilation.diagnostics, &compilation.sources, Format::Short, false, &mut text).unwrap();
    let mut lines: Vec<String> = String::from_utf8(text).unwrap().lines().map(str::to_owned).collect();
    for diagnostic in &compilation.diagnostics {
        lines.extend(diagnostic.notes.iter().map(|note| format!("note: {note}")));
        lines.extend(diagnostic.help.iter().map(|help| format!("help: {help}")));
    }
    assert_eq!(compilation.program.is_none(), lines.iter().any(|line| line.contains("error[")));
    lines.join("\n")
}

/// The good pipeline with one part replaced.
pub fn with(from: &str, to: &str) -> String {
    assert!(GOOD.contains(from), "{from}");
    GOOD.replacen(from, to, 1)
}

/// Twelve mistakes in 23 lines: of syntax, names and values, each told once, on its line.
const TWELVE: &str = r#"nnopt 1
allow(no_warmpu)
data {
    train: idx("train")
    test      = split(train, 120%, stratified)
    normalise = auto
}
let width = 16 *
model {
    conv2d(width, kernal = 3) -> relu
    flatten -> linear(0) -> relu
    linear(32 -> batch_nrom
    linear(classes) => relu
}
loss      = cross_entropy(label_smoothing = 10)
optimizer = adam(lr = "fast")
schedule  = step(every = 1 epoch)
metrics   = accuracy
train {
    epochs = 2
    batch  = 4
    seed   = 42
}
"#;

#[test]
fn twelve_mistakes_in_23_lines() {
    assert_eq!(TWELVE.lines().count(), 23);
    let said = said(TWELVE, files(), &[]);
    let lines: Vec<&str> = said.lines().filter_map(|line| line.strip_prefix("a.nnopt:")).collect();
    let expected = [
        "2:7: error[E0220]: there is no lint `no_warmpu`",
        "4:10: error[E0102]: expected `=`, found `:`",
        "5:30: error[E0207]: `size` of `split` is a share such as `10%`, or a number of rows, found `120%`",
        "6:5: error[E0203]: `data` has no setting `normalise`",
        "8:17: error[E0104]: expected a value after `*`, found the end of the line",
        "10:19: error[E0203]: `conv2d` has no argument `kernal`",
        "11:23: error[E0207]: `units` of `linear` is a count, found `0`",
        "12:14: error[E0108]: expected `)`, found `->`",
        "12:18: error[E0202]: `batch_nrom` is not a layer",
        "13:21: error[E0117]: expected `->`, found `=>`",
        "15:45: error[E0207]: `label_smoothing` of `cross_entropy` is a probability from 0 to below 1, such as `0.5` or `10%`, found `10`",
        "16:23: error[E0207]: `lr` of `adam` is a number above 0 or `auto`, found `\"fast\"`",
    ];
    assert_eq!(expected.len(), 12);
    assert_eq!(lines, expected);
}

/// The texts are in tests/golden/diagnostics.txt; `NNOPTC_BLESS=1` writes them anew, to be read before they are kept.
#[test]
fn every_mistake_is_said_in_these_words() {
    let mut out = String::new();
    let mut show = |title: &str, text: String| out.push_str(&format!("== {title}\n{text}\n"));
    show("a good pipeline", said(GOOD, files(), &[]));
    show("unknown layer", said(&with("conv2d(4", "conv2(4"), files(), &[]));
    show("unknown argument", said(&with("kernel = 3", "kernal = 3"), files(), &[]));
    show("missing argument", said(&with("conv2d(4, kernel = 3)", "conv2d(4)"), files(), &[]));
    show("wrong unit", said(&with("batch  = 4", "batch  = 4 epochs"), files(), &[]));
    show("count", said(&with("conv2d(4", "conv2d(0"), files(), &[]));
    show("shape", said(&with("    flatten\n", ""), files(), &[]));
    show("shape2", said(&with("    flatten\n", "    flatten\n    conv2d(8, kernel = 3)\n"), files(), &[]));
    show("classes", said(&with("linear(classes)", "linear(7)"), files(), &[]));
    show("softmax", said(&with("linear(classes)", "linear(classes) -> softmax"), files(), &[]));
    show("kernel", said(&with("kernel = 3", "kernel = 7"), files(), &[]));
    show("missing file", said(&with("idx(\"train\")", "idx(\"trian\")"), files(), &[]));
    show("batch", said(&with("batch  = 4", "batch  = 64"), files(), &[]));
    show("empty split", said(&with("test      = idx(\"test\")", "test = split(train, 1%)"), files(), &[]));
    show("whole split", said(&with("test      = idx(\"test\")", "test = split(train, 12)"), files(), &[]));
    show(
        "monitor",
        said(&with("epochs = 2", "epochs = 2\n    early_stop = patience(3 epochs, on = val.accuracy)"), files(), &[]),
    );
    show("duration", said(&with("epochs = 2", "epochs = 2\n    early_stop = patience(3)"), files(), &[]));
    show("twice", said(&with("epochs = 2", "epochs = 2\n    epochs = 3"), files(), &[]));
    show("section", said(&with("model {", "modle {"), files(), &[]));
    show("setting", said(&with("epochs", "epoch"), files(), &[]));
    show("loss", said(&with("cross_entropy", "cros_entropy"), files(), &[]));
    show("mse", said(&with("cross_entropy", "mse"), files(), &[]));
    show("set", said(GOOD, files(), &["optimizer.lr=fast"]));
    show("set path", said(GOOD, files(), &["optimiser.lr=1"]));
    show("accumulate", said(&with("batch  = 4", "batch = 4\n    accumulate = 3"), files(), &[]));
    show(
        "batch norm",
        said(
            &with("linear(classes)", "batch_norm -> linear(classes)").replace("batch  = 4", "batch = 11"),
            files(),
            &[],
        ),
    );
    // What beginners write, and those who come from other programs.
    for (title, from, to) in [
        ("another name", "linear(classes)", "dense(64) -> linear(classes)"),
        ("another spelling", "relu", "ReLU()"),
        ("size of the input", "linear(classes)", "linear(in_features = 64, out_features = 3)"),
        ("size of the input, unnamed", "linear(classes)", "linear(784, 3)"),
        ("an argument's other name", "adam(lr = 1e-3)", "adam(learning_rate = 1e-3)"),
        ("decimal comma", "lr = 1e-3", "lr = 0,1"),
        ("no parentheses", "conv2d(4, kernel = 3)", "linear 64"),
        ("quotes", "adam(lr = 1e-3)", "\"adam\""),
        ("hyphen", "cross_entropy", "cross-entropy"),
        ("path", "idx(\"train\")", "idx(data/train)"),
        ("similar file", "idx(\"train\")", "csv(\"train-labels-idx1-ubyt\")"),
        ("exponent", "epochs = 2", "epochs = 1e1"),
        ("too many", "batch  = 4", "batch  = 5000000000"),
        ("setting of the optimizer", "loss      =", "lr = 0.1\nloss      ="),
        ("setting of train", "loss      =", "epochs = 3\nloss      ="),
        ("a section as a setting", "model {", "model = {"),
        ("a section with a colon", "train {\n    epochs = 2\n    batch  = 4\n}", "train:\n    steps = 2"),
        ("a similar name", "model {", "let hidden = 64\nmodel {\n    relu -> linear(hiden)"),
        ("commas at the ends of lines", "normalize = auto", "normalize = true,"),
        ("another loss", "cross_entropy", "mae"),
    ] {
        show(title, said(&with(from, to), files(), &[]));
    }
    show("label", said(&with("linear(classes)", "use(stem) -> linear(classes)"), files(), &[]));
    show(
        "residual",
        said(&with("-> relu", "-> relu\n    residual { conv2d(5, kernel = 3, padding = 1) }"), files(), &[]),
    );
    show("nesterov", said(&with("adam(lr = 1e-3)", "sgd(nesterov = true)"), files(), &[]));
    let (mut images, labels) = idx(12, 3);
    images.truncate(100);
    let mut bad = files();
    bad.insert("train-images-idx3-ubyte", images);
    show("truncated", said(GOOD, bad, &[]));
    let mut bad = files();
    bad.insert("train-labels-idx1-ubyte", [vec![1, 2, 3, 4], labels[4..].to_vec()].concat());
    show("magic", said(GOOD, bad, &[]));
    let (images, labels) = idx(6, 5);
    let mut bad = files();
    bad.insert("test-images-idx3-ubyte", images);
    bad.insert("test-labels-idx1-ubyte", labels);
    show("label out of range", said(GOOD, bad, &[]));
    let csv = with("idx(\"train\")", "csv(\"t.csv\", target = y)")
        .replace("    test      = idx(\"test\")\n", "")
        .replace("conv2d(4, kernel = 3) -> relu\n    flatten", "relu");
    for (title, text) in [
        ("a good table", "a,b,y\n1,2,0\n3,4,1\n5,6,0\n7,8,1\n"),
        ("ragged", "a,b,y\n1,2,0\n3,4\n"),
        ("not a number", "a,b,y\n1,2,0\n3,x,1\n4,4,0\n5,5,1\n"),
    ] {
        let mut table = files();
        table.insert("t.csv", text.as_bytes().to_vec());
        show(title, said(&csv, table.clone(), &[]));
        table.insert("a.nnopt", csv.as_bytes().to_vec());
        let request = Request { path: PathBuf::from("a.nnopt"), ..Request::default() };
        if let Some(program) = compile(&request, &table).unwrap().program
            && let Err(error) = nnoptc::data::load::load(&program, &table)
        {
            show(&format!("{title}, when it is read"), error.to_string());
        }
    }
    let path = crate::training::repository("tests/golden/diagnostics.txt");
    if std::env::var_os("NNOPTC_BLESS").is_some() {
        std::fs::write(&path, &out).unwrap();
    }
    let wanted = std::fs::read_to_string(&path).unwrap();
    for (found, wanted) in out.split("== ").zip(wanted.split("== ")) {
        assert_eq!(found, wanted);
    }
    assert_eq!(out, wanted);
}
