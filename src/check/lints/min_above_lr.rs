//! A schedule that raises the learning rate to its minimum.

use super::{Code, Context, Diagnostic, Lint};
use crate::schema::{FromArg, Real};

const CODE: Code = Code("W0403");

pub(super) const LINT: Lint = Lint { code: CODE, name: "min_above_lr", check };

fn check(context: &Context) -> Vec<Diagnostic> {
    let (schedule, optimizer) = (&context.program.schedule, &context.program.optimizer);
    let Some(rate) = context.program.rate else { return Vec::new() };
    let Some(min) = schedule.item.target().filter(|min| *min >= rate && *min > 0.0) else { return Vec::new() };
    let (min, rate) = (Real(min).show(), Real(rate).show());
    let message = format!("`min` of `{}` is {min}, the learning rate is {rate}", schedule.name);
    vec![
        Diagnostic::warning(CODE, schedule.span_of("min"), message)
            .label("the rate does not fall")
            .also(optimizer.span_of("lr"), "begins here")
            .help("choose a minimum below the learning rate"),
    ]
}
