//! The settings of the `train` section and their types.

use super::program::Devices;
use crate::item;
use crate::schema::{
    Auto, Count, Duration, FromArg, Given, GivenKind, Mismatch, NonNegative, Positive, Schema, Word, make_nested, quote,
};
use crate::words;

/// A section of settings; the trait only carries the concrete type through the table.
pub(super) trait Section: std::any::Any {
    fn as_any(&self) -> &dyn std::any::Any;
}

impl<T: std::any::Any> Section for T {
    fn as_any(&self) -> &dyn std::any::Any {
        self
    }
}

words! {
    /// The precision of storage and arithmetic.
    pub enum Precision {
        /// IEEE 754 binary32 everywhere.
        F32 = "f32",
    }
}

item! {
    /// How the training runs.
    ///
    /// After it, the test split is measured: with the weights of the best epoch where `early_stop` is set, else with those
    /// of the last. `checkpoints/` of the run keeps both, `best.safetensors` and `last.safetensors`; `nnoptc eval RUN`
    /// measures either. The best epoch is the one with the best `val.accuracy` (or `val.loss` where no accuracy is
    /// measured); without a `val` split, that of the training.
    ///
    /// ```nnopt
    /// train { epochs = 20 }
    /// ```
    "train" => pub struct TrainSettings: Section {
        /// Passes over the training split.
        epochs: Count = Count(10),
        /// Samples of one update.
        ///
        /// `auto` is the largest power of two (of each part, with `accumulate`) that the training split fills and whose
        /// plan fits the device's memory.
        batch: Auto<Count> = Auto::Given(Count(32)),
        /// Parts in which the samples of one update are processed, to save memory.
        accumulate: Count = Count(1),
        /// Whether the last, smaller batch of an epoch is left out.
        drop_last: bool = false,
        /// The largest global norm of the gradient.
        clip_norm: Option<Positive> = None,
        /// The precision of storage and arithmetic.
        precision: Precision = Precision::F32,
        /// Which devices train.
        devices: DevicesArg = DevicesArg(Devices::Auto),
        /// When training stops early; the best weights are restored then.
        early_stop: Option<Patience> = None,
        /// The seed of everything random.
        seed: u64 = 0,
    }
}

/// The value of `devices`.
#[derive(Clone, Debug)]
pub struct DevicesArg(pub Devices);

impl FromArg for DevicesArg {
    fn expected() -> String {
        "`auto`, `cpu`, `gpu`, the number of an adapter or part of its name in quotes".to_owned()
    }

    fn from_arg(given: &Given) -> Result<Self, Mismatch> {
        let devices = match &given.kind {
            GivenKind::Word(word) if word == "auto" => Devices::Auto,
            GivenKind::Word(word) if word == "cpu" => Devices::Cpu,
            GivenKind::Word(word) if word == "gpu" => Devices::Gpu,
            GivenKind::Text(text) if !text.is_empty() => Devices::Named(text.clone()),
            GivenKind::Number { .. } => Devices::Index(u64::from_arg(given)? as usize),
            _ => return Err(Mismatch::unfit()),
        };
        Ok(DevicesArg(devices))
    }

    fn show(&self) -> String {
        match &self.0 {
            Devices::Auto => "auto".to_owned(),
            Devices::Cpu => "cpu".to_owned(),
            Devices::Gpu => "gpu".to_owned(),
            Devices::Named(name) => quote(name),
            Devices::Index(index) => index.to_string(),
        }
    }

    fn words() -> Vec<&'static str> {
        vec!["auto", "cpu", "gpu"]
    }
}

item! {
    /// Stops when a metric has not improved for some time, and restores the best weights.
    ///
    /// ```nnopt
    /// patience(3 epochs, on = val.accuracy)
    /// ```
    "patience" => pub struct PatienceItem: Section {
        /// For so long without a better value.
        duration: Duration,
        /// The metric: a split, a point and the metric's name; `val.accuracy` or `val.loss` if there is `auto`.
        on: Word = Word("auto".to_owned()),
        /// By how much a value has to be better to count.
        min_delta: NonNegative = NonNegative(0.0),
    }
}

const EARLY_STOPS: &[&Schema<dyn Section>] = &[&PatienceItem::SCHEMA];

/// The value of `early_stop`.
#[derive(Clone, Debug)]
pub struct Patience {
    /// What was given.
    pub item: PatienceItem,
    text: String,
}

impl FromArg for Patience {
    fn expected() -> String {
        "a rule such as `patience(3 epochs)`".to_owned()
    }

    fn from_arg(given: &Given) -> Result<Self, Mismatch> {
        let made = make_nested(given, "rule for stopping", EARLY_STOPS)?;
        let text = made.show();
        let item = (*made.item).as_any().downcast_ref::<PatienceItem>().cloned();
        item.map(|item| Patience { item, text }).ok_or_else(Mismatch::unfit)
    }

    fn show(&self) -> String {
        self.text.clone()
    }

    fn words() -> Vec<&'static str> {
        vec!["patience"]
    }
}
