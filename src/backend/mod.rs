//! Executors of plans: the native CPU executor and WGSL through wgpu.

pub mod cpu;
#[cfg(debug_assertions)]
mod faults;
pub mod gang;
pub mod gpu;
pub mod peers;
pub mod reopening;
pub mod speed;

use crate::ir::{DataInfo, StateId, States};
use crate::plan::Plan;

/// Why a device could not do what was asked.
#[derive(Clone, Debug, thiserror::Error)]
pub enum BackendError {
    /// There is no such adapter.
    #[error("no adapter for `devices = {wanted}`: {found}")]
    NoAdapter {
        /// What was asked for.
        wanted: String,
        /// What there is instead, and what to do.
        found: String,
    },
    /// A buffer is larger than the device allows.
    #[error("{what} needs {needed} bytes, `{device}` allows {allowed}")]
    TooLarge {
        /// Which buffer.
        what: String,
        /// Bytes asked for.
        needed: u64,
        /// Bytes allowed.
        allowed: u64,
        /// The device.
        device: String,
    },
    /// The device is gone.
    #[error("the device `{device}` was lost: {reason}")]
    Lost {
        /// The device.
        device: String,
        /// What the driver says.
        reason: String,
    },
    /// The device did not answer in time.
    #[error(
        "the device `{device}` did not finish {work} in {seconds} s; if it is busy with other work, set `NNOPTC_PATIENCE` \
         to more seconds, else update its driver"
    )]
    Hung {
        /// The device.
        device: String,
        /// The work it was given: kernels in backticks.
        work: String,
        /// How many seconds it was waited for.
        seconds: f64,
    },
    /// A process that trains along has failed.
    #[error("rank {rank} has failed: {reason}")]
    Peer {
        /// Its number.
        rank: usize,
        /// What it says.
        reason: String,
    },
    /// The device refuses a kernel or computes wrongly.
    #[error("the device `{device}` failed: {reason}")]
    Failed {
        /// The device.
        device: String,
        /// What happened.
        reason: String,
    },
}

/// A resident data set's bytes: `u8` as such, `f32`, `f16` and `u32` little-endian.
#[derive(Clone, Debug)]
pub struct DataBytes {
    /// Name, sizes and type.
    pub info: DataInfo,
    /// The elements.
    pub bytes: std::sync::Arc<Vec<u8>>,
}

/// How long a launch takes.
#[derive(Clone, Debug, PartialEq)]
pub struct LaunchTime {
    /// What it runs.
    pub name: String,
    /// Seconds.
    pub seconds: f64,
}

/// What a device gives and gets at an exchange, see [`Plan::exchanges`]: its own numbers, and their sums over all devices
/// that run the step together. Fails where another one does.
pub type Meet<'a> = &'a mut dyn FnMut(Vec<f32>) -> Result<Vec<f32>, BackendError>;

/// [`Meet`] for a device that runs a step alone.
///
/// # Errors
/// Never.
pub fn alone(own: Vec<f32>) -> Result<Vec<f32>, BackendError> {
    Ok(own)
}

/// Plans on a device, with the states and data that they share.
pub trait Session {
    /// The device's name for people.
    fn device(&self) -> String;

    /// Sets a state, one word for each element: `f32` as bits, which a state of 16 bits rounds.
    fn write_state(&mut self, id: StateId, words: &[u32]) -> Result<(), BackendError>;

    /// The words of a state, one for each element, after all steps asked for have run.
    fn read_state(&mut self, id: StateId) -> Result<Vec<u32>, BackendError>;

    /// The words of several states, after each other; on a GPU they come in one transfer.
    fn read_states(&mut self, ids: &[StateId]) -> Result<Vec<u32>, BackendError> {
        let mut all = Vec::new();
        for &id in ids {
            all.extend(self.read_state(id)?);
        }
        Ok(all)
    }

    /// Runs plan number `plan` once for each row of step inputs, in order. `rows.len()` is a multiple of the plan's
    /// [`crate::plan::StepLayout::words`]; a plan without inputs runs once. May return before the work is done; errors then come with a later call.
    /// No other device is met at exchanges.
    fn run(&mut self, plan: usize, rows: &[u32]) -> Result<(), BackendError>;

    /// Runs a plan for one row, and gives the words of groups of states, in their order. Where the executor can, a group is
    /// given when the last kernel that writes one of its states is done, while the others run. `meet` is called at each
    /// exchange of the plan.
    ///
    /// # Errors
    /// When the device fails, or who is met; some groups may have been given.
    fn run_and_give(
        &mut self,
        plan: usize,
        row: &[u32],
        groups: &[Vec<StateId>],
        give: &mut dyn FnMut(Vec<u32>),
        meet: Meet,
    ) -> Result<(), BackendError> {
        // A session that does not do more can meet nobody, which is noticed where others wait for it.
        let _ = meet;
        self.run(plan, row)?;
        for group in groups {
            give(self.read_states(group)?);
        }
        Ok(())
    }

    /// Waits until all work is done.
    fn wait(&mut self) -> Result<(), BackendError>;

    /// How long the launches of a plan take with a row of inputs: on a GPU each by itself, then the whole step; elsewhere
    /// the step alone. States are something else afterwards.
    ///
    /// # Errors
    /// When the device fails.
    fn times(&mut self, plan: usize, row: &[u32]) -> Result<Vec<LaunchTime>, BackendError> {
        let mut least = f64::INFINITY;
        // The first run warms caches up.
        for run in 0..6 {
            let begin = std::time::Instant::now();
            self.run(plan, row)?;
            self.wait()?;
            if run > 0 {
                least = least.min(begin.elapsed().as_secs_f64());
            }
        }
        Ok(vec![LaunchTime { name: "the whole step".to_owned(), seconds: least }])
    }

    /// The same numbers for all processes that train together: those of the first. All must call it.
    fn agree(&mut self, numbers: Vec<f64>) -> Result<Vec<f64>, BackendError> {
        Ok(numbers)
    }

    /// Whether these states are equal, to the bit, on all replicas whose devices are of one [`Session::kind`], in all
    /// processes. All must call it.
    ///
    /// # Errors
    /// When they are not, or a device or a process fails.
    fn compare(&mut self, _ids: &[StateId]) -> Result<(), BackendError> {
        Ok(())
    }

    /// What decides the bits of results: devices of one kind compute the same ones.
    fn kind(&self) -> String {
        self.device()
    }

    /// Opens the device again after it was lost; all states must then be written anew. False if it cannot be.
    ///
    /// # Errors
    /// When the device is not there any more, or cannot be opened.
    fn reopen(&mut self) -> Result<bool, BackendError> {
        Ok(false)
    }

    /// Bytes that this executor adds to the plans' arena for intermediate results within kernels.
    fn scratch_bytes(&self) -> u64 {
        0
    }

    /// Bytes of the device's memory that are allocated for this session, as measured; `None` where nobody counts them.
    fn allocated_bytes(&self) -> Option<u64> {
        None
    }
}

/// What a session is made from.
pub struct Setup<'a> {
    /// The plans, by number.
    pub plans: &'a [Plan],
    /// The states that they share.
    pub states: &'a States,
    /// The data sets, matched to the plans' by name.
    pub data: &'a [DataBytes],
}
