//! What a training is told by afterwards: the gradient of each weight, and units that are dead, on a few samples.
//!
//! It is measured between epochs, on the host, by a plan of its own over samples of its own: the training's steps are
//! the same with it and without it. See ARCHITECTURE.md for how often.

use std::sync::Arc;
use std::time::{Duration as Time, Instant};

use super::checkpoint::Snapshot;
use super::diagnose::{PLACES, read_batch_only};
use super::initialize::initialize;
use crate::backend::{BackendError, DataBytes, Session, Setup, cpu};
use crate::check::program::Program;
use crate::data::load::Loaded;
use crate::formats::{Dataset, Samples, Targets};
use crate::ir::States;
use crate::ir::random::split_seed;
use crate::lower::{health_state, lower_health};
use crate::passes;
use crate::plan::{Plan, plan};

/// So many samples tell: a unit that none of them moves is called dead.
const SAMPLES: usize = 64;
/// Words that a measurement may take beside the training. With large models, fewer samples have to do.
const WORDS: usize = 16 << 20;
/// Fewest samples: what normalizes a batch needs some.
const FEWEST: usize = 8;

/// The share of the training's time that measurements may take.
const SHARE: f64 = 0.01;

/// What was measured.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Health {
    /// The norm of each weight's gradient.
    pub gradients: Vec<(String, f64)>,
    /// The norm of each weight.
    pub weights: Vec<(String, f64)>,
    /// For each activation, by its stage's path, the share of units (channels or features) that are 0 for all samples.
    pub dead: Vec<(String, f64)>,
}

/// Measures from time to time.
#[derive(Default)]
pub(super) struct HealthCheck {
    plan: Option<Planned>,
    spent: Time,
}

struct Planned {
    session: Box<dyn Session>,
    plan: Plan,
    states: States,
    rows: Vec<u32>,
}

impl HealthCheck {
    /// Whether it is time: after the first and the last epoch (`is_end`), and between them where measurements have taken
    /// less than their share of the time spent in training.
    pub fn is_due(&self, is_end: bool, training: Time) -> bool {
        is_end || self.spent.as_secs_f64() <= SHARE * training.as_secs_f64()
    }

    /// Measures a model with these weights.
    ///
    /// # Errors
    /// When the executor fails.
    pub fn measure(&mut self, program: &Program, loaded: &Loaded, model: &Snapshot) -> Result<Health, BackendError> {
        let began = Instant::now();
        let planned = match &mut self.plan {
            Some(planned) => planned,
            empty => empty.insert(Planned::new(program, loaded)?),
        };
        let health = planned.measure(program, model);
        self.spent += began.elapsed();
        health
    }
}

impl Planned {
    fn new(program: &Program, loaded: &Loaded) -> Result<Planned, BackendError> {
        let all = &loaded.rows[0];
        let mut count = SAMPLES.min(all.len());
        let (mut plan, mut states) = plan_of(program, count);
        while plan.arena_words > WORDS && count >= 2 * FEWEST {
            count /= 2;
            (plan, states) = plan_of(program, count);
        }
        // From all over the split: files are often sorted by class.
        let rows: Vec<u32> = (0..count).map(|index| all[index * all.len() / count]).collect();
        let dataset = &loaded.datasets[program.data.splits[0].source];
        let bytes = |info: &crate::ir::DataInfo| Arc::new(bytes_of(dataset, info.name.ends_with(".samples"), &rows));
        let data: Vec<DataBytes> =
            plan.data.iter().map(|info| DataBytes { info: info.clone(), bytes: bytes(info) }).collect();
        let setup = Setup { plans: std::slice::from_ref(&plan), states: &states, data: &data };
        // One thread: the others belong to the training.
        let mut session = cpu::open(&setup, Some(1))?;
        initialize(program, loaded, &states, session.as_mut())?;
        Ok(Planned { session, plan, states, rows })
    }

    fn measure(&mut self, program: &Program, model: &Snapshot) -> Result<Health, BackendError> {
        let mut health = Health::default();
        for (name, words) in model {
            if let Some(id) = self.states.find(name) {
                self.session.write_state(id, words)?;
            }
        }
        let mut row = vec![0; self.plan.step.words];
        for (name, offset, words, _) in &self.plan.step.inputs {
            let place = &mut row[*offset..offset + words];
            match name.as_str() {
                "rows" => place.copy_from_slice(&self.rows),
                PLACES => place.iter_mut().zip(0..).for_each(|(place, index)| *place = index),
                "seed_low" => place[0] = split_seed(program.train.seed)[0],
                "seed_high" => place[0] = split_seed(program.train.seed)[1],
                "step" => place[0] = 0,
                other => unreachable!("`{other}` is not an input of a measurement"),
            }
        }
        self.session.run(0, &row)?;
        for info in self.states.infos() {
            let Some((kind, name)) = health_state(&info.name) else { continue };
            let id = self.states.find(&info.name).unwrap_or_else(|| unreachable!("a state has its name"));
            let value = f64::from(f32::from_bits(self.session.read_state(id)?[0]));
            match kind {
                "gradient" => health.gradients.push((name.to_owned(), value.sqrt())),
                _ => health.dead.push((name.to_owned(), value)),
            }
        }
        for (name, _) in &health.gradients {
            let Some(words) = model.get(name) else { continue };
            let squares: f64 = words.iter().map(|&word| f64::from(f32::from_bits(word)).powi(2)).sum();
            health.weights.push((name.clone(), squares.sqrt()));
        }
        Ok(health)
    }
}

/// The plan of a measurement on so many samples, and its states.
fn plan_of(program: &Program, count: usize) -> (Plan, States) {
    let mut states = States::default();
    let mut graph = lower_health(program, count, &mut states);
    read_batch_only(&mut graph, count);
    passes::optimize(&mut graph, &states, &mut |_, _| {});
    (plan(&graph, &states, cpu::FUSION), states)
}

/// The samples or the targets of these rows, as a device has them.
fn bytes_of(dataset: &Dataset, samples: bool, rows: &[u32]) -> Vec<u8> {
    let pick = |bytes: &[u8]| {
        let width = bytes.len() / dataset.len().max(1);
        rows.iter().flat_map(|&row| &bytes[row as usize * width..][..width]).copied().collect()
    };
    match (samples, &dataset.samples, &dataset.targets) {
        (true, Samples::U8(bytes), _) => pick(bytes),
        (true, Samples::F32(values), _) => pick(bytemuck::cast_slice(values)),
        (false, _, Targets::Classes { labels, .. }) => pick(bytemuck::cast_slice(labels)),
        (false, _, Targets::Values { data, .. }) => pick(bytemuck::cast_slice(data)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::{Request, compile};
    use crate::data::load::load;
    use crate::formats::files::Memory;

    /// One sample value `x`, target 0, `loss = (w·relu(v·x))²`, so that every gradient is known.
    #[test]
    fn gradients_and_dead_units_are_those_of_the_formula() {
        let pipeline = "nnopt 1\ndata { train = csv(\"d.csv\", target = y, task = regression) }\n\
                        model { linear(2, bias = false) -> relu -> linear(1, bias = false) }\nloss = mse\n\
                        optimizer = sgd\ntrain { devices = cpu; batch = 2 }\n";
        let files = Memory::new().with("p.nnopt", pipeline).with("d.csv", "x,y\n2,0\n2,0\n2,0\n2,0\n");
        let request = Request { path: "p.nnopt".into(), ..Request::default() };
        let program = compile(&request, &files).unwrap().program.unwrap();
        let loaded = load(&program, &files).unwrap();
        let words = |values: [f32; 2]| values.map(f32::to_bits).to_vec();
        // Unit 0 is 2·1.5 = 3, unit 1 is relu(−1) = 0 for all samples; the output is 3·0.5 = 1.5.
        let model = Snapshot::from([
            ("model.0.weight".to_owned(), words([1.5, -0.5])),
            ("model.2.weight".to_owned(), words([0.5, 4.0])),
        ]);
        let health = HealthCheck::default().measure(&program, &loaded, &model).unwrap();
        // d/dw = 2·1.5·3, d/dv = 2·1.5·0.5·2.
        let expected = [("model.0.weight".to_owned(), 3.0), ("model.2.weight".to_owned(), 9.0)];
        assert_eq!(health.gradients, expected);
        assert_eq!(health.dead, [("model.1".to_owned(), 0.5)]);
        assert_eq!(health.weights[0], ("model.0.weight".to_owned(), (1.5_f64.powi(2) + 0.25).sqrt()));
    }

    #[test]
    fn between_the_ends_it_takes_its_share() {
        let mut check = HealthCheck { spent: Time::from_millis(10), ..HealthCheck::default() };
        assert!(check.is_due(true, Time::ZERO));
        assert!(!check.is_due(false, Time::from_millis(999)) && check.is_due(false, Time::from_secs(1)));
        check.spent = Time::ZERO;
        assert!(check.is_due(false, Time::ZERO));
    }
}
