//! The metric that says which epoch is best, and when to stop.

use crate::check::program::Program;

/// The metric that says which epoch is best.
pub(super) struct Monitor {
    /// `val.accuracy`
    pub name: String,
    /// So many updates without a better value end the training.
    pub patience: Option<u64>,
    higher_is_better: bool,
    min_delta: f64,
}

impl Monitor {
    /// The metric of the rule for stopping; without one the accuracy or else the loss of the validation split, or of
    /// the training split.
    pub fn new(program: &Program) -> Monitor {
        if let Some(stop) = &program.train.early_stop {
            return Monitor {
                name: format!("{}.{}", stop.split, stop.metric),
                higher_is_better: stop.higher_is_better,
                min_delta: stop.min_delta,
                patience: Some(stop.patience.steps(program.run_shape().steps_per_epoch)),
            };
        }
        let split = if program.split("val").is_some() { "val" } else { "train" };
        let accuracy = program.metrics.iter().any(|metric| metric.item.name() == "accuracy");
        let metric = if accuracy { "accuracy" } else { "loss" };
        let name = format!("{split}.{metric}");
        Monitor { name, higher_is_better: accuracy, min_delta: 0.0, patience: None }
    }

    /// Whether a value is better than the best so far. What is not a number never is.
    pub fn is_better(&self, value: f64, best: Option<f64>) -> bool {
        let Some(best) = best else { return !value.is_nan() };
        let gain = if self.higher_is_better { value - best } else { best - value };
        gain > self.min_delta
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn better_is_higher_or_lower_by_more_than_the_least_change() {
        let monitor = |higher_is_better, min_delta| Monitor {
            name: "val.loss".to_owned(),
            patience: None,
            higher_is_better,
            min_delta,
        };
        assert!(monitor(true, 0.0).is_better(0.6, Some(0.5)));
        assert!(!monitor(true, 0.2).is_better(0.6, Some(0.5)));
        assert!(monitor(false, 0.0).is_better(0.4, Some(0.5)));
        assert!(!monitor(false, 0.0).is_better(0.5, Some(0.5)));
    }

    #[test]
    fn what_is_not_a_number_is_never_best() {
        let monitor = Monitor { name: String::new(), patience: None, higher_is_better: false, min_delta: 0.0 };
        assert!(!monitor.is_better(f64::NAN, None));
        assert!(!monitor.is_better(f64::NAN, Some(1.0)));
        assert!(monitor.is_better(1e9, None));
    }
}
