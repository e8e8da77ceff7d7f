//! Moves element-by-element work into the products whose results it reads, so that these never travel through memory.

use std::collections::BTreeSet;

use super::fuse::{Group, Work, dense_strides, dependencies, reaches};
use super::kernel::{Access, Body, Instr, Load, Reg};
use crate::ir::graph::count;
use crate::ir::{Graph, Op, Value};

/// Whether an operation is a product or a convolution, which can have an epilogue.
pub(super) fn is_product(op: &Op) -> bool {
    matches!(op, Op::MatMul { .. } | Op::Conv2d(_) | Op::Conv2dInputGrad(_) | Op::Conv2dWeightGrad(_))
}

/// The last product whose result a pointwise group reads at the very positions that it computes.
pub(super) fn anchor(graph: &Graph, group: &Group) -> Option<Value> {
    in_step_products(graph, group).into_iter().next()
}

/// Makes pointwise groups the epilogues of products, where nothing between the two needs the product's result.
///
/// A group that reads several products in step joins the last of them that allows it. Gradient clipping does not: the
/// norm needs all gradients before the first update. The new group takes the product's place in the list, which is
/// no longer an order in which groups can run.
pub(super) fn attach(graph: &Graph, alias: &[Value], groups: &mut Vec<Group>) {
    let mut at = 0;
    while at < groups.len() {
        let found = in_step_products(graph, &groups[at]).into_iter().find_map(|value| {
            let maker = groups.iter().position(|group| matches!(group.work, Work::Single(other) if other == value))?;
            may_join(graph, alias, groups, maker, at).then_some((maker, value))
        });
        let Some((maker, value)) = found else {
            at += 1;
            continue;
        };
        let needed = groups.iter().enumerate().any(|(index, group)| index != at && group.inputs.contains(&value))
            || graph.updates.iter().any(|(_, other)| alias[other.index()] == value);
        groups[maker] = merged(graph, &groups[maker], &groups[at], value, needed);
        // What followed now stands here, unless it was the product that followed.
        groups.remove(at);
    }
}

/// Products that a pointwise group reads in step, the last one first.
fn in_step_products(graph: &Graph, group: &Group) -> Vec<Value> {
    let Work::Pointwise { shape, body, .. } = &group.work else { return Vec::new() };
    let thick = |shape: &[usize]| shape.iter().copied().filter(|&size| size != 1).collect::<Vec<_>>();
    let mut found: Vec<Value> = group
        .inputs
        .iter()
        .copied()
        .filter(|&value| is_product(&graph.node(value).op) && thick(graph.shape(value)) == thick(shape))
        .filter(|&value| loads_of(body, &group.inputs, value).all(|load| in_step(&load.access, shape)))
        .collect();
    found.sort_unstable_by_key(|&value| std::cmp::Reverse(value));
    found.dedup();
    found
}

fn loads_of<'a>(body: &'a Body, inputs: &'a [Value], value: Value) -> impl Iterator<Item = &'a Load> {
    body.instrs.iter().filter_map(move |instr| match instr {
        Instr::Load(load) if inputs[load.input] == value => Some(load),
        _ => None,
    })
}

/// Whether an access reads, at each position of a dense space of this shape, the element of that position.
pub(super) fn in_step(access: &Access, shape: &[usize]) -> bool {
    let dense = dense_strides(shape);
    let same = (0..shape.len()).all(|axis| shape[axis] == 1 || access.strides[axis] == dense[axis]);
    access.offset == 0 && access.indirect.is_empty() && same
}

/// Whether the pointwise group `at` can run inside the product `maker`.
fn may_join(graph: &Graph, alias: &[Value], groups: &[Group], maker: usize, at: usize) -> bool {
    let after = dependencies(groups);
    // Something else that the group reads needs the whole product first.
    if after[at].iter().any(|&other| other != maker && reaches(&after, maker, other)) {
        return false;
    }
    // A state that the product reads as an operand cannot be set by its epilogue.
    let sets: BTreeSet<_> = (graph.updates.iter())
        .filter(|(_, value)| groups[at].outputs.contains(&alias[value.index()]))
        .map(|(state, _)| *state)
        .collect();
    !groups[maker].inputs.iter().any(|&input| matches!(graph.node(input).op, Op::State(id) if sets.contains(&id)))
}

fn merged(graph: &Graph, product: &Group, group: &Group, value: Value, needed: bool) -> Group {
    let Work::Pointwise { shape, body, results } = &group.work else {
        unreachable!("only pointwise groups become epilogues");
    };
    let own = graph.shape(value);
    // Where each axis of the product's shape is in the group's, which may have other axes of size 1.
    let mut thick = (0..shape.len()).filter(|&axis| shape[axis] != 1);
    let sources: Vec<Option<usize>> = own.iter().map(|&size| if size == 1 { None } else { thick.next() }).collect();
    assert_eq!(count(own), count(shape), "the spaces have the same positions");
    let moved = |access: &Access| Access {
        offset: access.offset,
        strides: sources.iter().map(|source| source.map_or(0, |axis| access.strides[axis])).collect(),
        indirect: access.indirect.clone(),
    };
    let others: Vec<Value> = group.inputs.iter().copied().filter(|&input| input != value).collect();
    let input_of = |input: usize| {
        let found = others.iter().position(|&other| other == group.inputs[input]);
        found.unwrap_or_else(|| unreachable!("every other input stays one"))
    };
    let instrs = body.instrs.iter().map(|instr| match instr {
        Instr::Load(load) if group.inputs[load.input] == value => Instr::Product,
        Instr::Load(load) => Instr::Load(Load { input: input_of(load.input), access: moved(&load.access) }),
        Instr::Position { axis, offset } => match sources.iter().position(|source| *source == Some(*axis)) {
            Some(axis) => Instr::Position { axis, offset: *offset },
            None => Instr::Word(*offset),
        },
        other => other.clone(),
    });
    let body = Body { instrs: instrs.collect() };
    let (mut outputs, mut results) = (group.outputs.clone(), results.clone());
    if needed {
        let sum = body.instrs.iter().position(|instr| *instr == Instr::Product);
        outputs.push(value);
        results.push(sum.unwrap_or_else(|| unreachable!("the group reads the product")) as Reg);
    }
    let inputs = product.inputs.iter().copied().chain(others).collect();
    Group { work: Work::Product { value, operands: product.inputs.len(), body, results }, outputs, inputs }
}

#[cfg(test)]
mod tests {
    use crate::ir::graph::{Init, StateInfo, StateKind};
    use crate::ir::{Builder, DType, StateId, Unary, Value};
    use crate::plan::{Fusion, Instr, Kernel, KernelKind, Output, Place, Plan, plan};

    fn weight(b: &mut Builder, name: &str, shape: &[usize]) -> Value {
        b.state(StateInfo {
            name: name.to_owned(),
            shape: shape.to_vec(),
            dtype: DType::F32,
            kind: StateKind::Weight,
            init: Init::Fill(0.0),
            layer: None,
        })
    }

    fn set(b: &mut Builder, state: Value, value: Value) {
        let id = b.state_of(state).unwrap();
        b.update(id, value);
    }

    fn planned(b: &Builder) -> Plan {
        plan(&b.graph, &b.states, Fusion { epilogues: true, ..Fusion::default() })
    }

    fn families(plan: &Plan) -> Vec<&'static str> {
        plan.kernels.iter().map(Kernel::family).collect()
    }

    fn sets(kernel: &Kernel, state: StateId) -> bool {
        kernel.outputs().iter().any(|buffer| buffer.place == Place::State(state))
    }

    /// `out = relu(x·w + bias)·v`
    fn two_layers(b: &mut Builder) -> [Value; 4] {
        let x = weight(b, "x", &[8, 16]);
        let w = weight(b, "w", &[16, 32]);
        let bias = weight(b, "bias", &[32]);
        let v = weight(b, "v", &[32, 4]);
        let product = b.matmul(x, w, false, false);
        let bias = b.broadcast_axis(bias, 1, &[8, 32]);
        let sum = b.add(product, bias);
        let hidden = b.unary(Unary::Relu, sum);
        let out = b.matmul(hidden, v, false, false);
        [product, hidden, out, w]
    }

    #[test]
    fn bias_and_activation_join_the_product_whose_result_has_no_buffer() {
        let mut b = Builder::default();
        let [_, _, out, _] = two_layers(&mut b);
        let result = weight(&mut b, "result", &[8, 4]);
        set(&mut b, result, out);
        let plan = planned(&b);
        assert_eq!(families(&plan), ["matmul", "matmul"]);
        let epilogue = plan.kernels[0].product_output().and_then(Output::epilogue).unwrap();
        assert_eq!((&epilogue.shape[..], epilogue.stores.len(), epilogue.inputs.len()), (&[8, 32][..], 1, 1));
        assert_eq!(epilogue.body.instrs.iter().filter(|instr| **instr == Instr::Product).count(), 1);
        assert_eq!(plan.arena_words, 8 * 32);
    }

    #[test]
    fn without_epilogues_they_are_kernels_of_their_own() {
        let mut b = Builder::default();
        let [_, _, out, _] = two_layers(&mut b);
        let result = weight(&mut b, "result", &[8, 4]);
        set(&mut b, result, out);
        let plan = plan(&b.graph, &b.states, Fusion::default());
        assert_eq!(families(&plan), ["matmul", "pointwise", "matmul"]);
    }

    #[test]
    fn a_product_that_others_read_is_stored_as_well() {
        let mut b = Builder::default();
        let [product, _, out, _] = two_layers(&mut b);
        let result = weight(&mut b, "result", &[8, 4]);
        set(&mut b, result, out);
        let total = b.sum(product, &[0, 1]);
        let sum = weight(&mut b, "sum", &[1, 1]);
        set(&mut b, sum, total);
        let plan = planned(&b);
        let epilogue = plan.kernels[0].product_output().and_then(Output::epilogue).unwrap();
        assert_eq!(epilogue.stores.len(), 2);
        assert_eq!(families(&plan), ["matmul", "matmul", "reduce"]);
    }

    /// Sets `w` to `w - grad` where `grad = x·g` is computed from `g`, and reads the old `w` in `g·wᵀ` as well.
    fn update(b: &mut Builder, rate: impl FnOnce(&mut Builder, Value) -> Value) -> Value {
        let x = weight(b, "x", &[8, 16]);
        let g = weight(b, "g", &[8, 32]);
        let w = weight(b, "w", &[16, 32]);
        let grad = b.matmul(x, g, true, false);
        let input_grad = b.matmul(g, w, false, true);
        let rate = rate(b, grad);
        let rate = b.broadcast(rate, &[16, 32]);
        let step = b.mul(grad, rate);
        let next = b.sub(w, step);
        set(b, w, next);
        let kept = weight(b, "kept", &[8, 16]);
        set(b, kept, input_grad);
        w
    }

    #[test]
    fn the_update_of_a_weight_waits_for_those_who_read_the_old_one() {
        let mut b = Builder::default();
        let w = update(&mut b, |b, _| b.constant(0.1, &[1, 1]));
        let plan = planned(&b);
        assert_eq!(families(&plan), ["matmul", "matmul"]);
        let id = b.state_of(w).unwrap();
        let KernelKind::MatMul { b: right, .. } = &plan.kernels[0].kind else { panic!("{:?}", plan.kernels[0]) };
        assert_eq!(right.place, Place::State(id));
        assert!(!sets(&plan.kernels[0], id) && sets(&plan.kernels[1], id));
        assert!(plan.kernels[1].product_output().and_then(Output::epilogue).is_some());
    }

    #[test]
    fn an_update_by_the_norm_of_the_gradient_is_no_epilogue() {
        let mut b = Builder::default();
        update(&mut b, |b, grad| {
            let square = b.mul(grad, grad);
            b.sum(square, &[0, 1])
        });
        let plan = planned(&b);
        assert!(plan.kernels.iter().all(|kernel| kernel.product_output().and_then(Output::epilogue).is_none()));
        assert_eq!(plan.kernels.iter().filter(|kernel| kernel.family() == "pointwise").count(), 1);
    }

    #[test]
    fn a_product_does_not_set_its_own_operand() {
        let mut b = Builder::default();
        let w = weight(&mut b, "w", &[8, 8]);
        let square = b.matmul(w, w, false, false);
        let next = b.sub(w, square);
        set(&mut b, w, next);
        let plan = planned(&b);
        assert_eq!(families(&plan), ["matmul", "pointwise"]);
        assert!(sets(&plan.kernels[1], b.state_of(w).unwrap()));
    }

    #[test]
    fn updates_of_equal_weights_stay_apart() {
        let mut b = Builder::default();
        for name in ["first", "second"] {
            let x = weight(&mut b, &format!("{name}.x"), &[8, 16]);
            let g = weight(&mut b, &format!("{name}.g"), &[8, 16]);
            let w = weight(&mut b, name, &[16, 16]);
            let grad = b.matmul(x, g, true, false);
            let next = b.sub(w, grad);
            set(&mut b, w, next);
        }
        assert_eq!(families(&planned(&b)), ["matmul", "matmul"]);
    }

    #[test]
    fn a_residual_joins_the_later_product() {
        let mut b = Builder::default();
        let x = weight(&mut b, "x", &[8, 16]);
        let [v, w] = ["v", "w"].map(|name| weight(&mut b, name, &[16, 16]));
        let left = b.matmul(x, v, false, false);
        let right = b.matmul(left, w, false, false);
        let sum = b.add(left, right);
        let result = weight(&mut b, "result", &[8, 16]);
        set(&mut b, result, sum);
        let plan = planned(&b);
        assert_eq!(families(&plan), ["matmul", "matmul"]);
        assert!(plan.kernels[0].product_output().and_then(Output::epilogue).is_none());
        assert!(plan.kernels[1].product_output().and_then(Output::epilogue).is_some());
    }
}
