//! A large learning rate from the first step on large batches.

use super::edit::add_argument;
use super::{Code, Context, Diagnostic, Lint, plural};
use crate::diagnostic::Applicability;
use crate::schema::{FromArg, Real};

const CODE: Code = Code("W0306");

/// Goyal et al. (2017) need warm-up from batches of 1,024 on; half of that leaves room for smaller models.
const LARGE_BATCH: usize = 512;

pub(super) const LINT: Lint = Lint { code: CODE, name: "no_warmup", check };

fn check(context: &Context) -> Vec<Diagnostic> {
    let program = context.program;
    let (optimizer, schedule) = (&program.optimizer, &program.schedule);
    let [_, high] = optimizer.item.usual_rates();
    let Some(rate) = program.rate else { return Vec::new() };
    let run = program.run_shape();
    let warms = schedule.item.warmup().steps(run.steps_per_epoch) > 1;
    if warms || rate < high || program.train.batch < LARGE_BATCH {
        return Vec::new();
    }
    let message = format!("a learning rate of {} from the first step on", Real(rate).show());
    let diagnostic = Diagnostic::advice(CODE, optimizer.span_of("lr"), message)
        .label("large steps before the gradients point anywhere")
        .also(program.train.batch_span, format!("batches of {}", program.train.batch));
    let text = format!("warmup = {}", plural(warmup_steps(run.total_steps) as usize, "step"));
    let given = context.declared.settings.iter().find(|setting| setting.name.text == "schedule");
    vec![match given.and_then(|setting| add_argument(context.sources, setting.value.span, &text)) {
        Some((span, edit)) => diagnostic.fix(Applicability::Suggested, format!("write `{text}`"), span, edit),
        None => diagnostic.help(format!("write `schedule = cosine({text})`")),
    }]
}

/// A twentieth of the training; a warm-up of one step would be none.
fn warmup_steps(total: u64) -> u64 {
    (total / 20).max(2)
}
