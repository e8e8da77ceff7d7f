//! Rules across sections: the model's end against the data and the loss, batches against the rows.

use super::model::Flow;
use super::program::{Data, Devices, ModelNode, Part, Stage, Training};
use super::settings::Section;
use super::{BALANCE, BATCH, LOSS, METRIC, ONE_VALUE, SYNC, for_each_layer, item_diagnostic, lints};
use crate::diagnostic::{Applicability, Diagnostic};
use crate::library::{Loss, Meaning, Metric, TargetType, Type};
use crate::schema::Made;
use crate::source::{Sources, Span};

/// What comes out of the model, and from where.
pub(super) struct ModelEnd<'a> {
    pub flow: &'a Flow,
    pub of: &'a Type,
    pub stages: &'a [Stage],
    pub sources: &'a Sources,
}

impl ModelEnd<'_> {
    /// The stage that made probabilities of the scores, if the model ends in probabilities.
    fn probabilities(&self) -> Option<Span> {
        let made =
            |stage: &&Stage| stage.output.meaning != Meaning::Features && stage.input.meaning == Meaning::Features;
        (self.of.meaning != Meaning::Features).then(|| self.stages.iter().rev().find(made).map(|stage| stage.span))?
    }
}

/// The model's end against the loss, the metrics and the data's targets.
pub(super) fn check_ends(
    data: &Data,
    loss: &Made<dyn Loss>,
    metrics: &[Made<dyn Metric>],
    end: &ModelEnd,
    diagnostics: &mut Vec<Diagnostic>,
) {
    let ModelEnd { flow: output, of, .. } = *end;
    let targets = match data.targets {
        TargetType::Classes(classes) => format!("the data has {classes} classes"),
        TargetType::Values(1) => "the data has one number as target".to_owned(),
        TargetType::Values(width) => format!("the data has {width} numbers as targets"),
    };
    if let Err(error) = loss.item.check(of, data.targets) {
        let diagnostic = item_diagnostic(LOSS, &error, loss)
            .also(output.span, format!("{} ends the model in {}", output.from, of.show()))
            .also(data.splits[0].span, targets);
        diagnostics.push(match end.probabilities() {
            Some(span) => {
                let (edit, text) = lints::edit::remove_stage(end.sources, span);
                let title = format!("remove `{}`", end.sources.text(span));
                diagnostic.fix(Applicability::Suggested, title, edit, text)
            }
            None => diagnostic,
        });
        return;
    }
    for metric in metrics {
        if let Err(error) = metric.item.check(of, data.targets) {
            let diagnostic = item_diagnostic(METRIC, &error, metric);
            diagnostics.push(diagnostic.also(data.splits[0].span, targets.clone()));
        }
    }
}

/// Batches against the rows of the training split, the last partial batch included.
pub(super) fn check_batches(
    data: &Data,
    train: &Training,
    stages: &[Stage],
    model: &[ModelNode],
    diagnostics: &mut Vec<Diagnostic>,
) {
    let split = &data.splits[0];
    if train.batch > split.rows {
        let message = format!("a batch of {} is larger than the training split of {} rows", train.batch, split.rows);
        let from = match split.part {
            Part::Rest => "the training split is read here",
            Part::Taken { .. } => "the training split is taken here",
        };
        let diagnostic = Diagnostic::error(BATCH, train.batch_span, message)
            .label("more than there is")
            .also(split.span, from)
            .help(format!("choose a batch of at most {}", split.rows));
        diagnostics.push(diagnostic);
        return;
    }
    let micro = train.batch / train.parts();
    let sizes: Vec<usize> = train.part_sizes(split.rows % train.batch).collect();
    for_each_layer(model, &mut |stage, layer| {
        let shape = &stages[stage].input.shape;
        let positions: usize = shape.iter().skip(1).product();
        // So many parts have statistics together.
        let synchronized = layer.item.is_synchronized() && train.runs_together();
        let parts = if synchronized { train.replicas() } else { 1 };
        let rest: usize = sizes.chunks(parts).next_back().map_or(0, |sizes| sizes.iter().sum());
        let single = (rest == 1 && !train.drop_last) || micro * parts == 1;
        if layer.item.needs_batch() && positions == 1 && single {
            let message = format!(
                "`{}` needs more than one value a channel, and the last batch of an epoch has {rest} row",
                layer.name
            );
            let rows = split.rows;
            let diagnostic = Diagnostic::error(ONE_VALUE, layer.span, message)
                .label("normalizes over the batch")
                .also(train.batch_span, format!("{rows} rows in batches of {micro}"))
                .note(format!("{rows} mod {micro} = {}", rows % micro))
                .help("set `drop_last = true`, or choose another batch");
            diagnostics.push(diagnostic);
        }
    });
}

/// What keeps devices from computing at the same time, against the first layer that asks for statistics of all of them.
pub(super) fn check_sync(training: &Training, made: &Made<dyn Section>, model: &[ModelNode]) -> Option<Diagnostic> {
    let (setting, message, label) = if training.shards.is_some() {
        let message = "shards, which are computed one after the other, cannot have their statistics together";
        ("reproducible", message, "asks for shards")
    } else if training.balances {
        let message = "devices that do not wait for each other cannot have their statistics together";
        ("balance", message, "gives each device the next part as soon as it is done")
    } else {
        return None;
    };
    let mut first = None;
    for_each_layer(model, &mut |_, layer| {
        if layer.item.is_synchronized() {
            first.get_or_insert(layer.span_of("sync"));
        }
    });
    let diagnostic = Diagnostic::error(SYNC, made.span_of(setting), message).label(label);
    let help = format!("leave out `{setting}` or `sync`");
    first.map(|span| diagnostic.also(span, "this asks for statistics of all devices").help(help))
}

/// Whether there is something to balance.
pub(super) fn check_balance(training: &Training, made: &Made<dyn Section>) -> Option<Diagnostic> {
    if !training.balances {
        return None;
    }
    let error = |message: &str| Diagnostic::error(BALANCE, made.span_of("balance"), message);
    if training.shards.is_some() {
        let message = "parts that are dealt out by speed cannot be added up in a fixed order";
        let diagnostic = error(message).also(made.span_of("reproducible"), "this asks for a fixed order");
        return Some(diagnostic.help("leave out `balance` or `reproducible`"));
    }
    let several = match &training.devices {
        Devices::All => true,
        Devices::Many(devices) => devices.len() > 1,
        _ => false,
    };
    let message = "a batch cannot be balanced over a single device";
    (!several).then(|| error(message).help("name several devices, as in `devices = all`, or leave out `balance`"))
}
