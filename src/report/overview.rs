//! What a program amounts to: layers with their sizes, memory, kernels.

use std::collections::BTreeMap;

use super::table::{Align, Table, bytes, scaled, whole};
use crate::backend::LaunchTime;
use crate::check::program::{Precision, Program};
use crate::library::Cost;
use crate::lower::Mode;
use crate::plan::traffic::traffic;
use crate::plan::{Chain, Plan};
use crate::schema::FromArg;
use crate::train::device::{half_storage, wgsl};
use crate::train::memory::memory_on_gpu;
use crate::train::prepare::{Memory, Prepared, PreparedStep};

/// The stages of the model with the shape of their result, trained numbers, and operations of a forward pass.
pub fn layers(program: &Program) -> String {
    let mut table = Table::new([
        ("stage", Align::Left),
        ("layer", Align::Left),
        ("output", Align::Left),
        ("parameters", Align::Right),
        ("FLOPs a sample", Align::Right),
    ]);
    table.row(["", "the data", &program.input.show(), "", ""]);
    for stage in &program.stages {
        table.row([
            stage.path.clone(),
            stage.text.clone(),
            stage.output.show(),
            whole(stage.cost.parameters),
            scaled(stage.cost.flops as f64),
        ]);
    }
    let total: Cost = program.stages.iter().map(|stage| stage.cost).sum();
    table.row(["total", "", "", &whole(total.parameters), &scaled(total.flops as f64)]);
    table.to_string()
}

/// Bytes on the device, by purpose; then those of each precision on a GPU, and how the device stores 16 bits.
pub fn memory(program: &Program, prepared: &Prepared) -> String {
    let mut table = Table::new([("memory", Align::Left), ("bytes", Align::Right), ("", Align::Right)]);
    for (name, number) in purposes(&prepared.memory()) {
        table.row([name, &whole(number), &bytes(number)]);
    }
    format!("{table}\n{}\n{}\n", precisions(program), half_storage(program))
}

/// Bytes on a GPU in each precision, side by side.
fn precisions(program: &Program) -> Table {
    let all = [Precision::F32, Precision::Mixed, Precision::F16Storage];
    let [first, second, third] = all.map(|precision| precision.show());
    let mut table = Table::new([
        ("memory on a GPU", Align::Left),
        (first.as_str(), Align::Right),
        (second.as_str(), Align::Right),
        (third.as_str(), Align::Right),
    ]);
    let [first, second, third] = all.map(|precision| purposes(&memory_on_gpu(program, precision)));
    for (((name, single), (_, mixed)), (_, storage)) in first.into_iter().zip(second).zip(third) {
        table.row([name.to_owned(), bytes(single), bytes(mixed), bytes(storage)]);
    }
    table
}

/// Bytes by purpose.
fn purposes(memory: &Memory) -> [(&'static str, u64); 6] {
    [
        ("weights and statistics", memory.weights),
        ("optimizer and metrics", memory.optimizer),
        ("activations, gradients, temporaries", memory.arena),
        ("data", memory.data),
        ("inputs of one step", memory.inputs),
        ("total", memory.total()),
    ]
}

/// The kernels of each kind of step, by family, with the operations of one step; then what the step costs beside them:
/// launches and bytes moved, each with what no plan could go below.
pub fn kernels(program: &Program, prepared: &Prepared) -> String {
    let mut table = Table::new([
        ("step", Align::Left),
        ("kernels", Align::Left),
        ("number", Align::Right),
        ("FLOPs a step", Align::Right),
    ]);
    let mut costs = Table::new([
        ("step", Align::Left),
        ("launches", Align::Right),
        ("at least", Align::Right),
        ("bytes moved", Align::Right),
        ("at least", Align::Right),
    ]);
    for step in &prepared.steps {
        let plan = &prepared.plans[step.plan];
        let title = title(step);
        let traffic = traffic(plan);
        // A kernel that no adapter can run is named when the device is opened.
        let launches = wgsl(program, plan).ok().flatten().map_or_else(|| forks(plan), |dispatches| dispatches.len());
        costs.row([
            title.clone(),
            whole(launches as u64),
            whole(traffic.least_launches as u64),
            bytes(traffic.bytes),
            bytes(traffic.least_bytes),
        ]);
        let mut name = title;
        for (family, (number, flops)) in families(plan) {
            table.row([std::mem::take(&mut name), family.to_owned(), whole(number), scaled(flops as f64)]);
        }
        let flops: u64 = plan.kernels.iter().map(crate::plan::Kernel::flops).sum();
        table.row([name, "all".to_owned(), whole(plan.kernels.len() as u64), scaled(flops as f64)]);
    }
    let division = program.train.division();
    let division = division.map(|text| format!("\na batch of {} is {text}\n", program.train.batch));
    format!("{table}\n{costs}{}", division.unwrap_or_default())
}

/// What each kind of step takes on a device, and its launches where the device runs each by itself.
pub fn times(steps: &[(&PreparedStep, Vec<LaunchTime>)]) -> String {
    let mut table = Table::new([
        ("step", Align::Left),
        ("microseconds", Align::Right),
        ("share", Align::Right),
        ("launch", Align::Left),
    ]);
    for (step, times) in steps {
        let mut title = title(step);
        // The last is the whole step.
        let parts = times.len().saturating_sub(1);
        let total: f64 = times[..parts].iter().map(|launch| launch.seconds).sum();
        for (index, launch) in times.iter().enumerate() {
            let share = launch.seconds / total * 100.0;
            let share = if index < parts { format!("{share:.1} %") } else { String::new() };
            table.row([std::mem::take(&mut title), format!("{:.1}", launch.seconds * 1e6), share, launch.name.clone()]);
        }
    }
    table.to_string()
}

fn title(step: &PreparedStep) -> String {
    format!("{} {} of {}", mode_name(step.spec.mode), step.spec.split, step.spec.batch)
}

/// How often the CPU's threads are given work: once for each kernel, or each chain of them and what comes behind it.
fn forks(plan: &Plan) -> usize {
    let saved = |chain: &Chain| chain.kernels.len() - 1 - chain.late.len();
    plan.kernels.len() - plan.chains.iter().map(saved).sum::<usize>()
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
        Mode::Apply => "apply,",
        Mode::Evaluate => "evaluate,",
        Mode::Predict => "predict,",
    }
}
