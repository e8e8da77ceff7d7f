//! Reverse-mode differentiation: appends the gradients of a scalar to its graph.

use crate::ir::graph::count;
use crate::ir::{Binary, Builder, DType, Op, ReduceKind, Unary, Value};

/// The gradients of the scalar `loss` for each of `wanted`, appended to the graph; zeros where `loss` does not
/// depend on a value.
///
/// The way through a standardization (see [`Builder::standardize`]) is taken at one step; no value inside of it may be
/// wanted.
pub fn differentiate(b: &mut Builder, loss: Value, wanted: &[Value]) -> Vec<Value> {
    let last = loss.index();
    let mut depends = vec![false; last + 1];
    for value in wanted.iter().filter(|value| value.index() <= last) {
        depends[value.index()] = true;
    }
    for index in 0..=last {
        let node = &b.graph.nodes[index];
        depends[index] |= node.dtype == DType::F32 && node.operands.iter().any(|operand| depends[operand.index()]);
    }

    let is_inside = |value: &Value| b.standardized.iter().any(|whole| whole.contains(*value));
    assert!(!wanted.iter().any(is_inside), "the gradient of a value inside of a standardization");

    let mut grads: Vec<Option<Value>> = vec![None; last + 1];
    grads[last] = Some(b.like(loss, 1.0));
    let layer = b.layer;
    for index in (0..=last).rev() {
        let Some(grad) = grads[index].filter(|_| depends[index]) else { continue };
        let value = Value(index as u32);
        b.layer = b.graph.node(value).layer;
        for (operand, part) in operand_gradients(b, value, grad, &depends) {
            grads[operand.index()] = Some(match grads[operand.index()] {
                Some(sum) => b.add(sum, part),
                None => part,
            });
        }
    }
    b.layer = layer;
    wanted
        .iter()
        .map(|&value| grads.get(value.index()).copied().flatten().unwrap_or_else(|| b.like(value, 0.0)))
        .collect()
}

/// What the gradient of a node adds to the gradients of its operands.
fn operand_gradients(b: &mut Builder, value: Value, grad: Value, depends: &[bool]) -> Vec<(Value, Value)> {
    if let Some(whole) = b.standardized.iter().find(|whole| whole.result == value).cloned() {
        return vec![(whole.x, whole.gradient(b, grad))];
    }
    let node = b.graph.node(value).clone();
    let operands = node.operands;
    let needed = |position: usize| depends[operands[position].index()];
    let mut parts = Vec::new();
    match node.op {
        Op::Unary(function) => {
            if let Some(part) = function.gradient(b, operands[0], value, grad) {
                parts.push((operands[0], part));
            }
        }
        Op::Binary(function) => {
            for position in (0..2).filter(|&position| needed(position)) {
                if let Some(part) = binary_gradient(b, function, [operands[0], operands[1]], value, grad, position) {
                    parts.push((operands[position], part));
                }
            }
        }
        Op::Select => {
            let zero = b.like(grad, 0.0);
            if needed(1) {
                parts.push((operands[1], b.select(operands[0], grad, zero)));
            }
            if needed(2) {
                parts.push((operands[2], b.select(operands[0], zero, grad)));
            }
        }
        Op::Reshape => {
            let shape = b.shape(operands[0]).to_vec();
            parts.push((operands[0], b.reshape(grad, &shape)));
        }
        Op::Broadcast => {
            let shape = b.shape(operands[0]).to_vec();
            let axes: Vec<usize> = (0..shape.len()).filter(|&axis| shape[axis] != node.shape[axis]).collect();
            parts.push((operands[0], b.sum(grad, &axes)));
        }
        Op::Transpose(permutation) => {
            let mut inverse = vec![0; permutation.len()];
            for (axis, &from) in permutation.iter().enumerate() {
                inverse[from] = axis;
            }
            parts.push((operands[0], b.transpose(grad, &inverse)));
        }
        Op::Slice { axis, start } => {
            let size = b.shape(operands[0])[axis];
            parts.push((operands[0], b.pad(grad, axis, start, size)));
        }
        Op::Pad { axis, before } => {
            let size = b.shape(operands[0])[axis];
            parts.push((operands[0], b.slice(grad, axis, before, size)));
        }
        Op::Concat { axis } => {
            let mut start = 0;
            for (position, &operand) in operands.iter().enumerate() {
                let size = b.shape(operand)[axis];
                if needed(position) {
                    parts.push((operand, b.slice(grad, axis, start, size)));
                }
                start += size;
            }
        }
        Op::Reduce { kind: ReduceKind::Sum, .. } => {
            let shape = b.shape(operands[0]).to_vec();
            parts.push((operands[0], b.broadcast(grad, &shape)));
        }
        // A maximum only ever shifts exponents (softmax), where its gradient cancels.
        Op::Reduce { kind: ReduceKind::Max | ReduceKind::ArgMax, .. } => {}
        Op::MatMul { transpose_a, transpose_b } => {
            let [left, right] = [operands[0], operands[1]];
            if needed(0) {
                let part = if transpose_a {
                    b.matmul(right, grad, transpose_b, true)
                } else {
                    b.matmul(grad, right, false, !transpose_b)
                };
                parts.push((left, part));
            }
            if needed(1) {
                let part = if transpose_b {
                    b.matmul(grad, left, true, transpose_a)
                } else {
                    b.matmul(left, grad, !transpose_a, false)
                };
                parts.push((right, part));
            }
        }
        Op::Conv2d(geometry) => {
            if needed(0) {
                let op = Op::Conv2dInputGrad(geometry);
                parts.push((operands[0], b.push(op, &[operands[1], grad], geometry.input_shape(), DType::F32)));
            }
            if needed(1) {
                let op = Op::Conv2dWeightGrad(geometry);
                parts.push((operands[1], b.push(op, &[operands[0], grad], geometry.weight_shape(), DType::F32)));
            }
        }
        Op::MaxPool(geometry) => {
            let shape = b.shape(operands[0]).to_vec();
            parts.push((operands[0], b.push(Op::MaxPoolGrad(geometry), &[operands[0], grad], shape, DType::F32)));
        }
        Op::AvgPool(geometry) => {
            let shape = b.shape(operands[0]).to_vec();
            parts.push((operands[0], b.push(Op::AvgPoolGrad(geometry), &[grad], shape, DType::F32)));
        }
        Op::Constant(_)
        | Op::Iota { .. }
        | Op::State(_)
        | Op::Data(_)
        | Op::Input(_)
        | Op::Cast
        | Op::Random { .. }
        | Op::GatherRows
        | Op::SampleImage { .. } => {}
        Op::Conv2dInputGrad(_) | Op::Conv2dWeightGrad(_) | Op::MaxPoolGrad(_) | Op::AvgPoolGrad(_) => {
            unreachable!("gradients are not differentiated again")
        }
        Op::Exchange(_) => unreachable!("exchanges stand inside of standardizations, and in gradients"),
    }
    parts.retain(|(operand, part)| depends[operand.index()] && count(b.shape(*part)) > 0);
    parts
}

fn binary_gradient(
    b: &mut Builder,
    function: Binary,
    [left, right]: [Value; 2],
    value: Value,
    grad: Value,
    position: usize,
) -> Option<Value> {
    Some(match (function, position) {
        (Binary::Add, _) | (Binary::Subtract, 0) => grad,
        (Binary::Subtract, _) => b.unary(Unary::Negate, grad),
        (Binary::Multiply, 0) => b.mul(grad, right),
        (Binary::Multiply, _) => b.mul(grad, left),
        (Binary::Divide, 0) => b.div(grad, right),
        (Binary::Divide, _) => {
            let product = b.mul(grad, value);
            let quotient = b.div(product, right);
            b.unary(Unary::Negate, quotient)
        }
        (Binary::Max | Binary::Min, _) => {
            // The gradient goes to the operand that is taken; to the left one where both are equal.
            let left_is_taken = match function {
                Binary::Max => b.binary(Binary::LessEqual, right, left),
                _ => b.binary(Binary::LessEqual, left, right),
            };
            let zero = b.like(grad, 0.0);
            if position == 0 { b.select(left_is_taken, grad, zero) } else { b.select(left_is_taken, zero, grad) }
        }
        (Binary::Less | Binary::LessEqual | Binary::Equal, _) => return None,
    })
}
