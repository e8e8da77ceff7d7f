//! Mixed precision: decides what is stored in 16 bits.
//!
//! Everything is computed in `f32`; only what lies in memory between kernels is rounded. As in PyTorch's autocast,
//! products and convolutions read operands of 16 bits and add up in 32, pools keep what they are given, and everything
//! else (sums, norms, exponentials, losses, gradients of weights, updates) is read and kept in `f32`. Where PyTorch
//! rounds between any two operations, here nothing is rounded that no kernel stores.

use std::collections::HashMap;

use super::{push, rebuild};
use crate::ir::{Binary, DType, Graph, Node, Op, Value};

/// Rounds to 16 bits what products and pools read, what becomes of a product before several operations read it, sums of
/// such tensors, and masks.
///
/// `weight_gradients` stay `f32`, and so do the weights themselves: products read a rounded copy.
pub fn store_halves(graph: &mut Graph, weight_gradients: &[Value]) {
    let rounded = choose(graph, weight_gradients);
    // By the value that stands for a tensor in `f32`: the same tensor in 16 bits.
    let mut halves: HashMap<Value, Value> = HashMap::new();
    rebuild(graph, |graph, old, mut node| {
        if reads_halves(&node.op) {
            node.operands.iter_mut().for_each(|operand| *operand = halves[operand]);
        }
        let value = match node.op {
            Op::MaxPool(_) | Op::MaxPoolGrad(_) | Op::AvgPool(_) | Op::AvgPoolGrad(_) => {
                let half = push(graph, Node { dtype: DType::F16, ..node.clone() });
                return Some(widened(graph, half, &node, &mut halves));
            }
            _ if moves(&node.op) && node.operands.iter().all(|operand| is_widened(graph, *operand)) => {
                let operands = node.operands.iter().map(|operand| halves[operand]).collect();
                let half = push(graph, Node { dtype: DType::F16, operands, ..node.clone() });
                return Some(widened(graph, half, &node, &mut halves));
            }
            _ => push(graph, node.clone()),
        };
        if !rounded[old.index()] {
            return Some(value);
        }
        let cast = Node { op: Op::Cast, operands: vec![value], dtype: DType::F16, ..node.clone() };
        let half = push(graph, cast);
        if is_source(&node.op) || is_of_sources(graph, value) {
            // Others read the weight itself.
            halves.insert(value, half);
            return Some(value);
        }
        Some(widened(graph, half, &node, &mut halves))
    });
    // What has a name is what is stored.
    for index in 0..graph.names.len() {
        let value = graph.names[index].0;
        if is_widened(graph, value) {
            graph.names[index].0 = graph.node(value).operands[0];
        }
    }
}

/// A tensor of 16 bits as `f32`, for those who compute with it.
pub(super) fn widened(graph: &mut Graph, half: Value, like: &Node, halves: &mut HashMap<Value, Value>) -> Value {
    let node = Node { op: Op::Cast, operands: vec![half], dtype: DType::F32, ..like.clone() };
    let value = push(graph, node);
    halves.insert(value, half);
    value
}

/// Whether a value is a tensor of 16 bits as `f32`.
fn is_widened(graph: &Graph, value: Value) -> bool {
    let node = graph.node(value);
    node.op == Op::Cast && graph.dtype(node.operands[0]) == DType::F16
}

fn is_source(op: &Op) -> bool {
    matches!(op, Op::State(_) | Op::Data(_) | Op::Input(_))
}

/// Whether a value is a state, moved.
fn is_of_sources(graph: &Graph, value: Value) -> bool {
    let node = graph.node(value);
    is_source(&node.op) || moves(&node.op) && node.operands.iter().all(|&operand| is_of_sources(graph, operand))
}

pub(super) fn moves(op: &Op) -> bool {
    matches!(op, Op::Reshape | Op::Broadcast | Op::Transpose(_) | Op::Slice { .. } | Op::Pad { .. } | Op::Concat { .. })
}

pub(super) fn is_product(op: &Op) -> bool {
    matches!(op, Op::MatMul { .. } | Op::Conv2d(_) | Op::Conv2dInputGrad(_) | Op::Conv2dWeightGrad(_))
}

fn reads_halves(op: &Op) -> bool {
    is_product(op) || matches!(op, Op::MaxPool(_) | Op::MaxPoolGrad(_) | Op::AvgPool(_) | Op::AvgPoolGrad(_))
}

/// Which values are rounded.
fn choose(graph: &Graph, weight_gradients: &[Value]) -> Vec<bool> {
    let mut rounded = vec![false; graph.nodes.len()];
    let mut users = vec![0_usize; graph.nodes.len()];
    let mut is_summed = vec![false; graph.nodes.len()];
    for value in graph.values() {
        let node = graph.node(value);
        for &operand in &node.operands {
            users[operand.index()] += 1;
            is_summed[operand.index()] |= matches!(node.op, Op::Reduce { .. });
            if reads_halves(&node.op) {
                round(graph, operand, &mut rounded);
            }
        }
    }
    let of_weights = lead_to(graph, weight_gradients);
    // Results of products, and what is computed from one of them and used nowhere else: the bias added, the activation.
    let mut finishes = vec![false; graph.nodes.len()];
    for value in graph.values() {
        let node = graph.node(value);
        let is_stored = |value: Value| users[value.index()] > 1 || is_summed[value.index()];
        let goes_on = |operand: &Value| finishes[operand.index()] && !is_stored(*operand);
        let joins = node.op == Op::Binary(Binary::Add)
            && node.operands.iter().all(|operand| rounded[operand.index()] || finishes[operand.index()]);
        let finishes_one = match &node.op {
            op if is_product(op) => !of_weights[value.index()],
            op if is_elementwise(op) => joins || node.operands.iter().any(goes_on),
            _ => false,
        };
        finishes[value.index()] = finishes_one;
        // Zeros and ones lose nothing.
        let is_mask = matches!(&node.op, Op::Binary(function) if function.is_comparison()) && is_drawn(graph, value);
        rounded[value.index()] |= (finishes_one || is_mask) && is_stored(value);
    }
    rounded
}

/// Whether a value is compared with random numbers.
fn is_drawn(graph: &Graph, value: Value) -> bool {
    graph.node(value).operands.iter().any(|&operand| matches!(graph.node(operand).op, Op::Random { .. }))
}

fn is_elementwise(op: &Op) -> bool {
    matches!(op, Op::Unary(_) | Op::Binary(_) | Op::Select)
}

/// Marks a value, or what it is moved from.
fn round(graph: &Graph, value: Value, rounded: &mut [bool]) {
    let node = graph.node(value);
    if std::mem::replace(&mut rounded[value.index()], true) || !moves(&node.op) {
        return;
    }
    for &operand in &node.operands {
        round(graph, operand, rounded);
    }
}

/// The values that become gradients of weights without arithmetic other than sums of several uses.
fn lead_to(graph: &Graph, weight_gradients: &[Value]) -> Vec<bool> {
    let mut leads = vec![false; graph.nodes.len()];
    for &gradient in weight_gradients {
        leads[gradient.index()] = true;
    }
    for value in graph.values().rev() {
        let node = graph.node(value);
        if leads[value.index()] && (moves(&node.op) || node.op == Op::Binary(Binary::Add)) {
            for &operand in &node.operands {
                leads[operand.index()] = true;
            }
        }
    }
    leads
}

#[cfg(test)]
mod tests {
    use super::super::tests::{example, names};
    use super::*;
    use crate::ir::graph::{Init, StateInfo, StateKind};
    use crate::ir::verify::verify;
    use crate::ir::{Builder, StateId, Unary};

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

    #[test]
    fn products_read_halves_and_updates_the_weight_itself() {
        let (mut b, x) = example();
        let w = weight(&mut b, "w", &[3, 3]);
        let product = b.matmul(x, w, false, false);
        let result = b.unary(Unary::Relu, product);
        b.update(StateId(0), result);
        let decayed = b.scale(w, 0.5);
        let id = b.state_of(w).unwrap();
        b.update(id, decayed);
        store_halves(&mut b.graph, &[]);
        assert_eq!(verify(&b.graph, &b.states), Ok(()));
        // The result, used once, is computed on where it is; the second use of `w` is the state.
        assert_eq!(names(&b.graph), "input cast state cast matmul relu constant multiply");
        let product = b.graph.values().find(|value| is_product(&b.graph.node(*value).op)).unwrap();
        for &operand in &b.graph.node(product).operands {
            assert_eq!(b.graph.dtype(operand), DType::F16);
        }
        let scaled = b.graph.updates[1].1;
        assert!(is_source(&b.graph.node(b.graph.node(scaled).operands[0]).op));
    }

    #[test]
    fn gradients_of_weights_are_not_rounded() {
        let (mut b, x) = example();
        let grad = b.input("grad", &[2, 3], DType::F32);
        let gradient = b.matmul(x, grad, true, false);
        let square = b.mul(gradient, gradient);
        let sum = b.sum_all(square);
        let w = weight(&mut b, "w", &[3, 3]);
        let id = b.state_of(w).unwrap();
        b.update(id, gradient);
        let norm = weight(&mut b, "norm", &[]);
        let id = b.state_of(norm).unwrap();
        b.update(id, sum);
        let mut alike = b.graph.clone();
        let halves = |graph: &Graph| graph.nodes.iter().filter(|node| node.dtype == DType::F16).count();
        store_halves(&mut b.graph, &[gradient]);
        assert_eq!(halves(&b.graph), 2, "the operands");
        store_halves(&mut alike, &[]);
        assert_eq!(halves(&alike), 3, "and a result that is used twice");
    }
}
