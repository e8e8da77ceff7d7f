//! How trainings end: early, with numbers that are not finite, by a signal.

use super::{Case, Watch, blobs, folder, pipeline, plane};
use crate::train::checkpoint::{load, weights_sha256};
use crate::train::events::Status;

const PLANE: &str = "train = csv(\"data.csv\", target = target, task = regression)\nnormalize = none";

#[test]
fn an_early_stop_restores_the_best_weights() {
    // With so high a rate the loss goes up and down.
    let data = format!("{PLANE}\nval = split(train, 20)\ntest = split(train, 20)");
    let train = "epochs = 60\nbatch = 4\nearly_stop = patience(3 epochs, on = val.loss)";
    let text = pipeline(&data, "linear(4) -> relu\nlinear(1)", "loss = mse\noptimizer = sgd(lr = 0.12)", train);
    let case = Case::new(&text, &plane(80).0);
    let (_guard, path) = folder();
    let outcome = case.train_into(1, Some(&path), Watch::default());
    assert_eq!(outcome.summary.status, Status::EarlyStopped);
    let best = outcome.summary.best.as_ref().unwrap();
    assert_eq!(outcome.summary.epochs, best.epoch + 3);
    let loss = |index: usize| outcome.epochs[index].metrics.iter().find(|(name, _)| name == "val.loss").unwrap().1;
    let least = (0..outcome.epochs.len()).min_by(|&a, &b| loss(a).total_cmp(&loss(b))).unwrap();
    assert_eq!(best.epoch, least + 1);
    assert!(best.best);

    let states = &case.prepared.states;
    let (best_weights, meta) = load(&path.join("best.safetensors"), states, false).unwrap();
    assert_eq!(meta.epoch, best.epoch);
    assert_eq!(meta.monitor, Some(("val.loss".to_owned(), loss(least))));
    assert_eq!(outcome.weights, best_weights);
    assert_eq!(outcome.summary.weights_sha256, weights_sha256(states, &best_weights));
    let (last_weights, meta) = load(&path.join("last.safetensors"), states, false).unwrap();
    assert_eq!(meta.epoch, outcome.summary.epochs);
    assert_ne!(last_weights, best_weights);
}

#[test]
fn an_absurd_rate_diverges_and_names_the_first_tensor() {
    let data = "train = csv(\"data.csv\", target = class)\nval = split(train, 20%)";
    let model = "linear(8) -> relu\nlinear(classes)";
    let settings = "loss = cross_entropy\noptimizer = sgd(lr = 1e30)";
    let text = pipeline(data, model, settings, "epochs = 3\nbatch = 16");
    let case = Case::new(&text, &blobs(100));
    let outcome = case.train(1);
    assert_eq!(outcome.summary.status, Status::Diverged);
    let failure = outcome.summary.failure.unwrap();
    assert!(failure.starts_with("the loss was not finite at step 2 (epoch 1, update 2 of 5)"), "{failure}");
    assert!(failure.contains("): first "), "{failure}");
    assert!(
        failure.contains("in `linear(classes)` (model.2)") || failure.contains("in `linear(8)` (model.0)"),
        "{failure}"
    );
    assert!(outcome.summary.samples_per_second < 1e9, "{}", outcome.summary.samples_per_second);
}

#[test]
fn a_value_too_large_for_single_precision_is_found() {
    // The weights stay finite, the sum over 1e20·1e20 does not.
    let mut table = "a,b,target\n".to_owned();
    (0..8).for_each(|row| table += &format!("{row}e20,1e20,1e20\n"));
    let text = pipeline(PLANE, "linear(1)", "loss = mse", "epochs = 1\nbatch = 4");
    let outcome = Case::new(&text, &table).train(1);
    let failure = outcome.summary.failure.unwrap();
    assert!(failure.starts_with("the loss was not finite at step 1 (epoch 1, update 1 of 2)"), "{failure}");
    assert!(!failure.contains("`state`") && !failure.contains("on this device only"), "{failure}");
}

#[test]
fn the_last_good_checkpoint_is_kept() {
    // The second epoch's rate is absurd.
    let settings = "loss = mse\noptimizer = sgd(lr = 0.01)\nschedule = step(every = 1 epochs, gamma = 1e25)";
    let text = pipeline(PLANE, "linear(1)", settings, "epochs = 5\nbatch = 10");
    let case = Case::new(&text, &plane(50).0);
    let (_guard, path) = folder();
    let outcome = case.train_into(1, Some(&path), Watch::default());
    assert_eq!(outcome.summary.status, Status::Diverged, "{:?}", outcome.summary);
    for name in ["last", "best"] {
        let (kept, meta) = load(&path.join(format!("{name}.safetensors")), &case.prepared.states, false).unwrap();
        assert_eq!(meta.epoch, 1);
        assert_eq!(kept, outcome.weights);
    }
}

#[test]
fn weights_that_overflow_in_the_last_update_are_not_kept() {
    // One update an epoch: its loss is finite, its result is not.
    let settings = "loss = mse\noptimizer = sgd(lr = 1e38)";
    let text = pipeline(PLANE, "linear(1)", settings, "epochs = 1\nbatch = 50");
    let mut table = "a,b,target\n".to_owned();
    (0..50).for_each(|row| table += &format!("{row},100,1000\n"));
    let case = Case::new(&text, &table);
    let (_guard, path) = folder();
    let outcome = case.train_into(1, Some(&path), Watch::default());
    assert_eq!(outcome.summary.status, Status::Diverged);
    let failure = outcome.summary.failure.unwrap();
    let wanted = "the weights were not finite after step 1 (epoch 1): first the weight `model.0.";
    assert!(failure.starts_with(wanted), "{failure}");
    assert_eq!(std::fs::read_dir(&path).unwrap().count(), 0);
}

#[test]
fn an_interrupted_training_leaves_a_checkpoint() {
    let text = pipeline(PLANE, "linear(1)", "loss = mse\noptimizer = adam", "epochs = 50\nbatch = 5");
    let case = Case::new(&text, &plane(100).0);
    let (_guard, path) = folder();
    let watch = Watch { interrupt_in_epoch: Some(3), ..Watch::default() };
    let outcome = case.train_into(1, Some(&path), watch);
    assert_eq!(outcome.summary.status, Status::Interrupted);
    assert_eq!((outcome.summary.epochs, outcome.epochs.len()), (2, 2));
    let (kept, meta) = load(&path.join("last.safetensors"), &case.prepared.states, true).unwrap();
    assert_eq!((meta.epoch, meta.step), (2, outcome.summary.steps));
    assert!(meta.step > 40 && meta.step <= 60, "{}", meta.step);
    assert!(kept.keys().any(|name| name.starts_with("optimizer.")));
    assert!(outcome.weights.iter().all(|(name, words)| kept[name] == *words));
    assert!(outcome.summary.samples_per_second < 1e9);
}
