//! A learning rate that nobody uses with this optimizer.

use super::{Code, Context, Diagnostic, Lint};
use crate::schema::{FromArg, Real};

const CODE: Code = Code("W0305");

/// So many times below or above what is usual.
const FAR: f64 = 10.0;

pub(super) const LINT: Lint = Lint { code: CODE, name: "odd_learning_rate", check };

fn check(context: &Context) -> Vec<Diagnostic> {
    let optimizer = &context.program.optimizer;
    let [low, high] = optimizer.item.usual_rates();
    let Some(rate) = context.program.rate else { return Vec::new() };
    let (what, happens) = if rate > FAR * high {
        ("high", "the loss grows without bound, or stays where it is")
    } else if rate * FAR < low * 0.999 {
        // A tenth of the lowest is still within, however it is rounded.
        ("low", "the loss hardly changes")
    } else {
        return Vec::new();
    };
    let show = |number: f64| Real(number).show();
    let message = format!("a learning rate of {} is very {what} for `{}`", show(rate), optimizer.name);
    vec![
        Diagnostic::warning(CODE, optimizer.span_of("lr"), message)
            .label(format!("usual are {} to {}", show(low), show(high)))
            .note(format!("with it {happens}"))
            .help("choose one within them, or write `lr = auto` to have one measured"),
    ]
}
