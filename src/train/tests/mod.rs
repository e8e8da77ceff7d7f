//! Trainings of small made-up data on the CPU.

mod checkpoints;
mod endings;
mod figures;
mod losses;
mod sizes;

use std::path::{Path, PathBuf};

use crate::check::program::Program;
use crate::check::{Request, compile};
use crate::data::load::{Loaded, load};
use crate::formats::files::Memory;
use crate::ir::random::Sequence;
use crate::ir::{StateId, StateKind};

use super::checkpoint::Snapshot;
use super::device::open_session;
use super::events::{EpochRecord, Event, Observer, Summary};
use super::initialize::initial_words;
use super::prepare::{Prepared, prepare};
use super::run::run;

/// A training to be run.
struct Case {
    program: Program,
    loaded: Loaded,
    prepared: Prepared,
}

/// What a training left behind.
struct Outcome {
    summary: Summary,
    epochs: Vec<EpochRecord>,
    weights: Snapshot,
}

/// Writes down the epochs and may interrupt.
#[derive(Default)]
struct Watch {
    epochs: Vec<EpochRecord>,
    interrupt_in_epoch: Option<usize>,
}

impl Observer for Watch {
    fn event(&mut self, event: &Event) {
        if let Event::Epoch(record) = event {
            self.epochs.push(record.clone());
        }
    }

    fn interrupted(&self) -> bool {
        self.interrupt_in_epoch == Some(self.epochs.len() + 1)
    }
}

impl Case {
    /// Compiles a pipeline whose data is the table `data.csv`.
    fn new(pipeline: &str, table: &str) -> Case {
        let files = Memory::new().with("p.nnopt", pipeline).with("data.csv", table);
        let request = Request { path: "p.nnopt".into(), ..Request::default() };
        let compilation = compile(&request, &files).unwrap();
        let said: Vec<&str> = compilation.diagnostics.iter().map(|diagnostic| diagnostic.message.as_str()).collect();
        let program = compilation.program.unwrap_or_else(|| panic!("{pipeline} does not compile: {said:?}"));
        let loaded = load(&program, &files).unwrap();
        let prepared = prepare(&program, super::device::fusion(&program));
        Case { program, loaded, prepared }
    }

    fn train(&self, threads: usize) -> Outcome {
        self.train_into(threads, None, Watch::default())
    }

    fn train_into(&self, threads: usize, folder: Option<&Path>, mut watch: Watch) -> Outcome {
        let Case { program, loaded, prepared } = self;
        let mut session = open_session(program, prepared, loaded, Some(threads)).unwrap();
        let summary = run(program, prepared, loaded, &mut *session, folder, &mut watch).unwrap();
        let mut weights = Snapshot::new();
        for (index, info) in prepared.states.infos().iter().enumerate() {
            if matches!(info.kind, StateKind::Weight | StateKind::Buffer) {
                weights.insert(info.name.clone(), session.read_state(StateId(index as u32)).unwrap());
            }
        }
        Outcome { summary, epochs: watch.epochs, weights }
    }

    /// The elements of a weight before the first step.
    fn initial(&self, name: &str) -> Vec<f64> {
        let id = self.prepared.states.find(name).unwrap();
        floats(&initial_words(self.prepared.states.info(id), self.program.train.seed))
    }
}

impl Outcome {
    fn weight(&self, name: &str) -> Vec<f64> {
        floats(&self.weights[name])
    }

    fn last(&self, metric: &str) -> f64 {
        let found = self.epochs.last().unwrap().metrics.iter().find(|(name, _)| name == metric);
        found.unwrap_or_else(|| panic!("`{metric}` is measured")).1
    }
}

fn floats(words: &[u32]) -> Vec<f64> {
    words.iter().map(|&word| f64::from(f32::from_bits(word))).collect()
}

/// A pipeline for `data.csv` on the CPU, with `adam` unless the settings name an optimizer.
fn pipeline(data: &str, model: &str, settings: &str, train: &str) -> String {
    let optimizer = if settings.contains("optimizer") { "" } else { "\noptimizer = adam" };
    let settings = format!("{settings}{optimizer}");
    format!(
        "nnopt 1\ndata {{\n{data}\n}}\nmodel {{\n{model}\n}}\n{settings}\ntrain {{\ndevices = cpu\nseed = 7\n{train}\n}}\n"
    )
}

/// Two round heaps of points that a line separates, `n` in all.
fn blobs(n: usize) -> String {
    let mut random = Sequence::new(1, 0, 0);
    let mut table = "x,y,class\n".to_owned();
    for index in 0..n {
        let centre = if index % 2 == 0 { -2.0 } else { 2.0 };
        let [x, y] = [0; 2].map(|_| centre + 0.5 * random.next_normal());
        table += &format!("{x},{y},{}\n", index % 2);
    }
    table
}

/// Points of `target = 3·a − 2·b + 1`, `n` in all.
fn plane(n: usize) -> (String, Vec<[f64; 3]>) {
    let mut random = Sequence::new(2, 0, 0);
    let mut table = "a,b,target\n".to_owned();
    let mut points = Vec::new();
    for _ in 0..n {
        // Numbers that are the same as text and as f32.
        let [a, b] = [0; 2].map(|_| (random.next_below(256) as f64 - 128.0) / 64.0);
        let target = 3.0 * a - 2.0 * b + 1.0;
        table += &format!("{a},{b},{target}\n");
        points.push([a, b, target]);
    }
    (table, points)
}

/// A folder for checkpoints.
fn folder() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_path_buf();
    (folder, path)
}
