//! A session whose device is opened again after it was lost.

use super::{BackendError, LaunchTime, Meet, Session};
use crate::ir::StateId;

/// Opens the session's device, anew each time.
pub type Open = Box<dyn FnMut() -> Result<Box<dyn Session>, BackendError>>;

/// A session, and how to have it again.
pub struct Reopening {
    /// The error of the last attempt to open it, if there is none.
    session: Result<Box<dyn Session>, BackendError>,
    open: Open,
}

impl Reopening {
    /// Opens a session for the first time.
    ///
    /// # Errors
    /// When the device cannot be opened.
    pub fn new(mut open: Open) -> Result<Reopening, BackendError> {
        Ok(Reopening { session: Ok(open()?), open })
    }

    fn session(&mut self) -> Result<&mut dyn Session, BackendError> {
        match &mut self.session {
            Ok(session) => Ok(&mut **session),
            Err(error) => Err(error.clone()),
        }
    }
}

impl Session for Reopening {
    fn device(&self) -> String {
        self.session.as_ref().map_or_else(|_| "no device".to_owned(), |session| session.device())
    }

    fn write_state(&mut self, id: StateId, words: &[u32]) -> Result<(), BackendError> {
        self.session()?.write_state(id, words)
    }

    fn read_state(&mut self, id: StateId) -> Result<Vec<u32>, BackendError> {
        self.session()?.read_state(id)
    }

    fn read_states(&mut self, ids: &[StateId]) -> Result<Vec<u32>, BackendError> {
        self.session()?.read_states(ids)
    }

    fn run(&mut self, plan: usize, rows: &[u32]) -> Result<(), BackendError> {
        self.session()?.run(plan, rows)
    }

    fn run_and_give(
        &mut self,
        plan: usize,
        row: &[u32],
        groups: &[Vec<StateId>],
        give: &mut dyn FnMut(Vec<u32>),
        meet: Meet,
    ) -> Result<(), BackendError> {
        self.session()?.run_and_give(plan, row, groups, give, meet)
    }

    fn wait(&mut self) -> Result<(), BackendError> {
        self.session()?.wait()
    }

    fn times(&mut self, plan: usize, row: &[u32]) -> Result<Vec<LaunchTime>, BackendError> {
        self.session()?.times(plan, row)
    }

    fn agree(&mut self, numbers: Vec<f64>) -> Result<Vec<f64>, BackendError> {
        self.session()?.agree(numbers)
    }

    fn compare(&mut self, ids: &[StateId]) -> Result<(), BackendError> {
        self.session()?.compare(ids)
    }

    fn kind(&self) -> String {
        self.session.as_ref().map_or_else(|_| "no device".to_owned(), |session| session.kind())
    }

    fn reopen(&mut self) -> Result<bool, BackendError> {
        // What the lost one holds is given back first: there may not be room for two.
        let closed = BackendError::Failed { device: self.device(), reason: "it is being opened again".to_owned() };
        self.session = Err(closed);
        self.session = (self.open)();
        self.session().map(|_| true)
    }

    fn scratch_bytes(&self) -> u64 {
        self.session.as_ref().map_or(0, |session| session.scratch_bytes())
    }

    fn allocated_bytes(&self) -> Option<u64> {
        self.session.as_ref().ok().and_then(|session| session.allocated_bytes())
    }
}
