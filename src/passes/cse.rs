//! Computes equal values once (common subexpression elimination).

use std::collections::HashMap;

use super::{push, rebuild};
use crate::ir::{DType, Graph, Node, Op, Shape, Value};

/// What makes two nodes equal. Operations hold floats, so their text stands for them; it is exact.
type Key = (String, Vec<Value>, Shape, DType);

/// Keeps the first of equal nodes. Random numbers of one stream, step and index are equal, too.
pub(super) fn share(graph: &mut Graph) {
    let mut known: HashMap<Key, Value> = HashMap::new();
    rebuild(graph, |graph, _, node| Some(*known.entry(key(&node)).or_insert_with(|| push(graph, node))));
}

fn key(node: &Node) -> Key {
    let mut operands = node.operands.clone();
    if matches!(node.op, Op::Binary(function) if function.is_commutative()) {
        operands.sort_unstable();
    }
    (format!("{:?}", node.op), operands, node.shape.clone(), node.dtype)
}

#[cfg(test)]
mod tests {
    use super::super::tests::{example, names};
    use super::*;
    use crate::ir::Unary;

    #[test]
    fn equal_nodes_are_shared() {
        let (mut b, x) = example();
        let exp = b.unary(Unary::Exp, x);
        let left = b.add(x, exp);
        let exp = b.unary(Unary::Exp, x);
        let right = b.add(exp, x);
        let product = b.mul(left, right);
        b.update(crate::ir::StateId(0), product);
        share(&mut b.graph);
        assert_eq!(names(&b.graph), "input exp add multiply");
    }

    #[test]
    fn order_numbers_and_streams_tell_nodes_apart() {
        let (mut b, x) = example();
        let zero = b.constant(0.0, &[]);
        let minus_zero = b.constant(-0.0, &[]);
        let broadcast = b.sub(zero, x);
        b.sub(x, broadcast);
        b.sub(broadcast, x);
        b.offset(minus_zero, 1.0);
        let words = [1, 2, 3].map(|number| b.constant_u32(number, &[]));
        for stream in [4, 5, 4] {
            b.random(stream, [words[0], words[1]], words[2], words[0]);
        }
        share(&mut b.graph);
        let count = |name| b.graph.nodes.iter().filter(|node| node.op.name() == name).count();
        assert_eq!((count("subtract"), count("random"), count("constant")), (3, 2, 6));
    }
}
