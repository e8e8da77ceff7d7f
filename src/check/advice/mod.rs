//! Advice from a run: what its figures say about the lines that it was trained from.
//!
//! Each kind stands in a file of its own, with a code in the range `W06` and a page. It is silent where it is not sure.

mod data_bound;
mod dead_units;
mod divergence;
mod edit;
mod exploding_gradients;
mod latest;
mod overfitting;
mod plateau;
mod record;
#[cfg(test)]
mod tests;
mod vanishing_gradients;

pub use latest::latest_run;
pub use record::{Epoch, Record};

use super::program::{Program, Stage};
use crate::diagnostic::Diagnostic;
use crate::schema::Origin;
use crate::source::{Sources, Span};

/// What advice looks at.
struct Context<'a> {
    program: &'a Program,
    sources: &'a Sources,
    record: &'a Record,
}

/// Everything that can be said of a run, from what stopped it to what could be better.
pub fn advise(program: &Program, sources: &Sources, record: &Record) -> Vec<Diagnostic> {
    let context = Context { program, sources, record };
    let rules = [
        divergence::advise,
        exploding_gradients::advise,
        vanishing_gradients::advise,
        dead_units::advise,
        overfitting::advise,
        plateau::advise,
        data_bound::advise,
    ];
    rules.iter().flat_map(|rule| rule(&context)).collect()
}

impl Context<'_> {
    /// Where layers are given initializers of their own.
    fn given_initializers(&self) -> Vec<Span> {
        let mut spans = Vec::new();
        crate::check::for_each_layer(&self.program.model, &mut |_, layer| {
            let given = layer.values.iter().find(|value| value.name == "init");
            if let Some(Origin::Given(span)) = given.map(|value| value.origin)
                && !spans.contains(&span)
            {
                spans.push(span);
            }
        });
        spans
    }

    /// The stage of a path, or the one that a weight's name begins with.
    fn stage(&self, name: &str) -> Option<&Stage> {
        let is_of = |stage: &&Stage| {
            name.strip_prefix(stage.path.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        };
        // Of `residual` and its layers, the innermost.
        self.program.stages.iter().filter(is_of).max_by_key(|stage| stage.path.len())
    }
}

/// A figure with three digits: `0.0123`, `1.5e-7`.
fn show(number: f64) -> String {
    let rounded: f64 = format!("{number:.2e}").parse().unwrap_or(number);
    if rounded == 0.0 || (1e-3..1e5).contains(&rounded.abs()) { rounded.to_string() } else { format!("{rounded:e}") }
}
