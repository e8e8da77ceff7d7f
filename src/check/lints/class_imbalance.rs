//! Classes of which one has far more samples than another, and a loss that counts all samples alike.

use super::{Code, Context, Diagnostic, Lint, plural};
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
    let Some(counts) = source.source.item.class_counts(context.files, &source.base, &source.header) else {
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
    let weights = match program.loss.values.iter().any(|value| value.name == "weights") {
        true => format!("weigh the classes: `weights = [{}]`", balanced(&counts)),
        false => format!("weigh them: `pos_weight = {}`", ratio(&counts)),
    };
    vec![
        Diagnostic::warning(CODE, program.loss.span, message)
            .label("counts every sample alike")
            .also(context.train().span, "the samples are read here")
            .note(note)
            .help(weights),
    ]
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
