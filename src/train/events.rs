//! What a training reports while it runs and at its end.

use super::health::Health;
use crate::diagnostic::Diagnostic;

/// Told what happens in a training.
pub trait Observer {
    /// Something happened.
    fn event(&mut self, event: &Event);

    /// Whether the training should end after the current step (a signal came).
    fn interrupted(&self) -> bool {
        false
    }
}

/// Something that happens in a training.
#[derive(Clone, Debug)]
pub enum Event {
    /// The first step is about to run.
    Start {
        /// The device's name.
        device: String,
        /// Epochs in all.
        epochs: usize,
        /// Updates in one epoch.
        steps_per_epoch: u64,
        /// Samples in one epoch.
        samples: usize,
        /// Trained numbers.
        parameters: usize,
        /// Bytes planned on the device.
        memory_bytes: u64,
        /// Seconds from the start of the training to here.
        seconds: f64,
    },
    /// Some updates are done.
    Progress {
        /// The epoch, from 1.
        epoch: usize,
        /// Updates done in this epoch.
        step: u64,
        /// The mean training loss of the epoch so far.
        loss: f64,
        /// The training accuracy of the epoch so far, if it is measured.
        accuracy: Option<f64>,
        /// Samples a second in this epoch so far.
        samples_per_second: f64,
    },
    /// An epoch is done.
    Epoch(EpochRecord),
    /// The training ended early.
    EarlyStop {
        /// The epoch after which it ended.
        epoch: usize,
        /// The epoch whose weights were restored.
        best_epoch: usize,
        /// `val.accuracy`
        metric: String,
    },
    /// Something to know that is not an error.
    Note(String),
}

/// The figures of one epoch.
#[derive(Clone, Debug, PartialEq)]
pub struct EpochRecord {
    /// The epoch, from 1.
    pub epoch: usize,
    /// Updates done in all.
    pub step: u64,
    /// `train.loss`, `train.accuracy`, `val.loss` …, in the order of splits and metrics.
    pub metrics: Vec<(String, f64)>,
    /// The learning rate of the epoch's last update.
    pub lr: f64,
    /// Training samples a second, evaluation not counted.
    pub samples_per_second: f64,
    /// Seconds since the first step.
    pub seconds: f64,
    /// Whether the epoch is the best so far.
    pub best: bool,
    /// Seconds in which the host chose rows and wrote inputs, while the device may have waited.
    pub data_seconds: f64,
    /// Gradients and dead units, where they were measured.
    pub health: Option<Health>,
    /// How the loss is scaled, in mixed precision.
    pub scaling: Option<Scaling>,
}

/// Where loss scaling stands after an epoch.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scaling {
    /// What the loss is multiplied by.
    pub scale: f64,
    /// Updates skipped since training began, because a gradient was not finite.
    pub skipped: u32,
}

/// How a training ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// All epochs ran.
    Completed,
    /// The monitored metric stopped improving.
    EarlyStopped,
    /// The loss was not finite.
    Diverged,
    /// A signal ended it.
    Interrupted,
}

impl Status {
    /// As in `summary.json`.
    pub fn name(self) -> &'static str {
        match self {
            Status::Completed => "completed",
            Status::EarlyStopped => "early_stopped",
            Status::Diverged => "diverged",
            Status::Interrupted => "interrupted",
        }
    }
}

/// The end of a training.
#[derive(Clone, Debug)]
pub struct Summary {
    /// How it ended.
    pub status: Status,
    /// What went wrong, when it diverged: the step, the tensor and the layer.
    pub failure: Option<String>,
    /// The same with the place in the source.
    pub diagnostic: Option<Diagnostic>,
    /// Epochs that ran.
    pub epochs: usize,
    /// Updates done.
    pub steps: u64,
    /// The best epoch and its figures.
    pub best: Option<EpochRecord>,
    /// The metric that says which epoch is best: `val.accuracy`.
    pub monitor: String,
    /// Figures on the test split with the final weights: `loss`, `accuracy` …
    pub test: Vec<(String, f64)>,
    /// Matrices of counts on the test split (or the last one there is), row-major, one row a true class.
    pub confusion: Option<Vec<f64>>,
    /// Training samples a second over the whole training, evaluation not counted.
    pub samples_per_second: f64,
    /// Seconds of training and evaluation.
    pub seconds: f64,
    /// Bytes planned on the device.
    pub peak_memory_bytes: u64,
    /// The device's name.
    pub device: String,
    /// SHA-256 of the trained weights and buffers, in the order of their names.
    pub weights_sha256: String,
    /// Seconds that reading the data took.
    pub load_seconds: f64,
    /// Settings that were `auto` until the device was known, by path, with what was found for them.
    pub settled: Vec<(&'static str, f64)>,
    /// How often a device was lost and opened again.
    pub recoveries: usize,
}
