//! Groups the nodes of a graph into kernels: decides what gets a buffer and what is computed where it is used.

use std::collections::{BTreeSet, HashMap};

use super::Fusion;
use super::epilogue::{self, in_step};
use super::inline::{Inliner, identity};
use super::kernel::{Body, Reducer, Reg};
use crate::ir::graph::count;
use crate::ir::{Binary, DType, Graph, Op, ReduceKind, Shape, StateId, Unary, Value};

/// A kernel before its values have places.
#[derive(Clone, Debug)]
pub(super) struct Group {
    /// What it computes.
    pub work: Work,
    /// The values that it leaves in buffers.
    pub outputs: Vec<Value>,
    /// The values with buffers that it reads.
    pub inputs: Vec<Value>,
}

/// What a group computes.
#[derive(Clone, Debug)]
pub(super) enum Work {
    /// The outputs, element by element; each register belongs to the output of the same index.
    Pointwise { shape: Shape, body: Body, results: Vec<Reg> },
    /// Part of a concatenation: one operand, copied to where it begins along the axis.
    Part { shape: Shape, body: Body, result: Reg, axis: usize, start: usize },
    /// Reductions; the iteration space has the kept axes first.
    Reduce { shape: Shape, kept: usize, body: Body, results: Vec<(Reducer, Reg)> },
    /// One operation that has a kernel family of its own.
    Single(Value),
    /// A product with an epilogue over its result; the group's first inputs are the product's operands, loads count
    /// from the one after them. Each register belongs to the output of the same index.
    Product { value: Value, operands: usize, body: Body, results: Vec<Reg> },
    /// Sets a state from a value that has a buffer elsewhere.
    Copy(StateId, Value),
    /// The same with a state that devices exchange then. Of the inputs, those behind the first say only what comes before.
    Exchange(StateId, Value),
}

/// Groups in order, and where results lie.
pub(super) struct Grouping {
    /// The groups, in an order in which they can run.
    pub groups: Vec<Group>,
    /// The value whose buffer each value shares (reshapes of buffers).
    pub alias: Vec<Value>,
    /// States whose new value is written where the old one was, and those that are exchanged.
    pub in_place: HashMap<Value, StateId>,
}

/// A value that is computed again wherever it is used if that costs at most this many simple operations.
const CHEAP: u32 = 6;
/// Elements of an iteration space in which launches cost more than the work.
const SMALL: usize = 4096;
/// Most instructions of a body that joins several values.
const MAX_INSTRUCTIONS: usize = 160;

/// Groups the nodes that the updates need.
pub(super) fn group(graph: &Graph, fusion: Fusion) -> Grouping {
    let mut fuser = Fuser::new(graph, fusion);
    fuser.choose_buffers();
    fuser.form_groups();
    if fusion.epilogues {
        epilogue::attach(graph, &fuser.alias, &mut fuser.groups);
    }
    fuser.order()
}

struct Fuser<'a> {
    graph: &'a Graph,
    fusion: Fusion,
    users: Vec<Vec<Value>>,
    buffered: Vec<bool>,
    alias: Vec<Value>,
    groups: Vec<Group>,
}

/// Whether an operation can be computed element by element inside another kernel.
fn is_fusable(op: &Op) -> bool {
    match op {
        Op::Constant(_)
        | Op::Iota { .. }
        | Op::Unary(_)
        | Op::Binary(_)
        | Op::Select
        | Op::Cast
        | Op::Random { .. }
        | Op::Reshape
        | Op::Broadcast
        | Op::Transpose(_)
        | Op::Slice { .. }
        | Op::Pad { .. }
        | Op::GatherRows
        | Op::SampleImage { .. } => true,
        Op::State(_)
        | Op::Data(_)
        | Op::Input(_)
        | Op::Concat { .. }
        | Op::Reduce { .. }
        | Op::MatMul { .. }
        | Op::Conv2d(_)
        | Op::Conv2dInputGrad(_)
        | Op::Conv2dWeightGrad(_)
        | Op::MaxPool(_)
        | Op::MaxPoolGrad(_)
        | Op::AvgPool(_)
        | Op::AvgPoolGrad(_)
        | Op::Exchange(_) => false,
    }
}

/// Simple operations that computing one element takes, beside its operands.
fn cost(op: &Op) -> u32 {
    match op {
        Op::Unary(Unary::Negate | Unary::Abs | Unary::Relu | Unary::Floor | Unary::Sign | Unary::NonFinite) => 1,
        Op::Unary(Unary::Sqrt | Unary::Reciprocal) => 4,
        Op::Unary(_) => 10,
        Op::Binary(Binary::Divide) => 3,
        Op::Binary(_) | Op::Select | Op::Cast => 1,
        Op::Pad { .. } | Op::GatherRows => 4,
        Op::SampleImage { .. } => 20,
        Op::Random { .. } => 60,
        _ => 0,
    }
}

fn is_source(op: &Op) -> bool {
    matches!(op, Op::State(_) | Op::Data(_) | Op::Input(_))
}

impl<'a> Fuser<'a> {
    fn new(graph: &'a Graph, fusion: Fusion) -> Fuser<'a> {
        let mut users = vec![Vec::new(); graph.nodes.len()];
        for value in graph.values() {
            for operand in &graph.node(value).operands {
                if users[operand.index()].last() != Some(&value) {
                    users[operand.index()].push(value);
                }
            }
        }
        let buffered = graph.nodes.iter().map(|node| !is_fusable(&node.op)).collect();
        Fuser { graph, fusion, users, buffered, alias: graph.values().collect(), groups: Vec::new() }
    }

    /// Whether a reshape changes only axes of size 1, so that indices can be followed through it.
    fn is_thin_reshape(&self, value: Value) -> bool {
        let node = self.graph.node(value);
        let thick = |shape: &[usize]| shape.iter().copied().filter(|&size| size != 1).collect::<Vec<_>>();
        node.op == Op::Reshape && thick(&node.shape) == thick(self.graph.shape(node.operands[0]))
    }

    fn choose_buffers(&mut self) {
        let graph = self.graph;
        for value in graph.values() {
            let node = graph.node(value);
            match node.op {
                // These read whole buffers; a reduction computes its operand itself.
                Op::Reduce { .. } | Op::Concat { .. } => {}
                _ if !is_fusable(&node.op) => {
                    for operand in &node.operands {
                        self.buffered[operand.index()] = true;
                    }
                }
                Op::Reshape if !self.is_thin_reshape(value) => {
                    self.buffered[node.operands[0].index()] = true;
                    self.buffered[value.index()] = true;
                }
                _ => {}
            }
        }
        for (_, value) in &graph.updates {
            self.buffered[value.index()] = true;
        }
        // What is rounded is rounded to be stored.
        for value in graph.values().filter(|&value| graph.dtype(value) == DType::F16) {
            self.buffered[value.index()] |= graph.node(value).op == Op::Cast;
        }
        // What is left: values used in several places, or repeated many times, that are dear to compute again.
        let mut price = vec![0u32; graph.nodes.len()];
        for value in graph.values() {
            let node = graph.node(value);
            let operands: u32 = node.operands.iter().map(|operand| price[operand.index()]).sum();
            let total = if is_source(&node.op) { 0 } else { operands.saturating_add(cost(&node.op)) };
            let spread = self.users[value.index()].iter().any(|&user| self.spreads(value, user));
            let uses = self.users[value.index()].len();
            let dear = (uses > 1 && total > CHEAP) || (spread && total > 2);
            if is_fusable(&node.op) && dear && !matches!(node.op, Op::Broadcast | Op::Reshape) {
                self.buffered[value.index()] = true;
            }
            price[value.index()] = if self.buffered[value.index()] { 0 } else { total };
        }
        if self.fusion.epilogues {
            self.buffer_finished_products();
        }
        for value in graph.values() {
            let node = graph.node(value);
            if node.op == Op::Reshape && self.buffered[value.index()] && self.buffered[node.operands[0].index()] {
                self.alias[value.index()] = self.alias[node.operands[0].index()];
            }
        }
    }

    /// Buffers what an epilogue can compute from a product and other tensors, where a reduction needs it and others need
    /// it once more: each would read all of those tensors again. (The gradient behind an activation, which batch
    /// normalization sums before it uses it.)
    fn buffer_finished_products(&mut self) {
        let graph = self.graph;
        let updated: BTreeSet<Value> = graph.updates.iter().map(|(_, value)| *value).collect();
        // Whether reductions, and whether other kernels, need each value.
        let mut needs = vec![[false; 2]; graph.nodes.len()];
        for value in graph.values().rev() {
            for &user in &self.users[value.index()] {
                let needed = match graph.node(user).op {
                    Op::Reduce { .. } => [true, false],
                    _ if self.buffered[user.index()] || updated.contains(&user) => [false, true],
                    _ => needs[user.index()],
                };
                let own = &mut needs[value.index()];
                *own = [own[0] || needed[0], own[1] || needed[1]];
            }
        }
        // The large tensors that computing each value reads.
        let mut reads: Vec<BTreeSet<Value>> = vec![BTreeSet::new(); graph.nodes.len()];
        for value in graph.values() {
            let node = graph.node(value);
            let (mut own, size) = (BTreeSet::new(), count(&node.shape));
            for &operand in &node.operands {
                if self.buffered[operand.index()] {
                    own.insert(operand);
                } else {
                    own.extend(reads[operand.index()].iter().copied());
                }
            }
            own.retain(|&read| count(graph.shape(read)) == size);
            let is_shared = self.users[value.index()].len() > 1 && needs[value.index()] == [true, true];
            let follows = own.iter().any(|&read| epilogue::is_product(&graph.node(read).op));
            if is_fusable(&node.op) && size > SMALL && is_shared && follows && own.len() > 1 {
                self.buffered[value.index()] = true;
            }
            reads[value.index()] = own;
        }
    }

    /// Whether a user computes far more elements than `value` has, so that `value` would be computed many times.
    fn spreads(&self, value: Value, user: Value) -> bool {
        let node = self.graph.node(user);
        let (inner, outer) = (count(self.graph.shape(value)), count(&node.shape));
        match node.op {
            Op::Broadcast => outer >= 4 * inner,
            Op::Reshape if self.is_thin_reshape(user) => {
                self.users[user.index()].iter().any(|&next| self.spreads(user, next))
            }
            Op::Random { .. } | Op::GatherRows | Op::SampleImage { .. } => outer >= 4 * inner,
            _ => false,
        }
    }

    fn form_groups(&mut self) {
        let graph = self.graph;
        let updated: BTreeSet<Value> = graph.updates.iter().map(|(_, value)| *value).collect();
        for value in graph.values() {
            let node = graph.node(value);
            let used = !self.users[value.index()].is_empty() || updated.contains(&value);
            if !self.buffered[value.index()] || !used || is_source(&node.op) || self.alias[value.index()] != value {
                continue;
            }
            match &node.op {
                Op::Reduce { .. } if self.fusion.deviations && self.joins_its_mean(value) => {}
                Op::Reduce { axes, .. } => {
                    let kept: Vec<usize> = (0..node.shape.len()).filter(|axis| !axes.contains(axis)).collect();
                    self.join_or_add(value, &[&kept[..], axes].concat(), Some(kept.len()));
                }
                Op::Concat { axis } => self.add_parts(value, *axis),
                Op::Exchange(state) => {
                    let own = self.alias[node.operands[0].index()];
                    // All devices come to the exchanges in the same order.
                    let is_exchange = |group: &&Group| matches!(group.work, Work::Exchange(..));
                    let before = self.groups.iter().rev().find(is_exchange).map(|group| group.outputs[0]);
                    let inputs = std::iter::once(own).chain(before).collect();
                    self.groups.push(Group { work: Work::Exchange(*state, own), outputs: vec![value], inputs });
                }
                op if is_fusable(op) => {
                    let axes: Vec<usize> = (0..node.shape.len()).collect();
                    self.join_or_add(value, &axes, None);
                }
                _ => {
                    let inputs = node.operands.iter().map(|operand| self.alias[operand.index()]).collect();
                    self.groups.push(Group { work: Work::Single(value), outputs: vec![value], inputs });
                }
            }
        }
    }

    /// Puts a fused value into an earlier group of the same iteration space if that is sound, else into its own.
    fn join_or_add(&mut self, value: Value, axes: &[usize], kept: Option<usize>) {
        let shape = self.iteration_shape(value, axes);
        let small = count(&shape) <= SMALL;
        let alone = self.fused(&[value], axes, kept).unwrap_or_else(|| unreachable!("a value can be computed alone"));
        for index in (0..self.groups.len()).rev().take(24) {
            let group = &self.groups[index];
            let same_space = match (&group.work, kept) {
                (Work::Pointwise { shape: other, .. }, None) => *other == shape,
                (Work::Reduce { shape: other, kept: other_kept, .. }, Some(kept)) => {
                    *other == shape
                        && *other_kept == kept
                        && self.reduced_axes(group.outputs[0]) == self.reduced_axes(value)
                }
                _ => false,
            };
            if !same_space || has_deviations(&group.work) {
                continue;
            }
            let uses = group.outputs.iter().any(|&output| self.users[output.index()].contains(&value));
            let meets = |input: &Value| group.inputs.contains(input) || group.outputs.contains(input);
            // Without a tensor in common there is nothing to gain, and no need to look closer.
            if !(small || uses || alone.inputs.iter().any(meets)) || self.is_apart(group, &alone) {
                continue;
            }
            let outputs: Vec<Value> = group.outputs.iter().copied().chain([value]).collect();
            let Some(merged) = self.fused(&outputs, axes, kept) else { continue };
            let related = small || uses || merged.inputs.len() < group.inputs.len() + alone.inputs.len();
            if related && !self.depends_through(index, &merged) {
                let at = self.groups.len();
                // The merged group runs where the later one would: everything that it reads is there by then.
                let users_between = self.groups[index + 1..at]
                    .iter()
                    .any(|other| other.inputs.iter().any(|input| self.groups[index].outputs.contains(input)));
                if users_between {
                    // What it reads is there already at the earlier place.
                    let ready = merged.inputs.iter().all(|input| self.ready_before(*input, index));
                    if !ready {
                        continue;
                    }
                    self.groups[index] = merged;
                } else {
                    self.groups.remove(index);
                    self.groups.push(merged);
                }
                return;
            }
        }
        self.groups.push(alone);
    }

    /// Lets the group that sums `x` compute `Σ(x − mean(x))²` as well, if that is what `value` is, and memory runs along
    /// the axes.
    fn joins_its_mean(&mut self, value: Value) -> bool {
        let Some(sum) = self.mean_of_deviations(value) else { return false };
        for group in &mut self.groups {
            let Work::Reduce { results, .. } = &mut group.work else { continue };
            let Some(at) = group.outputs.iter().position(|&output| output == sum) else { continue };
            results.push((Reducer::SquaredDeviation, results[at].1));
            group.outputs.push(value);
            return true;
        }
        false
    }

    /// The sum of `x` if a value is the sum of squared deviations of `x` from its mean over the same axes.
    fn mean_of_deviations(&self, value: Value) -> Option<Value> {
        let (operand, axes) = self.sum(value)?;
        let [deviation, again] = self.binary(operand, Binary::Multiply)?;
        let [x, mean] = self.binary(deviation, Binary::Subtract).filter(|_| deviation == again)?;
        let (sum, factor) = self.scaled(mean);
        let (summed, own_axes) = self.sum(sum)?;
        let shape = self.graph.shape(x);
        let number = axes.iter().map(|&axis| shape[axis]).product::<usize>();
        let last = (0..shape.len()).rfind(|&axis| shape[axis] != 1)?;
        let is_mean = (summed, own_axes) == (x, axes) && factor as f32 == (1.0 / number as f64) as f32;
        (is_mean && axes.contains(&last) && self.buffered[x.index()]).then_some(sum)
    }

    fn sum(&self, value: Value) -> Option<(Value, &'a [usize])> {
        let node = self.graph.node(value);
        match &node.op {
            Op::Reduce { kind: ReduceKind::Sum, axes } if node.dtype == DType::F32 => Some((node.operands[0], axes)),
            _ => None,
        }
    }

    fn binary(&self, value: Value, function: Binary) -> Option<[Value; 2]> {
        let node = self.graph.node(value);
        (node.op == Op::Binary(function)).then(|| [node.operands[0], node.operands[1]])
    }

    /// A value without the broadcasts and constant factors around it, and their product.
    fn scaled(&self, value: Value) -> (Value, f64) {
        let node = self.graph.node(value);
        match node.op {
            Op::Broadcast => self.scaled(node.operands[0]),
            Op::Reshape if self.is_thin_reshape(value) => self.scaled(node.operands[0]),
            Op::Binary(Binary::Multiply) => {
                let [a, b] = [0, 1].map(|at| (self.scaled(node.operands[at]), self.constant(node.operands[at])));
                match (a, b) {
                    ((_, Some(factor)), ((value, rest), None)) | (((value, rest), None), (_, Some(factor))) => {
                        (value, rest * factor)
                    }
                    _ => (value, 1.0),
                }
            }
            _ => (value, 1.0),
        }
    }

    fn constant(&self, value: Value) -> Option<f64> {
        let node = self.graph.node(value);
        match node.op {
            Op::Broadcast | Op::Reshape => self.constant(node.operands[0]),
            Op::Constant(number) => Some(number),
            _ => None,
        }
    }

    /// Whether a value, as a group of its own, and an earlier group belong to the epilogues of different products, so
    /// that together they would be in the way of both.
    fn is_apart(&self, group: &Group, alone: &Group) -> bool {
        if !self.fusion.epilogues || matches!(alone.work, Work::Reduce { .. }) {
            return false;
        }
        let (first, second) = (epilogue::anchor(self.graph, group), epilogue::anchor(self.graph, alone));
        let follows = group.outputs.iter().any(|output| alone.inputs.contains(output));
        first != second && !(follows && (first.is_none() || second.is_none()))
    }

    fn ready_before(&self, value: Value, index: usize) -> bool {
        is_source(&self.graph.node(value).op) || self.groups[..index].iter().any(|group| group.outputs.contains(&value))
    }

    /// Whether the merged group would need a result of a group that itself needs the earlier one.
    fn depends_through(&self, index: usize, merged: &Group) -> bool {
        let mut tainted: BTreeSet<Value> = self.groups[index].outputs.iter().copied().collect();
        for group in &self.groups[index + 1..] {
            if group.inputs.iter().any(|input| tainted.contains(input)) {
                tainted.extend(group.outputs.iter().copied());
            }
        }
        for output in &self.groups[index].outputs {
            tainted.remove(output);
        }
        merged.inputs.iter().any(|input| tainted.contains(input))
    }

    fn reduced_axes(&self, value: Value) -> Option<Vec<usize>> {
        match &self.graph.node(value).op {
            Op::Reduce { axes, .. } => Some(axes.clone()),
            _ => None,
        }
    }

    fn iteration_shape(&self, value: Value, axes: &[usize]) -> Shape {
        let node = self.graph.node(value);
        let space = match node.op {
            Op::Reduce { .. } => self.graph.shape(node.operands[0]),
            _ => &node.shape,
        };
        axes.iter().map(|&axis| space[axis]).collect()
    }

    /// The group that computes all of `outputs` in one body, unless one needs another's buffer at a different
    /// place or the body becomes too long.
    fn fused(&self, outputs: &[Value], axes: &[usize], kept: Option<usize>) -> Option<Group> {
        let rank = axes.len();
        let is_buffer = |value: Value| self.buffered[value.index()];
        let mut inliner = Inliner::new(self.graph, &is_buffer, rank);
        let mut place = vec![0; rank];
        for (position, &axis) in axes.iter().enumerate() {
            place[axis] = position;
        }
        let index = identity(&place, rank);
        let mut results = Vec::new();
        for &output in outputs {
            let node = self.graph.node(output);
            match node.op {
                Op::Reduce { kind, .. } => {
                    results.push((Some(Reducer::from(kind)), inliner.emit(node.operands[0], &index)))
                }
                _ => results.push((None, inliner.compute(output, &index))),
            }
        }
        let inputs: Vec<Value> = inliner.inputs.iter().map(|input| self.alias[input.index()]).collect();
        let own = inputs.iter().any(|input| outputs.contains(input));
        if outputs.len() > 1 && (own || inliner.body.instrs.len() > MAX_INSTRUCTIONS) {
            return None;
        }
        let shape = self.iteration_shape(outputs[0], axes);
        let body = inliner.body;
        let work = match kept {
            None => Work::Pointwise { shape, body, results: results.iter().map(|(_, reg)| *reg).collect() },
            Some(kept) => {
                let results = results.iter().filter_map(|(kind, reg)| Some(((*kind)?, *reg))).collect();
                Work::Reduce { shape, kept, body, results }
            }
        };
        Some(Group { work, outputs: outputs.to_vec(), inputs })
    }

    fn add_parts(&mut self, value: Value, axis: usize) {
        let mut start = 0;
        for &operand in &self.graph.node(value).operands {
            let shape = self.graph.shape(operand).to_vec();
            let is_buffer = |value: Value| self.buffered[value.index()];
            let mut inliner = Inliner::new(self.graph, &is_buffer, shape.len());
            let axes: Vec<usize> = (0..shape.len()).collect();
            let result = inliner.emit(operand, &identity(&axes, shape.len()));
            let inputs = inliner.inputs.iter().map(|input| self.alias[input.index()]).collect();
            let size = shape[axis];
            let work = Work::Part { shape, body: inliner.body, result, axis, start };
            self.groups.push(Group { work, outputs: vec![value], inputs });
            start += size;
        }
    }

    /// Decides which states are set in place, orders the groups so that nobody reads a state after that, and adds
    /// copies for the others.
    fn order(self) -> Grouping {
        let Fuser { graph, alias, mut groups, .. } = self;
        let mut after: Vec<BTreeSet<usize>> = dependencies(&groups);
        let mut in_place: HashMap<Value, StateId> = HashMap::new();
        let mut copies = Vec::new();
        for &(state, value) in &graph.updates {
            let root = alias[value.index()];
            let writers: Vec<usize> =
                (0..groups.len()).filter(|&index| groups[index].outputs.contains(&root)).collect();
            let old = graph.values().find(|&old| graph.node(old).op == Op::State(state));
            if Some(root) == old {
                continue;
            }
            let readers: Vec<usize> =
                (0..groups.len()).filter(|&index| old.is_some_and(|old| groups[index].inputs.contains(&old))).collect();
            let sound = !writers.is_empty()
                && !in_place.contains_key(&root)
                && !is_source(&graph.node(root).op)
                && writers.iter().all(|&writer| {
                    readers.iter().all(|&reader| {
                        if reader == writer {
                            old.is_some_and(|old| reads_in_step(&groups[writer], graph, old))
                        } else {
                            !reaches(&after, writer, reader)
                        }
                    })
                });
            if sound {
                in_place.insert(root, state);
                for &writer in &writers {
                    let others = readers.iter().copied().filter(|&reader| reader != writer);
                    after[writer].extend(others);
                }
            } else {
                copies.push((state, root));
            }
        }
        let sequence = sorted(&after);
        let mut taken: Vec<Option<Group>> = groups.drain(..).map(Some).collect();
        let mut ordered: Vec<Group> = sequence
            .into_iter()
            .map(|index| taken[index].take().unwrap_or_else(|| unreachable!("each once")))
            .collect();
        // Copies that read a state which another copy sets come first; two that swap are not generated by lowering.
        copies.sort_by_key(|(_, value)| !is_source(&graph.node(*value).op));
        for (state, value) in copies {
            ordered.push(Group { work: Work::Copy(state, value), outputs: Vec::new(), inputs: vec![value] });
        }
        for group in &ordered {
            if let Work::Exchange(state, _) = group.work {
                in_place.insert(group.outputs[0], state);
            }
        }
        Grouping { groups: ordered, alias, in_place }
    }
}

fn has_deviations(work: &Work) -> bool {
    matches!(work, Work::Reduce { results, .. } if results.iter().any(|(kind, _)| *kind == Reducer::SquaredDeviation))
}

/// For each group, the groups whose results it reads.
pub(super) fn dependencies(groups: &[Group]) -> Vec<BTreeSet<usize>> {
    let mut makers: HashMap<Value, Vec<usize>> = HashMap::new();
    for (index, group) in groups.iter().enumerate() {
        for &output in &group.outputs {
            makers.entry(output).or_default().push(index);
        }
    }
    let of = |group: &Group| group.inputs.iter().filter_map(|input| makers.get(input)).flatten().copied().collect();
    groups.iter().map(of).collect()
}

/// Whether `to` has to run before `from`, directly or not.
pub(super) fn reaches(after: &[BTreeSet<usize>], to: usize, from: usize) -> bool {
    let (mut stack, mut seen) = (vec![from], BTreeSet::new());
    while let Some(index) = stack.pop() {
        if index == to {
            return true;
        }
        if seen.insert(index) {
            stack.extend(after[index].iter().copied());
        }
    }
    false
}

/// An order in which groups can run, close to the given one: what a group waits for comes no later than it must.
fn sorted(after: &[BTreeSet<usize>]) -> Vec<usize> {
    let mut rank: Vec<usize> = (0..after.len()).collect();
    for &group in topological(after, &rank).iter().rev() {
        for &other in &after[group] {
            rank[other] = rank[other].min(rank[group]);
        }
    }
    topological(after, &rank)
}

/// The topological order that takes, of the groups that can run, the one of lowest rank.
fn topological(after: &[BTreeSet<usize>], rank: &[usize]) -> Vec<usize> {
    let mut waiting: Vec<usize> = after.iter().map(BTreeSet::len).collect();
    let mut followers = vec![Vec::new(); after.len()];
    for (index, before) in after.iter().enumerate() {
        for &other in before {
            followers[other].push(index);
        }
    }
    let mut ready: BTreeSet<(usize, usize)> =
        (0..after.len()).filter(|&index| waiting[index] == 0).map(|index| (rank[index], index)).collect();
    let mut order = Vec::with_capacity(after.len());
    while let Some((_, index)) = ready.pop_first() {
        order.push(index);
        for &follower in &followers[index] {
            waiting[follower] -= 1;
            if waiting[follower] == 0 {
                ready.insert((rank[follower], follower));
            }
        }
    }
    assert_eq!(order.len(), after.len(), "groups depend on each other in a circle");
    order
}

/// Whether a group reads a state only at the very element that it writes at each position.
fn reads_in_step(group: &Group, graph: &Graph, state: Value) -> bool {
    let (shape, body, loaded) = match &group.work {
        Work::Pointwise { shape, body, .. } => (&shape[..], body, &group.inputs[..]),
        Work::Product { value, operands, body, .. } if !group.inputs[..*operands].contains(&state) => {
            (graph.shape(*value), body, &group.inputs[*operands..])
        }
        _ => return false,
    };
    count(shape) == count(graph.shape(state))
        && body.instrs.iter().all(|instr| match instr {
            super::Instr::Load(load) if loaded[load.input] == state => in_step(&load.access, shape),
            _ => true,
        })
}

/// Strides of a dense buffer of this shape.
pub(super) fn dense_strides(shape: &[usize]) -> Vec<usize> {
    let mut strides = vec![1; shape.len()];
    for axis in (1..shape.len()).rev() {
        strides[axis - 1] = strides[axis] * shape[axis];
    }
    strides
}
