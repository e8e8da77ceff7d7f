//! How many dispatches the steps of usual networks take on an adapter.

use std::fmt::Write;

use nnoptc::backend::gpu;
use nnoptc::check::program::Program;
use nnoptc::ir::States;
use nnoptc::lower::{Mode, StepSpec, lower};
use nnoptc::passes::optimize;
use nnoptc::plan::traffic::traffic;
use nnoptc::plan::{Plan, plan};

use crate::training::program;

/// A classifier of so many made-up features and classes, with this model and batch.
fn classifier(features: usize, classes: usize, model: &str, batch: usize) -> Program {
    classifier_with(features, classes, model, batch, &[])
}

fn classifier_with(features: usize, classes: usize, model: &str, batch: usize, sets: &[&str]) -> Program {
    let folder = tempfile::tempdir().unwrap();
    let mut table = String::new();
    for row in 0..2 * batch {
        for column in 0..features {
            write!(table, "{},", (row * 31 + column * 17) % 101).unwrap();
        }
        writeln!(table, "{}", row % classes).unwrap();
    }
    std::fs::write(folder.path().join("data.csv"), table).unwrap();
    let text = format!(
        "nnopt 1\ndata {{ train = csv(\"data.csv\", header = false) }}\nmodel {{\n{model}\n}}\nloss = cross_entropy\n\
         optimizer = adam(lr = 1e-3)\ntrain {{ epochs = 1; batch = {batch} }}\n"
    );
    let path = folder.path().join("pipeline.nnopt");
    std::fs::write(&path, text).unwrap();
    program(path.to_str().unwrap(), sets)
}

/// The plan of a step of the training for an adapter.
fn step(program: &Program, mode: Mode) -> Plan {
    let mut states = States::default();
    let spec = StepSpec { mode, split: "train".to_owned(), batch: program.micro_batch() };
    let mut graph = lower(program, &spec, &mut states).graph;
    optimize(&mut graph, &states, &mut |_, _| {});
    plan(&graph, &states, gpu::FUSION)
}

/// `most` for drivers that compute on the CPU. For GPUs there is one more for each of `cut` products whose long sums are
/// cut into slices, to fill the device.
fn check_dispatches(program: &Program, most: usize, cut: usize, products: usize) {
    let plan = step(program, Mode::Update);
    for (software, most) in [(true, most), (false, most + cut)] {
        let dispatches = gpu::wgsl(&plan, software, true).unwrap();
        let names: Vec<&str> = dispatches.iter().map(|(name, _)| name.as_str()).collect();
        assert!(names.len() <= most, "{} dispatches instead of {most}:\n{}", names.len(), names.join("\n"));
    }
    // Each layer's product forward, back through all but the first, and the gradient of the first one's weight.
    assert_eq!(traffic(&plan).least_launches, products);
}

#[test]
fn a_wide_network_takes_12() {
    let model = "linear(512) -> relu -> dropout(0.2)\nlinear(512) -> relu -> dropout(0.2)\nlinear(classes)";
    check_dispatches(&classifier(784, 10, model, 128), 12, 3, 6);
}

#[test]
fn a_small_network_takes_10() {
    let model = "linear(64) -> relu\nlinear(64) -> relu\nlinear(classes)";
    check_dispatches(&classifier(30, 2, model, 32), 10, 0, 6);
}

#[test]
fn a_dispatch_ends_with_each_exchange() {
    let arm = "{ linear(16) -> batch_norm(sync = true) -> relu }";
    let model =
        format!("branch {{ {arm} {arm} }} join add\nlinear(16) -> batch_norm(sync = true) -> relu\nlinear(classes)");
    let program = classifier_with(30, 2, &model, 32, &["train.devices=[cpu, cpu]"]);
    let plan = step(&program, Mode::Accumulate);
    let exchanged: Vec<&str> = plan.exchanges.iter().map(|(index, _)| plan.kernels[*index].name.as_str()).collect();
    // Three layers; the last one's gradient is the first to be exchanged.
    assert_eq!(exchanged.len(), 9);
    assert!(exchanged[..6].iter().all(|name| name.ends_with(".sum") || name.ends_with(".squares")), "{exchanged:?}");
    assert!(exchanged[6..].iter().all(|name| name.ends_with(".gradient")), "{exchanged:?}");
    assert!(exchanged[6].contains("model.2."), "{exchanged:?}");
    let dispatches = gpu::wgsl(&plan, true, true).unwrap();
    let last = |(names, _): &(String, String)| names.split("; ").last().unwrap_or_default().to_owned();
    let ends: Vec<String> = dispatches.iter().map(last).filter(|name| exchanged.contains(&name.as_str())).collect();
    assert_eq!(ends, exchanged);
}
