//! Statistics of a batch of one sample.

use super::edit::add_setting_after;
use super::walk::layers;
use super::{Code, Context, Diagnostic, Lint, plural};
use crate::diagnostic::Applicability;

const CODE: Code = Code("W0204");

pub(super) const LINT: Lint = Lint { code: CODE, name: "single_sample_statistics", check };

fn check(context: &Context) -> Vec<Diagnostic> {
    let program = context.program;
    let train = &program.train;
    let (rows, micro) = (context.train().rows, program.micro_batch());
    // A batch that has one sample throughout is meant to.
    if train.drop_last || micro == 1 || train.part_sizes(rows % train.batch).last() != Some(1) {
        return Vec::new();
    }
    let Some(norm) = layers(program).find(|step| step.layer.item.needs_batch()) else { return Vec::new() };
    let place = context.train_setting("batch").unwrap_or(context.train().span);
    let message = format!("the last batch of an epoch has 1 sample, and `{}` normalizes by it alone", norm.layer.name);
    let diagnostic = Diagnostic::warning(CODE, place, message)
        .label(format!("{} in batches of {micro}", plural(rows, "row")))
        .also(norm.layer.span, "keeps the statistics of that sample for evaluation")
        .note(format!("{rows} mod {micro} = 1"));
    let setting = context.declared.train.settings.iter().find(|setting| setting.name.text == "batch");
    vec![match setting.filter(|setting| setting.value.span == place) {
        Some(setting) => {
            let (span, text) = add_setting_after(context.sources, setting.span, "drop_last = true");
            diagnostic.fix(Applicability::Suggested, "write `drop_last = true`", span, text)
        }
        None => diagnostic.help("set `drop_last = true`, or choose another batch"),
    }]
}
