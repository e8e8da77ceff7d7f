//! `precision = f16_storage`: decides nothing but what a weight is stored as.
//!
//! Products read the weights as they lie, everything else widens them, and what becomes of them is rounded once, when it is
//! stored. There is no other copy: the stored weight is the weight.

use std::collections::HashMap;

use super::precision::{is_product, moves, widened};
use super::{push, rebuild};
use crate::ir::{DType, Graph, Node, Op, StateKind, States, Value};

/// Stores all weights in 16 bits, in this graph and in the states that it shares with others.
pub fn store_weights(graph: &mut Graph, states: &mut States) {
    states.store_as(StateKind::Weight, DType::F16);
    // By the value that stands for a weight in `f32`, moved or not: the same in 16 bits.
    let mut halves: HashMap<Value, Value> = HashMap::new();
    rebuild(graph, |graph, _, mut node| {
        let is_weight = matches!(node.op, Op::State(id) if states.info(id).dtype == DType::F16);
        let is_moved = moves(&node.op) && node.operands.iter().all(|operand| halves.contains_key(operand));
        if is_weight || is_moved {
            let operands = node.operands.iter().map(|operand| halves[operand]).collect();
            let half = push(graph, Node { dtype: DType::F16, operands, ..node.clone() });
            return Some(widened(graph, half, &node, &mut halves));
        }
        if is_product(&node.op) {
            for operand in &mut node.operands {
                *operand = halves.get(operand).copied().unwrap_or(*operand);
            }
        }
        Some(push(graph, node))
    });
    for at in 0..graph.updates.len() {
        let (id, value) = graph.updates[at];
        if states.info(id).dtype == DType::F16 && graph.dtype(value) != DType::F16 {
            let like = graph.node(value).clone();
            let stored = push(graph, Node { op: Op::Cast, operands: vec![value], dtype: DType::F16, ..like });
            graph.updates[at].1 = stored;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{example, names};
    use super::*;
    use crate::ir::graph::{Init, StateInfo};
    use crate::ir::verify::verify;

    #[test]
    fn products_read_the_stored_weight_and_updates_are_rounded() {
        let (mut b, x) = example();
        let info = |name: &str, kind| StateInfo {
            name: name.to_owned(),
            shape: vec![3, 3],
            dtype: DType::F32,
            kind,
            init: Init::Fill(0.0),
            layer: None,
        };
        let w = b.state(info("w", StateKind::Weight));
        let slot = b.state(info("slot", StateKind::Optimizer));
        let turned = b.transpose(w, &[1, 0]);
        let product = b.matmul(x, turned, false, false);
        let total = b.sum_all(product);
        let next = b.add(w, total);
        let [w_id, slot_id] = [w, slot].map(|state| b.state_of(state).unwrap());
        b.update(w_id, next);
        let moved = b.add(slot, total);
        b.update(slot_id, moved);
        store_weights(&mut b.graph, &mut b.states);
        assert_eq!(verify(&b.graph, &b.states), Ok(()));
        assert_eq!([w_id, slot_id].map(|id| b.states.info(id).dtype), [DType::F16, DType::F32]);
        let product = b.graph.values().find(|value| is_product(&b.graph.node(*value).op)).unwrap();
        assert_eq!(
            b.graph.node(product).operands.iter().map(|&x| b.graph.dtype(x)).collect::<Vec<_>>(),
            [DType::F32, DType::F16]
        );
        let kinds: Vec<DType> = b.graph.updates.iter().map(|(_, value)| b.graph.dtype(*value)).collect();
        assert_eq!(kinds, [DType::F16, DType::F32]);
        // The sum reads the weight widened, and is rounded at the end.
        let names = names(&b.graph);
        assert_eq!(names.split(' ').filter(|name| *name == "cast").count(), 3, "{names}");
    }
}
