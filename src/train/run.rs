//! A whole training: epochs, evaluation, the best weights, early stopping.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration as Time, Instant};

use super::checkpoint::{self, CheckpointError, Meta, Snapshot};
use super::diagnose::{Culprit, diagnose, update_of};
use super::evaluate::{self, Measured};
use super::events::{EpochRecord, Event, Observer, Scaling, Status, Summary};
use super::feed::Queue;
use super::health::HealthCheck;
use super::initialize::initialize;
use super::keep::Keeper;
use super::monitor::Monitor;
use super::prepare::Prepared;
use crate::backend::{BackendError, Session};
use crate::check::program::{Precision, Program};
use crate::data::load::Loaded;
use crate::data::{DataError, Sampler};
use crate::diagnostic::Diagnostic;
use crate::ir::graph::count;
use crate::ir::{StateId, StateInfo};
use crate::library::StepContext;
use crate::lower::{GUARD, scaler};

/// Why a training could not go on.
#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    /// The device failed.
    #[error(transparent)]
    Backend(#[from] BackendError),
    /// A checkpoint could not be written or read.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The data does not allow it.
    #[error(transparent)]
    Data(#[from] DataError),
    /// `lr = auto` has not been settled.
    #[error("the learning rate is still to be found")]
    NoRate,
}

/// How often a lost device is opened again: one that is lost again and again is broken.
const MOST_RECOVERIES: usize = 3;
/// How often the figures of a running epoch are reported.
const REPORT_EVERY: Time = Time::from_millis(200);

/// Trains a program on a session. Checkpoints go to `checkpoints`, if it is given.
///
/// # Errors
/// When the device fails or a checkpoint cannot be written. A loss that is not finite is no error here but a
/// [`Status::Diverged`].
pub fn run(
    program: &Program,
    prepared: &Prepared,
    loaded: &Loaded,
    session: &mut dyn Session,
    checkpoints: Option<&Path>,
    observer: &mut dyn Observer,
) -> Result<Summary, TrainError> {
    let start = Instant::now();
    if program.rate.is_none() {
        return Err(TrainError::NoRate);
    }
    for note in initialize(program, loaded, &prepared.states, session)? {
        observer.event(&Event::Note(note));
    }
    if let Some(text) = program.train.division().filter(|_| program.train.is_parallel()) {
        observer.event(&Event::Note(format!("a batch of {} is {text}", program.train.batch)));
    }
    let shape = program.run_shape();
    observer.event(&Event::Start {
        device: session.device(),
        epochs: program.train.epochs,
        steps_per_epoch: shape.steps_per_epoch,
        samples: program.data.splits[0].rows,
        parameters: prepared.parameters(),
        memory_bytes: prepared.memory().total() + session.scratch_bytes(),
        seconds: start.elapsed().as_secs_f64(),
    });
    let monitor = Monitor::new(program);
    let mut run = Run {
        program,
        prepared,
        loaded,
        session,
        keeper: Keeper::new(checkpoints, &prepared.states),
        observer,
        monitor,
        pipeline: checkpoint::pipeline_sha256(program),
        queue: Queue::for_plans(&prepared.plans),
        health: HealthCheck::default(),
        data_time: Time::ZERO,
        batch: Vec::with_capacity(program.train.batch),
        step: 0,
        number: 0,
        samples: 0,
        training: Time::ZERO,
        start: Instant::now(),
        best: None,
        last: None,
        recoveries: 0,
    };
    let result = run.train();
    // What was good before a failure is kept, whatever the failure.
    let kept = run.keeper.write();
    let summary = result?;
    kept?;
    Ok(summary)
}

struct Best {
    record: EpochRecord,
    value: f64,
    snapshot: Arc<Snapshot>,
}

struct Run<'a> {
    program: &'a Program,
    prepared: &'a Prepared,
    loaded: &'a Loaded,
    session: &'a mut dyn Session,
    keeper: Keeper<'a>,
    observer: &'a mut dyn Observer,
    monitor: Monitor,
    /// The hash of the pipeline, for checkpoints.
    pipeline: String,
    /// Steps that wait for the device.
    queue: Queue,
    health: HealthCheck,
    /// Time in which the host chose rows and wrote inputs.
    data_time: Time,
    /// The rows of a batch.
    batch: Vec<u32>,
    /// Updates given to the device.
    step: u64,
    /// Parts of updates given to the device; numbers the random streams.
    number: u32,
    /// Training samples seen.
    samples: u64,
    /// Time spent on training samples.
    training: Time,
    start: Instant,
    best: Option<Best>,
    /// What the states were when the last epoch ended.
    last: Option<Arc<Snapshot>>,
    /// How often the device was lost and opened again.
    recoveries: usize,
}

/// How the updates of an epoch ended.
enum Ended {
    Whole,
    Diverged(Box<Diagnostic>),
    Interrupted,
}

/// What comes after an epoch.
enum Next {
    Epoch,
    EarlyStop,
    Diverged(Box<Diagnostic>),
    Interrupted,
}

/// Where a training stands between two epochs, beside its states.
#[derive(Clone, Copy)]
struct Point {
    step: u64,
    number: u32,
    samples: u64,
    training: Time,
}

impl Run<'_> {
    fn train(&mut self) -> Result<Summary, TrainError> {
        let train = &self.program.train;
        let rows = &self.loaded.rows[0];
        let mut sampler = Sampler::new(rows.len(), train.batch, train.drop_last, train.seed)?;
        let mut status = Status::Completed;
        let mut failure = None;
        let mut epochs = 0;
        let mut epoch = 1;
        while epoch <= train.epochs {
            let before = self.point();
            let next = match self.whole_epoch(epoch, &mut sampler, rows) {
                Err(error) => {
                    self.recover(error, &format!("in epoch {epoch}"))?;
                    self.go_back(before);
                    continue;
                }
                Ok(next) => next,
            };
            match next {
                Next::Epoch => epochs = epoch,
                Next::Diverged(reason) => {
                    (status, failure) = (Status::Diverged, Some(*reason));
                    break;
                }
                Next::Interrupted => {
                    status = Status::Interrupted;
                    break;
                }
                Next::EarlyStop => {
                    (status, epochs) = (Status::EarlyStopped, epoch);
                    let best_epoch = self.best.as_ref().map_or(epoch, |best| best.record.epoch);
                    let metric = self.monitor.name.clone();
                    self.observer.event(&Event::EarlyStop { epoch, best_epoch, metric });
                    break;
                }
            }
            epoch += 1;
        }
        loop {
            match self.summary(status, failure.clone(), epochs) {
                Err(error) => self.recover(error, "after the last epoch")?,
                Ok(summary) => return Ok(summary),
            }
        }
    }

    /// Runs and finishes an epoch. Nothing that a failure leaves behind but the states and what [`Run::point`] gives counts.
    fn whole_epoch(&mut self, epoch: usize, sampler: &mut Sampler, rows: &[u32]) -> Result<Next, TrainError> {
        let began = Instant::now();
        sampler.shuffle(epoch as u32);
        self.data_time = began.elapsed();
        evaluate::reset(self.program, self.prepared, self.session, "train")?;
        let began = Instant::now();
        let seen = self.samples;
        let ended = self.epoch(epoch, sampler, rows)?;
        self.session.wait()?;
        let took = began.elapsed();
        self.training += took;
        match ended {
            Ended::Whole => {
                let rate = (self.samples - seen) as f64 / took.as_secs_f64().max(1e-9);
                self.finish_epoch(epoch, (self.samples - seen) as usize, rate)
            }
            Ended::Diverged(reason) => Ok(Next::Diverged(reason)),
            Ended::Interrupted => {
                self.keep_interrupted(epoch - 1)?;
                Ok(Next::Interrupted)
            }
        }
    }

    fn point(&self) -> Point {
        Point { step: self.step, number: self.number, samples: self.samples, training: self.training }
    }

    fn go_back(&mut self, to: Point) {
        Point { step: self.step, number: self.number, samples: self.samples, training: self.training } = to;
        self.queue = Queue::for_plans(&self.prepared.plans);
    }

    /// Opens a lost device again, with the states that it had when the last epoch ended.
    ///
    /// # Errors
    /// The error itself, if it is another one, comes too often, or the device cannot be opened again.
    fn recover(&mut self, mut error: TrainError, place: &str) -> Result<(), TrainError> {
        loop {
            let TrainError::Backend(lost @ BackendError::Lost { .. }) = &error else { return Err(error) };
            if self.recoveries == MOST_RECOVERIES || !self.session.reopen()? {
                return Err(error);
            }
            self.recoveries += 1;
            let from = if self.last.is_some() { "the end of the epoch before" } else { "its beginning" };
            self.observer.event(&Event::Note(format!(
                "{place}, {lost}; it was opened again ({} of at most {MOST_RECOVERIES} times), and the training goes on \
                 from {from}",
                self.recoveries
            )));
            match self.restore() {
                Ok(()) => return Ok(()),
                Err(next) => error = next.into(),
            }
        }
    }

    /// Sets all states to what they were when the last epoch ended, or the first began.
    fn restore(&mut self) -> Result<(), BackendError> {
        initialize(self.program, self.loaded, &self.prepared.states, self.session)?;
        for (id, words) in self.last.iter().flat_map(|last| checkpoint::words_of(&self.prepared.states, last)) {
            self.session.write_state(id, words)?;
        }
        Ok(())
    }

    /// Runs the updates of one epoch, several at a time.
    fn epoch(&mut self, epoch: usize, sampler: &Sampler, rows: &[u32]) -> Result<Ended, TrainError> {
        let began = Instant::now();
        let mut reported = Instant::now();
        let mut chunk = 1;
        let mut next = 0;
        let mut seen = 0;
        let batches = sampler.batches();
        while next < batches {
            let end = (next + chunk).min(batches);
            let chunk_began = Instant::now();
            let given_before = self.queue.given;
            for batch in next..end {
                // The buffer is lent and comes back, so that a step allocates nothing.
                let mut samples = std::mem::take(&mut self.batch);
                samples.clear();
                samples.extend(sampler.batch(batch).iter().map(|&index| rows[index as usize]));
                seen += samples.len();
                let fed = self.feed(&samples);
                self.batch = samples;
                fed?;
            }
            self.data_time += chunk_began.elapsed().saturating_sub(self.queue.given - given_before);
            self.queue.flush(self.session)?;
            next = end;
            if self.observer.interrupted() {
                self.session.wait()?;
                return Ok(Ended::Interrupted);
            }
            if next == batches || reported.elapsed() >= REPORT_EVERY {
                // Other processes end an epoch with this one, and look at no clock.
                let may_end = next == batches || self.program.train.elsewhere == 0;
                if let Some(reason) = if may_end { self.divergence(epoch)? } else { None } {
                    return Ok(Ended::Diverged(reason));
                }
                let measured = evaluate::read(self.program, self.prepared, self.session, "train", seen)?;
                self.observer.event(&Event::Progress {
                    epoch,
                    step: next as u64,
                    loss: measured.mean("loss").unwrap_or(f64::NAN),
                    accuracy: measured.mean("accuracy"),
                    samples_per_second: seen as f64 / began.elapsed().as_secs_f64().max(1e-9),
                });
                reported = Instant::now();
            }
            // Chunks grow until one takes about a quarter of the time between reports.
            let took = chunk_began.elapsed();
            if took < REPORT_EVERY / 8 && chunk < 1024 {
                chunk *= 2;
            } else if took > REPORT_EVERY {
                chunk = (chunk / 2).max(1);
            }
        }
        Ok(Ended::Whole)
    }

    /// Queues one update for the device.
    fn feed(&mut self, samples: &[u32]) -> Result<(), TrainError> {
        let context = StepContext { step: self.step, lr: self.rate_at(self.step) };
        self.queue.push_update(self.session, self.program, self.prepared, samples, &mut self.number, context)?;
        self.step += 1;
        self.samples += samples.len() as u64;
        Ok(())
    }

    fn rate_at(&self, step: u64) -> f64 {
        self.program.rate_at(step).unwrap_or_else(|| unreachable!("a training begins with a learning rate"))
    }

    /// Whether a loss was not finite, and which tensor was the first.
    fn divergence(&mut self, epoch: usize) -> Result<Option<Box<Diagnostic>>, TrainError> {
        let Some(guard) = self.prepared.states.find(GUARD) else { return Ok(None) };
        let word = self.session.read_state(guard)?[0];
        if word == 0 {
            return Ok(None);
        }
        let part = word - 1;
        let steps = self.program.run_shape().steps_per_epoch;
        let update = update_of(self.program, part);
        let place = format!("at step {} (epoch {epoch}, update {} of {steps})", update + 1, update % steps + 1);
        let culprit = diagnose(self.program, self.prepared, self.loaded, self.session, part)?;
        Ok(Some(Box::new(if self.program.train.precision == Precision::Mixed {
            let most = scaler::MOST_SKIPS;
            let happened = format!("{most} updates in a row were skipped, the last {place}");
            culprit.diagnostic(happened, "not finite was first")
        } else {
            culprit.diagnostic(format!("the loss was not finite {place}"), "first")
        })))
    }

    /// Measures, reports, keeps the best and the last.
    fn finish_epoch(&mut self, epoch: usize, samples: usize, rate: f64) -> Result<Next, TrainError> {
        let program = self.program;
        let last = Arc::new(self.snapshot(true)?);
        // An update may overflow after a loss that was finite; nothing of it is kept.
        if let Some(name) = checkpoint::first_non_finite(&self.prepared.states, &last) {
            let place = format!("after step {} (epoch {epoch})", self.step);
            let id = self.prepared.states.find(name).unwrap_or_else(|| unreachable!("a snapshot is of states"));
            let culprit = Culprit::state(program, self.prepared.states.info(id));
            let happened = format!("the weights were not finite {place}");
            return Ok(Next::Diverged(Box::new(culprit.diagnostic(happened, "first"))));
        }
        let mut metrics = Vec::new();
        let train = evaluate::read(program, self.prepared, self.session, "train", samples)?;
        metrics.extend(train.means.iter().map(|(name, value)| (format!("train.{name}"), *value)));
        if let Some(index) = program.data.splits.iter().position(|split| split.name == "val") {
            let val = evaluate::evaluate(program, self.prepared, self.session, "val", &self.loaded.rows[index])?;
            metrics.extend(val.means.iter().map(|(name, value)| (format!("val.{name}"), *value)));
        }
        // Processes that train together must come to the same decision.
        let values = self.session.agree(metrics.iter().map(|(_, value)| *value).collect())?;
        metrics.iter_mut().zip(values).for_each(|((_, value), agreed)| *value = agreed);
        let value = metrics.iter().find(|(name, _)| *name == self.monitor.name).map_or(f64::NAN, |(_, value)| *value);
        let better = self.monitor.is_better(value, self.best.as_ref().map(|best| best.value));
        let lr = self.rate_at(self.step.saturating_sub(1));
        let mut record = EpochRecord {
            epoch,
            step: self.step,
            metrics,
            lr,
            samples_per_second: rate,
            seconds: self.start.elapsed().as_secs_f64(),
            best: better,
            data_seconds: self.data_time.as_secs_f64(),
            health: None,
            scaling: self.scaling()?,
        };
        if better {
            let snapshot = Arc::new(self.weights_of(&last));
            self.best = Some(Best { record: record.clone(), value, snapshot: Arc::clone(&snapshot) });
            self.keeper.put("best", snapshot, self.meta(epoch));
        }
        let since = self.step - self.best.as_ref().map_or(0, |best| best.record.step);
        let stops = self.monitor.patience.is_some_and(|patience| since >= patience && !better);
        let is_last = stops || epoch == program.train.epochs;
        if self.health.is_due(epoch == 1 || is_last, self.training) {
            record.health = Some(self.health.measure(program, self.loaded, &last)?);
        }
        self.last = Some(Arc::clone(&last));
        self.keeper.put("last", last, self.meta(epoch));
        self.keeper.write_some()?;
        self.observer.event(&Event::Epoch(record));
        Ok(if stops { Next::EarlyStop } else { Next::Epoch })
    }

    /// Where loss scaling stands, if there is any.
    fn scaling(&mut self) -> Result<Option<Scaling>, TrainError> {
        let mut word = |name: &str| {
            let id = self.prepared.states.find(name);
            id.map(|id| self.session.read_state(id)).transpose().map(|words| words.map(|words| words[0]))
        };
        let (scale, skipped) = (word(scaler::SCALE)?, word(scaler::SKIPPED)?);
        let scale = scale.map(|bits| f64::from(f32::from_bits(bits)));
        Ok(scale.zip(skipped).map(|(scale, skipped)| Scaling { scale, skipped }))
    }

    /// What a snapshot has of the model itself.
    fn weights_of(&self, snapshot: &Snapshot) -> Snapshot {
        let states = &self.prepared.states;
        let is_model =
            |name: &str| states.find(name).is_some_and(|id| checkpoint::is_kept(states.info(id).kind, false));
        snapshot.iter().filter(|(name, _)| is_model(name)).map(|(name, words)| (name.clone(), words.clone())).collect()
    }

    fn snapshot(&mut self, with_optimizer: bool) -> Result<Snapshot, TrainError> {
        let (ids, infos) = kept(self.prepared, with_optimizer);
        let words = self.session.read_states(&ids)?;
        let mut left = &words[..];
        let mut snapshot = Snapshot::new();
        for info in infos {
            let (own, rest) = left.split_at(count(&info.shape));
            snapshot.insert(info.name.clone(), own.to_vec());
            left = rest;
        }
        Ok(snapshot)
    }

    /// Keeps what an interrupted epoch has led to, unless an update has overflowed.
    fn keep_interrupted(&mut self, epoch: usize) -> Result<(), TrainError> {
        let snapshot = Arc::new(self.snapshot(true)?);
        if checkpoint::first_non_finite(&self.prepared.states, &snapshot).is_none() {
            self.last = Some(Arc::clone(&snapshot));
            self.keeper.put("last", snapshot, self.meta(epoch));
        }
        Ok(())
    }

    fn meta(&self, epoch: usize) -> Meta {
        let monitor = self.best.as_ref().map(|best| (self.monitor.name.clone(), best.value));
        Meta { epoch, step: self.step, seed: self.program.train.seed, monitor, pipeline: self.pipeline.clone() }
    }

    /// Restores the best weights and measures the test split with them.
    fn summary(&mut self, status: Status, failure: Option<Diagnostic>, epochs: usize) -> Result<Summary, TrainError> {
        if matches!(status, Status::Completed | Status::EarlyStopped) {
            // Before the best ones are restored, which would make them equal.
            let (ids, _) = kept(self.prepared, false);
            self.session.compare(&ids)?;
        }
        // Without a rule for stopping, what training ended with is what was asked for.
        let restores = status == Status::Diverged || self.program.train.early_stop.is_some();
        if let Some(best) = self.best.as_ref().filter(|_| restores) {
            for (id, words) in checkpoint::words_of(&self.prepared.states, &best.snapshot) {
                self.session.write_state(id, words)?;
            }
        }
        let mut test = Measured::default();
        let wanted = if self.program.split("test").is_some() { "test" } else { "val" };
        let ran = epochs > 0 && status != Status::Interrupted;
        if let Some(index) = self.program.data.splits.iter().position(|split| split.name == wanted && ran) {
            let rows = &self.loaded.rows[index];
            test = evaluate::evaluate(self.program, self.prepared, self.session, wanted, rows)?;
        }
        let snapshot = self.snapshot(false)?;
        Ok(Summary {
            status,
            failure: failure.as_ref().map(sentence),
            diagnostic: failure,
            epochs,
            steps: self.step,
            best: self.best.as_ref().map(|best| best.record.clone()),
            monitor: self.monitor.name.clone(),
            test: if wanted == "test" { test.means } else { Vec::new() },
            confusion: test.confusion,
            samples_per_second: if self.training.is_zero() {
                0.0
            } else {
                self.samples as f64 / self.training.as_secs_f64()
            },
            seconds: self.start.elapsed().as_secs_f64(),
            peak_memory_bytes: self.prepared.memory().total() + self.session.scratch_bytes(),
            device: self.session.device(),
            weights_sha256: checkpoint::weights_sha256(&self.prepared.states, &snapshot),
            load_seconds: self.loaded.seconds,
            settled: self.program.settled.clone(),
            recoveries: self.recoveries,
        })
    }
}

/// A diagnostic in one line.
fn sentence(said: &Diagnostic) -> String {
    let help = said.help.as_ref().map_or(String::new(), |help| format!("; {help}"));
    format!("{}: {}{help}", said.message, said.labels[0].text)
}

/// The states that a checkpoint has.
fn kept(prepared: &Prepared, with_optimizer: bool) -> (Vec<StateId>, Vec<&StateInfo>) {
    let states = prepared.states.infos().iter().enumerate();
    let kept = states.filter(|(_, info)| checkpoint::is_kept(info.kind, with_optimizer));
    kept.map(|(index, info)| (StateId(index as u32), info)).unzip()
}
