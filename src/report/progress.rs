//! A training as it runs: a bar on a terminal, one line an epoch elsewhere.

use std::io::Write;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::table::{bytes, duration, scaled, whole};
use crate::train::events::{EpochRecord, Event};

/// Shows a training to people, on stderr.
pub struct Progress {
    bar: Option<ProgressBar>,
    quiet: bool,
    epochs: usize,
    steps_per_epoch: u64,
}

/// Where the bar is, how far it is, and when it will be done; the message has the figures.
const TEMPLATE: &str = "{prefix} [{bar:24}] {msg}, {eta} left";

impl Progress {
    /// With a bar if stderr is a terminal; without a word if `quiet`.
    pub fn new(terminal: bool, quiet: bool) -> Progress {
        let bar = (terminal && !quiet).then(|| {
            let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
            let style = ProgressStyle::with_template(TEMPLATE).unwrap_or_else(|_| ProgressStyle::default_bar());
            bar.set_style(style.progress_chars("=> "));
            bar
        });
        Progress { bar, quiet, epochs: 0, steps_per_epoch: 0 }
    }

    /// Shows an event.
    pub fn show(&mut self, event: &Event) {
        match event {
            Event::Start { device, epochs, steps_per_epoch, samples, parameters, memory_bytes, seconds } => {
                (self.epochs, self.steps_per_epoch) = (*epochs, *steps_per_epoch);
                if let Some(bar) = &self.bar {
                    bar.set_length(*steps_per_epoch * *epochs as u64);
                }
                self.line(&format!(
                    "{} parameters, {} samples an epoch, {} on {device}; ready after {}",
                    whole(*parameters as u64),
                    whole(*samples as u64),
                    bytes(*memory_bytes),
                    duration(*seconds),
                ));
            }
            Event::Progress { epoch, step, loss, accuracy, samples_per_second } => {
                let Some(bar) = &self.bar else { return };
                let accuracy = accuracy.map_or(String::new(), |value| format!(", accuracy {value:.4}"));
                bar.set_prefix(format!("epoch {epoch}/{}", self.epochs));
                bar.set_message(format!("loss {loss:.4}{accuracy}, {} samples/s", scaled(*samples_per_second)));
                bar.set_position(*epoch as u64 * self.steps_per_epoch - self.steps_per_epoch + step);
            }
            Event::Epoch(record) => self.line(&epoch_line(record, self.epochs)),
            Event::EarlyStop { epoch, best_epoch, metric } => self.line(&format!(
                "stopped after epoch {epoch}: `{metric}` was best in epoch {best_epoch}, whose weights are restored"
            )),
            Event::Note(text) => self.line(&format!("note: {text}")),
        }
    }

    /// Removes the bar.
    pub fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }

    /// A line that stays, above the bar.
    fn line(&self, text: &str) {
        match &self.bar {
            _ if self.quiet => {}
            Some(bar) => bar.println(text),
            // Nothing can be done where stderr is closed.
            None => drop(writeln!(std::io::stderr().lock(), "{text}")),
        }
    }
}

/// `epoch 3/20: train.loss 0.1234, val.accuracy 0.9712, 84.1 k samples/s, 12 s, best so far`
fn epoch_line(record: &EpochRecord, epochs: usize) -> String {
    let width = epochs.to_string().len();
    let mut parts: Vec<String> =
        record.metrics.iter().map(|(name, value)| format!("{name} {}", figure(*value))).collect();
    parts.push(format!("{} samples/s", scaled(record.samples_per_second)));
    parts.push(duration(record.seconds));
    if let Some(scaling) = record.scaling.filter(|scaling| scaling.skipped > 0) {
        parts.push(format!("loss scale {}, {} updates skipped", scaling.scale, scaling.skipped));
    }
    parts.extend(record.best.then(|| "best so far".to_owned()));
    format!("epoch {:>width$}/{epochs}: {}", record.epoch, parts.join(", "))
}

/// Four decimals, or four significant digits where these say nothing.
pub fn figure(value: f64) -> String {
    match value.abs() {
        0.0 => "0.0000".to_owned(),
        small if small < 0.001 => format!("{value:.3e}"),
        large if large >= 1e6 => format!("{value:.4e}"),
        _ => format!("{value:.4}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_epoch_is_one_line() {
        let record = EpochRecord {
            epoch: 3,
            step: 63,
            metrics: vec![("train.loss".into(), 0.123_44), ("val.accuracy".into(), 0.971_2)],
            lr: 1e-3,
            samples_per_second: 84_123.0,
            seconds: 0.42,
            best: true,
            data_seconds: 0.0,
            health: None,
            scaling: None,
        };
        let expected = "epoch  3/20: train.loss 0.1234, val.accuracy 0.9712, 84.1 k samples/s, 0.4 s, best so far";
        assert_eq!(epoch_line(&record, 20), expected);
    }

    #[test]
    fn figures_keep_their_digits() {
        assert_eq!(
            [figure(0.0), figure(0.5), figure(1.2e-5), figure(3.2e7)],
            ["0.0000", "0.5000", "1.200e-5", "3.2000e7"]
        );
    }
}
