//! A checked pipeline: every name resolved, every shape known, every value within its range.

use std::path::PathBuf;

use super::for_each_layer;
pub use super::settings::Precision;
use crate::formats::dataset::Header;
use crate::library::{
    Augmentation, Cost, Layer, Loss, Metric, Optimizer, Regularizer, RunShape, Schedule, Source, TargetType, Type,
};
use crate::schema::{Duration, FromArg, Made, Origin, Real};
use crate::source::Span;

/// A checked pipeline.
pub struct Program {
    /// Where the data comes from and how it is divided.
    pub data: Data,
    /// Transforms of training images, in order.
    pub augment: Vec<Made<dyn Augmentation>>,
    /// The type of a sample as the model sees it.
    pub input: Type,
    /// The model.
    pub model: Vec<ModelNode>,
    /// Every stage of the model, by its number.
    pub stages: Vec<Stage>,
    /// The type of the model's result.
    pub output: Type,
    /// The loss.
    pub loss: Made<dyn Loss>,
    /// The penalty on all weights.
    pub regularization: Option<Made<dyn Regularizer>>,
    /// The optimizer.
    pub optimizer: Made<dyn Optimizer>,
    /// The schedule of the learning rate.
    pub schedule: Made<dyn Schedule>,
    /// What is measured beside the loss.
    pub metrics: Vec<Made<dyn Metric>>,
    /// How the training runs.
    pub train: Training,
    /// The optimizer's learning rate, before the schedule; `None` until `auto` is settled.
    pub rate: Option<f64>,
    /// Every setting with its value and origin, in the order of the language, for `plan` and `resolved.nnopt`.
    pub resolved: Vec<ResolvedSetting>,
    /// What was found for settings that are `auto` until the device is known: paths with their numbers.
    pub settled: Vec<(&'static str, f64)>,
}

/// One line of the resolved pipeline.
#[derive(Clone, Debug)]
pub struct ResolvedSetting {
    /// `data`, `augment`, `model`, `train`, or empty for settings at the top level.
    pub section: &'static str,
    /// The name before `=`; empty for stages.
    pub name: String,
    /// The value as source text.
    pub value: String,
    /// Where the value comes from.
    pub origin: Origin,
}

/// The data of a pipeline, known by the headers of its files; [`crate::data::load`] reads the rest.
pub struct Data {
    /// What is read, each once.
    pub sources: Vec<SourceData>,
    /// The splits, `train` first.
    pub splits: Vec<Split>,
    /// What the targets are.
    pub targets: TargetType,
    /// The names of the classes.
    pub class_names: Vec<String>,
    /// The shape of a sample before augmentation.
    pub sample_shape: Vec<usize>,
    /// How samples are normalized.
    pub normalize: Normalize,
    /// Where the setting stands.
    pub normalize_span: Span,
}

/// A source of samples.
pub struct SourceData {
    /// The split that it is given for: `train`. Resident data sets bear this name.
    pub name: String,
    /// The source.
    pub source: Made<dyn Source>,
    /// The folder that its paths are relative to.
    pub base: PathBuf,
    /// What its files' headers say.
    pub header: Header,
}

/// One split.
#[derive(Clone, Debug)]
pub struct Split {
    /// `train`, `val`, `test`.
    pub name: String,
    /// Its source, as an index into [`Data::sources`].
    pub source: usize,
    /// Which rows of the source belong to it.
    pub part: Part,
    /// How many samples it has; at least 1.
    pub rows: usize,
    /// Where it is declared.
    pub span: Span,
}

/// Which rows of a source a split has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Those that no other split takes.
    Rest,
    /// So many, drawn at random before all splits declared later.
    Taken {
        /// Whether every class gives its share.
        stratified: bool,
    },
}

/// How samples are normalized: `(x − mean) / std`, one pair a channel or a feature.
#[derive(Clone, Debug, PartialEq)]
pub enum Normalize {
    /// Not at all (bytes still become shares of 255).
    None,
    /// Measured on the training split.
    Auto,
    /// Given.
    Given {
        /// One for each channel or feature, or one for all.
        mean: Vec<f64>,
        /// The same.
        std: Vec<f64>,
    },
}

/// Part of a model.
pub enum ModelNode {
    /// A layer.
    Layer {
        /// Its number.
        stage: usize,
        /// The layer.
        layer: Made<dyn Layer>,
    },
    /// The sum of two paths from one input; without stages the second is the input itself.
    Residual {
        /// Its number.
        stage: usize,
        /// The first path.
        main: Vec<ModelNode>,
        /// The second path.
        shortcut: Vec<ModelNode>,
    },
    /// Several paths from one input, joined.
    Branch {
        /// Its number.
        stage: usize,
        /// The paths.
        arms: Vec<Vec<ModelNode>>,
        /// How they meet.
        join: Join,
    },
    /// Keeps the current value under a label.
    Keep {
        /// The label's number.
        label: usize,
    },
    /// Goes on from a label.
    Use {
        /// The label's number.
        label: usize,
    },
    /// Joins the current value with labels.
    Meet {
        /// Its number.
        stage: usize,
        /// The labels.
        labels: Vec<usize>,
        /// How they meet.
        join: Join,
    },
}

/// How paths meet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Join {
    /// Their sum.
    Add,
    /// One after another along the channels (the first axis after the batch).
    Concat,
}

/// What is known of a stage of the model.
#[derive(Clone, Debug)]
pub struct Stage {
    /// Its dotted path: `model.3`.
    pub path: String,
    /// As it reads with its given arguments: `conv2d(32, kernel = 3)`.
    pub text: String,
    /// Where it is written.
    pub span: Span,
    /// What goes in.
    pub input: Type,
    /// What comes out.
    pub output: Type,
    /// Whether both types are known; after a mistake they are not, and stand empty.
    pub known: bool,
    /// What it costs, for one sample.
    pub cost: Cost,
}

/// Which adapters are used.
#[derive(Clone, Debug, PartialEq)]
pub enum Devices {
    /// A real GPU if there is one, else the CPU.
    Auto,
    /// The native CPU executor.
    Cpu,
    /// A real GPU.
    Gpu,
    /// The adapter whose name has this part.
    Named(String),
    /// The adapter of this index.
    Index(usize),
    /// Every real GPU, until it is known which those are.
    All,
    /// These together; the same one twice is two replicas of it.
    Many(Vec<Devices>),
}

/// When training stops early.
#[derive(Clone, Debug, PartialEq)]
pub struct EarlyStop {
    /// So long without a better value.
    pub patience: Duration,
    /// The split.
    pub split: String,
    /// The metric.
    pub metric: String,
    /// Whether larger is better.
    pub higher_is_better: bool,
    /// By how much a value has to be better.
    pub min_delta: f64,
}

/// Parts of a batch for each device where they are dealt out by measured speed: a device gets between none and all.
pub const BALANCED_PARTS: usize = 4;

/// How the training runs.
#[derive(Clone, Debug)]
pub struct Training {
    /// Passes over the training split.
    pub epochs: usize,
    /// Samples of one update; the largest of [`Program::auto_batches`] until `auto` is settled.
    pub batch: usize,
    /// Whether `batch` is `auto` and not settled.
    pub batch_is_open: bool,
    /// Parts in which the samples of one update are processed.
    pub accumulate: usize,
    /// Whether the last, smaller batch of an epoch is left out.
    pub drop_last: bool,
    /// What is stored in 16 bits.
    pub precision: Precision,
    /// The largest global norm of the gradient.
    pub clip_norm: Option<f64>,
    /// Which adapters.
    pub devices: Devices,
    /// Where `devices` is set.
    pub devices_span: Span,
    /// Replicas in other processes, once it is known that there are any.
    pub elsewhere: usize,
    /// Parts in which the gradient of every update is computed and added up, whatever the devices.
    pub shards: Option<usize>,
    /// Whether devices get parts of a batch by their measured speed, not equally many.
    pub balances: bool,
    /// When training stops early.
    pub early_stop: Option<EarlyStop>,
    /// The seed of everything random.
    pub seed: u64,
    /// Where `batch` is set.
    pub batch_span: Span,
}

impl Training {
    /// Copies of the model that train together.
    pub fn replicas(&self) -> usize {
        let here = match &self.devices {
            Devices::Many(devices) => devices.len(),
            _ => 1,
        };
        here + self.elsewhere
    }

    /// Whether gradients of several parts are added up on the host before the weights are updated.
    pub fn is_parallel(&self) -> bool {
        self.replicas() > 1 || self.shards.is_some()
    }

    /// Whether each replica computes a part of a batch at the same time as the others, so that they can exchange something
    /// meanwhile.
    pub fn runs_together(&self) -> bool {
        self.replicas() > 1 && self.shards.is_none() && !self.balances
    }

    /// Parts in which a whole batch is processed.
    pub fn parts(&self) -> usize {
        let finer = if self.balances && self.replicas() > 1 { BALANCED_PARTS } else { 1 };
        self.shards.unwrap_or(self.replicas()).max(1) * self.accumulate.max(1) * finer
    }

    /// How a batch is divided, for people: `2 devices × 4 parts of 16`; `None` where it is not.
    pub fn division(&self) -> Option<String> {
        let micro = self.batch / self.parts();
        let replicas = self.replicas();
        let shared = match (self.shards, replicas) {
            (Some(shards), 1) => format!("{shards} shards"),
            (Some(shards), _) => format!("{shards} shards on {replicas} devices"),
            (None, 1) if self.accumulate == 1 => return None,
            (None, 1) => return Some(format!("{} parts of {micro}", self.accumulate)),
            (None, _) if self.balances => {
                let parts = self.parts();
                return Some(format!(
                    "{parts} parts of {micro} samples, for {replicas} devices by their measured speed"
                ));
            }
            (None, _) => format!("{replicas} devices"),
        };
        Some(match self.accumulate {
            1 => format!("{shared}, {micro} samples each"),
            parts => format!("{shared}, each {parts} parts of {micro} samples"),
        })
    }

    /// The samples of each part of a batch of so many: in parallel, all parts have a share; else whole ones come first,
    /// and a smaller one ends the update.
    pub fn part_sizes(&self, samples: usize) -> impl ExactSizeIterator<Item = usize> + use<> {
        let (parts, shares_all) = (self.parts(), self.is_parallel());
        let micro = (self.batch / parts).max(1);
        let count = if shares_all { parts.min(samples) } else { samples.div_ceil(micro) };
        (0..count).map(move |part| {
            if shares_all {
                samples / parts + usize::from(part < samples % parts)
            } else {
                micro.min(samples - part * micro)
            }
        })
    }
}

impl Program {
    /// The split of this name.
    pub fn split(&self, name: &str) -> Option<&Split> {
        self.data.splits.iter().find(|split| split.name == name)
    }

    /// The source of a split.
    pub fn source_of(&self, split: &str) -> &SourceData {
        let split = self.split(split).unwrap_or_else(|| unreachable!("a checked split exists"));
        &self.data.sources[split.source]
    }

    /// Sizes of the training.
    pub fn run_shape(&self) -> RunShape {
        let rows = self.data.splits[0].rows;
        let batch = self.train.batch;
        let steps = if self.train.drop_last { rows / batch } else { rows.div_ceil(batch) };
        let steps_per_epoch = steps as u64;
        RunShape { steps_per_epoch, total_steps: steps_per_epoch * self.train.epochs as u64 }
    }

    /// The learning rate of an update, counted from 0; `None` until `auto` is settled.
    pub fn rate_at(&self, step: u64) -> Option<f64> {
        Some(self.schedule.item.learning_rate(self.rate?, step, &self.run_shape()))
    }

    /// Sets the learning rate that was found for `auto`.
    pub fn settle_rate(&mut self, rate: f64) {
        self.rate = Some(rate);
        if let Some(value) = self.optimizer.values.iter_mut().find(|value| value.name == "lr") {
            (value.value, value.origin) = (Real(rate).show(), Origin::Inferred);
        }
        let text = self.optimizer.show();
        if let Some(setting) = self.resolved.iter_mut().find(|setting| setting.name == "optimizer") {
            setting.value = text;
        }
        self.settled.push(("optimizer.lr", rate));
    }

    /// The batches that `auto` may become, largest first; empty where the batch is known.
    pub fn auto_batches(&self) -> Vec<usize> {
        if !self.train.batch_is_open {
            return Vec::new();
        }
        auto_batches(self.data.splits[0].rows, self.train.parts(), self.train.drop_last, &self.model)
    }

    /// Sets the batch that was found for `auto`.
    pub fn settle_batch(&mut self, batch: usize) {
        (self.train.batch, self.train.batch_is_open) = (batch, false);
        let is_batch = |setting: &&mut ResolvedSetting| (setting.section, &*setting.name) == ("train", "batch");
        if let Some(setting) = self.resolved.iter_mut().find(is_batch) {
            (setting.value, setting.origin) = (batch.to_string(), Origin::Inferred);
        }
        self.settled.push(("train.batch", batch as f64));
    }

    /// Samples of one part of an update.
    pub fn micro_batch(&self) -> usize {
        self.train.batch / self.train.parts()
    }

    /// Names the devices that `all` stands for.
    pub fn settle_devices(&mut self, indices: Vec<usize>) {
        self.train.devices = Devices::Many(indices.into_iter().map(Devices::Index).collect());
        let is_devices = |setting: &&mut ResolvedSetting| (setting.section, &*setting.name) == ("train", "devices");
        if let Some(setting) = self.resolved.iter_mut().find(is_devices) {
            let text = super::settings::DevicesArg(self.train.devices.clone()).show();
            (setting.value, setting.origin) = (text, Origin::Inferred);
        }
    }
}

/// Powers of two times the number of parts, up to the rows of the training split, largest first; at least one.
///
/// Where layers take statistics over the batch, those that leave a single row for the last part come only if all do.
pub(super) fn auto_batches(rows: usize, accumulate: usize, drop_last: bool, model: &[ModelNode]) -> Vec<usize> {
    let mut needs_batch = false;
    for_each_layer(model, &mut |_, layer| needs_batch |= layer.item.needs_batch());
    let fits = |part: &usize| part.checked_mul(accumulate).is_some_and(|batch| batch <= rows);
    let mut parts: Vec<usize> =
        std::iter::successors(Some(1_usize), |part| part.checked_mul(2)).take_while(fits).collect();
    parts.reverse();
    let single = |part: usize| part == 1 || (!drop_last && rows % (part * accumulate) % part == 1);
    if needs_batch && parts.iter().any(|&part| !single(part)) {
        parts.retain(|&part| !single(part));
    }
    if parts.is_empty() { vec![accumulate] } else { parts.into_iter().map(|part| part * accumulate).collect() }
}

/// What was found out on the way, whether or not a program came of it: what an editor shows.
#[derive(Clone, Debug, Default)]
pub struct Findings {
    /// The splits with their rows.
    pub splits: Vec<Split>,
    /// What the targets are.
    pub targets: Option<TargetType>,
    /// The type of a sample as the model sees it.
    pub input: Option<Type>,
    /// The stages of the model, in the order in which they run.
    pub stages: Vec<Stage>,
    /// The transforms of `augment`, and each use of a block and each `repeat` as a whole.
    pub wholes: Vec<Stage>,
    /// Every `let` with its value as source text.
    pub lets: Vec<(String, String)>,
}

impl Findings {
    /// What runs where this is written, in order: more than one stage in blocks and repeats.
    pub fn stages_at(&self, span: Span) -> Vec<&Stage> {
        self.stages.iter().chain(&self.wholes).filter(|stage| stage.span == span && stage.known).collect()
    }
}

/// Files that the program was read from, for the run folder.
#[derive(Clone, Debug, Default)]
pub struct Origins {
    /// Paths in the order of reading; the first is the main file.
    pub paths: Vec<PathBuf>,
}
