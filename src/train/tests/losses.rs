//! Devices that are lost while they train.

use super::*;
use crate::backend::{BackendError, Session};
use crate::train::run::TrainError;

/// A session that is lost after a number of steps, once for each number.
struct Fragile<'a> {
    case: &'a Case,
    session: Box<dyn Session>,
    /// Steps until each loss, the next one last.
    losses: Vec<usize>,
    can_reopen: bool,
}

impl<'a> Fragile<'a> {
    fn new(case: &'a Case, losses: &[usize]) -> Fragile<'a> {
        let losses = losses.iter().rev().copied().collect();
        Fragile { case, session: case.open(), losses, can_reopen: true }
    }

    fn lost() -> BackendError {
        BackendError::Lost { device: "glass".to_owned(), reason: "it fell".to_owned() }
    }

    fn is_lost(&self) -> Result<(), BackendError> {
        if self.losses.last() == Some(&0) { Err(Fragile::lost()) } else { Ok(()) }
    }
}

impl Case {
    fn open(&self) -> Box<dyn Session> {
        open_session(&self.program, &self.prepared, &self.loaded, Some(1)).unwrap()
    }
}

impl Session for Fragile<'_> {
    fn device(&self) -> String {
        "glass".to_owned()
    }

    fn write_state(&mut self, id: StateId, words: &[u32]) -> Result<(), BackendError> {
        self.is_lost()?;
        self.session.write_state(id, words)
    }

    fn read_state(&mut self, id: StateId) -> Result<Vec<u32>, BackendError> {
        self.is_lost()?;
        self.session.read_state(id)
    }

    fn run(&mut self, plan: usize, rows: &[u32]) -> Result<(), BackendError> {
        self.is_lost()?;
        let words = self.case.prepared.plans[plan].step.words.max(1);
        if let Some(left) = self.losses.last_mut() {
            *left = left.saturating_sub((rows.len() / words).max(1));
        }
        self.session.run(plan, rows)
    }

    fn wait(&mut self) -> Result<(), BackendError> {
        self.is_lost()?;
        self.session.wait()
    }

    fn reopen(&mut self) -> Result<bool, BackendError> {
        if self.can_reopen {
            assert_eq!(self.losses.pop(), Some(0), "only a lost device is opened again");
            self.session = self.case.open();
        }
        Ok(self.can_reopen)
    }
}

/// Six epochs of eight updates of which the last is smaller, with a state of the optimizer, dropout and a validation.
fn case() -> Case {
    let text = pipeline(
        "train = csv(\"data.csv\", target = class)\nval = split(train, 20%)\nnormalize = auto",
        "linear(8)\nbatch_norm\nrelu\ndropout(0.2)\nlinear(classes)",
        "loss = cross_entropy\nmetrics = [accuracy]\nschedule = cosine",
        "epochs = 6\nbatch = 20",
    );
    Case::new(&text, &blobs(190))
}

/// Writes down epochs and notes.
#[derive(Default)]
struct Notes {
    epochs: Vec<EpochRecord>,
    notes: Vec<String>,
}

impl Observer for Notes {
    fn event(&mut self, event: &Event) {
        match event {
            Event::Epoch(record) => self.epochs.push(record.clone()),
            Event::Note(note) => self.notes.push(note.clone()),
            _ => {}
        }
    }
}

#[test]
fn a_training_goes_on_after_its_device_was_lost() {
    let case = case();
    let expected = case.train(1);
    // In the first epoch; in a later one; in an evaluation; behind the last step; all of it at once, again and again.
    for losses in [&[3][..], &[20], &[9, 1], &[8], &[10_000], &[1, 1, 1], &[30, 0, 12]] {
        let mut session = Fragile::new(&case, losses);
        let mut notes = Notes::default();
        let (program, prepared, loaded) = (&case.program, &case.prepared, &case.loaded);
        let summary = run(program, prepared, loaded, &mut session, None, &mut notes).unwrap();
        let happened = losses.iter().filter(|steps| **steps < 10_000).count();
        assert_eq!(summary.recoveries, happened, "{losses:?}");
        assert_eq!(notes.notes.iter().filter(|note| note.contains("was lost")).count(), happened, "{:?}", notes.notes);
        assert_eq!(summary.weights_sha256, expected.summary.weights_sha256, "{losses:?}");
        assert_eq!((summary.steps, summary.epochs), (expected.summary.steps, expected.summary.epochs));
        let figures = |epochs: &[EpochRecord]| {
            epochs.iter().map(|it| (it.epoch, it.step, it.metrics.clone(), it.best)).collect::<Vec<_>>()
        };
        assert_eq!(figures(&notes.epochs), figures(&expected.epochs), "{losses:?}");
    }
}

#[test]
fn a_device_that_is_lost_too_often_ends_the_training_and_what_was_good_is_kept() {
    let case = case();
    let (_guard, folder) = folder();
    let mut session = Fragile::new(&case, &[30, 0, 5, 5, 5]);
    let mut notes = Notes::default();
    let (program, prepared, loaded) = (&case.program, &case.prepared, &case.loaded);
    let error = run(program, prepared, loaded, &mut session, Some(&folder), &mut notes).unwrap_err();
    assert!(matches!(error, TrainError::Backend(BackendError::Lost { .. })), "{error}");
    assert_eq!(notes.notes.iter().filter(|note| note.contains("of at most 3 times")).count(), 3);
    assert!(folder.join("last.safetensors").is_file() && folder.join("best.safetensors").is_file());
}

#[test]
fn a_device_that_cannot_be_opened_again_ends_the_training() {
    let case = case();
    let mut session = Fragile::new(&case, &[12]);
    session.can_reopen = false;
    let (program, prepared, loaded) = (&case.program, &case.prepared, &case.loaded);
    let error = run(program, prepared, loaded, &mut session, None, &mut Notes::default()).unwrap_err();
    assert_eq!(error.to_string(), Fragile::lost().to_string());
}
