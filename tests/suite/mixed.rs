//! Mixed precision: loss scaling against PyTorch's, trainings to their threshold, memory, and what cannot be trained.

use std::path::Path;

use nnoptc::backend::gpu;
use nnoptc::check::program::{Precision, Program};
use nnoptc::check::{Request, compile};
use nnoptc::data::load::load;
use nnoptc::formats::Disk;
use nnoptc::formats::files::Memory;
use nnoptc::formats::safetensors::Tensors;
use nnoptc::ir::graph::{Init, StateInfo, StateKind};
use nnoptc::ir::{Builder, DType};
use nnoptc::lower::guard_state;
use nnoptc::lower::scaler::{SCALE, SKIPPED, Scaler};
use nnoptc::plan::prepare::{prepare, prepare_in};
use nnoptc::source::Span;
use nnoptc::train::events::{Status, Summary};
use nnoptc::train::initialize::initial_words;
use nnoptc::train::{device, run};

use crate::harness::{Executor, adapters, executors, golden, numbers, open, planned};
use crate::training::{Silent, accuracy, has_mnist, program, train};

/// A scaler whose gradient the host gives, and a count of the updates that are not skipped.
fn counting() -> Builder {
    let mut b = Builder::default();
    let scaler = Scaler::new(&mut b);
    let guard = guard_state(&mut b);
    let stop = b.cast(guard, DType::F32);
    let gradient = b.input("gradient", &[], DType::F32);
    let skip = scaler.update(&mut b, &[gradient], stop);
    let count = b.state(StateInfo {
        name: "updates".to_owned(),
        shape: Vec::new(),
        dtype: DType::F32,
        kind: StateKind::Weight,
        init: Init::Fill(0.0),
        layer: None,
    });
    let next = b.offset(count, 1.0);
    let next = b.select(skip, count, next);
    let id = b.state_of(count).unwrap();
    b.update(id, next);
    b
}

#[test]
fn the_scale_follows_pytorchs_over_5000_updates() {
    let file = golden("scaler.json");
    let steps = file["steps"].as_u64().unwrap() as usize;
    let bad: Vec<usize> = numbers(&file["bad"]).into_iter().map(|step| step as usize).collect();
    let changes: Vec<Vec<f64>> = file["scales"].as_array().unwrap().iter().map(numbers).collect();
    assert!(
        steps == 5000 && bad.len() > 15 && changes.iter().any(|change| change[0] == 4499.0),
        "the script has something to show"
    );
    let builder = counting();
    for executor in executors() {
        if matches!(executor, Executor::Interpreter) {
            continue;
        }
        let states = &builder.states;
        let plan = planned(&executor, builder.graph.clone(), states);
        let mut session = open(&executor, builder.graph.clone(), states);
        let id = |name: &str| states.find(name).unwrap();
        session.write_state(id(SCALE), &[65_536.0_f32.to_bits()]).unwrap();
        let rows: Vec<u32> = (0..steps)
            .flat_map(|step| {
                let mut row = vec![0; plan.step.words];
                for (name, offset, ..) in &plan.step.inputs {
                    let gradient = if bad.contains(&step) { f32::INFINITY } else { -1.0 };
                    row[*offset] = if name == "gradient" { gradient.to_bits() } else { step as u32 };
                }
                row
            })
            .collect();
        let mut done = 0;
        let ends = changes[1..].iter().map(|change| change[0] as usize).chain([steps]);
        for (change, end) in changes.iter().zip(ends) {
            session.run(0, &rows[done * plan.step.words..end * plan.step.words]).unwrap();
            done = end;
            let scale = f32::from_bits(session.read_state(id(SCALE)).unwrap()[0]);
            assert_eq!(f64::from(scale), change[1], "before update {end} on {}", executor.name());
        }
        assert_eq!(session.read_state(id(SKIPPED)).unwrap(), [bad.len() as u32]);
        let updates = f32::from_bits(session.read_state(id("updates")).unwrap()[0]);
        assert_eq!(f64::from(updates), file["updates"].as_f64().unwrap(), "{}", executor.name());
    }
}

#[test]
fn mnist_is_learnt_as_well_as_in_single_precision() {
    if !has_mnist() {
        return;
    }
    let mean = |path: &str, precision: &str, seeds: &[u32]| {
        let of_seed = |seed: &u32| {
            let (seed, precision) = (format!("train.seed={seed}"), format!("train.precision={precision}"));
            accuracy(path, &["train.devices=cpu", &seed, &precision])
        };
        seeds.iter().map(of_seed).sum::<f64>() / seeds.len() as f64
    };
    for path in ["examples/mnist_mlp.nnopt", "examples/lenet5.nnopt"] {
        // All five where everything is tested, else one, which takes a fifth of the time.
        let seeds = &[1, 2, 3, 4, 5][..if std::env::var_os("CI").is_some() { 5 } else { 1 }];
        let (single, mixed) = (mean(path, "f32", seeds), mean(path, "mixed", seeds));
        assert!((mixed - single).abs() <= 0.003, "{path}: {mixed} in mixed precision, {single} in f32");
    }
}

#[test]
fn digits_are_learnt_on_adapters() {
    for adapter in adapters() {
        let sets = [&format!("train.devices={}", adapter.index), "train.precision=mixed"];
        let summary = train(&program("examples/digits.nnopt", &sets), None);
        let accuracy = summary.test.iter().find(|(name, _)| name == "accuracy").unwrap().1;
        assert!(accuracy >= 0.95, "{accuracy} on {}", adapter.name);
    }
}

#[test]
fn activations_take_half_the_memory() {
    for path in ["examples/mnist_mlp.nnopt", "examples/lenet5.nnopt", "examples/digits_cnn.nnopt"] {
        // What grows with the batch are activations and their gradients; the rest are gradients of weights.
        let arena = |precision, batch: usize| {
            let program = program(path, &[&format!("train.batch={batch}")]);
            prepare_in(&program, precision, gpu::FUSION).memory().arena as f64
        };
        let growth = |precision| arena(precision, 512) - arena(precision, 256);
        let share = growth(Precision::Mixed) / growth(Precision::F32);
        assert!(share <= 0.55, "{path}: {share}");
    }
}

#[test]
fn activations_are_measured_to_take_half_the_memory() {
    let mut cases = vec![("examples/digits_cnn.nnopt", [256, 1024])];
    if has_mnist() {
        cases.extend([("examples/lenet5.nnopt", [1024, 2048]), ("examples/mnist_mlp.nnopt", [4096, 8192])]);
    }
    for adapter in adapters() {
        for (path, [small, large]) in &cases {
            // What the driver has allocated for the session; what grows with the batch are activations and, less, the
            // numbers of the rows of many steps.
            let allocated = |precision: &str, batch: usize| {
                let sets = [
                    format!("train.devices={}", adapter.index),
                    format!("train.precision={precision}"),
                    format!("train.batch={batch}"),
                ];
                let program = program(path, &sets.each_ref().map(String::as_str));
                let prepared = prepare(&program, device::fusion(&program));
                let loaded = load(&program, &Disk).unwrap();
                let session = device::open_session(&program, &prepared, &loaded, None).unwrap();
                session.allocated_bytes().expect("Vulkan's memory is counted") as f64
            };
            let growth = |precision| allocated(precision, *large) - allocated(precision, *small);
            let (mixed, single) = (growth("mixed"), growth("f32"));
            assert!(single > 1e7 && mixed / single <= 0.55, "{path} on {}: {mixed} of {single}", adapter.name);
        }
    }
}

/// Trains a pipeline over a table; checkpoints go to the folder.
fn trained(text: &str, table: &str, checkpoints: Option<&Path>) -> (Summary, Program) {
    let files = Memory::new().with("p.nnopt", text).with("data.csv", table);
    let compilation = compile(&Request { path: "p.nnopt".into(), ..Request::default() }, &files).unwrap();
    let program = compilation.program.unwrap_or_else(|| panic!("{:?}", compilation.diagnostics));
    let prepared = prepare(&program, device::fusion(&program));
    let loaded = load(&program, &files).unwrap();
    let mut session = device::open_session(&program, &prepared, &loaded, None).unwrap();
    let summary = run::run(&program, &prepared, &loaded, &mut *session, checkpoints, &mut Silent).unwrap();
    (summary, program)
}

/// The text of a place in a pipeline.
fn at(text: &str, span: Span) -> &str {
    &text[span.start as usize..span.end as usize]
}

#[test]
fn the_layer_that_16_bits_are_too_few_for_is_pointed_at() {
    let mut table = "a,b,class\n".to_owned();
    for row in 0..40 {
        table += &format!("{},{},{}\n", row % 5, row % 7, row % 2);
    }
    // The second layer adds up 32 numbers of about a thousand times a thousand.
    let model =
        "linear(32, init = normal(std = 1000)) -> relu\nlinear(16, init = normal(std = 1000)) -> relu\nlinear(classes)";
    let text = |train: &str| {
        format!(
            "nnopt 1\ndata {{ train = csv(\"data.csv\", target = class); normalize = none }}\nmodel {{ {model} }}\n\
             loss = cross_entropy\noptimizer = sgd(lr = 0.01)\ntrain {{ {train}; epochs = 40; devices = cpu }}\n"
        )
    };
    for train in ["precision = mixed; batch = 20", "precision = mixed; batch = 40; accumulate = 2"] {
        let text = text(train);
        let (summary, _) = trained(&text, &table, None);
        assert_eq!(summary.status, Status::Diverged, "{train}");
        let said = summary.diagnostic.unwrap();
        assert_eq!(at(&text, said.span()), "linear(16, init = normal(std = 1000))", "{said:?}");
        let label = &said.labels[0].text;
        assert!(label.starts_with("not finite was first ") && label.contains("larger than 65,504"), "{label}");
        assert!(said.message.starts_with("32 updates in a row were skipped"), "{}", said.message);
    }
}

#[test]
fn a_layer_of_a_large_step_is_pointed_at_as_well() {
    // 192 samples of 2 · 3 · 1,000 · 400 operations and more are too many to be computed again.
    let mut table = "a,b,class\n".to_owned();
    for row in 0..192 {
        table += &format!("{},{},{}\n", row % 5, row % 7, row % 2);
    }
    let text = "nnopt 1\ndata { train = csv(\"data.csv\", target = class); normalize = none }\n\
                model { linear(1000) -> relu\nlinear(400, init = normal(std = 1e37)) -> relu -> linear(classes) }\n\
                loss = cross_entropy\noptimizer = sgd(lr = 0.01)\n\
                train { batch = 192; epochs = 1; devices = cpu }\n";
    let (summary, _) = trained(text, &table, None);
    assert_eq!(summary.status, Status::Diverged);
    let said = summary.diagnostic.unwrap();
    assert_eq!(at(text, said.span()), "linear(400, init = normal(std = 1e37))", "{said:?}");
    assert!(said.message.starts_with("the loss was not finite at step 1 "), "{}", said.message);
}

#[test]
fn an_overflow_halves_the_scale_skips_the_update_and_moves_the_statistics() {
    // Two columns with known moments; targets so far away that the gradient of the output, 2·(out − y)/n times the scale,
    // is larger than 65,504 at first.
    let mut table = "a,b,y\n".to_owned();
    for row in 0..16 {
        table += &format!("{},{},{}\n", row, 3 * (row % 4), 100 + row % 2);
    }
    let mut devices = vec!["cpu".to_owned()];
    devices.extend(adapters().iter().map(|adapter| adapter.index.to_string()));
    for device in devices {
        let text = |train: &str| {
            format!(
                "nnopt 1\ndata {{ train = csv(\"data.csv\", target = y, task = regression); normalize = none }}\n\
                 model {{ batch_norm -> linear(8) -> relu -> linear(1) }}\nloss = mse\noptimizer = sgd(lr = 1e-4, momentum = 0.9)\n\
                 train {{ precision = mixed; devices = {device}; {train} }}\n"
            )
        };
        let folder = tempfile::tempdir().unwrap();
        let states = |train: &str| {
            let (summary, program) = trained(&text(train), &table, Some(folder.path()));
            assert_eq!(summary.status, Status::Completed, "{device}: {:?}", summary.failure);
            let tensors = Tensors::read(&Disk, &folder.path().join("last.safetensors")).unwrap();
            (tensors, prepare(&program, device::fusion(&program)).states)
        };
        let floats = |tensors: &Tensors, name: &str| -> Vec<f64> {
            let tensor = tensors.get(name).unwrap_or_else(|| panic!("`{name}` is kept"));
            tensor.data.chunks(4).map(|word| f64::from(f32::from_le_bytes(word.try_into().unwrap()))).collect()
        };
        let whole =
            |tensors: &Tensors, name: &str| u32::from_le_bytes(tensors.get(name).unwrap().data.try_into().unwrap());
        let scaler = |tensors: &Tensors| {
            let counts = ["scaler.skipped", "scaler.skipped_in_a_row", "scaler.good_updates"];
            (floats(tensors, SCALE)[0], counts.map(|name| whole(tensors, name)))
        };
        // One update, which is skipped.
        let (tensors, infos) = states("batch = 16; epochs = 1");
        assert_eq!(scaler(&tensors), (32_768.0, [1, 1, 0]), "{device}");
        for info in infos.infos().iter().filter(|info| info.kind == StateKind::Weight) {
            let start: Vec<f64> =
                initial_words(info, 0).into_iter().map(|word| f64::from(f32::from_bits(word))).collect();
            assert_eq!(floats(&tensors, &info.name), start, "{} on {device}", info.name);
        }
        // PyTorch's forward pass has moved the statistics by then: 0.9 · old + 0.1 · of the batch, the variance unbiased.
        let (mean, variance) = (floats(&tensors, "model.0.running_mean"), floats(&tensors, "model.0.running_var"));
        let columns = [[7.5, 340.0 / 15.0], [4.5, 180.0 / 15.0]];
        for (at, [batch_mean, batch_variance]) in columns.into_iter().enumerate() {
            assert!((mean[at] - 0.1 * batch_mean).abs() < 1e-5, "{device}: {mean:?}");
            assert!((variance[at] - 0.9 - 0.1 * batch_variance).abs() < 1e-5, "{device}: {variance:?}");
        }
        // The same in two parts, whose statistics are another after the other; the update is one.
        let (tensors, _) = states("batch = 16; accumulate = 2; epochs = 1");
        assert_eq!(scaler(&tensors), (32_768.0, [1, 1, 0]), "{device}");
        let mean = floats(&tensors, "model.0.running_mean");
        // 0.9 · 0.1 · the first part's and 0.1 · the second's: no part alone has so large a mean.
        assert!(mean[0] > 0.09 * 15.0 - 1e-5 && mean[1] > 0.09 * 9.0 - 1e-5, "{device}: {mean:?}");
        // Until the scale is 4,096: 2 · 100 / 16 times that is 51,200.
        let (tensors, _) = states("batch = 16; epochs = 6");
        assert_eq!(scaler(&tensors), (4_096.0, [4, 0, 2]), "{device}");
    }
}

#[test]
fn a_training_whose_gradients_never_are_finite_ends_and_names_the_tensor() {
    let mut table = "a,b,class\n".to_owned();
    for row in 0..40 {
        // Larger than 16 bits hold.
        table += &format!("{},{},{}\n", 70_000 + row, row % 7, row % 2);
    }
    let text = "nnopt 1\ndata { train = csv(\"data.csv\", target = class); normalize = none }\n\
                model { linear(4) -> relu; linear(classes) }\nloss = cross_entropy\noptimizer = sgd(lr = 0.01)\n\
                train { batch = 4; epochs = 9; precision = mixed; devices = cpu }\n";
    let (summary, program) = trained(text, &table, None);
    let said = summary.diagnostic.unwrap();
    assert_eq!((said.code.0, said.span()), ("E0408", program.data.splits[0].span));
    assert_eq!(summary.status, Status::Diverged);
    assert_eq!(
        summary.failure.as_deref(),
        Some(
            "32 updates in a row were skipped, the last at step 32 (epoch 4, update 2 of 10): not finite was first \
             the samples, some of which are larger than 65,504, the largest number of 16 bits; lower the learning rate or look \
             at the data"
        )
    );
}
