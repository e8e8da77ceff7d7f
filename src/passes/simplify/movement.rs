//! Rules for operations that move elements, and for reductions.

use super::{Rewrite, push_simplified, with};
use crate::ir::{Binary, Graph, Node, Op, ReduceKind, Value};

/// Two movements of one kind as one.
pub(super) fn compose(graph: &Graph, node: &Node) -> Option<Rewrite> {
    let inner = graph.node(*node.operands.first()?);
    match (&node.op, &inner.op) {
        (Op::Reshape, Op::Reshape) | (Op::Broadcast, Op::Broadcast) => with(node, node.op.clone(), &inner.operands),
        (Op::Transpose(outer), Op::Transpose(first)) => {
            let both = outer.iter().map(|&axis| first[axis]).collect();
            with(node, Op::Transpose(both), &inner.operands)
        }
        (Op::Transpose(permutation), _) => {
            // Axes of size 1 may move without moving an element.
            let keeps_order = permutation.iter().filter(|&&axis| inner.shape[axis] != 1).is_sorted();
            if keeps_order { with(node, Op::Reshape, &node.operands) } else { None }
        }
        (Op::Slice { axis, start }, Op::Slice { axis: same, start: first }) if axis == same => {
            with(node, Op::Slice { axis: *axis, start: start + first }, &inner.operands)
        }
        _ => None,
    }
}

/// Reductions over axes of size 1 or along which every element is the same.
pub(super) fn reduce(graph: &mut Graph, node: &Node, kind: ReduceKind, axes: &[usize]) -> Option<Rewrite> {
    let x = node.operands[0];
    if kind == ReduceKind::ArgMax {
        return None;
    }
    if graph.shape(x) == node.shape {
        return Some(Rewrite::Value(x));
    }
    let broadcast = graph.node(x).clone();
    if broadcast.op != Op::Broadcast {
        return None;
    }
    let source = broadcast.operands[0];
    let (equal, rest): (Vec<usize>, Vec<usize>) =
        axes.iter().partition(|&&axis| graph.shape(source)[axis] == 1 && broadcast.shape[axis] > 1);
    if equal.is_empty() {
        return None;
    }
    let terms: usize = equal.iter().map(|&axis| broadcast.shape[axis]).product();
    let narrow = narrowed(graph, &broadcast, &equal);
    let reduced =
        push_simplified(graph, Node { op: Op::Reduce { kind, axes: rest }, operands: vec![narrow], ..node.clone() });
    match kind {
        ReduceKind::Sum => {
            let constant = Node { op: Op::Constant(terms as f64), operands: vec![], ..node.clone() };
            let terms = push_simplified(graph, constant);
            with(node, Op::Binary(Binary::Multiply), &[reduced, terms])
        }
        ReduceKind::Max | ReduceKind::ArgMax => Some(Rewrite::Value(reduced)),
    }
}

/// A broadcast that leaves these axes at size 1.
fn narrowed(graph: &mut Graph, broadcast: &Node, axes: &[usize]) -> Value {
    let mut shape = broadcast.shape.clone();
    for &axis in axes {
        shape[axis] = 1;
    }
    push_simplified(graph, Node { shape, ..broadcast.clone() })
}
