//! Checkpoint files: whole or refused.

use super::{Case, Watch, folder, pipeline, plane};
use crate::train::checkpoint::{CheckpointError, load, save};

fn case(model: &str) -> Case {
    let data = "train = csv(\"data.csv\", target = target, task = regression)";
    Case::new(&pipeline(data, model, "loss = mse\noptimizer = adam", "epochs = 1\nbatch = 10"), &plane(20).0)
}

#[test]
fn what_is_saved_is_loaded() {
    let case = case("linear(3) -> relu\nlinear(1)");
    let (_guard, path) = folder();
    case.train_into(1, Some(&path), Watch::default());
    let file = path.join("last.safetensors");
    let (snapshot, meta) = load(&file, &case.prepared.states, true).unwrap();
    assert_eq!((meta.epoch, meta.step, meta.seed), (1, 2, 7));
    assert_eq!(meta.pipeline.len(), 64);
    let again = path.join("again.safetensors");
    save(&again, &case.prepared.states, &snapshot, &meta).unwrap();
    assert_eq!(std::fs::read(&file).unwrap(), std::fs::read(&again).unwrap());
    assert_eq!(load(&again, &case.prepared.states, true).unwrap(), (snapshot, meta));
}

#[test]
fn a_damaged_file_is_refused_whatever_the_damage() {
    let case = case("linear(1)");
    let (_guard, path) = folder();
    case.train_into(1, Some(&path), Watch::default());
    let file = path.join("best.safetensors");
    let whole = std::fs::read(&file).unwrap();
    for length in 0..whole.len() {
        std::fs::write(&file, &whole[..length]).unwrap();
        assert!(load(&file, &case.prepared.states, false).is_err(), "cut to {length} bytes");
    }
    for position in 0..whole.len() {
        for flip in [1, 0x80, 0xff] {
            let mut damaged = whole.clone();
            damaged[position] ^= flip;
            std::fs::write(&file, &damaged).unwrap();
            assert!(load(&file, &case.prepared.states, false).is_err(), "byte {position} with {flip:#x}");
        }
    }
    std::fs::write(&file, &whole).unwrap();
    assert!(load(&file, &case.prepared.states, false).is_ok());
}

#[test]
fn another_model_is_told_by_its_tensors() {
    let (_guard, path) = folder();
    case("linear(3) -> relu\nlinear(1)").train_into(1, Some(&path), Watch::default());
    let other = case("linear(4) -> relu -> linear(5) -> relu\nlinear(1)");
    let error = load(&path.join("best.safetensors"), &other.prepared.states, false).unwrap_err();
    let text = error.to_string();
    assert!(matches!(error, CheckpointError::Mismatch { .. }));
    for part in ["`model.0.weight` has the shape [3, 2], not [4, 2]", "`model.4.weight` is missing"] {
        assert!(text.contains(part), "{part} in {text}");
    }
    let error = load(&path.join("none.safetensors"), &other.prepared.states, false).unwrap_err();
    assert!(error.to_string().starts_with("could not read"), "{error}");
    // The best weights are kept without what the optimizer needs to go on.
    let same = case("linear(3) -> relu\nlinear(1)");
    let error = load(&path.join("best.safetensors"), &same.prepared.states, true).unwrap_err();
    assert!(error.to_string().contains("`optimizer."), "{error}");
}

#[test]
fn a_folder_that_cannot_be_written_is_an_error() {
    let case = case("linear(1)");
    let (_guard, path) = folder();
    let Case { program, loaded, prepared } = &case;
    let mut session = crate::train::device::open_session(program, prepared, loaded, Some(1)).unwrap();
    let missing = path.join("no/such/folder");
    let error = crate::train::run::run(program, prepared, loaded, &mut *session, Some(&missing), &mut Watch::default())
        .unwrap_err();
    assert!(error.to_string().starts_with("could not write"), "{error}");
}
