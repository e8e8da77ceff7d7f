//! What a program needs before a device is opened: its steps as plans, and how much memory they take.

use crate::check::program::{Precision, Program};
use crate::ir::graph::{StateInfo, count};
use crate::ir::{DType, Graph, StateKind, States};
use crate::library::StepScalar;
use crate::lower::{Mode, StepSpec, lower_in};
use crate::passes;
use crate::plan::{self, Fusion, Plan, Tensor};

/// A kind of step, ready to run.
#[derive(Clone)]
pub struct PreparedStep {
    /// What it does.
    pub spec: StepSpec,
    /// The scalars that the host computes for it.
    pub scalars: Vec<StepScalar>,
    /// Its number in the session.
    pub plan: usize,
}

/// A program compiled for one device.
#[derive(Clone)]
pub struct Prepared {
    /// The states that all steps share.
    pub states: States,
    /// The steps.
    pub steps: Vec<PreparedStep>,
    /// Their plans, in the order of the steps.
    pub plans: Vec<Plan>,
}

/// Bytes that a program needs on its device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// Trained weights and the model's buffers.
    pub weights: u64,
    /// What the optimizer and the metrics keep, and what devices exchange.
    pub optimizer: u64,
    /// The arena of the largest step: activations, gradients, temporaries.
    pub arena: u64,
    /// Resident data sets.
    pub data: u64,
    /// What the host gives one step.
    pub inputs: u64,
}

impl Memory {
    /// All of it.
    pub fn total(&self) -> u64 {
        self.weights + self.optimizer + self.arena + self.data + self.inputs
    }
}

/// Lowers, optimizes and plans the steps that a training needs, for a device whose executor can fuse so much.
pub fn prepare(program: &Program, fusion: Fusion) -> Prepared {
    prepare_in(program, program.train.precision, fusion)
}

/// As [`prepare`], in this precision whatever the program says: for comparison.
pub fn prepare_in(program: &Program, precision: Precision, fusion: Fusion) -> Prepared {
    let specs = training_specs(program, program.train.batch, program.micro_batch());
    prepare_specs(program, &specs, precision, fusion)
}

/// As [`prepare`], with another batch that is processed in one part.
pub fn prepare_batch(program: &Program, batch: usize, fusion: Fusion) -> Prepared {
    prepare_steps(program, &training_specs(program, batch, batch), fusion)
}

/// The steps of a training: updates, parts of updates, and the evaluation of every other split, each with the size
/// of its last batch.
fn training_specs(program: &Program, batch: usize, micro: usize) -> Vec<StepSpec> {
    let mut specs: Vec<StepSpec> = Vec::new();
    let mut add = |mode, split: &str, batch: usize| {
        let spec = StepSpec { mode, split: split.to_owned(), batch };
        if batch > 0 && !specs.contains(&spec) {
            specs.push(spec);
        }
    };
    let rows = program.data.splits[0].rows;
    let rest = if program.train.drop_last { 0 } else { rows % batch };
    if program.train.is_parallel() {
        add(Mode::Accumulate, "train", micro);
        for size in program.train.part_sizes(rest) {
            add(Mode::Accumulate, "train", size);
        }
        add(Mode::Apply, "train", 1);
    } else {
        add(Mode::Update, "train", micro);
        if batch > micro {
            add(Mode::Accumulate, "train", micro);
        }
        // The parts of the last batch: whole ones, and a smaller one that ends the update.
        add(Mode::Update, "train", rest % micro);
    }
    for split in &program.data.splits[1..] {
        for size in evaluation_batches(split.rows, micro) {
            add(Mode::Evaluate, &split.name, size);
        }
    }
    specs
}

/// The steps of an evaluation of one split.
pub fn evaluation_specs(program: &Program, split: &str) -> Vec<StepSpec> {
    let rows = program.split(split).map_or(0, |split| split.rows);
    let spec = |batch| StepSpec { mode: Mode::Evaluate, split: split.to_owned(), batch };
    evaluation_batches(rows, program.micro_batch()).into_iter().map(spec).collect()
}

fn evaluation_batches(rows: usize, micro: usize) -> Vec<usize> {
    let batch = micro.min(rows);
    let mut sizes = vec![batch];
    if batch > 0 && !rows.is_multiple_of(batch) {
        sizes.push(rows % batch);
    }
    sizes
}

/// Lowers, optimizes and plans these steps.
pub fn prepare_steps(program: &Program, specs: &[StepSpec], fusion: Fusion) -> Prepared {
    prepare_specs(program, specs, program.train.precision, fusion)
}

fn prepare_specs(program: &Program, specs: &[StepSpec], precision: Precision, fusion: Fusion) -> Prepared {
    let mut states = States::default();
    let mut steps = Vec::new();
    let mut graphs = Vec::new();
    for spec in specs {
        let lowered = lower_in(program, spec, precision, &mut states);
        steps.push(PreparedStep { spec: spec.clone(), scalars: lowered.scalars, plan: steps.len() });
        graphs.push(lowered.graph);
    }
    let plans = graphs.iter_mut().map(|graph| plan_graph(graph, &states, fusion)).collect();
    Prepared { states, steps, plans }
}

fn plan_graph(graph: &mut Graph, states: &States, fusion: Fusion) -> Plan {
    passes::optimize(graph, states, &mut |_, _| {});
    plan::plan(graph, states, fusion)
}

impl Prepared {
    /// The step of a kind.
    pub fn step(&self, mode: Mode, split: &str, batch: usize) -> &PreparedStep {
        let found = self
            .steps
            .iter()
            .find(|step| step.spec.mode == mode && step.spec.split == split && step.spec.batch == batch);
        found.unwrap_or_else(|| unreachable!("{mode:?} of {batch} rows of `{split}` is prepared"))
    }

    /// Bytes on the device, without what an executor adds for intermediate results within kernels.
    pub fn memory(&self) -> Memory {
        let mut memory = Memory::default();
        for info in self.states.infos() {
            let bytes = self.bytes_of(info) as u64;
            match info.kind {
                StateKind::Weight | StateKind::Buffer => memory.weights += bytes,
                StateKind::Optimizer | StateKind::Metric | StateKind::Exchange => memory.optimizer += bytes,
            }
        }
        memory.inputs = self.plans.iter().map(|plan| (plan.step.words * 4) as u64).max().unwrap_or(0);
        memory.arena = self.plans.iter().map(|plan| (plan.arena_words * 4) as u64).max().unwrap_or(0);
        let mut seen: Vec<&str> = Vec::new();
        for data in self.plans.iter().flat_map(|plan| &plan.data) {
            if !seen.contains(&data.name.as_str()) {
                seen.push(&data.name);
                memory.data += (count(&data.shape) * self.size_of(data.dtype)) as u64;
            }
        }
        memory
    }

    fn bytes_of(&self, info: &StateInfo) -> usize {
        count(&info.shape) * self.size_of(info.dtype)
    }

    /// Bytes of an element; an executor that does not pack halves rounds numbers and keeps them as `f32`.
    fn size_of(&self, dtype: DType) -> usize {
        let packs = self.plans.iter().any(|plan| plan.packs_halves);
        if dtype == DType::F16 && !packs { 4 } else { dtype.size() }
    }

    /// Trained numbers.
    pub fn parameters(&self) -> usize {
        let weights = self.states.infos().iter().filter(|info| info.kind == StateKind::Weight);
        weights.map(|info| count(&info.shape)).sum()
    }

    /// The largest tensors, largest first: of the states, the data, and the step with the largest arena.
    pub fn largest_tensors(&self) -> Vec<Tensor> {
        let mut tensors: Vec<Tensor> = self
            .states
            .infos()
            .iter()
            .map(|info| Tensor { name: format!("`{}`", info.name), bytes: self.bytes_of(info) })
            .collect();
        if let Some(plan) = self.plans.iter().max_by_key(|plan| plan.arena_words) {
            tensors.extend(plan::arena_tensors(plan));
            tensors.extend(plan.data.iter().map(|data| Tensor {
                name: format!("the data `{}`", data.name),
                bytes: count(&data.shape) * self.size_of(data.dtype),
            }));
        }
        tensors.sort_by_key(|tensor| std::cmp::Reverse(tensor.bytes));
        tensors
    }
}
