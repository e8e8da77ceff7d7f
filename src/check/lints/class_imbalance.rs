//! Classes of which one has far more samples than another, and a loss that counts all samples alike.

use super::edit::add_argument;
use super::{Code, Context, Diagnostic, Lint, plural};
use crate::diagnostic::Applicability;
use crate::library::TargetType;

const CODE: Code = Code("W0105");

/// So many times as many samples.
const RATIO: u64 = 10;

pub(super) const LINT: Lint = Lint { code: CODE, name: "class_imbalance", check };

fn check(context: &Context) -> Vec<Diagnostic> {
    let program = context.program;
    if !matches!(program.data.targets, TargetType::Classes(_)) || program.loss.item.weighs_classes() != Some(false) {
        return Vec::new();
    }
    let source = program.source_of(&context.train().name);
    let Some(counts) = context.headers.class_counts(source) else {
        return Vec::new();
    };
    let classes = || counts.iter().copied().enumerate().filter(|(_, count)| *count > 0);
    let (Some((most, many)), Some((least, few))) =
        (classes().max_by_key(|(_, count)| *count), classes().min_by_key(|(_, count)| *count))
    else {
        return Vec::new();
    };
    if many <= RATIO * few {
        return Vec::new();
    }
    let name = |class: usize| program.data.class_names.get(class).map_or(String::new(), |name| format!("`{name}`"));
    let message = format!("class {} has {} times as many samples as {}", name(most), many / few, name(least));
    let note = format!(
        "{} has {}, {} has {}; accuracy is {:.0}% for a model that always answers {}",
        name(most),
        plural(many as usize, "sample"),
        name(least),
        plural(few as usize, "sample"),
        100.0 * many as f64 / counts.iter().sum::<u64>() as f64,
        name(most)
    );
    let argument = match program.loss.values.iter().any(|value| value.name == "weights") {
        true => format!("weights = [{}]", balanced(&counts)),
        false => format!("pos_weight = {}", ratio(&counts)),
    };
    let diagnostic = Diagnostic::warning(CODE, program.loss.span, message)
        .label("counts every sample alike")
        .also(context.train().span, "the samples are read here")
        .note(note)
        .help(format!("weigh the classes: `{argument}`"));
    // Long lists are cut, and so are no source text.
    if argument.contains('…') {
        return vec![diagnostic];
    }
    let call = context.sources.text(program.loss.span);
    let edit = match call == program.loss.name {
        true => Some((program.loss.span, format!("{call}({argument})"))),
        false => add_argument(context.sources, program.loss.span, &argument),
    };
    vec![match edit {
        Some((span, text)) => {
            diagnostic.fix(Applicability::Suggested, "weigh each class by how rare it is", span, text)
        }
        None => diagnostic,
    }]
}

/// Weights in inverse proportion to the counts, 1 on average over the samples.
fn balanced(counts: &[u64]) -> String {
    let total: u64 = counts.iter().sum();
    let weight = |count: &u64| match count {
        0 => "1".to_owned(),
        _ => format!("{:.2}", total as f64 / counts.len() as f64 / *count as f64),
    };
    let shown: Vec<String> = counts.iter().take(20).map(weight).collect();
    let more = if counts.len() > 20 { ", …" } else { "" };
    format!("{}{more}", shown.join(", "))
}

/// No to yes, for two classes.
fn ratio(counts: &[u64]) -> String {
    match counts {
        [no, yes] => format!("{:.2}", *no as f64 / *yes as f64),
        _ => "…".to_owned(),
    }
}
