//! What is learned, and that it is the same each time.

use super::{Case, blobs, pipeline, plane};
use crate::data::Sampler;
use crate::train::events::Status;

const CLASSES: &str = "train = csv(\"data.csv\", target = class)";
const PLANE: &str = "train = csv(\"data.csv\", target = target, task = regression)\nnormalize = none";

#[test]
fn two_heaps_are_told_apart() {
    let data = format!("{CLASSES}\ntest = split(train, 20%)\nval = split(train, 20%)\nnormalize = auto");
    let text = pipeline(
        &data,
        "linear(8) -> relu\nlinear(classes)",
        "loss = cross_entropy\noptimizer = adam(lr = 0.01)",
        "epochs = 8\nbatch = 16",
    );
    let outcome = Case::new(&text, &blobs(300)).train(1);
    assert_eq!(outcome.summary.status, Status::Completed);
    assert_eq!(outcome.summary.steps, 8 * 180_u64.div_ceil(16));
    for name in ["train.accuracy", "val.accuracy"] {
        assert!(outcome.last(name) >= 0.99, "{name} {}", outcome.last(name));
    }
    let test = outcome.summary.test.iter().find(|(name, _)| name == "accuracy");
    assert!(test.is_some_and(|(_, accuracy)| *accuracy >= 0.99), "{:?}", outcome.summary.test);
    assert_eq!(outcome.summary.monitor, "val.accuracy");
}

#[test]
fn a_plane_is_found() {
    let text = pipeline(PLANE, "linear(1)", "loss = mse\noptimizer = sgd(lr = 0.1)", "epochs = 40\nbatch = 10");
    let outcome = Case::new(&text, &plane(100).0).train(2);
    assert!(outcome.last("train.loss") < 1e-9, "{}", outcome.last("train.loss"));
    for (found, wanted) in outcome.weight("model.0.weight").iter().zip([3.0, -2.0]) {
        assert!((found - wanted).abs() < 1e-4, "{found} for {wanted}");
    }
    assert!((outcome.weight("model.0.bias")[0] - 1.0).abs() < 1e-4);
}

#[test]
fn the_same_seed_gives_the_same_weights_with_any_threads() {
    let text = |seed: u64| {
        let model = "linear(16) -> relu -> dropout(0.3)\nlinear(classes)";
        pipeline(CLASSES, model, "loss = cross_entropy", "epochs = 3\nbatch = 32")
            .replace("seed = 7", &format!("seed = {seed}"))
    };
    let case = Case::new(&text(7), &blobs(500));
    let hash = |case: &Case, threads| case.train(threads).summary.weights_sha256;
    let first = hash(&case, 1);
    assert_eq!(first, hash(&case, 1));
    assert_eq!(first, hash(&case, 2));
    assert_ne!(first, hash(&Case::new(&text(8), &blobs(500)), 1));
}

/// One epoch of `linear(1)` with `mse` and `sgd(lr = 0.1)`, in f64 by the formulas: `w − lr·2/n·Σ (w·x − y)·x`.
fn descend(case: &Case, points: &[[f64; 3]], drop_last: bool) -> [f64; 3] {
    let weight = case.initial("model.0.weight");
    let mut w = [weight[0], weight[1], case.initial("model.0.bias")[0]];
    let mut sampler = Sampler::new(points.len(), case.program.train.batch, drop_last, 7).unwrap();
    sampler.shuffle(1);
    for batch in sampler.iter() {
        let mut gradient = [0.0; 3];
        for [a, b, y] in batch.iter().map(|&row| points[row as usize]) {
            let error = 2.0 * (w[0] * a + w[1] * b + w[2] - y) / batch.len() as f64;
            [a, b, 1.0].iter().zip(&mut gradient).for_each(|(x, sum)| *sum += error * x);
        }
        w.iter_mut().zip(gradient).for_each(|(w, gradient)| *w -= 0.1 * gradient);
    }
    w
}

#[test]
fn every_row_counts_alike_whatever_the_rest_and_the_parts() {
    for (rows, accumulate, drop_last) in [
        (24, 1, false),
        (25, 1, false),
        (27, 1, false),
        (27, 1, true),
        (24, 4, false),
        (25, 4, false),
        (27, 4, false),
        (30, 2, false),
        (31, 8, true),
    ] {
        let train = format!("epochs = 1\nbatch = 8\naccumulate = {accumulate}\ndrop_last = {drop_last}");
        let text = pipeline(PLANE, "linear(1)", "loss = mse\noptimizer = sgd(lr = 0.1)", &train);
        let (table, points) = plane(rows);
        let case = Case::new(&text, &table);
        let outcome = case.train(1);
        let [a, b] = outcome.weight("model.0.weight")[..] else { panic!("two weights") };
        let found = [a, b, outcome.weight("model.0.bias")[0]];
        for (found, wanted) in found.iter().zip(descend(&case, &points, drop_last)) {
            assert!((found - wanted).abs() < 1e-5, "{found} for {wanted}: {rows} rows in {accumulate} parts");
        }
    }
}

#[test]
fn the_mean_loss_of_an_epoch_weighs_rows_and_not_batches() {
    // With a rate of nearly 0 the loss of each row is that of the first weights.
    let settings = "loss = mse\noptimizer = sgd(lr = 1e-30)";
    let data = format!("{PLANE}\nval = split(train, 13)");
    for accumulate in [1, 4] {
        let train = format!("epochs = 1\nbatch = 8\naccumulate = {accumulate}");
        let (table, points) = plane(40);
        let case = Case::new(&pipeline(&data, "linear(1)", settings, &train), &table);
        let outcome = case.train(1);
        let (weight, bias) = (case.initial("model.0.weight"), case.initial("model.0.bias")[0]);
        for (split, rows) in ["train.loss", "val.loss"].iter().zip(&case.loaded.rows) {
            let of_row = |&row: &u32| {
                let [a, b, y] = points[row as usize];
                (weight[0] * a + weight[1] * b + bias - y).powi(2)
            };
            let mean = rows.iter().map(of_row).sum::<f64>() / rows.len() as f64;
            assert!((outcome.last(split) - mean).abs() < 1e-5 * mean, "{split}: {} for {mean}", outcome.last(split));
        }
    }
}
