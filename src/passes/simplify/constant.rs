//! Operations whose every element is one known number.

use super::{constant, is_plain};
use crate::ir::interpret::{binary_value, cast};
use crate::ir::{Binary, Graph, Node, Op, ReduceKind};

/// The number that every element of a node is, where that is known before it runs.
pub(super) fn fold(graph: &Graph, node: &Node) -> Option<f64> {
    let operand = |index: usize| constant(graph, node.operands[index]);
    // A result that f32 cannot hold is left to overflow where it happens.
    let computed = |number: f64| is_plain(number).then_some(number);
    match &node.op {
        Op::Iota { axis } => (node.shape[*axis] == 1).then_some(0.0),
        Op::Unary(function) => computed(function.value(operand(0)?)),
        Op::Binary(function) => {
            let dtype = graph.dtype(node.operands[0]);
            computed(binary_value(*function, dtype, operand(0)?, operand(1)?))
        }
        Op::Cast => Some(cast(operand(0)?, node.dtype)),
        Op::Reshape | Op::Broadcast | Op::Transpose(_) | Op::Slice { .. } | Op::GatherRows => operand(0),
        Op::Pad { .. } => operand(0).filter(|&number| number == 0.0),
        Op::Concat { .. } => {
            let number = operand(0)?;
            (1..node.operands.len()).all(|index| operand(index) == Some(number)).then_some(number)
        }
        Op::Reduce { kind: ReduceKind::Sum, axes } => {
            let terms: usize = axes.iter().map(|&axis| graph.shape(node.operands[0])[axis]).product();
            computed(binary_value(Binary::Multiply, node.dtype, operand(0)?, cast(terms as f64, node.dtype)))
        }
        Op::Reduce { kind: ReduceKind::Max, .. } => operand(0),
        Op::Reduce { kind: ReduceKind::ArgMax, axes } => {
            let single = graph.shape(node.operands[0])[axes[0]] == 1;
            (single || operand(0).is_some()).then_some(0.0)
        }
        // Constants as they are; the rest depends on what is not known, or, as `0 · x`, on x being finite.
        Op::Constant(_) | Op::State(_) | Op::Data(_) | Op::Input(_) | Op::Random { .. } => None,
        Op::Select | Op::SampleImage { .. } | Op::MatMul { .. } => None,
        Op::Conv2d(_) | Op::Conv2dInputGrad(_) | Op::Conv2dWeightGrad(_) => None,
        Op::MaxPool(_) | Op::MaxPoolGrad(_) | Op::AvgPool(_) | Op::AvgPoolGrad(_) | Op::Exchange(_) => None,
    }
}
