//! The rules that every graph keeps; checked after each pass.

use super::graph::{Graph, Node, StateId, StateKind, States, Value, count};
use super::op::{ConvGeometry, DType, Op, PoolGeometry, ReduceKind};
use super::scalar::Binary;

/// Whether a graph keeps every rule on order, shapes, types and states; else which node breaks which.
pub fn verify(graph: &Graph, states: &States) -> Result<(), String> {
    for (index, node) in graph.nodes.iter().enumerate() {
        let checked = operands_come_first(node, index).and_then(|()| check(graph, states, node));
        checked.map_err(|reason| format!("%{index} = {}: {reason}", node.op.name()))?;
    }
    let known = |value: Value| rule(value.index() < graph.nodes.len(), || format!("%{} is no node", value.0));
    let mut set = vec![false; states.infos().len()];
    for &(state, value) in &graph.updates {
        known(value)?;
        let info = states.infos().get(state.index()).ok_or_else(|| format!("no state {} to update", state.0))?;
        let fits = graph.shape(value) == info.shape && graph.dtype(value) == info.dtype;
        rule(fits, || format!("%{} does not fit the state `{}` that it updates", value.0, info.name))?;
        rule(!std::mem::replace(&mut set[state.index()], true), || format!("`{}` is set twice", info.name))?;
    }
    graph.names.iter().try_for_each(|(value, name)| known(*value).map_err(|reason| format!("name `{name}`: {reason}")))
}

type Check = Result<(), String>;

fn rule(kept: bool, otherwise: impl FnOnce() -> String) -> Check {
    if kept { Ok(()) } else { Err(otherwise()) }
}

fn operands_come_first(node: &Node, index: usize) -> Check {
    node.operands
        .iter()
        .try_for_each(|operand| rule(operand.index() < index, || format!("uses the later %{}", operand.0)))
}

/// A node with the graph around it.
struct Context<'a> {
    graph: &'a Graph,
    node: &'a Node,
}

fn check(graph: &Graph, states: &States, node: &Node) -> Check {
    let c = Context { graph, node };
    c.check_operand_count()?;
    c.check_bytes()?;
    c.check_halves()?;
    match &node.op {
        Op::Constant(_) => rule(node.dtype != DType::U8, || "a constant of bytes".into()),
        Op::Iota { axis } => {
            c.axis(*axis)?;
            c.dtype(DType::U32)
        }
        Op::State(id) => {
            let info = states.infos().get(id.index()).ok_or("no such state")?;
            c.is(&info.shape, info.dtype)
        }
        Op::Data(id) => {
            let info = graph.data.get(id.0 as usize).ok_or("no such data set")?;
            c.is(&info.shape, info.dtype)
        }
        Op::Input(id) => {
            let info = graph.inputs.get(id.0 as usize).ok_or("no such input")?;
            c.is(&info.shape, info.dtype)
        }
        Op::Unary(_) => c.operands_are(&[DType::F32]).and_then(|()| c.is(c.shape(0), DType::F32)),
        Op::Binary(function) => c.check_binary(*function),
        Op::Select => {
            c.operands_are(&[DType::F32, node.dtype, node.dtype])?;
            (0..3).try_for_each(|operand| c.same_shape(operand))
        }
        Op::Cast => c.same_shape(0),
        Op::Random { .. } => {
            c.operands_are(&[DType::U32; 4])?;
            (0..3).try_for_each(|operand| c.operand_is(operand, &[]))?;
            c.is(c.shape(3), DType::F32)
        }
        Op::Reshape => {
            c.dtype(c.operand(0).dtype)?;
            rule(count(&node.shape) == count(c.shape(0)), || format!("{:?} has other elements", c.shape(0)))
        }
        Op::Broadcast | Op::Transpose(_) | Op::Slice { .. } | Op::Pad { .. } | Op::Concat { .. } => c.check_movement(),
        Op::GatherRows => c.check_gather_rows(),
        Op::SampleImage { .. } => c.check_sample_image(),
        Op::Reduce { kind, axes } => c.check_reduce(*kind, axes),
        Op::MatMul { transpose_a, transpose_b } => c.check_matmul(*transpose_a, *transpose_b),
        Op::Conv2d(g) => c.check_conv(g, [g.input_shape(), g.weight_shape()], g.output_shape()),
        Op::Conv2dInputGrad(g) => c.check_conv(g, [g.weight_shape(), g.output_shape()], g.input_shape()),
        Op::Conv2dWeightGrad(g) => c.check_conv(g, [g.input_shape(), g.output_shape()], g.weight_shape()),
        Op::MaxPool(g) | Op::AvgPool(g) => c.check_pool(g, &[g.input], g.output),
        Op::MaxPoolGrad(g) => c.check_pool(g, &[g.input, g.output], g.input),
        Op::AvgPoolGrad(g) => c.check_pool(g, &[g.output], g.input),
        Op::Exchange(id) => c.check_exchange(states, *id),
    }
}

impl Context<'_> {
    fn operand(&self, operand: usize) -> &Node {
        self.graph.node(self.node.operands[operand])
    }

    fn shape(&self, operand: usize) -> &[usize] {
        &self.operand(operand).shape
    }

    fn dtype(&self, dtype: DType) -> Check {
        rule(self.node.dtype == dtype, || format!("gives {dtype:?}, not {:?}", self.node.dtype))
    }

    fn is(&self, shape: &[usize], dtype: DType) -> Check {
        self.dtype(dtype)?;
        rule(self.node.shape == shape, || format!("gives {shape:?}, not {:?}", self.node.shape))
    }

    fn axis(&self, axis: usize) -> Check {
        rule(axis < self.node.shape.len(), || format!("{:?} has no axis {axis}", self.node.shape))
    }

    fn same_shape(&self, operand: usize) -> Check {
        self.operand_is(operand, &self.node.shape)
    }

    fn operand_is(&self, operand: usize, shape: &[usize]) -> Check {
        let found = self.shape(operand);
        rule(found == shape, || format!("operand {operand} is {found:?}, not {shape:?}"))
    }

    fn operands_are(&self, dtypes: &[DType]) -> Check {
        dtypes.iter().enumerate().try_for_each(|(operand, dtype)| {
            let found = self.operand(operand).dtype;
            rule(found == *dtype, || format!("operand {operand} is {found:?}, not {dtype:?}"))
        })
    }

    fn operands_are_floats(&self) -> Check {
        (0..self.node.operands.len()).try_for_each(|operand| {
            let found = self.operand(operand).dtype;
            rule(matches!(found, DType::F32 | DType::F16), || format!("operand {operand} is {found:?}, not a float"))
        })
    }

    fn check_operand_count(&self) -> Check {
        let found = self.node.operands.len();
        let expected = match &self.node.op {
            Op::Constant(_) | Op::Iota { .. } | Op::State(_) | Op::Data(_) | Op::Input(_) => 0,
            Op::Unary(_) | Op::Cast | Op::Reshape | Op::Broadcast | Op::Transpose(_) => 1,
            Op::Slice { .. } | Op::Pad { .. } | Op::Reduce { .. } => 1,
            Op::MaxPool(_) | Op::AvgPool(_) | Op::AvgPoolGrad(_) | Op::Exchange(_) => 1,
            Op::Binary(_) | Op::GatherRows | Op::MatMul { .. } => 2,
            Op::Conv2d(_) | Op::Conv2dInputGrad(_) | Op::Conv2dWeightGrad(_) | Op::MaxPoolGrad(_) => 2,
            Op::Select => 3,
            Op::Random { .. } | Op::SampleImage { .. } => 4,
            Op::Concat { .. } => found.max(1),
        };
        rule(found == expected, || format!("{found} operands, not {expected}"))
    }

    /// Halves are stored, made by casts, moved, pooled, and read by products.
    fn check_halves(&self) -> Check {
        let pools = matches!(self.node.op, Op::MaxPool(_) | Op::MaxPoolGrad(_) | Op::AvgPool(_) | Op::AvgPoolGrad(_));
        let moves = matches!(self.node.op, Op::Cast | Op::Reshape | Op::Broadcast | Op::Transpose(_));
        let cuts = matches!(self.node.op, Op::Slice { .. } | Op::Pad { .. } | Op::Concat { .. });
        let stored = matches!(self.node.op, Op::State(_) | Op::Data(_));
        rule(stored || pools || moves || cuts || self.node.dtype != DType::F16, || "gives halves".into())
    }

    /// Bytes occur only as data sets, and only gathers and image samples read them.
    fn check_bytes(&self) -> Check {
        let made = self.node.dtype == DType::U8 && !matches!(self.node.op, Op::Data(_));
        rule(!made, || "gives bytes".into())?;
        let readable = usize::from(matches!(self.node.op, Op::GatherRows | Op::SampleImage { .. }));
        let read = (readable..self.node.operands.len()).all(|operand| self.operand(operand).dtype != DType::U8);
        rule(read, || "reads bytes".into())
    }

    /// The state holds the result, and nothing else uses it.
    fn check_exchange(&self, states: &States, id: StateId) -> Check {
        let info = states.infos().get(id.index()).ok_or("no such state")?;
        rule(info.kind == StateKind::Exchange, || format!("`{}` is no state for exchanges", info.name))?;
        let is_other = |node: &&Node| matches!(node.op, Op::State(other) | Op::Exchange(other) if other == id);
        rule(self.graph.nodes.iter().filter(is_other).count() == 1, || format!("`{}` is used twice", info.name))?;
        let sets = self.graph.updates.iter().any(|(other, _)| *other == id);
        rule(!sets, || format!("`{}` is set as well", info.name))?;
        self.operands_are(&[DType::F32])?;
        self.operand_is(0, &info.shape)?;
        self.is(&info.shape, DType::F32)
    }

    fn check_binary(&self, function: Binary) -> Check {
        let dtype = self.operand(0).dtype;
        self.operands_are(&[dtype, dtype])?;
        rule(matches!(dtype, DType::F32 | DType::U32), || format!("computes with {dtype:?}"))?;
        rule(dtype == DType::F32 || function != Binary::Divide, || "divides whole numbers".into())?;
        self.same_shape(0)?;
        self.same_shape(1)?;
        self.dtype(if function.is_comparison() { DType::F32 } else { dtype })
    }

    fn check_movement(&self) -> Check {
        let (out, x) = (&self.node.shape, self.shape(0));
        self.dtype(self.operand(0).dtype)?;
        rule(out.len() == x.len(), || format!("makes {out:?} of {x:?}"))?;
        let all = |fits: &dyn Fn(usize) -> bool| {
            rule((0..out.len()).all(fits), || format!("{:?} makes {out:?} of {x:?}", self.node.op))
        };
        match &self.node.op {
            Op::Broadcast => all(&|i| x[i] == out[i] || x[i] == 1),
            Op::Transpose(permutation) => {
                let mut sorted = permutation.clone();
                sorted.sort_unstable();
                rule(sorted.iter().copied().eq(0..x.len()), || format!("{permutation:?} is no permutation"))?;
                all(&|i| out[i] == x[permutation[i]])
            }
            Op::Slice { axis, start } => {
                self.axis(*axis)?;
                all(&|i| if i == *axis { start + out[i] <= x[i] } else { out[i] == x[i] })
            }
            Op::Pad { axis, before } => {
                self.axis(*axis)?;
                all(&|i| if i == *axis { before + x[i] <= out[i] } else { out[i] == x[i] })
            }
            Op::Concat { axis } => {
                self.axis(*axis)?;
                let mut whole = 0;
                for operand in 0..self.node.operands.len() {
                    let part = self.shape(operand);
                    rule(self.operand(operand).dtype == self.node.dtype, || "joins two types".into())?;
                    rule(part.len() == out.len(), || format!("part {part:?} of {out:?}"))?;
                    let fits = (0..out.len()).all(|i| i == *axis || part[i] == out[i]);
                    rule(fits, || format!("part {part:?} of {out:?}"))?;
                    whole += part[*axis];
                }
                rule(whole == out[*axis], || format!("parts of {whole} in all make {out:?}"))
            }
            op => unreachable!("`{}` moves nothing", op.name()),
        }
    }

    fn check_gather_rows(&self) -> Check {
        let (data, rows) = (self.operand(0), self.operand(1));
        rule(rows.dtype == DType::U32, || "rows are not whole numbers".into())?;
        rule(data.shape.first().is_some_and(|&n| n > 0), || format!("data {:?} has no rows", data.shape))?;
        let shape = [&rows.shape[..], &data.shape[1..]].concat();
        self.is(&shape, if matches!(data.dtype, DType::U8 | DType::F16) { DType::F32 } else { data.dtype })
    }

    fn check_sample_image(&self) -> Check {
        let (images, grid) = (self.operand(0), self.shape(2));
        rule(images.dtype != DType::U32, || "images of whole numbers".into())?;
        self.operands_are(&[images.dtype, DType::U32, DType::F32, DType::F32])?;
        let whole = images.shape.len() == 4 && !images.shape.contains(&0);
        rule(whole && grid.len() == 3, || format!("images {:?}, coordinates {grid:?}", images.shape))?;
        self.operand_is(1, &grid[..1])?;
        self.operand_is(3, grid)?;
        self.is(&[grid[0], images.shape[1], grid[1], grid[2]], DType::F32)
    }

    fn check_reduce(&self, kind: ReduceKind, axes: &[usize]) -> Check {
        let x = self.operand(0);
        let ascending = axes.is_sorted_by(|a, b| a < b) && axes.iter().all(|&axis| axis < x.shape.len());
        rule(ascending, || format!("axes {axes:?} of {:?}", x.shape))?;
        rule(matches!(x.dtype, DType::F32 | DType::U32), || format!("reduces {:?}", x.dtype))?;
        rule(kind != ReduceKind::ArgMax || axes.len() == 1, || format!("arg_max over axes {axes:?}"))?;
        let mut shape = x.shape.clone();
        for &axis in axes {
            rule(kind == ReduceKind::Sum || shape[axis] > 0, || format!("the largest of none in {:?}", x.shape))?;
            shape[axis] = 1;
        }
        self.is(&shape, if kind == ReduceKind::ArgMax { DType::U32 } else { x.dtype })
    }

    fn check_matmul(&self, transpose_a: bool, transpose_b: bool) -> Check {
        self.operands_are_floats()?;
        let (a, b) = (self.shape(0), self.shape(1));
        rule(a.len() == 2 && b.len() == 2, || format!("product of {a:?} and {b:?}"))?;
        let [m, inner] = if transpose_a { [a[1], a[0]] } else { [a[0], a[1]] };
        let [k, n] = if transpose_b { [b[1], b[0]] } else { [b[0], b[1]] };
        rule(inner == k, || format!("product of {a:?} and {b:?}"))?;
        self.is(&[m, n], DType::F32)
    }

    fn check_conv(&self, g: &ConvGeometry, operands: [Vec<usize>; 2], out: Vec<usize>) -> Check {
        let split = g.groups > 0 && g.channels.is_multiple_of(g.groups) && g.filters.is_multiple_of(g.groups);
        let moves = [g.kernel, g.stride, g.dilation].iter().flatten().all(|&size| size > 0);
        rule(split && moves, || format!("impossible {g:?}"))?;
        self.operands_are_floats()?;
        self.operand_is(0, &operands[0])?;
        self.operand_is(1, &operands[1])?;
        self.is(&out, DType::F32)
    }

    /// `planes` holds the rows and columns of each operand, `out` those of the result.
    fn check_pool(&self, g: &PoolGeometry, planes: &[[usize; 2]], out: [usize; 2]) -> Check {
        // Each window sees an element, else it would have no largest.
        let sees = |axis: usize| {
            let last = g.output[axis].saturating_sub(1) * g.stride[axis];
            g.stride[axis] > 0 && g.kernel[axis] > g.padding[axis] && last < g.input[axis] + g.padding[axis]
        };
        rule(sees(0) && sees(1), || format!("impossible {g:?}"))?;
        let Some(&[n, c]) = self.node.shape.first_chunk() else { return Err("no planes".into()) };
        rule(n * c == g.planes, || format!("{n}·{c} planes, not {}", g.planes))?;
        for (operand, plane) in planes.iter().enumerate() {
            self.operand_is(operand, &[n, c, plane[0], plane[1]])?;
        }
        self.operands_are_floats()?;
        self.operands_are(&vec![self.operand(0).dtype; planes.len()])?;
        self.is(&[n, c, out[0], out[1]], self.operand(0).dtype)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ir::{Builder, StateInfo, Unary};

    /// Pushes a node without checks over `%0: f32[2, 3]` and `%1: u32[2]`; gives what verify says.
    #[track_caller]
    fn check_reason(op: Op, operands: &[u32], shape: &[usize], dtype: DType, reason: &str) {
        let mut b = Builder::new(States::default());
        b.input("x", &[2, 3], DType::F32);
        b.input("i", &[2], DType::U32);
        let operands: Vec<Value> = operands.iter().copied().map(Value).collect();
        b.push(op, &operands, shape.to_vec(), dtype);
        let found = verify(&b.graph, &b.states).expect_err("the node breaks a rule");
        assert!(found.contains(reason), "{found}");
    }

    #[test]
    fn broken_nodes_are_named() {
        let (f, u) = (DType::F32, DType::U32);
        check_reason(Op::Unary(Unary::Exp), &[2], &[2, 3], f, "%2 = exp: uses the later %2");
        check_reason(Op::Unary(Unary::Exp), &[], &[2, 3], f, "0 operands, not 1");
        check_reason(Op::Unary(Unary::Exp), &[0], &[3, 2], f, "gives [2, 3], not [3, 2]");
        check_reason(Op::Unary(Unary::Exp), &[1], &[2], f, "operand 0 is U32, not F32");
        check_reason(Op::Binary(Binary::Add), &[0, 1], &[2, 3], f, "operand 1 is U32");
        check_reason(Op::Binary(Binary::Divide), &[1, 1], &[2], u, "divides whole numbers");
        check_reason(Op::Binary(Binary::Less), &[1, 1], &[2], u, "gives F32");
        check_reason(Op::Select, &[1, 1, 1], &[2], u, "operand 0 is U32");
        check_reason(Op::Cast, &[0], &[2, 3], DType::U8, "gives bytes");
        check_reason(Op::Reshape, &[0], &[5], f, "other elements");
        check_reason(Op::Broadcast, &[0], &[4, 3], f, "Broadcast makes");
        check_reason(Op::Transpose(vec![1, 1]), &[0], &[3, 3], f, "no permutation");
        check_reason(Op::Slice { axis: 1, start: 2 }, &[0], &[2, 2], f, "Slice");
        check_reason(Op::Pad { axis: 2, before: 0 }, &[0], &[2, 3], f, "no axis 2");
        check_reason(Op::Concat { axis: 0 }, &[0, 0], &[5, 3], f, "parts of 4");
        check_reason(Op::GatherRows, &[0, 0], &[2, 3, 3], f, "rows are not whole numbers");
        check_reason(Op::Reduce { kind: ReduceKind::Sum, axes: vec![1, 0] }, &[0], &[1, 1], f, "axes [1, 0]");
        check_reason(Op::Reduce { kind: ReduceKind::ArgMax, axes: vec![1] }, &[0], &[2, 1], f, "gives U32");
        check_reason(Op::MatMul { transpose_a: false, transpose_b: false }, &[0, 0], &[2, 3], f, "product of");
        check_reason(Op::State(StateId(0)), &[], &[], f, "no such state");
    }

    #[test]
    fn an_exchange_has_its_state_for_itself() {
        let exchanged = |spoil: &dyn Fn(&mut Builder, Value)| {
            let mut b = Builder::new(States::default());
            let x = b.input("x", &[2], DType::F32);
            let sums = b.exchange("sums", x);
            spoil(&mut b, sums);
            verify(&b.graph, &b.states)
        };
        let is_refused = |spoil: &dyn Fn(&mut Builder, Value), reason: &str| {
            let found = exchanged(spoil).unwrap_err();
            assert!(found.contains(reason), "{found}");
        };
        assert_eq!(exchanged(&|_, _| {}), Ok(()));
        let twice = |b: &mut Builder, sums: Value| {
            b.exchange("sums", sums);
        };
        is_refused(&twice, "`sums` is used twice");
        let read_as_well = |b: &mut Builder, _| {
            b.read_state(StateId(0), vec![2], DType::F32);
        };
        is_refused(&read_as_well, "`sums` is used twice");
        is_refused(&|b, sums| b.update(StateId(0), sums), "`sums` is set as well");
        let of_another_kind = |b: &mut Builder, sums: Value| {
            let info =
                StateInfo { name: "sum".to_owned(), kind: StateKind::Metric, ..b.states.info(StateId(0)).clone() };
            let id = b.states.declare(info);
            b.push(Op::Exchange(id), &[sums], vec![2], DType::F32);
        };
        is_refused(&of_another_kind, "`sum` is no state for exchanges");
    }

    #[test]
    fn updates_and_names_are_checked() {
        let mut b = Builder::new(States::default());
        let x = b.constant(0.0, &[2]);
        b.graph.updates.push((StateId(0), x));
        assert_eq!(verify(&b.graph, &b.states).unwrap_err(), "no state 0 to update");
        b.graph.updates.clear();
        b.name(Value(7), "loss");
        assert_eq!(verify(&b.graph, &b.states).unwrap_err(), "name `loss`: %7 is no node");
    }
}
