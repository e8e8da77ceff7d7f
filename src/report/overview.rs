//! What a program amounts to: layers with their sizes, memory, kernels.

use std::collections::BTreeMap;

use super::table::{Align, Table, bytes, scaled, whole};
use crate::check::program::Program;
use crate::ir::graph::count;
use crate::ir::{Graph, Op, StateKind, States};
use crate::lower::{Mode, StepSpec, lower};
use crate::plan::Plan;
use crate::train::prepare::Prepared;

/// The stages of the model with the shape of their result, trained numbers, and operations of a forward pass.
pub fn layers(program: &Program) -> String {
    let spec = StepSpec { mode: Mode::Predict, split: "train".to_owned(), batch: 1 };
    let mut states = States::default();
    let graph = lower(program, &spec, &mut states).graph;
    let flops = flops_by_stage(&graph);
    let mut parameters: BTreeMap<u32, u64> = BTreeMap::new();
    for info in states.infos().iter().filter(|info| info.kind == StateKind::Weight) {
        *parameters.entry(info.layer.unwrap_or(u32::MAX)).or_default() += count(&info.shape) as u64;
    }
    let mut table = Table::new([
        ("stage", Align::Left),
        ("layer", Align::Left),
        ("output", Align::Left),
        ("parameters", Align::Right),
        ("FLOPs a sample", Align::Right),
    ]);
    table.row(["", "the data", &program.input.show(), "", ""]);
    for (number, stage) in program.stages.iter().enumerate() {
        let of = |numbers: &BTreeMap<u32, u64>| numbers.get(&(number as u32)).copied().unwrap_or(0);
        table.row([
            stage.path.clone(),
            stage.text.clone(),
            stage.output.show(),
            whole(of(&parameters)),
            scaled(of(&flops) as f64),
        ]);
    }
    let total = |numbers: &BTreeMap<u32, u64>| numbers.values().sum::<u64>();
    table.row(["total", "", "", &whole(total(&parameters)), &scaled(total(&flops) as f64)]);
    table.to_string()
}

/// Operations of products and convolutions, two for each multiply-add, by stage.
fn flops_by_stage(graph: &Graph) -> BTreeMap<u32, u64> {
    let mut flops: BTreeMap<u32, u64> = BTreeMap::new();
    for value in graph.values() {
        let node = graph.node(value);
        let operations = match &node.op {
            Op::MatMul { transpose_a, .. } => {
                let left = graph.shape(node.operands[0]);
                let inner = if *transpose_a { left[0] } else { left[1] };
                2 * count(&node.shape) * inner
            }
            Op::Conv2d(g) => 2 * count(&node.shape) * (g.channels / g.groups * g.kernel[0] * g.kernel[1]),
            _ => 0,
        };
        *flops.entry(node.layer.unwrap_or(u32::MAX)).or_default() += operations as u64;
    }
    flops
}

/// Bytes on the device, by purpose.
pub fn memory(prepared: &Prepared) -> String {
    let memory = prepared.memory();
    let mut table = Table::new([("memory", Align::Left), ("bytes", Align::Right), ("", Align::Right)]);
    for (name, number) in [
        ("weights and statistics", memory.weights),
        ("optimizer and metrics", memory.optimizer),
        ("activations, gradients, temporaries", memory.arena),
        ("data", memory.data),
        ("inputs of one step", memory.inputs),
        ("total", memory.total()),
        ("more on a GPU, within kernels", prepared.memory_on_gpu().arena - memory.arena),
    ] {
        table.row([name, &whole(number), &bytes(number)]);
    }
    table.to_string()
}

/// The kernels of each kind of step, by family, with the operations of one step.
pub fn kernels(prepared: &Prepared) -> String {
    let mut table = Table::new([
        ("step", Align::Left),
        ("kernels", Align::Left),
        ("number", Align::Right),
        ("FLOPs a step", Align::Right),
    ]);
    for step in &prepared.steps {
        let plan = &prepared.plans[step.plan];
        let mut name = format!("{} {} of {}", mode_name(step.spec.mode), step.spec.split, step.spec.batch);
        for (family, (number, flops)) in families(plan) {
            table.row([std::mem::take(&mut name), family.to_owned(), whole(number), scaled(flops as f64)]);
        }
        let flops: u64 = plan.kernels.iter().map(crate::plan::Kernel::flops).sum();
        table.row([name, "all".to_owned(), whole(plan.kernels.len() as u64), scaled(flops as f64)]);
    }
    table.to_string()
}

fn families(plan: &Plan) -> BTreeMap<&'static str, (u64, u64)> {
    let mut families: BTreeMap<&'static str, (u64, u64)> = BTreeMap::new();
    for kernel in &plan.kernels {
        let (number, flops) = families.entry(kernel.family()).or_default();
        *number += 1;
        *flops += kernel.flops();
    }
    families
}

fn mode_name(mode: Mode) -> &'static str {
    match mode {
        Mode::Update => "update,",
        Mode::Accumulate => "accumulate,",
        Mode::Evaluate => "evaluate,",
        Mode::Predict => "predict,",
    }
}
