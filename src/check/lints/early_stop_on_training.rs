//! Early stopping that watches the samples it trains on.

use super::{Code, Context, Diagnostic, Lint};

const CODE: Code = Code("W0404");

pub(super) const LINT: Lint = Lint { code: CODE, name: "early_stop_on_training", check };

fn check(context: &Context) -> Vec<Diagnostic> {
    let program = context.program;
    let Some(rule) = program.train.early_stop.as_ref().filter(|rule| rule.split == "train") else { return Vec::new() };
    let Some(place) = context.train_setting("early_stop") else { return Vec::new() };
    let message = format!("early stopping watches `train.{}`, which improves while the model overfits", rule.metric);
    let diagnostic = Diagnostic::warning(CODE, place, message).label("never sees a sample that was not trained on");
    vec![match program.split("val") {
        Some(val) => {
            diagnostic.also(val.span, "measured after each epoch").help(format!("watch `val.{}`", rule.metric))
        }
        None => diagnostic.help("add `val = split(train, 10%)` to `data`"),
    }]
}
