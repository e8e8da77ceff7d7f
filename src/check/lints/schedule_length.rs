//! A schedule or a warm-up whose length is not that of the training.

use super::{Code, Context, Diagnostic, Lint};
use crate::diagnostic::Applicability;
use crate::schema::{FromArg, Real};

const CODE: Code = Code("W0402");

pub(super) const LINT: Lint = Lint { code: CODE, name: "schedule_length", check };

fn check(context: &Context) -> Vec<Diagnostic> {
    let program = context.program;
    let (schedule, run) = (&program.schedule, program.run_shape());
    let show = |number: f64| Real(format!("{number:.2e}").parse().unwrap_or(number)).show();
    let total = run.total_steps;
    let epochs = |diagnostic: Diagnostic| match context.train_setting("epochs") {
        Some(span) => diagnostic.also(span, format!("the training has {total} steps")),
        None => diagnostic.note(format!("the training has {total} steps")),
    };
    let warmup = schedule.item.warmup().steps(run.steps_per_epoch);
    if warmup >= total {
        let message = format!("the warm-up of {warmup} steps outlasts the training");
        let diagnostic = Diagnostic::warning(CODE, schedule.span_of("warmup"), message)
            .label("the rate never arrives at its full height")
            .help("a twentieth of the training is usual");
        return vec![epochs(diagnostic)];
    }
    let Some(length) = schedule.item.length(&run) else { return Vec::new() };
    let place = schedule
        .values
        .iter()
        .find(|value| value.name == "over")
        .map_or(schedule.span, |value| schedule.span_of(value.name));
    // Within a tenth the two are meant to be the same.
    let diagnostic = if length as f64 > total as f64 * 1.1 {
        // A rate that is still to be found is 1 here, so that the last is a share of it.
        let last = schedule.item.rate(program.rate.unwrap_or(1.0), total.saturating_sub(1), &run);
        let of = if program.rate.is_some() { "" } else { " of the first" };
        let message = format!("`{}` goes on for {length} steps, the training ends before", schedule.name);
        Diagnostic::warning(CODE, place, message).label(format!("the last rate is {}{of}", show(last)))
    } else if (length as f64) < total as f64 * 0.9 && schedule.item.target() == Some(0.0) {
        let message = format!("`{}` arrives at 0 after {length} steps, the training goes on", schedule.name);
        let label = format!("nothing is learned in the last {} steps", total - length);
        Diagnostic::warning(CODE, place, message).label(label)
    } else {
        return Vec::new();
    };
    vec![epochs(diagnostic).fix(Applicability::Suggested, "write `auto`: the whole training", place, "auto")]
}
