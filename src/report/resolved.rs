//! Every value of a program, with its origin for people, and as source text that reads back as the same program.

use std::fmt::Write;

use super::table::{Align, Table};
use crate::check::program::{Join, ModelNode, Program, ResolvedSetting, SourceData};
use crate::schema::{Made, Origin, Resolved, quote};
use crate::source::{Sources, Span};
use crate::syntax::format::format;

/// Every value by its path, with `file:line`, `default` or `inferred`.
pub fn listing(program: &Program, sources: &Sources) -> String {
    let mut table = Table::new([("setting", Align::Left), ("value", Align::Left), ("from", Align::Left)]);
    let mut add = |path: &str, value: &str, origin: Origin| {
        table.row([path, value, &show_origin(origin, sources)]);
    };
    let mut augment = 0;
    let mut seen_model = false;
    for setting in &program.resolved {
        let path = match setting.section {
            "" => setting.name.clone(),
            section => format!("{section}.{}", setting.name),
        };
        match (setting.section, setting.name.as_str()) {
            ("model", _) => {
                if !std::mem::replace(&mut seen_model, true) {
                    model_values(&program.model, program, &mut add);
                }
            }
            ("augment", _) => {
                if let Some(made) = program.augment.get(augment) {
                    item_values(&format!("augment.{augment}"), made, setting.origin, &mut add);
                }
                augment += 1;
            }
            ("data", name) => match program.data.sources.iter().find(|source| source.name == name) {
                Some(source) => item_values(&path, &source.source, setting.origin, &mut add),
                None => add(&path, &setting.value, setting.origin),
            },
            ("", "loss") => item_values(&path, &program.loss, setting.origin, &mut add),
            ("", "optimizer") => item_values(&path, &program.optimizer, setting.origin, &mut add),
            ("", "schedule") => item_values(&path, &program.schedule, setting.origin, &mut add),
            ("", "regularization") => match &program.regularization {
                Some(made) => item_values(&path, made, setting.origin, &mut add),
                None => add(&path, &setting.value, setting.origin),
            },
            _ => add(&path, &setting.value, setting.origin),
        }
    }
    table.to_string()
}

/// `digits.nnopt:12`, `--set`, `default`, `inferred`.
fn show_origin(origin: Origin, sources: &Sources) -> String {
    match origin {
        Origin::Given(span) => show_place(span, sources),
        Origin::Default => "default".to_owned(),
        Origin::Inferred => "inferred".to_owned(),
    }
}

fn show_place(span: Span, sources: &Sources) -> String {
    let name = &sources.file(span.file).name;
    if name.starts_with('-') {
        return name.to_string();
    }
    let (line, _) = sources.line_column(span.file, span.start as usize);
    format!("{name}:{line}")
}

/// An item, then each of its values.
fn item_values<T: ?Sized>(path: &str, made: &Made<T>, origin: Origin, add: &mut impl FnMut(&str, &str, Origin)) {
    add(path, made.name, origin);
    for Resolved { name, value, origin } in &made.values {
        add(&format!("{path}.{name}"), value, *origin);
    }
}

fn model_values(nodes: &[ModelNode], program: &Program, add: &mut impl FnMut(&str, &str, Origin)) {
    for node in nodes {
        match node {
            ModelNode::Layer { stage, layer } => {
                item_values(&program.stages[*stage].path, layer, Origin::Given(layer.span), add);
            }
            ModelNode::Residual { main, shortcut, .. } => {
                model_values(main, program, add);
                model_values(shortcut, program, add);
            }
            ModelNode::Branch { arms, .. } => arms.iter().for_each(|arm| model_values(arm, program, add)),
            ModelNode::Keep { .. } | ModelNode::Use { .. } | ModelNode::Meet { .. } => {}
        }
    }
}

/// The program as one file: every value is written, paths are absolute, and names, blocks and profiles are resolved.
pub fn source_text(program: &Program) -> String {
    let mut text = String::from("nnopt 1\n");
    let section = |name: &'static str| program.resolved.iter().filter(move |setting| setting.section == name);
    let _ = writeln!(text, "\ndata {{");
    for setting in section("data") {
        let source = program.data.sources.iter().find(|source| source.name == setting.name);
        let value = source.map_or_else(|| setting.value.clone(), show_source);
        let _ = writeln!(text, "    {} = {value}", setting.name);
    }
    text.push_str("}\n");
    if !program.augment.is_empty() {
        let _ = writeln!(text, "\naugment {{");
        for made in &program.augment {
            let _ = writeln!(text, "    {}", made.show());
        }
        text.push_str("}\n");
    }
    let _ = writeln!(text, "\nmodel {{");
    write_nodes(&mut text, &program.model, 1);
    text.push_str("}\n\n");
    for ResolvedSetting { name, value, .. } in section("") {
        let _ = writeln!(text, "{name} = {value}");
    }
    let _ = writeln!(text, "\ntrain {{");
    for ResolvedSetting { name, value, .. } in section("train") {
        let _ = writeln!(text, "    {name} = {value}");
    }
    text.push_str("}\n");
    format(0, &text).unwrap_or_else(|mistakes| unreachable!("a resolved pipeline reads back: {mistakes:?}"))
}

/// Parameters of sources that are paths, relative to the pipeline's folder.
const PATHS: [&str; 2] = ["path", "labels"];

/// A source with absolute paths, since the text is kept in another folder.
fn show_source(source: &SourceData) -> String {
    let show = |value: &Resolved| {
        let text = value.value.strip_prefix('"').and_then(|text| text.strip_suffix('"'));
        let absolute = text
            .filter(|text| PATHS.contains(&value.name) && !text.contains('\\'))
            .and_then(|text| std::path::absolute(source.base.join(text)).ok())
            .and_then(|path| path.to_str().map(quote));
        format!("{} = {}", value.name, absolute.unwrap_or_else(|| value.value.clone()))
    };
    // As a word of the source, `classes` would be the number of classes; it is written by nobody but the default.
    let readable = |value: &&Resolved| value.origin != Origin::Default || value.value != "classes";
    let values: Vec<String> = source.source.values.iter().filter(readable).map(show).collect();
    format!("{}({})", source.source.name, values.join(", "))
}

fn write_nodes(text: &mut String, nodes: &[ModelNode], depth: usize) {
    let indent = "    ".repeat(depth);
    for (position, node) in nodes.iter().enumerate() {
        let mut label = String::new();
        if let Some(ModelNode::Keep { label: number }) = nodes.get(position + 1) {
            label = format!("{} = ", label_name(*number));
        }
        match node {
            ModelNode::Layer { layer, .. } => {
                let _ = writeln!(text, "{indent}{label}{}", layer.show());
            }
            ModelNode::Residual { main, shortcut, .. } => {
                let _ = writeln!(text, "{indent}{label}residual {{");
                write_nodes(text, main, depth + 1);
                if !shortcut.is_empty() {
                    let _ = writeln!(text, "{indent}}} shortcut {{");
                    write_nodes(text, shortcut, depth + 1);
                }
                let _ = writeln!(text, "{indent}}}");
            }
            ModelNode::Branch { arms, join, .. } => {
                let _ = writeln!(text, "{indent}{label}branch {{");
                for arm in arms {
                    let _ = writeln!(text, "{indent}    {{");
                    write_nodes(text, arm, depth + 2);
                    let _ = writeln!(text, "{indent}    }}");
                }
                let _ = writeln!(text, "{indent}}} join {}", join_name(*join));
            }
            // The stage before it bears the label; a second label of one value is a stage of its own.
            ModelNode::Keep { label: number } => {
                if !label.is_empty() {
                    let _ = writeln!(text, "{indent}{label}use({})", label_name(*number));
                }
            }
            ModelNode::Use { label: number } => {
                let _ = writeln!(text, "{indent}{label}use({})", label_name(*number));
            }
            ModelNode::Meet { labels, join, .. } => {
                let names: Vec<String> = labels.iter().map(|&number| label_name(number)).collect();
                let _ = writeln!(text, "{indent}{label}{}({})", join_name(*join), names.join(", "));
            }
        }
    }
}

fn label_name(number: usize) -> String {
    format!("label_{number}")
}

fn join_name(join: Join) -> &'static str {
    match join {
        Join::Add => "add",
        Join::Concat => "concat",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::{Request, compile};
    use crate::formats::files::Memory;

    const PIPELINE: &str = "\
nnopt 1
data {
    train = csv(\"x.csv\", target = label, shape = [1, 4, 4])
    val   = split(train, 25%)
}
augment { horizontal_flip }
block pair(n, p = 0.5) {
    conv2d(n, kernel = 3, padding = 1) -> relu
    dropout(p)
}
let width = 4
model {
    first = conv2d(width, kernel = 1)
    repeat 2 { pair(width) }
    residual { pair(width, p = 0.1) } shortcut { conv2d(width, kernel = 1) }
    residual { batch_norm }
    inner = branch {
        { conv2d(2, kernel = 1) -> relu }
        { conv2d(2, kernel = 3, padding = 1) }
    } join concat
    add(first)
    use(inner)
    concat(first, inner)
    flatten -> linear(classes)
}
loss = cross_entropy(label_smoothing = 0.1)
regularization = l2(1e-4)
optimizer = sgd(lr = 0.1, momentum = 0.9)
train { epochs = 2; batch = 4; early_stop = patience(1 epochs); clip_norm = 1 }
";

    fn program(text: &str) -> (Program, Sources) {
        let row = (0..16).map(|pixel| pixel.to_string()).collect::<Vec<_>>().join(",");
        let head = (0..16).map(|pixel| format!("p{pixel}")).collect::<Vec<_>>().join(",");
        let table = (0..12).map(|index| format!("{row},{}\n", index % 3)).collect::<String>();
        let data = format!("{head},label\n{table}");
        let files = Memory::new().with("/a/x.csv", data).with("/a/main.nnopt", text);
        let request = Request { path: "/a/main.nnopt".into(), ..Request::default() };
        let compilation = compile(&request, &files).unwrap();
        let program = compilation.program.unwrap_or_else(|| panic!("{:#?}", compilation.diagnostics));
        (program, compilation.sources)
    }

    #[test]
    fn the_text_reads_back_as_the_same_program() {
        let (first, _) = program(PIPELINE);
        let once = source_text(&first);
        let (second, _) = program(&once);
        assert_eq!(source_text(&second), once);
        assert_eq!(format(0, &once).as_ref(), Ok(&once), "`nnoptc fmt` would change it");
        let outputs = |program: &Program| -> Vec<String> {
            let shapes =
                program.stages.iter().filter(|stage| !stage.text.starts_with("use")).map(|stage| stage.output.show());
            shapes.collect()
        };
        assert_eq!(outputs(&first), outputs(&second));
        assert!(once.contains("label_0 = conv2d(") && once.contains("add(label_0)"), "{once}");
    }

    #[test]
    fn odd_names_of_columns_read_back() {
        let read = |text: &str, column: &str| {
            let data = format!("a,{column}\n") + &(0..12).map(|row| format!("{row},{}\n", row % 3)).collect::<String>();
            let files = Memory::new().with("/a/x.csv", data).with("/a/main.nnopt", text);
            let request = Request { path: "/a/main.nnopt".into(), ..Request::default() };
            let compilation = compile(&request, &files).unwrap();
            source_text(&compilation.program.unwrap_or_else(|| panic!("{text}\n{:#?}", compilation.diagnostics)))
        };
        for column in
            ["model", "let", "2nd", "1e3", "a.b", "a-b", "the class", "it's", "classes", "none", "é", "\u{301}"]
        {
            let text = format!(
                "data {{ train = csv(\"x.csv\", target = \"{column}\") }}\nmodel {{ linear(classes) }}\n\
                 loss = cross_entropy\noptimizer = sgd\ntrain {{ batch = 4 }}\n"
            );
            let once = read(&text, column);
            assert_eq!(read(&once, column), once);
        }
    }

    #[test]
    fn every_value_has_its_origin() {
        let (program, sources) = program(PIPELINE);
        let listing = listing(&program, &sources);
        let squeezed: Vec<String> =
            listing.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
        for line in [
            "optimizer.lr 0.1 /a/main.nnopt:28",
            "optimizer.nesterov false default",
            "train.seed 0 default",
            "model.9.units 3 /a/main.nnopt:24",
        ] {
            assert!(squeezed.iter().any(|found| found == line), "{line} in\n{listing}");
        }
    }
}
