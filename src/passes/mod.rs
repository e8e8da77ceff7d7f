//! Passes over the graph: the list, and what they share.

mod cse;
mod dead_code;
pub mod differentiate;
pub mod precision;
mod simplify;
pub mod storage;

#[cfg(test)]
mod tests;

use crate::ir::verify::verify;
use crate::ir::{Graph, Node, States, Value};

/// A transformation that keeps the meaning of a graph.
pub struct Pass {
    /// A verb or noun for listings and messages.
    pub name: &'static str,
    /// What it does, in one sentence.
    pub description: &'static str,
    /// Does it.
    pub run: fn(&mut Graph),
}

/// All passes, in the order in which they run.
pub const PASSES: &[Pass] = &[
    Pass {
        name: "simplify",
        description: "Computes what is constant and removes operations that change nothing.",
        run: simplify::simplify,
    },
    Pass { name: "cse", description: "Computes equal values once.", run: cse::share },
    Pass { name: "dead_code", description: "Removes what no update needs.", run: dead_code::remove },
];

/// Runs every pass and shows the graph after each to `observe`.
///
/// # Panics
/// When a pass leaves a graph that breaks a rule, which is a mistake of ours.
pub fn optimize(graph: &mut Graph, states: &States, observe: &mut dyn FnMut(&'static str, &Graph)) {
    for pass in PASSES {
        (pass.run)(graph);
        if let Err(reason) = verify(graph, states) {
            panic!("pass `{}` broke the graph: {reason}", pass.name);
        }
        observe(pass.name, graph);
    }
}

/// Builds the graph anew, node by node, and points updates and names to the new values.
///
/// `replace` is given the new graph so far, the old value and its node with operands of the new graph; it gives the
/// value that takes the node's place, of the same shape and type, or `None` where nothing needs one. Names of values
/// without a place are lost.
fn rebuild(graph: &mut Graph, mut replace: impl FnMut(&mut Graph, Value, Node) -> Option<Value>) {
    let old = std::mem::take(graph);
    (graph.data, graph.inputs) = (old.data, old.inputs);
    let mut places: Vec<Option<Value>> = Vec::with_capacity(old.nodes.len());
    for (index, mut node) in old.nodes.into_iter().enumerate() {
        // The operands of a node that is not kept may be gone; it is offered with those that are left.
        node.operands = node.operands.iter().filter_map(|operand| places[operand.index()]).collect();
        places.push(replace(graph, Value(index as u32), node));
    }
    let kept = |value: Value| places[value.index()].expect("the value of an update is kept");
    graph.updates = old.updates.into_iter().map(|(state, value)| (state, kept(value))).collect();
    for (value, name) in old.names {
        let named = places[value.index()].map(|place| (place, name));
        graph.names.extend(named.filter(|named| !graph.names.contains(named)));
    }
}

/// Appends a node.
fn push(graph: &mut Graph, node: Node) -> Value {
    graph.nodes.push(node);
    Value((graph.nodes.len() - 1) as u32)
}
