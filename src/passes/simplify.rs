//! Computes what is constant and removes operations that change nothing.
//!
//! A rule keeps shape and type, and the value up to rounding. It holds for infinities and NaN as well, so `x · 0`
//! stays for floats; only the sign of a zero may change.

mod arithmetic;
mod constant;
mod movement;

#[cfg(test)]
mod tests;

use super::{push, rebuild};
use crate::ir::{DType, Graph, Node, Op, Value};

/// What takes the place of a node.
enum Rewrite {
    /// A value that is already there.
    Value(Value),
    /// Another node, to which the rules are applied again.
    Node(Node),
}

/// Applies the rules to every node until none fits.
pub(super) fn simplify(graph: &mut Graph) {
    rebuild(graph, |graph, _, node| Some(push_simplified(graph, node)));
}

fn push_simplified(graph: &mut Graph, mut node: Node) -> Value {
    loop {
        match rewrite(graph, &node) {
            Some(Rewrite::Value(value)) => return value,
            Some(Rewrite::Node(other)) => node = other,
            None => return push(graph, node),
        }
    }
}

fn rewrite(graph: &mut Graph, node: &Node) -> Option<Rewrite> {
    if let Some(number) = constant::fold(graph, node) {
        return Some(Rewrite::Node(Node { op: Op::Constant(number), operands: vec![], ..node.clone() }));
    }
    match &node.op {
        Op::Unary(function) => arithmetic::unary(graph, node, *function),
        Op::Binary(function) => arithmetic::binary(graph, node, *function),
        Op::Select => arithmetic::select(graph, node),
        Op::Cast => unchanged(graph, node),
        Op::Reshape | Op::Broadcast | Op::Transpose(_) | Op::Slice { .. } | Op::Pad { .. } | Op::Concat { .. } => {
            unchanged(graph, node).or_else(|| movement::compose(graph, node))
        }
        Op::Reduce { kind, axes } => movement::reduce(graph, node, *kind, axes),
        Op::Constant(_) | Op::Iota { .. } | Op::State(_) | Op::Data(_) | Op::Input(_) | Op::Random { .. } => None,
        Op::GatherRows | Op::SampleImage { .. } | Op::MatMul { .. } => None,
        Op::Conv2d(_) | Op::Conv2dInputGrad(_) | Op::Conv2dWeightGrad(_) => None,
        Op::MaxPool(_) | Op::MaxPoolGrad(_) | Op::AvgPool(_) | Op::AvgPoolGrad(_) | Op::Exchange(_) => None,
    }
}

/// The operand, where it already has the shape and the type of a node that only changes those.
fn unchanged(graph: &Graph, node: &Node) -> Option<Rewrite> {
    let moves = match &node.op {
        Op::Transpose(permutation) => !permutation.is_sorted(),
        _ => false,
    };
    let x = node.operands[0];
    let same = !moves && graph.shape(x) == node.shape && graph.dtype(x) == node.dtype;
    (same && node.operands.len() == 1).then_some(Rewrite::Value(x))
}

/// The number that every element of a value is.
fn constant(graph: &Graph, value: Value) -> Option<f64> {
    match graph.node(value).op {
        Op::Constant(number) => Some(crate::ir::interpret::cast(number, graph.dtype(value))),
        _ => None,
    }
}

/// Another operation with the shape, type and origin of a node.
fn with(node: &Node, op: Op, operands: &[Value]) -> Option<Rewrite> {
    Some(Rewrite::Node(Node { op, operands: operands.to_vec(), ..node.clone() }))
}

/// A constant of the shape, type and origin of a node.
fn push_constant(graph: &mut Graph, node: &Node, number: f64) -> Value {
    push(graph, Node { op: Op::Constant(number), operands: vec![], ..node.clone() })
}

/// Whether f32 holds a number as well as any: neither overflown nor near 0 without being 0.
fn is_plain(number: f64) -> bool {
    number == 0.0 || (f64::from(f32::MIN_POSITIVE)..=f64::from(f32::MAX)).contains(&number.abs())
}

fn is_float(node: &Node) -> bool {
    node.dtype == DType::F32
}
