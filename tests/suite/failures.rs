//! Trainings that cannot go well: what they say, and what they leave.

use nnoptc::check::program::Devices;
use nnoptc::data::load::load;
use nnoptc::formats::Disk;
use nnoptc::train::events::Status;
use nnoptc::train::memory::{Limits, check_memory};
use nnoptc::train::{checkpoint, device, prepare, run};

use crate::training::{Silent, program};

#[test]
fn a_loss_that_is_not_finite_ends_the_training_at_its_step() {
    let sets = ["train.devices=cpu", "optimizer=sgd(lr = 1e30)", "train.early_stop=none"];
    let program = program("examples/digits.nnopt", &sets);
    let prepared = prepare::prepare(&program, nnoptc::train::device::fusion(&program));
    let loaded = load(&program, &Disk).unwrap();
    let mut session = device::open_session(&program, &prepared, &loaded, None).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let summary = run::run(&program, &prepared, &loaded, &mut *session, Some(folder.path()), &mut Silent).unwrap();
    assert_eq!(summary.status, Status::Diverged);
    let failure = summary.failure.unwrap();
    assert!(failure.starts_with("the loss was not finite at step 2 (epoch 1, update 2 of 20): first a `"), "{failure}");
    assert!(failure.contains(" in `linear(classes)` (model.2)"), "{failure}");
}

#[test]
fn the_last_good_checkpoint_is_kept() {
    // The rate is sane for the first epoch of 20 steps, then beyond all bounds.
    let sets = ["train.devices=cpu", "optimizer=sgd(lr = 0.05)", "schedule=step(every = 1 epochs, gamma = 1e30)"];
    let program = program("examples/digits.nnopt", &sets);
    let prepared = prepare::prepare(&program, nnoptc::train::device::fusion(&program));
    let loaded = load(&program, &Disk).unwrap();
    let mut session = device::open_session(&program, &prepared, &loaded, None).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let summary = run::run(&program, &prepared, &loaded, &mut *session, Some(folder.path()), &mut Silent).unwrap();
    assert_eq!(summary.status, Status::Diverged, "{summary:?}");
    assert_eq!(summary.epochs, 1);
    for name in ["best", "last"] {
        let path = folder.path().join(format!("{name}.safetensors"));
        let (snapshot, meta) = checkpoint::load(&path, &prepared.states, false).unwrap();
        assert_eq!(meta.epoch, 1);
        let finite = snapshot.values().flatten().all(|word| f32::from_bits(*word).is_finite());
        assert!(finite, "{name} holds finite weights");
        // What training ends with is the best that there was.
        assert_eq!(checkpoint::weights_sha256(&prepared.states, &snapshot), summary.weights_sha256);
    }
}

#[test]
fn a_training_that_does_not_fit_names_its_largest_tensors_and_a_batch() {
    let program = program("examples/digits_cnn.nnopt", &["train.batch=512"]);
    let prepared = prepare::prepare(&program, nnoptc::train::device::fusion(&program));
    let needed = prepared.memory();
    let limits =
        Limits { device: "a small device".to_owned(), total: Some(needed.total() * 2 / 3), arena: None, gpu: false };
    let text = check_memory(&program, &prepared, &limits).unwrap_err().to_string();
    assert!(text.contains("of memory on `a small device`, which has"), "{text}");
    assert!(text.contains("the largest tensors are "), "{text}");
    let batch: usize = text.split("a batch of ").nth(1).unwrap().split(' ').next().unwrap().parse().unwrap();
    let smaller = prepare::prepare_batch(&program, batch, nnoptc::backend::cpu::FUSION);
    assert!(check_memory(&program, &smaller, &limits).is_ok(), "{text}");
    assert!((128..512).contains(&batch), "{text}");
    let nothing = Limits { total: Some(1000), ..limits };
    let text = check_memory(&program, &prepared, &nothing).unwrap_err().to_string();
    assert!(text.ends_with("no batch would fit: make the model or the data smaller"), "{text}");
}

#[test]
fn a_gpu_that_is_not_there_is_an_error_that_says_what_is() {
    let mut program = program("examples/iris.nnopt", &[]);
    program.train.devices = Devices::Named("no such adapter".to_owned());
    let prepared = prepare::prepare(&program, nnoptc::train::device::fusion(&program));
    let loaded = load(&program, &Disk).unwrap();
    let Err(error) = device::open_session(&program, &prepared, &loaded, None) else {
        panic!("there is no such adapter")
    };
    assert!(error.to_string().starts_with("no adapter for `devices = no such adapter`: "), "{error}");
}

#[test]
fn a_damaged_checkpoint_is_refused() {
    let program = program("examples/iris.nnopt", &["train.epochs=1", "train.devices=cpu"]);
    let prepared = prepare::prepare(&program, nnoptc::train::device::fusion(&program));
    let loaded = load(&program, &Disk).unwrap();
    let mut session = device::open_session(&program, &prepared, &loaded, None).unwrap();
    let folder = tempfile::tempdir().unwrap();
    run::run(&program, &prepared, &loaded, &mut *session, Some(folder.path()), &mut Silent).unwrap();
    let path = folder.path().join("last.safetensors");
    let bytes = std::fs::read(&path).unwrap();
    assert!(checkpoint::load(&path, &prepared.states, true).is_ok());
    for at in (0..bytes.len()).step_by(7) {
        let mut damaged = bytes.clone();
        damaged[at] ^= 4;
        std::fs::write(&path, &damaged).unwrap();
        assert!(checkpoint::load(&path, &prepared.states, true).is_err(), "byte {at}");
        std::fs::write(&path, &bytes[..at]).unwrap();
        assert!(checkpoint::load(&path, &prepared.states, true).is_err(), "cut at {at}");
    }
}
