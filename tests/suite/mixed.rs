//! Mixed precision: loss scaling against PyTorch's, trainings to their threshold, memory, and what cannot be trained.

use nnoptc::backend::gpu;
use nnoptc::check::{Request, compile};
use nnoptc::data::load::load;
use nnoptc::formats::files::Memory;
use nnoptc::ir::graph::{Init, StateInfo, StateKind};
use nnoptc::ir::{Builder, DType};
use nnoptc::lower::guard_state;
use nnoptc::lower::scaler::{SCALE, SKIPPED, Scaler};
use nnoptc::plan::prepare::{prepare, prepare_in};
use nnoptc::train::events::Status;
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
        let arena = |mixed, batch: usize| {
            let program = program(path, &[&format!("train.batch={batch}")]);
            prepare_in(&program, mixed, gpu::FUSION).memory().arena as f64
        };
        let growth = |mixed| arena(mixed, 512) - arena(mixed, 256);
        let share = growth(true) / growth(false);
        assert!(share <= 0.55, "{path}: {share}");
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
    let files = Memory::new().with("p.nnopt", text).with("data.csv", table.as_str());
    let compilation = compile(&Request { path: "p.nnopt".into(), ..Request::default() }, &files).unwrap();
    let program = compilation.program.unwrap_or_else(|| panic!("{:?}", compilation.diagnostics));
    let prepared = prepare(&program, device::fusion(&program));
    let loaded = load(&program, &files).unwrap();
    let mut session = device::open_session(&program, &prepared, &loaded, None).unwrap();
    let summary = run::run(&program, &prepared, &loaded, &mut *session, None, &mut Silent).unwrap();
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
