//! From a graph to what a device runs: kernels in order, and a place in memory for everything.

mod chain;
mod epilogue;
mod fuse;
mod inline;
pub mod kernel;
mod memory;
pub mod prepare;
pub mod print;
pub mod traffic;

use std::collections::HashMap;

use crate::ir::graph::count;
use crate::ir::{DType, Graph, Op, StateId, States, Value};
pub use chain::row_axis;
use fuse::{Group, Grouping, Work, dense_strides};
pub use kernel::{
    Access, Body, BufferRef, Chain, Epilogue, Instr, Kernel, KernelKind, Load, Output, Place, Plan, Reducer, Reduction,
    Reg, StepLayout, Store,
};
use memory::Life;

/// A tensor of the arena, for messages about memory.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    /// What it is: the operation and the layer.
    pub name: String,
    /// Its bytes.
    pub bytes: usize,
}

/// What an executor can fuse; each says so as `FUSION`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fusion {
    /// Products and convolutions run an [`Epilogue`] on their result.
    pub epilogues: bool,
    /// Reductions compute [`Reducer::SquaredDeviation`].
    pub deviations: bool,
    /// Kernels run in [`Chain`]s.
    pub chains: bool,
    /// A word of the arena holds two numbers of 16 bits; else numbers are rounded to 16 bits and kept as `f32`.
    pub packs_halves: bool,
}

/// Plans a graph that has been through the passes, for an executor that can fuse so much.
pub fn plan(graph: &Graph, states: &States, fusion: Fusion) -> Plan {
    let grouping = fuse::group(graph, fusion);
    Planner::new(graph, states, &grouping).plan(fusion)
}

struct Planner<'a> {
    graph: &'a Graph,
    states: &'a States,
    grouping: &'a Grouping,
    places: HashMap<Value, Place>,
    step: StepLayout,
    offsets: Vec<usize>,
}

impl<'a> Planner<'a> {
    fn new(graph: &'a Graph, states: &'a States, grouping: &'a Grouping) -> Planner<'a> {
        let mut step = StepLayout::default();
        let mut offsets = Vec::new();
        for input in &graph.inputs {
            let words = count(&input.shape);
            offsets.push(step.words);
            step.inputs.push((input.name.clone(), step.words, words, input.dtype));
            step.words += words;
        }
        Planner { graph, states, grouping, places: HashMap::new(), step, offsets }
    }

    fn plan(mut self, fusion: Fusion) -> Plan {
        let mut groups: Vec<&Group> = self.grouping.groups.iter().collect();
        // Each buffer at a place of its own shows which kernels touch the same one.
        self.place_all(&groups, &[], fusion, |lives| (memory::apart(lives), 0));
        // A copy onto itself leaves no work.
        groups.retain(|group| match self.kernel(group).kind {
            KernelKind::Copy { from, to } => from.place != to.place,
            _ => true,
        });
        let exchanges: Vec<(usize, StateId)> = groups
            .iter()
            .enumerate()
            .filter_map(|(index, group)| match group.work {
                Work::Exchange(state, _) => Some((index, state)),
                _ => None,
            })
            .collect();
        let apart: Vec<Kernel> = groups.iter().map(|group| self.kernel(group)).collect();
        let chains = if fusion.chains { chain::find(&apart, &exchanges) } else { Vec::new() };
        let arena_words = self.place_all(&groups, &chains, fusion, memory::place);
        let kernels = groups.iter().map(|group| self.kernel(group)).collect();
        let data = self.graph.data.clone();
        let packs_halves = fusion.packs_halves;
        Plan { kernels, chains, exchanges, arena_words, packs_halves, step: self.step, data }
    }

    /// Gives every buffer that the groups make a place; gives the words of the arena.
    fn place_all(
        &mut self,
        groups: &[&Group],
        chains: &[Chain],
        fusion: Fusion,
        place: impl FnOnce(&[Life]) -> (Vec<usize>, usize),
    ) -> usize {
        // Nothing that a chain touches ends or begins inside it.
        let whole = |index: usize| {
            let chain = chains.iter().find(|chain| chain.kernels.contains(&index));
            chain.map_or((index, index), |chain| (chain.kernels.start, chain.kernels.end - 1))
        };
        let mut lives: Vec<(Value, Life)> = Vec::new();
        let mut at: HashMap<Value, usize> = HashMap::new();
        for (index, group) in groups.iter().enumerate() {
            let (first, last) = whole(index);
            for &output in &group.outputs {
                if self.grouping.in_place.contains_key(&output) || at.contains_key(&output) {
                    continue;
                }
                at.insert(output, lives.len());
                let node = self.graph.node(output);
                let packed = node.dtype == DType::F16 && fusion.packs_halves;
                let words = count(&node.shape).div_ceil(if packed { 2 } else { 1 });
                lives.push((output, Life { words, first, last }));
            }
            for touched in group.inputs.iter().chain(&group.outputs) {
                if let Some(&position) = at.get(touched) {
                    lives[position].1.last = last;
                }
            }
        }
        let (offsets, words) = place(&lives.iter().map(|(_, life)| *life).collect::<Vec<_>>());
        for ((value, _), offset) in lives.iter().zip(offsets) {
            self.places.insert(*value, Place::Arena(offset));
        }
        words
    }

    fn buffer(&self, value: Value) -> BufferRef {
        let root = self.grouping.alias[value.index()];
        let node = self.graph.node(root);
        let place = match node.op {
            Op::State(id) => Place::State(id),
            Op::Data(id) => Place::Data(id),
            Op::Input(id) => Place::Step(self.offsets[id.0 as usize]),
            _ => match self.grouping.in_place.get(&root) {
                Some(&state) => Place::State(state),
                None => self.places[&root],
            },
        };
        BufferRef { place, len: count(&node.shape), dtype: node.dtype }
    }

    fn kernel(&self, group: &Group) -> Kernel {
        let inputs = || group.inputs.iter().map(|&input| self.buffer(input)).collect::<Vec<_>>();
        let kind = match &group.work {
            Work::Pointwise { shape, body, results } => {
                let access = Access { offset: 0, strides: dense_strides(shape), indirect: Vec::new() };
                let store = |(&output, &reg): (&Value, &Reg)| Store {
                    reg,
                    output: self.buffer(output),
                    access: access.clone(),
                };
                let stores = group.outputs.iter().zip(results).map(store).collect();
                KernelKind::Pointwise { shape: shape.clone(), inputs: inputs(), body: body.clone(), stores }
            }
            Work::Part { shape, body, result, axis, start } => {
                let strides = dense_strides(self.graph.shape(group.outputs[0]));
                let access = Access { offset: start * strides[*axis], strides, indirect: Vec::new() };
                let stores = vec![Store { reg: *result, output: self.buffer(group.outputs[0]), access }];
                KernelKind::Pointwise { shape: shape.clone(), inputs: inputs(), body: body.clone(), stores }
            }
            Work::Reduce { shape, kept, body, results } => {
                let reduction = |(&output, &(kind, reg)): (&Value, &(Reducer, Reg))| Reduction {
                    reg,
                    kind,
                    output: self.buffer(output),
                };
                let reductions = group.outputs.iter().zip(results).map(reduction).collect();
                KernelKind::Reduce {
                    shape: shape.clone(),
                    kept: *kept,
                    inputs: inputs(),
                    body: body.clone(),
                    reductions,
                }
            }
            Work::Single(value) => self.single(*value),
            Work::Product { value, operands, body, results } => {
                let shape = self.graph.shape(*value).to_vec();
                let access = Access { offset: 0, strides: dense_strides(&shape), indirect: Vec::new() };
                let store = |(&output, &reg): (&Value, &Reg)| Store {
                    reg,
                    output: self.buffer(output),
                    access: access.clone(),
                };
                let stores = group.outputs.iter().zip(results).map(store).collect();
                let inputs = inputs().split_off(*operands);
                let epilogue = Epilogue { shape, inputs, body: body.clone(), stores };
                self.product(*value, Output::Epilogue(Box::new(epilogue)))
            }
            Work::Copy(state, value) | Work::Exchange(state, value) => {
                let from = self.buffer(*value);
                let to = BufferRef { place: Place::State(*state), ..from };
                KernelKind::Copy { from, to }
            }
        };
        Kernel { kind, name: self.name(group) }
    }

    fn single(&self, value: Value) -> KernelKind {
        let node = self.graph.node(value);
        let operand = |position: usize| self.buffer(node.operands[position]);
        let out = self.buffer(value);
        match node.op {
            Op::MaxPool(geometry) => KernelKind::MaxPool { geometry, x: operand(0), out },
            Op::MaxPoolGrad(geometry) => KernelKind::MaxPoolGrad { geometry, x: operand(0), grad: operand(1), out },
            Op::AvgPool(geometry) => KernelKind::AvgPool { geometry, x: operand(0), out },
            Op::AvgPoolGrad(geometry) => KernelKind::AvgPoolGrad { geometry, grad: operand(0), out },
            _ => self.product(value, Output::Buffer(out)),
        }
    }

    fn product(&self, value: Value, out: Output) -> KernelKind {
        let node = self.graph.node(value);
        let operand = |position: usize| self.buffer(node.operands[position]);
        match node.op {
            Op::MatMul { transpose_a, transpose_b } => {
                let left = self.graph.shape(node.operands[0]);
                let k = if transpose_a { left[0] } else { left[1] };
                let (m, n) = (node.shape[0], node.shape[1]);
                KernelKind::MatMul { m, n, k, transpose_a, transpose_b, a: operand(0), b: operand(1), out }
            }
            Op::Conv2d(geometry) => KernelKind::Conv2d { geometry, x: operand(0), weight: operand(1), out },
            Op::Conv2dInputGrad(geometry) => {
                KernelKind::Conv2dInputGrad { geometry, weight: operand(0), grad: operand(1), out }
            }
            Op::Conv2dWeightGrad(geometry) => {
                KernelKind::Conv2dWeightGrad { geometry, x: operand(0), grad: operand(1), out }
            }
            _ => unreachable!("`{}` is fused, not a kernel of its own", node.op.name()),
        }
    }

    /// What a kernel computes, for listings.
    fn name(&self, group: &Group) -> String {
        let describe = |value: Value| {
            let node = self.graph.node(value);
            let named = self.graph.names.iter().find(|(other, _)| *other == value).map(|(_, name)| name.clone());
            named.unwrap_or_else(|| node.op.name().to_owned())
        };
        let mut parts: Vec<String> = Vec::new();
        for &output in &group.outputs {
            let text = match self.grouping.in_place.get(&output) {
                Some(&state) => format!("{}←{}", self.states.info(state).name, describe(output)),
                None => describe(output),
            };
            if !parts.contains(&text) {
                parts.push(text);
            }
        }
        match group.work {
            Work::Copy(state, _) => return format!("copy {}", self.states.info(state).name),
            Work::Exchange(state, _) => return format!("exchange {}", self.states.info(state).name),
            _ => {}
        }
        if parts.len() > 3 {
            let rest = parts.len() - 2;
            parts.truncate(2);
            parts.push(format!("{rest} more"));
        }
        match group.work {
            Work::Product { value, .. } => format!("{} → {}", describe(value), parts.join(" + ")),
            _ => parts.join(" + "),
        }
    }
}

/// The tensors that share a plan's arena, largest first.
pub fn arena_tensors(plan: &Plan) -> Vec<Tensor> {
    let mut tensors: Vec<Tensor> = Vec::new();
    for kernel in &plan.kernels {
        for buffer in kernel.outputs() {
            if let Place::Arena(_) = buffer.place {
                tensors.push(Tensor { name: kernel.name.clone(), bytes: plan.bytes_of(&buffer) });
            }
        }
    }
    tensors.sort_by_key(|tensor| std::cmp::Reverse(tensor.bytes));
    tensors
}
