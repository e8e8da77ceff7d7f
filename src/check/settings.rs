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
        /// What products and convolutions read is stored in 16 bits (IEEE 754 binary16), as are the gradients between
        /// them; sums, norms, losses, weights and their updates stay in 32. The loss is scaled so that small gradients do
        /// not vanish.
        Mixed = "mixed",
        /// Weights and samples that are real numbers are stored in 16 bits; everything is computed in 32, and what is stored
        /// between kernels, gradients, the optimizer's state and running statistics stay in 32. The loss is not scaled.
        ///
        /// The stored weight is the weight: there is no copy in 32 bits, and each update is rounded to 11 significant bits. A
        /// step of less than about a 4,000th of a weight leaves it as it is, so small learning rates and weight decay may come
        /// to nothing; `mixed` has no such limit. Samples beyond 65,504 are an error.
        F16Storage = "f16_storage",
    }
}

words! {
    /// How much of a batch each of several devices gets.
    pub enum Balance {
        /// Equal parts, so that the same file, seed and devices give the same bits.
        Equal = "equal",
        /// A batch is cut into four times as many parts as with `equal`, and each goes to the device that will be done
        /// first, by what its parts have taken so far. Sums are then made in another order each time, and weights differ
        /// in their last bits.
        Measured = "measured",
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
        ///
        /// `auto` is a real GPU, or the CPU where there is none. Several train together, each with an equal part of every
        /// batch: `all` is every real GPU, a list names them: `[0, 1]`, `["RTX", cpu]`. An adapter is named by its number or,
        /// in quotes, by a part of its name, its UUID, its place on the PCI bus or its backend; `nnoptc devices` prints
        /// all of them. Gradients are added up in the order of the list, running statistics are averaged, and the weights
        /// are the same on all.
        devices: DevicesArg = DevicesArg(Devices::Auto),
        /// How much of a batch each of several devices gets: `measured` is for devices of different speeds.
        balance: Balance = Balance::Equal,
        /// Makes the result independent of the number of devices.
        ///
        /// `shards(n)` computes the gradient of every update in `n` parts and adds them up in their order, however many
        /// devices share them. A GPU's kernels are then not chosen by a measurement.
        reproducible: Option<Reproducible> = None,
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
        "`auto`, `cpu`, `gpu`, `all`, the number of an adapter, part of its name in quotes, or a list of those"
            .to_owned()
    }

    fn from_arg(given: &Given) -> Result<Self, Mismatch> {
        let devices = match &given.kind {
            GivenKind::Word(word) if word == "auto" => Devices::Auto,
            GivenKind::Word(word) if word == "cpu" => Devices::Cpu,
            GivenKind::Word(word) if word == "gpu" => Devices::Gpu,
            GivenKind::Word(word) if word == "all" => Devices::All,
            GivenKind::List(items) if !items.is_empty() => {
                let each = |item: &Given| match DevicesArg::from_arg(item)?.0 {
                    Devices::All | Devices::Auto | Devices::Many(_) => Err(Mismatch::unfit()),
                    device => Ok(device),
                };
                Devices::Many(items.iter().map(each).collect::<Result<_, _>>()?)
            }
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
            Devices::All => "all".to_owned(),
            Devices::Many(devices) => {
                let each: Vec<String> = devices.iter().map(|device| DevicesArg(device.clone()).show()).collect();
                format!("[{}]", each.join(", "))
            }
        }
    }

    fn words() -> Vec<&'static str> {
        vec!["auto", "cpu", "gpu", "all"]
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

item! {
    /// Computes the gradient of every update in so many parts, and adds them up in their order.
    ///
    /// With one seed and one kind of device, the trained weights are then the same bits on 1, 2, 4 … devices.
    ///
    /// ```nnopt
    /// shards(8)
    /// ```
    "shards" => pub struct ShardsItem: Section {
        /// How many; the batch must be a multiple of it.
        n: Count,
    }
}

const REPRODUCIBLE: &[&Schema<dyn Section>] = &[&ShardsItem::SCHEMA];

/// The value of `reproducible`.
#[derive(Clone, Debug)]
pub struct Reproducible {
    /// Parts of every update.
    pub shards: usize,
}

impl FromArg for Reproducible {
    fn expected() -> String {
        "`shards(n)`".to_owned()
    }

    fn from_arg(given: &Given) -> Result<Self, Mismatch> {
        let made = make_nested(given, "way to be reproducible", REPRODUCIBLE)?;
        let item = (*made.item).as_any().downcast_ref::<ShardsItem>();
        item.map(|item| Reproducible { shards: item.n.0 }).ok_or_else(Mismatch::unfit)
    }

    fn show(&self) -> String {
        format!("shards({})", self.shards)
    }

    fn words() -> Vec<&'static str> {
        vec!["shards"]
    }
}
