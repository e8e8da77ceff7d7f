//! Whole steps of compiled pipelines on every executor: penalties of models and layers, and updates in parts.

use std::collections::BTreeMap;
use std::sync::Arc;

use nnoptc::backend::{DataBytes, Setup, cpu, gpu};
use nnoptc::check::program::Program;
use nnoptc::check::{Request, compile};
use nnoptc::data::load::{Loaded, load};
use nnoptc::formats::dataset::{Samples, Targets};
use nnoptc::formats::files::Memory;
use nnoptc::ir::graph::{DataInfo, StateInfo, StateKind};
use nnoptc::ir::interpret::{Environment, Tensor, step};
use nnoptc::ir::{DType, StateId, States};
use nnoptc::library::StepContext;
use nnoptc::lower::{Mode, StepSpec, lower};
use nnoptc::train::initialize::initial_words;

use crate::harness::{Executor, executors, number, planned, relative_error, words};

/// Values of the weights by name.
type Weights = BTreeMap<String, Vec<f64>>;

/// Twelve samples of three classes, compiled.
fn compiled(model: &str, settings: &str, train: &str) -> (Program, Loaded) {
    let mut table = "a,b,c,class\n".to_owned();
    for row in 0..12_i32 {
        let numbers = [row * 7 % 5 - 2, row * 3 % 7 - 3, row * 5 % 11 - 5].map(|n| f64::from(n) / 4.0);
        table += &format!("{},{},{},{}\n", numbers[0], numbers[1], numbers[2], row % 3);
    }
    let text = format!(
        "nnopt 1\ndata {{ train = csv(\"data.csv\", target = class) }}\nmodel {{ {model} }}\nloss = cross_entropy\n\
         {settings}\ntrain {{ {train} }}\n"
    );
    compiled_from(&text, &table)
}

/// Twelve images of 4 × 4 pixels in three classes, compiled.
fn compiled_images(model: &str, settings: &str, train: &str) -> (Program, Loaded) {
    let names: Vec<String> = (0..16).map(|pixel| format!("p{pixel}")).collect();
    let mut table = format!("{},class\n", names.join(","));
    for row in 0..12_usize {
        let pixels = (0..16).map(|pixel| ((row * 7 + pixel * pixel * 3 + row * pixel) % 13) as f64 / 8.0 - 0.75);
        let pixels: Vec<String> = pixels.map(|pixel| pixel.to_string()).collect();
        table += &format!("{},{}\n", pixels.join(","), row % 3);
    }
    let text = format!(
        "nnopt 1\ndata {{ train = csv(\"data.csv\", target = class, shape = [1, 4, 4]) }}\nmodel {{ {model} }}\n\
         loss = cross_entropy\n{settings}\ntrain {{ {train} }}\n"
    );
    compiled_from(&text, &table)
}

fn compiled_from(text: &str, table: &str) -> (Program, Loaded) {
    let files = Memory::new().with("p.nnopt", text).with("data.csv", table);
    let compilation = compile(&Request { path: "p.nnopt".into(), ..Request::default() }, &files).unwrap();
    let program = compilation.program.unwrap_or_else(|| panic!("{text}: {:?}", compilation.diagnostics));
    let loaded = load(&program, &files).unwrap();
    (program, loaded)
}

/// The data sets' elements, by their names in the graph.
fn elements(loaded: &Loaded, info: &DataInfo) -> Vec<f64> {
    let dataset = &loaded.datasets[0];
    if info.name.ends_with(".samples") {
        let Samples::F32(values) = &dataset.samples else { panic!("tables are numbers") };
        return values.iter().map(|&value| f64::from(value)).collect();
    }
    let Targets::Classes { labels, .. } = &dataset.targets else { panic!("the targets are classes") };
    labels.iter().map(|&label| f64::from(label)).collect()
}

/// The weights after the parts of one update, each with its rows of the data.
fn update(executor: &Executor, (program, loaded): &(Program, Loaded), parts: &[Vec<u32>]) -> Weights {
    let mut states = States::default();
    let total: usize = parts.iter().map(Vec::len).sum();
    let last = parts.len() - 1;
    let mode = |index| if index == last { Mode::Update } else { Mode::Accumulate };
    let lowered: Vec<_> = parts
        .iter()
        .enumerate()
        .map(|(index, rows)| {
            let spec = StepSpec { mode: mode(index), split: "train".to_owned(), batch: rows.len() };
            lower(program, &spec, &mut states)
        })
        .collect();
    let context = StepContext { step: 0, lr: program.optimizer.item.learning_rate().unwrap() };
    let given = |index: usize, name: &str| -> Vec<f64> {
        let rows = &parts[index];
        match name {
            "rows" => rows.iter().map(|&row| f64::from(row)).collect(),
            "share" => vec![rows.len() as f64 / total as f64],
            "seed_low" | "seed_high" => vec![0.0],
            "step" => vec![index as f64],
            other => {
                let scalar = lowered[index].scalars.iter().find(|scalar| scalar.name == other);
                vec![(scalar.unwrap_or_else(|| panic!("`{other}` is a scalar")).value)(&context)]
            }
        }
    };
    let start = |info: &StateInfo| initial_words(info, program.train.seed);
    let end: Vec<Vec<f64>> = match executor {
        Executor::Interpreter => {
            let tensor = |info: &StateInfo| {
                Tensor::new(&info.shape, start(info).into_iter().map(|word| number(word, info.dtype)).collect())
            };
            let mut tensors: Vec<Tensor> = states.infos().iter().map(tensor).collect();
            for (index, lowered) in lowered.iter().enumerate() {
                let graph = &lowered.graph;
                let data = graph.data.iter().map(|info| Tensor::new(&info.shape, elements(loaded, info))).collect();
                let inputs =
                    graph.inputs.iter().map(|info| Tensor::new(&info.shape, given(index, &info.name))).collect();
                let environment = Environment { states: tensors.clone(), data, inputs };
                for (id, tensor) in step(graph, &environment) {
                    tensors[id.index()] = tensor;
                }
            }
            tensors.into_iter().map(|tensor| tensor.data).collect()
        }
        Executor::Cpu | Executor::Gpu(_) => {
            let plans: Vec<_> =
                lowered.iter().map(|lowered| planned(executor, lowered.graph.clone(), &states)).collect();
            let bytes = |info: &DataInfo| {
                let elements = elements(loaded, info);
                let half = |&number: &f64| half::f16::from_f64(number).to_le_bytes();
                let bytes = match info.dtype {
                    DType::F16 => elements.iter().flat_map(half).collect(),
                    dtype => words(&elements, dtype).iter().flat_map(|word| word.to_ne_bytes()).collect(),
                };
                DataBytes { info: info.clone(), bytes: Arc::new(bytes) }
            };
            let data: Vec<DataBytes> = plans[0].data.iter().map(bytes).collect();
            let setup = Setup { plans: &plans, states: &states, data: &data };
            let mut session = match executor {
                Executor::Gpu(adapter) => gpu::open(&setup, adapter, gpu::Choice::Fixed).unwrap(),
                _ => cpu::open(&setup, None).unwrap(),
            };
            let ids = || (0..states.infos().len()).map(|index| StateId(index as u32));
            for id in ids() {
                session.write_state(id, &start(states.info(id))).unwrap();
            }
            for (index, plan) in plans.iter().enumerate() {
                let mut row = vec![0; plan.step.words];
                for (name, offset, length, dtype) in &plan.step.inputs {
                    row[*offset..offset + length].copy_from_slice(&words(&given(index, name), *dtype));
                }
                session.run(index, &row).unwrap();
            }
            let read = |id: StateId| {
                let words = session.read_state(id).unwrap();
                words.into_iter().map(|word| number(word, states.info(id).dtype)).collect()
            };
            ids().map(read).collect()
        }
    };
    let kept = states.infos().iter().zip(end).filter(|(info, _)| info.kind == StateKind::Weight);
    kept.map(|(info, values)| (info.name.clone(), values)).collect()
}

/// Weights after one update of all samples.
fn whole(executor: &Executor, pipeline: &(Program, Loaded)) -> Weights {
    update(executor, pipeline, &[(0..12).collect()])
}

#[track_caller]
fn assert_close(found: &Weights, wanted: &Weights, bound: f64, title: &str) {
    assert!(!wanted.is_empty() && found.keys().eq(wanted.keys()), "{title}");
    for (name, values) in wanted {
        let error = relative_error(&found[name], values, 0.0);
        assert!(error <= bound, "{title}: {name}: {error:e}");
    }
}

#[test]
fn penalties_change_the_weights_that_they_are_for() {
    let optimizer = "optimizer = sgd(lr = 1)";
    let model = |first: &str| format!("linear(4{first}) -> tanh -> linear(classes)");
    let plain = whole(&Executor::Interpreter, &compiled(&model(""), optimizer, "batch = 12"));
    let start: Weights = {
        let frozen = compiled(&model(""), "optimizer = sgd(lr = 1e-30)", "batch = 12");
        whole(&Executor::Interpreter, &frozen)
    };
    // The penalty of the whole model, of the first layer, and the slope that each weight then has in addition.
    let none = |_: f64| 0.0;
    let l1 = |w: f64| 0.03 * w.signum();
    let l2 = |w: f64| 2.0 * 0.02 * w;
    let elastic = |w: f64| 0.03 * w.signum() + 2.0 * 0.02 * w;
    type Slope<'a> = &'a dyn Fn(f64) -> f64;
    let cases: [(&str, &str, Slope, Slope); 6] = [
        ("l1(0.03)", "none", &l1, &l1),
        ("l2(0.02)", "none", &l2, &l2),
        ("elastic(l1 = 0.03, l2 = 0.02)", "none", &elastic, &elastic),
        ("none", "l1(0.03)", &l1, &none),
        ("none", "elastic(l1 = 0.03, l2 = 0.02)", &elastic, &none),
        ("l1(0.03)", "l2(0.02)", &elastic, &l1),
    ];
    for (of_model, of_layer, first, second) in cases {
        let title = format!("{of_model} and {of_layer}");
        let settings = format!("{optimizer}; regularization = {of_model}");
        let pipeline = compiled(&model(&format!(", regularization = {of_layer}")), &settings, "batch = 12");
        let mut wanted = plain.clone();
        for (name, slope) in [("model.0.weight", first), ("model.2.weight", second)] {
            let values = wanted.get_mut(name).unwrap_or_else(|| panic!("`{name}` is one of {:?}", start.keys()));
            // Offsets have no penalty.
            values.iter_mut().zip(&start[name]).for_each(|(value, &w)| *value -= slope(w));
        }
        for executor in executors() {
            let bound = if matches!(executor, Executor::Interpreter) { 1e-12 } else { 1e-6 };
            assert_close(&whole(&executor, &pipeline), &wanted, bound, &format!("{title} on {}", executor.name()));
        }
    }
}

#[test]
fn an_update_in_parts_is_one_of_the_whole_batch() {
    let model = "linear(8) -> tanh -> linear(classes)";
    let settings = "optimizer = sgd(lr = 0.5, momentum = 0.9, weight_decay = 0.01); regularization = l2(1e-2)";
    let wanted = whole(&Executor::Interpreter, &compiled(model, settings, "batch = 12; clip_norm = 0.1"));
    let parts = compiled(model, settings, "batch = 12; clip_norm = 0.1; accumulate = 3");
    let rows = |ends: &[u32]| ends.windows(2).map(|pair| (pair[0]..pair[1]).collect()).collect::<Vec<Vec<u32>>>();
    for executor in executors() {
        let bound = if matches!(executor, Executor::Interpreter) { 1e-12 } else { 1e-6 };
        // Equal parts, and a rest as at the end of an epoch.
        for ends in [[0, 4, 8, 12], [0, 5, 10, 12]] {
            let found = update(&executor, &parts, &rows(&ends));
            assert_close(&found, &wanted, bound, &format!("{ends:?} on {}", executor.name()));
        }
    }
}

#[test]
fn executors_agree_in_mixed_precision() {
    let model = "linear(16) -> relu -> dropout(0.3) -> linear(8) -> tanh -> linear(classes)";
    // A rate of 1, so that the change of a weight is its gradient.
    let settings = "optimizer = sgd(lr = 1); regularization = l2(1e-2)";
    let start = whole(&Executor::Interpreter, &compiled(model, "optimizer = sgd(lr = 1e-30)", "batch = 12"));
    let gradients = |executor: &Executor, train: &str, parts: &[Vec<u32>]| -> Weights {
        let mut weights = update(executor, &compiled(model, settings, train), parts);
        for (name, values) in &mut weights {
            values.iter_mut().zip(&start[name]).for_each(|(value, start)| *value = start - *value);
        }
        weights
    };
    let whole: &[Vec<u32>] = &[(0..12).collect()];
    let thirds: &[Vec<u32>] = &[(0..4).collect(), (4..8).collect(), (8..12).collect()];
    let mixed = "batch = 12; precision = mixed";
    let cases = [(mixed.to_owned(), whole), (format!("{mixed}; accumulate = 3"), thirds)];
    for (train, parts) in cases {
        let exact = gradients(&Executor::Interpreter, &train.replace("mixed", "f32"), parts);
        let wanted = gradients(&Executor::Interpreter, &train, parts);
        assert_ne!(wanted, exact, "nothing is rounded");
        // Tensors of 11 significant bits, some of them summed.
        assert_close(&wanted, &exact, 4e-3, "mixed precision in f64 against f64");
        for executor in executors() {
            // Rounded at the same places; what lies between two halves may go to either side.
            assert_close(&gradients(&executor, &train, parts), &wanted, 2e-3, &executor.name());
        }
    }
}

#[test]
fn executors_agree_on_convolutions_in_mixed_precision() {
    let model = "conv2d(4, kernel = 3, padding = 1) -> batch_norm -> relu -> max_pool(2) -> conv2d(6, kernel = 2) -> \
                 batch_norm -> tanh -> flatten -> linear(classes)";
    // A rate of 1, so that the change of a weight is its gradient.
    let rate = |rate: &str| format!("optimizer = sgd(lr = {rate})");
    let start = whole(&Executor::Interpreter, &compiled_images(model, &rate("1e-30"), "batch = 12"));
    let gradients = |executor: &Executor, train: &str| -> Weights {
        let mut weights = whole(executor, &compiled_images(model, &rate("1"), train));
        for (name, values) in &mut weights {
            values.iter_mut().zip(&start[name]).for_each(|(value, start)| *value = start - *value);
        }
        // What normalization takes the mean out of has no gradient, only what rounding leaves.
        weights.retain(|name, _| !matches!(name.as_str(), "model.0.bias" | "model.4.bias"));
        weights
    };
    let exact = gradients(&Executor::Interpreter, "batch = 12");
    let wanted = gradients(&Executor::Interpreter, "batch = 12; precision = mixed");
    assert_ne!(wanted, exact, "nothing is rounded");
    // Tensors of 11 significant bits through two convolutions and their normalization.
    assert_close(&wanted, &exact, 1e-2, "mixed precision in f64 against f64");
    for executor in executors() {
        let found = gradients(&executor, "batch = 12; precision = mixed");
        // Rounded at the same places; what lies between two halves may go to either side.
        assert_close(&found, &wanted, 5e-3, &executor.name());
    }
}

#[test]
fn executors_agree_on_weights_and_samples_of_16_bits() {
    let halves = "batch = 12; precision = f16_storage";
    let is_half = |value: &f64| half::f16::from_f64(*value).to_f64() == *value;
    let settings = "optimizer = sgd(lr = 0.5, momentum = 0.9); regularization = l2(1e-2)";
    let dense = "linear(16) -> relu -> dropout(0.3) -> layer_norm -> linear(classes)";
    let images =
        "conv2d(4, kernel = 3, padding = 1) -> batch_norm -> relu -> max_pool(2) -> flatten -> linear(classes)";
    let made = |model: &str, train: &str| {
        if model == dense { compiled(model, settings, train) } else { compiled_images(model, settings, train) }
    };
    let parts: &[Vec<u32>] = &[(0..4).collect(), (4..8).collect(), (8..12).collect()];
    for model in [dense, images] {
        for (train, parts) in
            [(halves.to_owned(), &[(0..12).collect()][..]), (format!("{halves}; accumulate = 3"), parts)]
        {
            let exact = update(&Executor::Interpreter, &made(model, &train.replace("f16_storage", "f32")), parts);
            let wanted = update(&Executor::Interpreter, &made(model, &train), parts);
            assert!(wanted.values().flatten().all(is_half), "{model}");
            assert!(!exact.values().flatten().all(is_half), "{model}: nothing is rounded");
            // Half a unit each of the first value, of the sample and of the updated weight, 2⁻¹¹ of the largest, and what
            // becomes of them in the gradient.
            assert_close(&wanted, &exact, 1e-2, "f16 storage in f64 against f64");
            for executor in executors() {
                // What lies between two halves may go to either side: one unit, 2⁻¹⁰ of the largest.
                assert_close(&update(&executor, &made(model, &train), parts), &wanted, 1e-3, &executor.name());
            }
        }
    }
}
