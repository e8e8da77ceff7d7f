//! Removes what no update needs.

use super::{push, rebuild};
use crate::ir::Graph;

/// Removes the nodes that no update depends on; data sets and inputs stay declared.
pub(super) fn remove(graph: &mut Graph) {
    let mut live = vec![false; graph.nodes.len()];
    for (_, value) in &graph.updates {
        live[value.index()] = true;
    }
    for value in graph.values().rev() {
        if live[value.index()] {
            for operand in &graph.node(value).operands {
                live[operand.index()] = true;
            }
        }
    }
    rebuild(graph, |graph, value, node| live[value.index()].then(|| push(graph, node)));
}

#[cfg(test)]
mod tests {
    use super::super::tests::{example, names};
    use super::*;

    #[test]
    fn unused_values_and_their_names_go() {
        let (mut b, x) = example();
        let unused = b.scale(x, 2.0);
        b.name(unused, "unused");
        let used = b.add(x, x);
        b.name(used, "used");
        b.input("never", &[], crate::ir::DType::F32);
        b.update(crate::ir::StateId(0), used);
        remove(&mut b.graph);
        assert_eq!(names(&b.graph), "input add");
        assert_eq!(b.graph.names, [(b.graph.updates[0].1, "used".to_owned())]);
        assert_eq!(b.graph.inputs.len(), 2);
    }
}
