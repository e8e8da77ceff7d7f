//! Clipping, random numbers, images, dropout and penalties on every executor, against frozen vectors and formulas.

use nnoptc::ir::{DType, Value};
use nnoptc::library::augmentations;
use nnoptc::library::{self, ModelBuilder};
use nnoptc::lower::{clip, lower_images};
use nnoptc::passes::differentiate::differentiate;
use nnoptc::schema::{Made, make_from_table};

use crate::harness::{Case, Executor, call, executors, golden, numbers, tensor};

/// Gives what random numbers depend on.
fn give_randomness(case: &mut Case, seed: [f64; 2], step: f64) {
    for (name, value) in [("seed_low", seed[0]), ("seed_high", seed[1]), ("step", step)] {
        case.inputs.push((name.to_owned(), vec![value]));
    }
}

#[test]
fn clipping_agrees_with_pytorch() {
    for case in golden("clip.json").as_array().unwrap() {
        let mut test = Case::default();
        let grads = case["grads"].as_object().unwrap();
        let mut values: Vec<Value> = Vec::new();
        for (name, grad) in grads {
            let (shape, data) = tensor(grad);
            values.push(test.given(name, &shape, data));
        }
        clip(&mut test.builder, &mut values, case["max_norm"].as_f64().unwrap());
        for (name, value) in grads.keys().zip(values) {
            test.expect(name, value, tensor(&case["clipped"][name]).1);
        }
        // All executors are compared with f64, the interpreter to its last digits.
        test.check(case["name"].as_str().unwrap(), 1e-6, &executors());
    }
}

#[test]
fn every_executor_draws_the_numbers_of_philox() {
    let file = golden("philox.json");
    for (list, count) in [("published", 3), ("computed", 71)] {
        let cases = file[list].as_array().unwrap();
        assert_eq!(cases.len(), count);
        for case in cases {
            let words = |key: &str| numbers(&case[key]).into_iter().map(|word| word as u32).collect::<Vec<_>>();
            let (counter, key) = (words("counter").try_into().unwrap(), words("key").try_into().unwrap());
            assert_eq!(nnoptc::ir::random::philox(counter, key).to_vec(), words("words"));
        }
    }
    for case in file["uniform"].as_array().unwrap() {
        let mut test = Case::default();
        let index = numbers(&case["index"]);
        let size = [index.len()];
        let index = test.given_words("index", &size, index);
        let seed = numbers(&case["seed"]);
        give_randomness(&mut test, [seed[0], seed[1]], case["step"].as_f64().unwrap());
        let (seed, step) = library::random_inputs(&mut test.builder);
        let stream = case["stream"].as_u64().unwrap() as u32;
        let value = test.builder.random(stream, seed, step, index);
        test.expect("the numbers", value, numbers(&case["numbers"]));
        // Multiples of 2⁻²⁴ are exact in f32; decimals in JSON are read to the last digit but one.
        test.check(&format!("stream {stream}"), 1e-12, &executors());
    }
}

#[test]
fn images_are_transformed_as_by_torchvision() {
    let file = golden("images.json");
    let (shape, images) = tensor(&file["images"]);
    let rows = numbers(&file["rows"]);
    let seed = numbers(&file["seed"]);
    for (index, case) in file["cases"].as_array().unwrap().iter().enumerate() {
        let calls: Vec<&str> = case["calls"].as_array().unwrap().iter().map(|text| text.as_str().unwrap()).collect();
        let title = calls.join(", ");
        let made: Vec<Made<dyn library::Augmentation>> = calls
            .iter()
            .map(|text| {
                let mut diagnostics = Vec::new();
                let made = make_from_table(&call(text), "augmentation", augmentations::ALL, &mut diagnostics);
                made.unwrap_or_else(|| panic!("{title}: {diagnostics:?}"))
            })
            .collect();
        let mut test = Case::default();
        let data = test.given("images", &shape, images.clone());
        let chosen = test.builder.input("rows", &[rows.len()], DType::U32);
        test.inputs.push(("rows".to_owned(), rows.clone()));
        give_randomness(&mut test, [seed[0], seed[1]], file["step"].as_f64().unwrap());
        let pixels = lower_images(&made, &mut test.builder, data, chosen, &shape[1..], true);
        let (wanted_shape, wanted) = tensor(&case["pixels"]);
        assert_eq!(test.builder.shape(pixels), wanted_shape, "{title}");
        test.expect("the pixels", pixels, wanted);
        // Interpolated pixels were frozen in f32; the angles are drawn in f32 on devices.
        let tolerance = if title.contains("bilinear") { 2e-5 } else { 1e-6 };
        // A GPU's driver compiles anew for each case; every third has all functions among them.
        let executors = if index % 3 == 0 { executors() } else { vec![Executor::Interpreter, Executor::Cpu] };
        test.check_within(&title, tolerance, tolerance, &executors);
    }
}

/// A dropout of ones and its gradient, on 37·61 numbers.
fn dropout(rate: f64, step: f64) -> Case {
    let shape = [37, 61];
    let mut test = Case::default();
    let x = test.given("x", &shape, vec![1.0; 37 * 61]);
    let upstream = test.given("grad", &shape, vec![1.0; 37 * 61]);
    give_randomness(&mut test, [3.0, 4.0], step);
    let mut diagnostics = Vec::new();
    let text = format!("dropout({rate})");
    let layer = make_from_table(&call(&text), "layer", library::layers::ALL, &mut diagnostics).unwrap();
    let mut model = ModelBuilder::new(std::mem::take(&mut test.builder), true);
    let y = layer.item.lower(&mut model, x);
    test.builder = model.graph;
    let product = test.builder.mul(y, upstream);
    let loss = test.builder.sum_all(product);
    let grads = differentiate(&mut test.builder, loss, &[x]);
    test.expect_as_interpreted("the output", y);
    test.expect_as_interpreted("the gradient", grads[0]);
    test
}

#[test]
fn dropout_zeroes_its_share_and_the_gradient_with_it() {
    for rate in [0.1, 0.5, 0.8] {
        let found = dropout(rate, 0.0).run(&Executor::Interpreter);
        let (output, gradient) = (&found[0], &found[1]);
        assert_eq!(output, gradient, "one mask for both directions");
        let kept = 1.0 / (1.0 - rate);
        assert!(output.iter().all(|&value| value == 0.0 || value == kept), "scaled by 1/(1 − {rate})");
        let n = output.len() as f64;
        let share = output.iter().filter(|&&value| value == 0.0).count() as f64 / n;
        // Four standard deviations of a share of n draws.
        assert!((share - rate).abs() < 4.0 * (rate * (1.0 - rate) / n).sqrt(), "{share} of {rate}");
        let next = dropout(rate, 1.0).run(&Executor::Interpreter);
        // Two independent masks agree on `rate² + (1 − rate)²` of the numbers.
        let agree = output.iter().zip(&next[0]).filter(|(a, b)| a == b).count() as f64 / n;
        let expected = rate * rate + (1.0 - rate) * (1.0 - rate);
        assert!((agree - expected).abs() < 4.0 * (expected * (1.0 - expected) / n).sqrt(), "{agree} of {expected}");
        dropout(rate, 0.0).check(&format!("dropout({rate})"), 1e-6, &executors());
    }
}

#[test]
fn penalties_and_their_gradients_follow_their_formulas() {
    let weights = vec![-1.5, -0.25, 0.0, 0.5, 2.0, 3.25];
    let sign = |w: f64| if w == 0.0 { 0.0 } else { w.signum() };
    // The penalty's formula, and its derivative; PyTorch's `abs` has the derivative 0 at 0.
    type Penalty = fn(f64) -> f64;
    type Slope = fn(f64, f64) -> f64;
    let cases: [(&str, Penalty, Slope); 3] = [
        ("l1(0.3)", |w| 0.3 * w.abs(), |_, sign| 0.3 * sign),
        ("l2(0.2)", |w| 0.2 * w * w, |w, _| 0.4 * w),
        ("elastic(l1 = 0.3, l2 = 0.2)", |w| 0.3 * w.abs() + 0.2 * w * w, |w, sign| 0.3 * sign + 0.4 * w),
    ];
    for (text, penalty, slope) in cases {
        let mut test = Case::default();
        let weight = test.given("weight", &[2, 3], weights.clone());
        let mut diagnostics = Vec::new();
        let made = make_from_table(&call(text), "regularizer", library::regularizers::ALL, &mut diagnostics).unwrap();
        let value = made.item.penalty(&mut test.builder, weight);
        let grads = differentiate(&mut test.builder, value, &[weight]);
        test.expect("the penalty", value, vec![weights.iter().map(|&w| penalty(w)).sum()]);
        test.expect("the gradient", grads[0], weights.iter().map(|&w| slope(w, sign(w))).collect());
        test.check(text, 1e-6, &executors());
    }
}
