//! First values, the steps that are prepared, and memory.

use super::{Case, blobs, floats, pipeline, plane};
use crate::backend::cpu;
use crate::check::program::Precision;
use crate::ir::DType;
use crate::ir::graph::{Init, StateInfo, StateKind};
use crate::lower::Mode;
use crate::train::initialize::initial_words;
use crate::train::memory::{Limits, check_memory, memory_on_gpu};
use crate::train::prepare::{prepare, prepare_batch};

fn weight(name: &str, init: Init) -> StateInfo {
    let (name, shape) = (name.to_owned(), vec![100, 200]);
    StateInfo { name, shape, dtype: DType::F32, kind: StateKind::Weight, init, layer: None }
}

#[test]
fn first_values_have_their_distribution() {
    let uniform = floats(&initial_words(&weight("a", Init::Uniform { bound: 0.5 }), 1));
    assert!(uniform.iter().all(|value| (-0.5..=0.5).contains(value)));
    let moments = |values: &[f64]| {
        let n = values.len() as f64;
        let mean = values.iter().sum::<f64>() / n;
        (mean, (values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / n).sqrt())
    };
    // The standard deviation of a uniform number of width 1 is √(1/12); of 20,000 the mean is off by 1/141 of it.
    let (mean, deviation) = moments(&uniform);
    assert!(mean.abs() < 0.01 && (deviation - (1.0_f64 / 12.0).sqrt()).abs() < 0.01, "{mean} {deviation}");
    let (mean, deviation) = moments(&floats(&initial_words(&weight("a", Init::Normal { std: 2.0 }), 1)));
    assert!(mean.abs() < 0.06 && (deviation - 2.0).abs() < 0.06, "{mean} {deviation}");
}

#[test]
fn first_values_depend_on_the_seed_and_the_name_only() {
    let words = |name: &str, seed| initial_words(&weight(name, Init::Uniform { bound: 1.0 }), seed);
    assert_eq!(words("model.0.weight", 1), words("model.0.weight", 1));
    assert_ne!(words("model.0.weight", 1), words("model.2.weight", 1));
    assert_ne!(words("model.0.weight", 1), words("model.0.weight", 2));
}

#[test]
fn the_data_is_normalized_by_the_training_rows() {
    let data = "train = csv(\"data.csv\", target = target, task = regression)\nval = split(train, 30)";
    let text = pipeline(&format!("{data}\nnormalize = auto"), "linear(1)", "loss = mse", "epochs = 1\nbatch = 10");
    let (table, points) = plane(90);
    let case = Case::new(&text, &table);
    let outcome = case.train(1);
    let (mean, std) = (outcome.weight("data.mean"), outcome.weight("data.std"));
    let rows: Vec<[f64; 3]> = case.loaded.rows[0].iter().map(|&row| points[row as usize]).collect();
    assert_eq!(rows.len(), 60);
    for column in 0..2 {
        let expected = rows.iter().map(|row| row[column]).sum::<f64>() / 60.0;
        let variance = rows.iter().map(|row| (row[column] - expected).powi(2)).sum::<f64>() / 60.0;
        assert!((mean[column] - expected).abs() < 1e-6 && (std[column] - variance.sqrt()).abs() < 1e-6);
    }
}

#[test]
fn every_size_is_prepared_once() {
    let data = "train = csv(\"data.csv\", target = class)\nval = split(train, 30)";
    let steps = |train: &str| {
        let case = Case::new(&pipeline(data, "linear(classes)", "loss = cross_entropy", train), &blobs(130));
        let steps = case.prepared.steps.iter();
        steps.map(|step| (step.spec.mode, step.spec.split.clone(), step.spec.batch)).collect::<Vec<_>>()
    };
    let of = |mode, split: &str, batch| (mode, split.to_owned(), batch);
    use Mode::{Accumulate, Evaluate, Update};
    let all = [of(Update, "train", 32), of(Update, "train", 4), of(Evaluate, "val", 30)];
    assert_eq!(steps("epochs = 1\nbatch = 32"), all);
    let all = [of(Update, "train", 25), of(Evaluate, "val", 25), of(Evaluate, "val", 5)];
    assert_eq!(steps("epochs = 1\nbatch = 25"), all);
    let all = [of(Update, "train", 8), of(Accumulate, "train", 8), of(Update, "train", 4)];
    assert_eq!(steps("epochs = 1\nbatch = 32\naccumulate = 4")[..3], all);
}

#[test]
fn a_batch_that_fits_is_one_that_the_parts_divide() {
    let data = "train = csv(\"data.csv\", target = class)";
    let text = |batch: usize, accumulate: usize| {
        let train = format!("epochs = 1\nbatch = {batch}\naccumulate = {accumulate}");
        pipeline(data, "linear(64) -> relu\nlinear(classes)", "loss = cross_entropy", &train)
    };
    for accumulate in [1, 3] {
        let case = Case::new(&text(768, accumulate), &blobs(1024));
        let memory = case.prepared.memory();
        let total = Some(memory.total() - memory.arena / 2);
        let limits = Limits { device: "small".to_owned(), total, arena: None, gpu: false };
        let error = check_memory(&case.program, &case.prepared, &limits).unwrap_err();
        let batch: usize = error.advice.split(' ').find_map(|word| word.parse().ok()).unwrap();
        assert!((192..768).contains(&batch), "{error}");
        // It compiles, and fits.
        let smaller = Case::new(&text(batch, accumulate), &blobs(1024));
        assert_eq!(check_memory(&smaller.program, &smaller.prepared, &limits), Ok(()));
    }
}

#[test]
fn a_batch_that_fits_leaves_no_single_row_for_batch_norm() {
    let data = "train = csv(\"data.csv\", target = class)";
    let text = |batch: usize| {
        let model = "linear(64) -> batch_norm -> relu\nlinear(classes)";
        pipeline(data, model, "loss = cross_entropy", &format!("epochs = 1\nbatch = {batch}"))
    };
    // A batch of 512 fits just so, and would leave 1537 − 3·512 = 1 row.
    let case = Case::new(&text(1024), &blobs(1537));
    let total = Some(prepare_batch(&case.program, 512, cpu::FUSION).memory().total());
    let limits = Limits { device: "small".to_owned(), total, arena: None, gpu: false };
    let error = check_memory(&case.program, &case.prepared, &limits).unwrap_err();
    assert!(error.advice.starts_with("a batch of 511 would fit"), "{error}");
    let smaller = Case::new(&text(511), &blobs(1537));
    assert_eq!(check_memory(&smaller.program, &smaller.prepared, &limits), Ok(()));
}

#[test]
fn all_that_a_device_holds_is_counted() {
    let data = "train = csv(\"data.csv\", target = class)";
    let text = pipeline(data, "linear(4) -> relu\nlinear(classes)", "loss = cross_entropy", "epochs = 1\nbatch = 64");
    let case = Case::new(&text, &blobs(256));
    let memory = case.prepared.memory();
    // The rows of 64 samples, and scalars.
    assert!((64 * 4..64 * 4 + 64).contains(&memory.inputs), "{memory:?}");
    assert_eq!(memory.data, 256 * (2 + 1) * 4);
    let parts = [memory.weights, memory.optimizer, memory.arena, memory.data, memory.inputs];
    assert_eq!(memory.total(), parts.iter().sum::<u64>());
    let prepared = prepare(&case.program, crate::backend::gpu::FUSION);
    let scratch = prepared.plans.iter().map(|plan| (plan.arena_words + crate::backend::gpu::scratch_words(plan)) * 4);
    assert_eq!(memory_on_gpu(&case.program, Precision::F32).arena, scratch.max().unwrap() as u64);
}
