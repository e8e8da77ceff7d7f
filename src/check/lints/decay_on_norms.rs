//! Weight decay of offsets and normalization, which it only hinders.

use super::walk::layers;
use super::{Code, Context, Diagnostic, Lint};
use crate::library::{Decay, Role};
use crate::schema::{FromArg, Real};

const CODE: Code = Code("W0304");

pub(super) const LINT: Lint = Lint { code: CODE, name: "decay_on_norms", check };

fn check(context: &Context) -> Vec<Diagnostic> {
    let program = context.program;
    let optimizer = &program.optimizer;
    // The penalty in the loss is the same thing only where the step is the gradient itself.
    let Decay::Coupled(decay) = optimizer.item.decay() else { return Vec::new() };
    if optimizer.item.is_adaptive() || program.regularization.is_some() {
        return Vec::new();
    }
    let Some(norm) = layers(program).find(|step| step.is(Role::Normalization)) else { return Vec::new() };
    let penalty = format!("l2({})", Real(decay / 2.0).show());
    vec![
        Diagnostic::advice(CODE, optimizer.span_of("weight_decay"), "offsets and normalization decay too")
            .label("applies to every weight")
            .also(norm.layer.span, "its factors are drawn to 0, which shrinks what comes out")
            .help(format!(
                "write `regularization = {penalty}` instead: the same for matrices and filters, nothing for the rest"
            )),
    ]
}
