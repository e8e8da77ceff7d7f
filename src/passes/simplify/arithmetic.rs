//! Rules for element-wise operations.

use super::{Rewrite, constant, is_float, is_plain, push, push_constant, with};
use crate::ir::interpret::binary_value;
use crate::ir::{Binary, Graph, Node, Op, Unary, Value};

pub(super) fn unary(graph: &mut Graph, node: &Node, function: Unary) -> Option<Rewrite> {
    if function != Unary::Negate {
        return None;
    }
    let x = node.operands[0];
    if let Some(negated) = negated(graph, x) {
        return Some(Rewrite::Value(negated));
    }
    let (x, factor) = scaled(graph, x)?;
    let factor = push_constant(graph, node, -factor);
    with(node, Op::Binary(Binary::Multiply), &[x, factor])
}

pub(super) fn binary(graph: &mut Graph, node: &Node, function: Binary) -> Option<Rewrite> {
    let [a, b] = [node.operands[0], node.operands[1]];
    let (left, right) = (constant(graph, a), constant(graph, b));
    if function.is_commutative() && left.is_some() && right.is_none() {
        return with(node, node.op.clone(), &[b, a]);
    }
    match (function, right) {
        (Binary::Add | Binary::Subtract, Some(0.0)) | (Binary::Multiply | Binary::Divide, Some(1.0)) => {
            return Some(Rewrite::Value(a));
        }
        (Binary::Multiply, Some(0.0)) if !is_float(node) => return Some(Rewrite::Value(b)),
        (Binary::Multiply, Some(-1.0)) if is_float(node) => return with(node, Op::Unary(Unary::Negate), &[a]),
        (Binary::Multiply, Some(factor)) => return multiply(graph, node, a, factor),
        _ => {}
    }
    match function {
        Binary::Subtract if left == Some(0.0) && is_float(node) => with(node, Op::Unary(Unary::Negate), &[b]),
        Binary::Subtract => with(node, Op::Binary(Binary::Add), &[a, negated(graph, b)?]),
        Binary::Add => match (negated(graph, a), negated(graph, b)) {
            (_, Some(b)) => with(node, Op::Binary(Binary::Subtract), &[a, b]),
            (Some(a), None) => with(node, Op::Binary(Binary::Subtract), &[b, a]),
            (None, None) => None,
        },
        Binary::Multiply | Binary::Divide | Binary::Max | Binary::Min => None,
        Binary::Less | Binary::LessEqual | Binary::Equal => None,
    }
}

/// `-x · c` and `x · c · d` with one factor.
fn multiply(graph: &mut Graph, node: &Node, x: Value, factor: f64) -> Option<Rewrite> {
    let (x, factor) = if let Some(negated) = negated(graph, x) {
        (negated, -factor)
    } else {
        let (x, inner) = scaled(graph, x)?;
        let product = binary_value(Binary::Multiply, node.dtype, inner, factor);
        // Factors may vanish or overflow together where `x` keeps them apart. The opposite, that `x · c` alone
        // overflows, is only repaired by joining them.
        let plain = [inner, factor, product].iter().all(|&factor| factor != 0.0 && is_plain(factor));
        (x, Some(product).filter(|_| plain || !is_float(node))?)
    };
    let factor = push_constant(graph, node, factor);
    with(node, Op::Binary(Binary::Multiply), &[x, factor])
}

pub(super) fn select(graph: &mut Graph, node: &Node) -> Option<Rewrite> {
    let [condition, a, b] = [node.operands[0], node.operands[1], node.operands[2]];
    match constant(graph, condition) {
        Some(condition) => Some(Rewrite::Value(if condition == 0.0 { b } else { a })),
        None => masked_select(graph, node),
    }
}

/// `x > 0 ? y · m · c : 0` for a comparison `m`, which is 0 or 1, and a factor from 1: `x · m · c > 0 ? y · c : 0`.
///
/// It is the gradient of dropout behind `relu`, whose result is `x · m · c`: neither the mask nor the result of `relu` is
/// needed for it any more. Where `y` is infinite and `m` is 0, the gradient becomes 0, as it is where `x` is 0.
fn masked_select(graph: &mut Graph, node: &Node) -> Option<Rewrite> {
    let [condition, product, zero] = [node.operands[0], node.operands[1], node.operands[2]];
    let test = graph.node(condition).clone();
    let is_zero = |value: Value| constant(graph, value) == Some(0.0);
    if test.op != Op::Binary(Binary::Less) || !is_zero(test.operands[0]) || !is_zero(zero) || !is_float(node) {
        return None;
    }
    let product = graph.node(product);
    let [mask, y] = match product.op {
        Op::Binary(Binary::Multiply) if is_comparison(graph, product.operands[0]) => [0, 1],
        Op::Binary(Binary::Multiply) if is_comparison(graph, product.operands[1]) => [1, 0],
        _ => return None,
    }
    .map(|operand| product.operands[operand]);
    let multiply = |graph: &mut Graph, operands: [Value; 2]| {
        let op = Op::Binary(Binary::Multiply);
        push(graph, Node { op, operands: operands.to_vec(), ..node.clone() })
    };
    let mut result = multiply(graph, [test.operands[1], mask]);
    match scaled(graph, y) {
        Some((_, factor)) if factor >= 1.0 => {
            let factor = push_constant(graph, node, factor);
            result = multiply(graph, [result, factor]);
        }
        _ => {}
    }
    let condition = push(graph, Node { operands: vec![test.operands[0], result], ..test });
    with(node, Op::Select, &[condition, y, zero])
}

fn is_comparison(graph: &Graph, value: Value) -> bool {
    matches!(graph.node(value).op, Op::Binary(Binary::Less | Binary::LessEqual | Binary::Equal))
}

/// `x`, if the value is `-x`.
fn negated(graph: &Graph, value: Value) -> Option<Value> {
    let node = graph.node(value);
    (node.op == Op::Unary(Unary::Negate)).then(|| node.operands[0])
}

/// `x` and `c`, if the value is `x · c`.
fn scaled(graph: &Graph, value: Value) -> Option<(Value, f64)> {
    let node = graph.node(value);
    let factor = |operand: usize| constant(graph, node.operands[operand]);
    match node.op {
        Op::Binary(Binary::Multiply) => Some((node.operands[0], factor(1)?)),
        _ => None,
    }
}
