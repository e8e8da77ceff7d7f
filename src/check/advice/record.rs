//! What a run folder says of its training, as far as advice needs it.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

/// The figures of a run.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Record {
    /// Its epochs, in order.
    pub epochs: Vec<Epoch>,
    /// Why it diverged, if it did.
    pub failure: Option<String>,
    /// Seconds that reading the data took; 0 while it is not known.
    pub load_seconds: f64,
    /// Seconds of the whole training; 0 while it is not known.
    pub seconds: f64,
}

/// The figures of an epoch. Those that were not finite are missing.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Epoch {
    /// Its number, from 1.
    pub number: usize,
    /// The learning rate of its last update.
    pub lr: f64,
    /// Seconds since the first step.
    pub seconds: f64,
    /// Seconds in which the host prepared the steps.
    pub data_seconds: f64,
    /// `train.loss`, `val.accuracy` …
    pub metrics: BTreeMap<String, f64>,
    /// The norm of each weight's gradient, in the order of the model, where it was measured; infinite where it was not
    /// finite.
    pub gradients: Vec<(String, f64)>,
    /// The share of dead units of each activation, where it was measured.
    pub dead: Vec<(String, f64)>,
}

impl Record {
    /// Reads the texts of `metrics.jsonl` and, if the run has ended, `summary.json`.
    ///
    /// # Errors
    /// When a text is not what a run writes, saying where. A last line without its end belongs to a run that goes on.
    pub fn read(metrics: &str, summary: Option<&str>) -> Result<Record, String> {
        let mut record = Record::default();
        for (number, line) in metrics.split_inclusive('\n').enumerate().filter(|(_, line)| line.ends_with('\n')) {
            let object: Map<String, Value> =
                serde_json::from_str(line).map_err(|error| format!("line {}: {error}", number + 1))?;
            if object.get("event").and_then(Value::as_str) == Some("epoch") {
                record.epochs.push(Epoch::new(&object));
            }
        }
        if let Some(summary) = summary {
            let object: Map<String, Value> = serde_json::from_str(summary).map_err(|error| error.to_string())?;
            record.failure = object.get("failure").and_then(Value::as_str).map(str::to_owned);
            record.load_seconds = number(&object, "load_seconds").unwrap_or(0.0);
            record.seconds = number(&object, "seconds").unwrap_or(0.0);
        }
        Ok(record)
    }

    /// A metric of each epoch that has it, with the epoch's number.
    pub fn series(&self, metric: &str) -> Vec<(usize, f64)> {
        self.epochs.iter().filter_map(|epoch| Some((epoch.number, *epoch.metrics.get(metric)?))).collect()
    }

    /// The first and the last epoch in which gradients were measured.
    pub fn measured(&self) -> Option<(&Epoch, &Epoch)> {
        let mut all = self.epochs.iter().filter(|epoch| !epoch.gradients.is_empty());
        let first = all.next()?;
        Some((first, all.next_back().unwrap_or(first)))
    }
}

impl Epoch {
    fn new(object: &Map<String, Value>) -> Epoch {
        let figures = |name: &str| -> Vec<(String, f64)> {
            let map = object.get(name).and_then(Value::as_object);
            let entry = |(name, value): (&String, &Value)| (name.clone(), value.as_f64().unwrap_or(f64::INFINITY));
            map.map(|map| map.iter().map(entry).collect()).unwrap_or_default()
        };
        let metrics = object.iter().filter(|(name, _)| name.contains('.'));
        Epoch {
            number: object.get("epoch").and_then(Value::as_u64).unwrap_or(0) as usize,
            lr: number(object, "lr").unwrap_or(0.0),
            seconds: number(object, "seconds").unwrap_or(0.0),
            data_seconds: number(object, "data_seconds").unwrap_or(0.0),
            metrics: metrics.filter_map(|(name, value)| Some((name.clone(), value.as_f64()?))).collect(),
            gradients: figures("gradients"),
            dead: figures("dead"),
        }
    }
}

fn number(object: &Map<String, Value>, name: &str) -> Option<f64> {
    object.get(name).and_then(Value::as_f64)
}
