//! A schedule that never changes the learning rate.

use super::{Code, Context, Diagnostic, Lint, plural};
use crate::schema::{FromArg, Real};

const CODE: Code = Code("W0401");

pub(super) const LINT: Lint = Lint { code: CODE, name: "schedule_without_effect", check };

fn check(context: &Context) -> Vec<Diagnostic> {
    let program = context.program;
    let (schedule, run) = (&program.schedule, program.run_shape());
    // A rate that is still to be found is as good as any: schedules scale it.
    let rate = |step: u64| schedule.item.rate(program.rate.unwrap_or(1.0), step, &run);
    let last = run.total_steps.saturating_sub(1);
    // Most schedules change only after their first time, so the last step tells; a few between make sure.
    let same = (0..=16).all(|part| rate(last * part / 16) == rate(0));
    // A minimum that is not below the rate is the reason, of which another lint speaks.
    let has_reason =
        schedule.item.target().is_some_and(|min| min > 0.0 && program.rate.is_some_and(|rate| min >= rate));
    if schedule.item.is_constant() || last == 0 || !same || has_reason {
        return Vec::new();
    }
    let message = format!("`{}` never changes the learning rate", schedule.name);
    let place = schedule.values.first().map_or(schedule.span, |value| schedule.span_of(value.name));
    let same = program.rate.map_or("the same".to_owned(), |_| Real(rate(0)).show());
    let diagnostic = Diagnostic::warning(CODE, place, message)
        .label(format!("the rate is {same} at every step"))
        .note(format!("the training has {}", plural(run.total_steps as usize, "step")));
    let diagnostic = match context.train_setting("epochs") {
        Some(span) => diagnostic.also(span, format!("{} in all", plural(program.train.epochs, "epoch"))),
        None => diagnostic,
    };
    vec![diagnostic.help("choose a time within the training, or leave the schedule out")]
}
