//! Advice that knows the field: what runs, and is probably not what was meant.
//!
//! A lint looks at a program without errors. It stands in a file of its own, has a stable code of its own in the range
//! `W`, a name for `allow(name)`, and a page for `nnoptc explain`. It is silent where it is not sure.

mod allow;
mod bias_before_norm;
mod class_imbalance;
mod coupled_decay;
mod decay_on_norms;
mod decay_twice;
mod deep_without_norm;
mod dropout_before_norm;
mod early_stop_on_training;
pub(super) mod edit;
mod min_above_lr;
mod mirrored_text;
mod no_effect;
mod no_normalization;
mod no_warmup;
mod normalization_scale;
mod odd_learning_rate;
mod patience_beyond_training;
mod probabilities_into_regression;
mod saturated_inputs;
mod schedule_length;
mod schedule_without_effect;
mod single_sample_statistics;
#[cfg(test)]
mod tests;
mod unused_block;
mod unused_let;
mod walk;

use std::cell::OnceCell;
use std::sync::Arc;

use super::Headers;
use super::load::Declarations;
use super::program::{Program, Split};
use crate::diagnostic::{Code, Diagnostic};
use crate::formats::Dataset;
use crate::schema::Origin;
use crate::source::{Sources, Span};

pub(super) use allow::{check_names, silence};

/// A lint.
pub struct Lint {
    /// Its stable code.
    pub code: Code,
    /// Its name in `allow(…)`.
    pub name: &'static str,
    /// Looks at a program.
    check: fn(&Context) -> Vec<Diagnostic>,
}

/// Every lint, in the order of their codes.
pub static LINTS: &[Lint] = &[
    no_normalization::LINT,
    saturated_inputs::LINT,
    normalization_scale::LINT,
    mirrored_text::LINT,
    class_imbalance::LINT,
    bias_before_norm::LINT,
    dropout_before_norm::LINT,
    deep_without_norm::LINT,
    single_sample_statistics::LINT,
    probabilities_into_regression::LINT,
    coupled_decay::LINT,
    decay_twice::LINT,
    decay_on_norms::LINT,
    odd_learning_rate::LINT,
    no_warmup::LINT,
    schedule_without_effect::LINT,
    schedule_length::LINT,
    min_above_lr::LINT,
    early_stop_on_training::LINT,
    patience_beyond_training::LINT,
    unused_let::LINT,
    unused_block::LINT,
    no_effect::LINT,
    allow::LINT,
];

/// The lint of this name.
pub fn lint(name: &str) -> Option<&'static Lint> {
    LINTS.iter().find(|lint| lint.name == name)
}

/// What lints look at.
pub(super) struct Context<'a> {
    /// The program; it has no errors.
    pub program: &'a Program,
    /// What the files declare, with overrides applied.
    pub declared: &'a Declarations,
    /// Their texts.
    pub sources: &'a Sources,
    /// What is known of the data.
    pub headers: &'a dyn Headers,
    glance: OnceCell<Option<Arc<Dataset>>>,
}

impl<'a> Context<'a> {
    pub fn new(
        program: &'a Program,
        declared: &'a Declarations,
        sources: &'a Sources,
        headers: &'a dyn Headers,
    ) -> Context<'a> {
        Context { program, declared, sources, headers, glance: OnceCell::new() }
    }

    /// The training split, which every program has.
    fn train(&self) -> &'a Split {
        &self.program.data.splits[0]
    }

    /// The source of the training split, if it is small.
    fn glance(&self) -> Option<&Dataset> {
        let source = self.program.source_of(&self.train().name);
        self.glance.get_or_init(|| self.headers.glance(source)).as_deref()
    }

    /// Where the value of a setting of `train` stands, if it is given.
    fn train_setting(&self, name: &str) -> Option<Span> {
        let settings = self.program.resolved.iter().filter(|setting| setting.section == "train");
        settings.filter(|setting| setting.name == name).find_map(|setting| match setting.origin {
            Origin::Given(span) => Some(span),
            _ => None,
        })
    }
}

/// What all lints say, each thing once for each place.
pub(super) fn lint_program(context: &Context) -> Vec<Diagnostic> {
    let mut said: Vec<Diagnostic> = Vec::new();
    for lint in LINTS {
        for diagnostic in (lint.check)(context) {
            debug_assert_eq!(diagnostic.code, lint.code);
            if said.iter().all(|other| (other.code, other.span()) != (diagnostic.code, diagnostic.span())) {
                said.push(diagnostic);
            }
        }
    }
    said
}

/// `1 row`, `2 rows`
fn plural(count: usize, word: &str) -> String {
    format!("{count} {word}{}", if count == 1 { "" } else { "s" })
}
