//! A mean and a deviation that were measured on another scale than the data has here.

use super::super::program::Normalize;
use super::{Code, Context, Diagnostic, Lint};
use crate::diagnostic::Applicability;
use crate::formats::{Dataset, Samples};
use crate::schema::{FromArg, Real};

const CODE: Code = Code("W0103");

pub(super) const LINT: Lint = Lint { code: CODE, name: "normalization_scale", check };

fn check(context: &Context) -> Vec<Diagnostic> {
    let Normalize::Given { mean, std } = &context.program.data.normalize else { return Vec::new() };
    let place = context.program.data.normalize_span;
    if context.program.source_of("train").header.bytes {
        // Shares lie in 0..1, and so does their mean; their deviation is at most 1/2.
        if mean.iter().chain(std).all(|number| number.abs() <= 1.0) {
            return Vec::new();
        }
        let fixed = format!("given(mean = {}, std = {})", shares(mean), shares(std));
        let diagnostic = Diagnostic::warning(CODE, place, "mean and deviation are on the scale 0 to 255")
            .label("measured on bytes")
            .also(context.train().span, "bytes go in as shares of 255, from 0 to 1");
        return vec![diagnostic.fix(Applicability::Suggested, format!("write `{fixed}`"), place, fixed)];
    }
    let Some(dataset) = context.glance() else { return Vec::new() };
    let of = |numbers: &[f64], group: usize| numbers.get(group).or(numbers.first()).copied().unwrap_or(0.0);
    let wrong = |found: &&Figures| {
        let (mean, std) = (of(mean, found.group), of(std, found.group));
        found.std > 0.0 && ((found.mean - mean).abs() > 10.0 * std || !(0.05..20.0).contains(&(found.std / std)))
    };
    let figures = figures(dataset);
    let Some(found) = figures.iter().find(wrong) else { return Vec::new() };
    let (mean, std) = (Real(of(mean, found.group)).show(), Real(of(std, found.group)).show());
    let diagnostic = Diagnostic::warning(CODE, place, "mean and deviation are on another scale than the data")
        .label(format!("mean {mean}, standard deviation {std}"))
        .also(context.train().span, "the samples are read here")
        .note(found.show());
    vec![diagnostic.fix(Applicability::Suggested, "write `auto`", place, "auto")]
}

/// Numbers of the scale 0 to 255 as shares, with four digits.
fn shares(numbers: &[f64]) -> String {
    let shown: Vec<String> = numbers.iter().map(|number| Real((number / 255.0 * 1e4).round() / 1e4).show()).collect();
    match &shown[..] {
        [one] => one.clone(),
        many => format!("[{}]", many.join(", ")),
    }
}

/// Mean and deviation of a feature or a channel.
#[derive(Clone, Debug)]
pub(super) struct Figures {
    group: usize,
    name: String,
    /// Its mean.
    pub mean: f64,
    /// Its standard deviation.
    pub std: f64,
}

impl Figures {
    /// `` `area` has mean 654.9 and standard deviation 351.6``
    pub fn show(&self) -> String {
        let digits = |number: f64| Real(format!("{number:.2e}").parse().unwrap_or(number)).show();
        format!("{} has mean {} and standard deviation {}", self.name, digits(self.mean), digits(self.std))
    }
}

/// The feature or channel that is farthest from mean 0 and deviation 1.
pub(super) fn widest(context: &Context) -> Option<Figures> {
    let mut figures = figures(context.glance()?);
    figures.retain(|found| found.std > 0.0);
    figures.into_iter().max_by(|a, b| (a.mean.abs() + a.std).total_cmp(&(b.mean.abs() + b.std)))
}

fn figures(dataset: &Dataset) -> Vec<Figures> {
    let Samples::F32(data) = &dataset.samples else { return Vec::new() };
    let groups = match dataset.sample_shape[..] {
        [one] | [one, _, _] => one,
        _ => 1,
    };
    let run = dataset.sample_size() / groups.max(1);
    let figures = |group: usize| {
        let (mut n, mut sum, mut squares) = (0.0_f64, 0.0_f64, 0.0_f64);
        let first = f64::from(data.get(group * run).copied().unwrap_or(0.0));
        for sample in data.chunks_exact(groups * run) {
            for number in &sample[group * run..][..run] {
                // From the first number, since the squares of large numbers hide their differences.
                let distance = f64::from(*number) - first;
                (n, sum, squares) = (n + 1.0, sum + distance, squares + distance * distance);
            }
        }
        let mean = sum / n.max(1.0);
        let std = (squares / n.max(1.0) - mean * mean).max(0.0).sqrt();
        let name = match (run, dataset.columns.get(group)) {
            (1, Some(name)) => format!("`{name}`"),
            (1, None) => format!("feature {}", group + 1),
            _ => format!("channel {}", group + 1),
        };
        Figures { group, name, mean: first + mean, std }
    };
    (0..groups).map(figures).collect()
}
