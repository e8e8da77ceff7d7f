//! Layers, losses, optimizers and schedules against vectors frozen from PyTorch (see tests/oracle).

use nnoptc::ir::StateKind;
use nnoptc::library::{self, ModelBuilder, RunShape, StepContext, UpdateBuilder};
use nnoptc::passes::differentiate::differentiate;
use nnoptc::schema::make_from_table;

use crate::harness::{Case, Executor, adapters, call, executors, golden, numbers, open, relative_error, tensor, words};

/// Forward, gradients in mid-graph, and running statistics of every layer.
fn check_layers(executors: &[Executor], every: usize) {
    for (index, case) in golden("layers.json").as_array().unwrap().iter().enumerate() {
        if index % every != 0 {
            continue;
        }
        let text = case["call"].as_str().unwrap();
        let title = format!("{} `{text}`", case["name"]);
        let mut diagnostics = Vec::new();
        let layer = make_from_table(&call(text), "layer", library::layers::ALL, &mut diagnostics);
        let layer = layer.unwrap_or_else(|| panic!("{title}: {diagnostics:?}"));
        let mut test = Case::default();
        let (shape, data) = tensor(&case["input"]);
        let x = test.given("x", &shape, data);
        let (grad_shape, grad_data) = tensor(&case["grad_output"]);
        let upstream = test.given("grad", &grad_shape, grad_data);
        let builder = std::mem::take(&mut test.builder);
        let mut model = ModelBuilder::new(builder, case["train"].as_bool().unwrap());
        model.path = "layer".to_owned();
        let y = layer.item.lower(&mut model, x);
        let weights: Vec<_> = model.declared.drain(..).collect();
        test.builder = model.graph;
        for (name, value) in case["weights"].as_object().unwrap() {
            let (shape, data) = tensor(value);
            let name = format!("layer.{name}");
            let Some(id) = test.builder.states.find(&name) else {
                assert!(name.contains("running"), "{title} declares `{name}`");
                continue;
            };
            assert_eq!(test.builder.states.info(id).shape, shape, "{title}: {name}");
            let dtype = test.builder.states.info(id).dtype;
            let state = test.builder.read_state(id, shape, dtype);
            test.set(state, data);
        }
        let product = test.builder.mul(y, upstream);
        let loss = test.builder.sum_all(product);
        let wanted: Vec<_> = std::iter::once(x).chain(weights.iter().map(|(_, value)| *value)).collect();
        let grads = differentiate(&mut test.builder, loss, &wanted);
        test.expect("output", y, tensor(&case["output"]).1);
        test.expect("the gradient of the input", grads[0], tensor(&case["grad_input"]).1);
        for ((id, _), grad) in weights.iter().zip(&grads[1..]) {
            let name = test.builder.states.info(*id).name.clone();
            let short = name.trim_start_matches("layer.");
            let data = tensor(&case["grad_weights"][short]).1;
            test.expect(&format!("the gradient of `{short}`"), *grad, data);
        }
        for (name, value) in case["state_after"].as_object().unwrap() {
            let id = test.builder.states.find(&format!("layer.{name}"));
            let id = id.unwrap_or_else(|| panic!("{title} keeps `{name}`"));
            test.expected.push((name.clone(), id, tensor(value).1));
        }
        let name = case["name"].as_str().unwrap();
        if name.contains("softmax_large") || name.contains("batch_of_two") {
            // Gradients that are what is left when numbers around 1 cancel.
            test.scale = 1.0;
        }
        // Values near 1000 with a spread of 1, and a gradient times 316, lose digits in f32 by their nature.
        let hard = name.contains("far_from_zero") || name.contains("constant_channel");
        let tolerance = if hard { 2e-4 } else { 1e-5 };
        test.check(&title, tolerance, executors);
    }
}

#[test]
fn layers_agree_with_pytorch() {
    check_layers(&[Executor::Interpreter, Executor::Cpu], 1);
}

#[test]
fn layers_agree_with_pytorch_on_adapters() {
    let gpus: Vec<Executor> = adapters().iter().map(Executor::Gpu).collect();
    check_layers(&gpus, 1);
}

#[test]
fn losses_agree_with_pytorch() {
    for case in golden("losses.json").as_array().unwrap() {
        let text = case["call"].as_str().unwrap();
        let title = format!("{} `{text}`", case["name"]);
        let mut diagnostics = Vec::new();
        let loss = make_from_table(&call(text), "loss", library::losses::ALL, &mut diagnostics);
        let loss = loss.unwrap_or_else(|| panic!("{title}: {diagnostics:?}"));
        let mut test = Case::default();
        let (shape, data) = tensor(&case["input"]);
        let x = test.given("x", &shape, data);
        let (shape, data) = tensor(&case["target"]);
        let is_class = text.starts_with("cross_entropy");
        let target = if is_class { test.given_words("t", &shape, data) } else { test.given("t", &shape, data) };
        let value = loss.item.lower(&mut test.builder, x, target);
        let grads = differentiate(&mut test.builder, value, &[x]);
        test.expect("the loss", value, vec![case["output"].as_f64().unwrap()]);
        test.expect("the gradient", grads[0], tensor(&case["grad_input"]).1);
        test.check(&title, 1e-5, &executors());
    }
}

/// 200 steps of every optimizer on `Σ a·(w − b)²/2`, whose gradient is `a·(w − b)`.
fn check_optimizers(executor: &Executor, every: usize) {
    let file = golden("optimizers.json");
    let names = ["first", "second"];
    for (index, case) in file["cases"].as_array().unwrap().iter().enumerate() {
        if index % every != 0 {
            continue;
        }
        let text = case["call"].as_str().unwrap();
        let mut diagnostics = Vec::new();
        let optimizer = make_from_table(&call(text), "optimizer", library::optimizers::ALL, &mut diagnostics);
        let optimizer = optimizer.unwrap_or_else(|| panic!("{text}: {diagnostics:?}"));
        let mut scalars = Vec::new();
        let mut test = Case::default();
        for name in names {
            let start = &file["start"][name];
            let read = |key: &str| match &start[key] {
                value if value.is_array() => numbers(value),
                value => tensor(value).1,
            };
            let [weight, a, b] = ["weight", "a", "b"].map(read);
            let size = [weight.len()];
            let w = test.given(name, &size, weight);
            let a = test.given(&format!("{name}.a"), &size, a);
            let b = test.given(&format!("{name}.b"), &size, b);
            let difference = test.builder.sub(w, b);
            let grad = test.builder.mul(a, difference);
            let weight_name = name.to_owned();
            let mut update = UpdateBuilder {
                graph: &mut test.builder,
                scalars: &mut scalars,
                weight_name,
                layer: None,
                slots: Vec::new(),
            };
            let next = optimizer.item.lower(&mut update, w, grad);
            let slots = std::mem::take(&mut update.slots);
            let id = test.builder.state_of(w).unwrap();
            test.builder.update(id, next);
            for (slot, value) in slots {
                test.builder.update(slot, value);
            }
        }
        let states = test.builder.states.clone();
        let mut session = open(executor, test.builder.graph.clone(), &states);
        for (index, info) in states.infos().iter().enumerate() {
            let fill = match info.init {
                nnoptc::ir::graph::Init::Fill(value) if info.kind == StateKind::Optimizer => value,
                _ => 0.0,
            };
            let size = info.shape.iter().product();
            let id = nnoptc::ir::StateId(index as u32);
            session.write_state(id, &words(&vec![fill; size], info.dtype)).unwrap();
        }
        for name in names {
            for (suffix, key) in [("", "weight"), (".a", "a"), (".b", "b")] {
                let value = &file["start"][name][key];
                let data = if value.is_array() { numbers(value) } else { tensor(value).1 };
                let id = states.find(&format!("{name}{suffix}")).unwrap();
                session.write_state(id, &words(&data, states.info(id).dtype)).unwrap();
            }
        }
        let lr = optimizer.item.learning_rate().unwrap();
        for step in 0..200u64 {
            let context = StepContext { step, lr };
            let row: Vec<u32> = test
                .builder
                .graph
                .inputs
                .iter()
                .map(|input| {
                    let scalar = scalars.iter().find(|scalar| scalar.name == input.name).unwrap();
                    ((scalar.value)(&context) as f32).to_bits()
                })
                .collect();
            session.run(0, &row).unwrap();
            let Some(wanted) = case["f64"].get((step + 1).to_string()) else { continue };
            // Some settings are chaotic near the goal: PyTorch's own f32 drifts from its f64 by so much.
            let drift = case["f32_error"].get((step + 1).to_string()).and_then(|v| v.as_f64()).unwrap_or(0.0);
            for name in names {
                let found: Vec<f64> = session
                    .read_state(states.find(name).unwrap())
                    .unwrap()
                    .into_iter()
                    .map(|word| f64::from(f32::from_bits(word)))
                    .collect();
                let error = relative_error(&found, &numbers(&wanted[name]), 0.0);
                let bound = f64::max(1.3e-6, 4.0 * drift);
                assert!(error <= bound, "`{text}` at step {} on {}: {error:e} > {bound:e}", step + 1, executor.name());
            }
        }
    }
}

#[test]
fn optimizers_agree_with_pytorch_over_200_steps() {
    check_optimizers(&Executor::Cpu, 1);
}

#[test]
fn optimizers_agree_with_pytorch_on_adapters() {
    for adapter in adapters() {
        check_optimizers(&Executor::Gpu(adapter), 5);
    }
}

#[test]
fn schedules_agree_with_pytorch() {
    let file = golden("schedules.json");
    let base = file["learning_rate"].as_f64().unwrap();
    let run = RunShape { steps_per_epoch: 50, total_steps: 200 };
    for case in file["cases"].as_array().unwrap() {
        let text = case["call"].as_str().unwrap();
        let mut diagnostics = Vec::new();
        let schedule = make_from_table(&call(text), "schedule", library::schedules::ALL, &mut diagnostics);
        let schedule = schedule.unwrap_or_else(|| panic!("{text}: {diagnostics:?}"));
        for (step, wanted) in numbers(&case["rates"]).into_iter().enumerate() {
            let found = schedule.item.learning_rate(base, step as u64, &run);
            assert!((found - wanted).abs() <= 1e-12 * wanted.abs(), "`{text}` at step {step}: {found}, not {wanted}");
        }
    }
}
