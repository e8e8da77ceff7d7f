//! Tests of the whole syntax layer.

use super::*;
use crate::source::Sources;

/// A pipeline that uses every construct of the language.
pub(crate) const SAMPLE: &str = r#"nnopt 1                                       # language version

include "blocks.nnopt"
let width = 32 * (1 + 1) - -4 / 2

block head(n, dropout = 0.1) {
    flatten
    linear(n) -> dropout(dropout)
}

data {
    train     = idx("data/mnist/train")       # images and labels
    test      = idx("data/mnist/t10k"); cache = 64 MiB
    val       = split(train, 10%, stratified)
    normalize = auto
}

augment {
    random_rotation(10)
    random_crop(28, padding = 2, scale = 0.35..1,)
}

model {
    x = conv2d(32, kernel = 3) -> batch_norm -> relu
    repeat 3 { conv2d(width, kernel = [3, 3]) -> relu }
    allow(bias_before_norm)
    residual { conv2d(64) } shortcut { conv2d(64, kernel = 1) } -> relu
    branch {
        { max_pool(2) }
        { avg_pool(2); relu }
    } join concat
    max_pool(2) ->
        dropout(0.25)
        -> add(x)
    head(
        classes,
        dropout = 0.5,
    )
}

allow(no_warmup, odd_learning_rate)
loss      = cross_entropy(label_smoothing = 0.1)
optimizer = adam(lr = 1e-3)
schedule  = step(every = 5 epochs, gamma = 0.1, warmup = 200 steps)

train {
    epochs     = 20
    devices    = [0, 2]
    name       = "é\t\"q\" \u{1F600}"
    early_stop = patience(3 epochs, on = val.accuracy)
}

profile quick { train.epochs = 1; data.val = none }
"#;

pub(super) fn check_source(text: &str) -> Parse {
    let parse = parse(0, text);
    assert_eq!(parse.syntax().text().to_string(), text, "the tree is not lossless");
    for diagnostic in &parse.diagnostics {
        assert!(CODES.contains(&diagnostic.code));
        let spans = diagnostic.labels.iter().map(|label| label.span);
        let edits = diagnostic.fixes.iter().flat_map(|fix| &fix.edits).map(|(span, _)| *span);
        for span in spans.chain(edits) {
            assert!(span.start <= span.end && text.get(span.range()).is_some(), "{span:?} in {text:?}");
        }
        assert!(!diagnostic.message.ends_with('.') && !diagnostic.message.contains('\n'), "{}", diagnostic.message);
    }
    parse
}

/// Each diagnostic as `line:column code message`.
pub(super) fn report(text: &str) -> Vec<String> {
    let mut sources = Sources::default();
    sources.add("", text);
    let line = |diagnostic: &Diagnostic| {
        let (line, column) = sources.line_column(0, diagnostic.span().start as usize);
        format!("{line}:{column} {} {}", diagnostic.code.0, diagnostic.message)
    };
    check_source(text).diagnostics.iter().map(line).collect()
}

/// A value as a Lisp would write it.
fn show(expr: &Expr) -> String {
    let call = |call: &ast::Call| {
        let args: Vec<String> = call
            .args
            .iter()
            .map(|arg| arg.name.as_ref().map_or(String::new(), |name| format!("{}=", name.text)) + &show(&arg.value))
            .collect();
        format!("{}({})", call.name.text, args.join(" "))
    };
    match &expr.kind {
        ExprKind::Number { value, unit, integer } => {
            let point = if *integer { "" } else { "f" };
            unit.map_or(format!("{value}{point}"), |unit| format!("{value}{point}:{unit:?}"))
        }
        ExprKind::Text(text) => format!("{text:?}"),
        ExprKind::Word(word) => word.clone(),
        ExprKind::Range(low, high) => format!("(.. {} {})", show(low), show(high)),
        ExprKind::List(values) => format!("{:?}", values.iter().map(show).collect::<Vec<_>>()).replace('"', ""),
        ExprKind::Call(inner) => call(inner),
        ExprKind::Binary(operator, left, right) => format!("({operator:?} {} {})", show(left), show(right)),
        ExprKind::Negate(inner) => format!("-{}", show(inner)),
        ExprKind::Missing => "?".into(),
    }
}

fn show_stages(stages: &[ast::Stage]) -> String {
    use ast::Stage;
    let show_stage = |stage: &Stage| match stage {
        Stage::Call(call) => show(&Expr { kind: ExprKind::Call(call.clone()), span: call.span }),
        Stage::Label { name, stages, .. } => format!("{}={{{}}}", name.text, show_stages(stages)),
        Stage::Repeat { count, stages, .. } => format!("repeat {} {{{}}}", show(count), show_stages(stages)),
        Stage::Residual { stages, shortcut, .. } => {
            let shortcut = shortcut.as_ref().map_or(String::new(), |stages| format!(" {{{}}}", show_stages(stages)));
            format!("residual {{{}}}{shortcut}", show_stages(stages))
        }
        Stage::Branch { arms, join, .. } => {
            let arms: Vec<String> = arms.iter().map(|arm| format!("{{{}}}", show_stages(arm))).collect();
            format!("branch {} {}", arms.join(" "), join.text)
        }
    };
    stages.iter().map(show_stage).collect::<Vec<_>>().join(" ")
}

/// The abstract syntax of a file, an item a line.
pub(crate) fn show_file(file: &ast::File) -> String {
    use ast::{Item, Setting};
    let setting = |setting: &Setting| format!("{} = {}", setting.name.text, show(&setting.value));
    let settings = |list: &[Setting]| list.iter().map(setting).collect::<Vec<_>>().join("; ");
    let item = |item: &Item| match item {
        Item::Let(let_) => format!("let {}", setting(let_)),
        Item::Block(block) => {
            let params = block.params.iter().map(|(name, value)| match value {
                Some(value) => format!("{}={}", name.text, show(value)),
                None => name.text.clone(),
            });
            let params = params.collect::<Vec<_>>().join(" ");
            format!("block {}({params}) {}", block.name.text, show_stages(&block.stages))
        }
        Item::Include { path, .. } => format!("include {path}"),
        Item::Profile { name, settings: list, .. } => format!("profile {}: {}", name.text, settings(list)),
        Item::Settings { name, settings: list, .. } => format!("{}: {}", name.text, settings(list)),
        Item::Stages { name, stages, .. } => format!("{}> {}", name.text, show_stages(stages)),
        Item::Setting(inner) => setting(inner),
    };
    file.items.iter().map(item).collect::<Vec<_>>().join("\n")
}

#[test]
fn the_sample_is_read_in_full() {
    assert_eq!(report(SAMPLE), [""; 0]);
    let ast = parse(0, SAMPLE).ast;
    assert_eq!(ast.version, Some((1.0, Span::new(0, 6, 7))));
    let expected = r#"include blocks.nnopt
let width = (Subtract (Multiply 32 (Add 1 1)) (Divide -4 2))
block head(n dropout=0.1f) flatten() linear(n) dropout(dropout)
data: train = idx("data/mnist/train"); test = idx("data/mnist/t10k"); cache = 67108864:Bytes; val = split(train 10:Percent stratified); normalize = auto
augment> random_rotation(10) random_crop(28 padding=2 scale=(.. 0.35f 1))
model> x={conv2d(32 kernel=3) batch_norm() relu()} repeat 3 {conv2d(width kernel=[3, 3]) relu()} residual {conv2d(64)} {conv2d(64 kernel=1)} relu() branch {max_pool(2)} {avg_pool(2) relu()} concat max_pool(2) dropout(0.25f) add(x) head(classes dropout=0.5f)
loss = cross_entropy(label_smoothing=0.1f)
optimizer = adam(lr=0.001f)
schedule = step(every=5:Epochs gamma=0.1f warmup=200:Steps)
train: epochs = 20; devices = [0, 2]; name = "é\t\"q\" 😀"; early_stop = patience(3:Epochs on=val.accuracy)
profile quick: train.epochs = 1; data.val = none"#;
    assert_eq!(show_file(&ast), expected);
}

#[test]
fn a_chain_goes_on_after_a_closing_brace() {
    let ends = ["residual {a} b()", "residual {a} {c} b()", "repeat 2 {a} b()", "branch {a} {c} add b()"];
    let bodies =
        ["residual { a }", "residual { a } shortcut { c }", "repeat 2 { a }", "branch { { a } { c } } join add"];
    for (body, expected) in bodies.into_iter().zip(ends) {
        let expected = format!("model> {}", expected.replace("{a}", "{a()}").replace("{c}", "{c()}"));
        for arrow in [" -> ", "->", "\n    -> ", " ->\n    ", " # why\n    # else\n    -> "] {
            let text = format!("model {{\n    {body}{arrow}b\n}}\n");
            assert_eq!(report(&text), [""; 0], "{text}");
            assert_eq!(show_file(&parse(0, &text).ast), expected, "{text}");
            // One chain, so that a label names what comes out at its end.
            let labelled = format!("model {{ x = {body}{arrow}b }}");
            let expected = expected.replace("model> ", "model> x={") + "}";
            assert_eq!(show_file(&parse(0, &labelled).ast), expected, "{labelled}");
        }
    }
    assert_eq!(
        report("model {\n    residual { a } -> \n}\n"),
        ["2:22 E0116 expected a layer after `->`, found the end of the line"]
    );
}

#[test]
fn allow_holds_for_the_file_or_for_the_next_statement() {
    let text = "allow(a, b); train { allow(c)\n allow(d) # why\n epochs = 3\n batch = 2; allow(e) }
model { relu; allow(f)\n residual { allow(g); relu -> tanh } -> relu\n relu }\n";
    assert_eq!(report(text), [""; 0]);
    let allows = parse(0, text).ast.allows;
    let shown: Vec<String> = allows
        .iter()
        .map(|allow| {
            let names: Vec<&str> = allow.lints.iter().map(|name| name.text.as_str()).collect();
            format!("{}: {}", names.join(" "), allow.covers.map_or("all", |span| &text[span.range()]))
        })
        .collect();
    let stages = "residual { allow(g); relu -> tanh } -> relu";
    let expected =
        ["a b: all", "c: epochs = 3", "d: epochs = 3", "e: allow(e)", &format!("f: {stages}"), "g: relu -> tanh"];
    assert_eq!(shown, expected);
    for (text, expected) in [
        ("allow(3)", "1:7 E0111 expected the name of a lint, found a value"),
        ("train { allow(a = b) }", "1:15 E0111 expected the name of a lint, found a value"),
        ("allow(a", "1:8 E0108 expected `)`, found the end of the file"),
        ("allow(a) allow(b)", "1:9 E0115 expected a newline or `;` after `)`, found `allow`"),
        ("allow a", "1:6 E0103 expected `=` after `allow`, found `a`"),
    ] {
        assert_eq!(report(text), [expected], "{text}");
    }
}

#[test]
fn byte_order_mark_carriage_returns_and_tabs_are_blanks() {
    let dos = format!("\u{FEFF}{}", SAMPLE.replace('\n', "\r\n").replace("    ", "\t"));
    assert_eq!(report(&dos), [""; 0]);
    assert_eq!(show_file(&parse(0, &dos).ast), show_file(&parse(0, SAMPLE).ast));
}

#[test]
fn values() {
    for (text, expected) in [
        ("1 + 2 * 3 - 4", "(Subtract (Add 1 (Multiply 2 3)) 4)"),
        ("(1 + 2) * -n", "(Multiply (Add 1 2) -n)"),
        ("-1e-4..2 + 1", "(.. -0.0001f (Add 2 1))"),
        ("--1 - - 1", "(Subtract 1 -1)"),
        ("2 min", "120:Seconds"),
        ("1 epoch", "1:Epochs"),
        ("10%", "10:Percent"),
        ("[1, [2, 3,],]", "[1, [2, 3]]"),
        ("[]", "[]"),
        ("f(\n  a = 1, # why\n  g( x ),\n)", "f(a=1 g(x))"),
        ("val.accuracy", "val.accuracy"),
        (".5", "0.5f"),
        ("1_000", "1000"),
        ("\"a\\\\b\"", "\"a\\\\b\""),
    ] {
        let (value, diagnostics) = parse_expression(0, text);
        assert_eq!(diagnostics, [], "{text}");
        assert_eq!(show(&value), expected, "{text}");
    }
    for (text, code) in
        [("", "E0104"), ("1 2", "E0101"), ("a = 3", "E0101"), ("f(", "E0108"), ("1 +", "E0104"), ("3 sx", "E0112")]
    {
        let (_, diagnostics) = parse_expression(0, text);
        assert_eq!(diagnostics.iter().map(|diagnostic| diagnostic.code.0).collect::<Vec<_>>(), [code], "{text}");
    }
}

#[test]
fn three_independent_mistakes_are_three_diagnostics() {
    let text = "data {\n    train: idx(\"a\")\n}\nmodel {\n    conv2d(32, kernel = 3 -> relu\n    linear(10)\n}\ntrain {\n    epochs 20\n}\n";
    let expected = [
        "2:10 E0102 expected `=`, found `:`",
        "5:26 E0108 expected `)`, found `->`",
        "9:11 E0103 expected `=` after `epochs`, found `20`",
    ];
    assert_eq!(report(text), expected);
    let items = "data: train = idx(\"a\")\nmodel> conv2d(32 kernel=3) relu() linear(10)\ntrain: epochs = 20";
    assert_eq!(show_file(&parse(0, text).ast), items);
}

#[test]
fn fifteen_mistakes_in_23_lines() {
    let text = r#"nnopt 1
let = 5
data {
    train: idx("data/train")
    test = idx("data/test)
    val = split(train 10%)
    prefetch 4
}
modle {
    conv2d(32, kernel = 3 -> relu
    linear(10) => softmax
    flatten relu
    -> dropout
    batch = @ 3
}
}
train {
    epochs = 20 epoks
    batch = = 64
    seed = 42
optimizer = adam(lr = )
model {
    linear(10)
"#;
    let expected = [
        "2:4 E0111 expected a name after `let`, found `=`",
        "4:10 E0102 expected `=`, found `:`",
        "5:16 E0105 expected `\"` at the end of the string, found the end of the line",
        "6:22 E0107 expected `,` after `train`, found `10`",
        "7:13 E0103 expected `=` after `prefetch`, found `4`",
        "10:26 E0108 expected `)`, found `->`",
        "11:16 E0117 expected `->`, found `=>`",
        "12:12 E0115 expected `->`, a newline or `;` after `flatten`, found `relu`",
        "14:13 E0101 expected a layer, found `@`",
        "16:1 E0109 `}` closes nothing",
        "18:17 E0112 unknown unit `epoks`",
        "19:13 E0101 expected a value, found `=`",
        "20:14 E0108 expected `}`, found `optimizer`",
        "21:22 E0104 expected a value after `=`, found `)`",
        "23:15 E0108 expected `}`, found the end of the file",
    ];
    assert_eq!(report(text), expected);
    let items = r#"data: train = idx("data/train"); test = idx("data/test"); val = split(train 10:Percent); prefetch = 4
modle> conv2d(32 kernel=3) relu() linear(10) softmax() flatten() relu() dropout() batch={}
train: epochs = 20; batch = ?; seed = 42
optimizer = adam(lr=?)
model> linear(10)"#;
    assert_eq!(show_file(&parse(0, text).ast), items);
}
