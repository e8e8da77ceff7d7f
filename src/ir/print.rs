//! Graphs as text: a listing for people, and Graphviz.

use std::fmt::Write;

use super::graph::{Graph, Node, States, Value};
use super::op::{ConvGeometry, DType, Op, PoolGeometry};

/// A listing, one node a line: `%12 = matmul(%3, %7) f32[128, 10]   # model.4, logits`.
pub fn print(graph: &Graph, states: &States) -> String {
    let lines: Vec<(String, String)> = graph.values().map(|value| line(graph, Some(states), value)).collect();
    let width = lines.iter().map(|(text, _)| text.chars().count()).filter(|&width| width <= 80).max().unwrap_or(0);
    let mut listing = String::new();
    for (text, comment) in lines {
        if comment.is_empty() {
            let _ = writeln!(listing, "{text}");
        } else {
            let _ = writeln!(listing, "{text:width$}   # {comment}");
        }
    }
    for (state, value) in &graph.updates {
        let _ = writeln!(listing, "{} <- %{}", states.info(*state).name, value.0);
    }
    listing
}

/// The graph in Graphviz's language: nodes are operations, edges go from operands to users.
pub fn dot(graph: &Graph) -> String {
    let mut text = String::from("digraph {\n    node [shape=box, fontname=monospace]\n");
    for value in graph.values() {
        let (label, comment) = line(graph, None, value);
        let label = if comment.is_empty() { label } else { format!("{label}\n{comment}") };
        let _ = writeln!(text, "    v{} [label=\"{}\"]", value.0, escape(&label));
        for operand in &graph.node(value).operands {
            let _ = writeln!(text, "    v{} -> v{}", operand.0, value.0);
        }
    }
    for (state, value) in &graph.updates {
        let _ = writeln!(text, "    s{} [label=\"state {}\", shape=cylinder]", state.0, state.0);
        let _ = writeln!(text, "    v{} -> s{}", value.0, state.0);
    }
    text + "}\n"
}

fn escape(label: &str) -> String {
    label.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

/// A node and what is said about it.
fn line(graph: &Graph, states: Option<&States>, value: Value) -> (String, String) {
    let node = graph.node(value);
    let mut arguments: Vec<String> = node.operands.iter().map(|operand| format!("%{}", operand.0)).collect();
    arguments.extend(attributes(graph, states, node));
    let text =
        format!("%{} = {}({}) {}{:?}", value.0, node.op.name(), arguments.join(", "), dtype(node.dtype), node.shape);
    let stage = node.layer.map(|layer| format!("model.{layer}"));
    let names = graph.names.iter().filter(|(named, _)| *named == value).map(|(_, name)| name.clone());
    (text, stage.into_iter().chain(names).collect::<Vec<_>>().join(", "))
}

fn dtype(dtype: DType) -> &'static str {
    match dtype {
        DType::F32 => "f32",
        DType::F16 => "f16",
        DType::U32 => "u32",
        DType::U8 => "u8",
    }
}

fn attributes(graph: &Graph, states: Option<&States>, node: &Node) -> Vec<String> {
    match &node.op {
        Op::Constant(number) => vec![format!("{number}")],
        Op::Iota { axis } | Op::Concat { axis } => vec![format!("axis = {axis}")],
        Op::State(id) | Op::Exchange(id) => {
            vec![states.map_or_else(|| id.0.to_string(), |states| states.info(*id).name.clone())]
        }
        Op::Data(id) => vec![graph.data[id.0 as usize].name.clone()],
        Op::Input(id) => vec![graph.inputs[id.0 as usize].name.clone()],
        Op::Unary(_) | Op::Binary(_) | Op::Select | Op::Cast | Op::Reshape | Op::Broadcast | Op::GatherRows => vec![],
        Op::Random { stream } => vec![format!("stream = {stream}")],
        Op::Transpose(permutation) => vec![format!("{permutation:?}")],
        Op::Slice { axis, start } => vec![format!("axis = {axis}"), format!("start = {start}")],
        Op::Pad { axis, before } => vec![format!("axis = {axis}"), format!("before = {before}")],
        Op::SampleImage { bilinear } => vec![if *bilinear { "bilinear" } else { "nearest" }.to_owned()],
        Op::Reduce { axes, .. } => vec![format!("axes = {axes:?}")],
        Op::MatMul { transpose_a, transpose_b } => {
            let flags = [(*transpose_a, "transpose_a"), (*transpose_b, "transpose_b")];
            flags.into_iter().filter(|(set, _)| *set).map(|(_, name)| name.to_owned()).collect()
        }
        Op::Conv2d(geometry) | Op::Conv2dInputGrad(geometry) | Op::Conv2dWeightGrad(geometry) => conv(geometry),
        Op::MaxPool(geometry) | Op::MaxPoolGrad(geometry) | Op::AvgPool(geometry) | Op::AvgPoolGrad(geometry) => {
            pool(geometry)
        }
    }
}

fn conv(geometry: &ConvGeometry) -> Vec<String> {
    let mut attributes = vec![by("kernel", geometry.kernel)];
    attributes.extend((geometry.stride != [1, 1]).then(|| by("stride", geometry.stride)));
    attributes.extend((geometry.padding != [0, 0]).then(|| by("padding", geometry.padding)));
    attributes.extend((geometry.dilation != [1, 1]).then(|| by("dilation", geometry.dilation)));
    attributes.extend((geometry.groups != 1).then(|| format!("groups = {}", geometry.groups)));
    attributes
}

fn pool(geometry: &PoolGeometry) -> Vec<String> {
    let mut attributes = vec![by("kernel", geometry.kernel), by("stride", geometry.stride)];
    attributes.extend((geometry.padding != [0, 0]).then(|| by("padding", geometry.padding)));
    attributes
}

fn by(name: &str, [rows, columns]: [usize; 2]) -> String {
    format!("{name} = {rows}x{columns}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ir::graph::Init;
    use crate::ir::{Builder, StateInfo, StateKind};

    fn example() -> Builder {
        let mut b = Builder::new(States::default());
        let x = b.input("batch", &[2, 3], DType::F32);
        b.layer = Some(4);
        let weight = StateInfo {
            name: "model.4.weight".into(),
            shape: vec![3, 3],
            dtype: DType::F32,
            kind: StateKind::Weight,
            init: Init::Fill(0.0),
            layer: Some(4),
        };
        let weight = b.state(weight);
        let product = b.matmul(x, weight, false, true);
        b.name(product, "logits");
        let half = b.scale(weight, 0.5);
        b.update(b.state_of(weight).unwrap(), half);
        b
    }

    #[test]
    fn listings_name_everything() {
        let b = example();
        let expected = "\
%0 = input(batch) f32[2, 3]
%1 = state(model.4.weight) f32[3, 3]           # model.4
%2 = matmul(%0, %1, transpose_b) f32[2, 3]     # model.4, logits
%3 = constant(0.5) f32[3, 3]                   # model.4
%4 = multiply(%1, %3) f32[3, 3]                # model.4
model.4.weight <- %4
";
        let squeeze = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        let found = print(&b.graph, &b.states);
        assert_eq!(squeeze(&found), squeeze(expected));
        assert_eq!(found.lines().filter_map(|line| line.find('#')).collect::<std::collections::BTreeSet<_>>().len(), 1);
    }

    #[test]
    fn dot_has_an_edge_for_each_operand() {
        let text = dot(&example().graph);
        assert!(text.contains("    v0 -> v2\n") && text.contains("    v4 -> s0\n"), "{text}");
        assert!(text.contains(r#"v2 [label="%2 = matmul(%0, %1, transpose_b) f32[2, 3]\nmodel.4, logits"]"#), "{text}");
    }
}
