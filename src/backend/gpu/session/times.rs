//! How long each launch of a plan takes.

use std::time::{Duration, Instant};

use super::{GpuSession, Open, rows_at_once};
use crate::backend::{BackendError, LaunchTime};

/// A figure is the least of so many runs of about so long; a launch alone is shorter than what comes with its submission.
const RUNS: usize = 3;
const LONG_ENOUGH: Duration = Duration::from_millis(4);
/// Launches that are given to the device together at most.
const MOST: u64 = 2_000;

impl GpuSession {
    /// Each launch of a plan by itself, again and again, then the whole step.
    pub(super) fn launch_times(&mut self, plan: usize, row: &[u32]) -> Result<Vec<LaunchTime>, BackendError> {
        let stride = self.plans[plan].row_stride;
        let rows = rows_at_once(stride);
        let mut padded = vec![0; (rows * stride / 4) as usize];
        for place in padded.chunks_mut((stride / 4) as usize) {
            place[..row.len()].copy_from_slice(row);
        }
        self.gpu.queue.write_buffer(&self.rows, 0, bytemuck::cast_slice(&padded));
        // Of a launch that reads what another one left, the first run would be an idle one.
        self.run_uploaded(plan, 1)?;
        let mut all = Vec::new();
        for index in 0..self.plans[plan].dispatches.len() {
            let seconds = least(|times| Ok((self.again(plan, index, times)?, times)))?;
            all.push(LaunchTime { name: self.plans[plan].dispatches[index].name.clone(), seconds });
        }
        let seconds = least(|times| {
            let steps = times.min(rows);
            let begin = Instant::now();
            self.run_uploaded(plan, steps)?;
            self.drain()?;
            Ok((begin.elapsed(), steps))
        })?;
        all.push(LaunchTime { name: "the whole step".to_owned(), seconds });
        Ok(all)
    }

    /// One launch so many times, one after the other.
    fn again(&mut self, plan: usize, index: usize, times: u64) -> Result<Duration, BackendError> {
        self.drain()?;
        let begin = Instant::now();
        let mut left = times;
        while left > 0 {
            let mut open = Open::default();
            while left > 0 && open.seconds <= self.submission_seconds {
                self.encode(&mut open, plan, index, 0);
                left -= 1;
            }
            let name = self.plans[plan].dispatches[index].name.clone();
            self.submit(open, &name)?;
        }
        self.drain()?;
        Ok(begin.elapsed())
    }
}

/// Seconds of one of so many runs together, which `run` does, or fewer, and says so.
fn least(mut run: impl FnMut(u64) -> Result<(Duration, u64), BackendError>) -> Result<f64, BackendError> {
    let each = |(took, times): (Duration, u64)| took.as_secs_f64() / times.max(1) as f64;
    run(1)?;
    // Two lengths tell a run's own time from what any submission takes.
    let (one, few) = (run(1)?, run(17)?);
    let own = (few.0.as_secs_f64() - one.0.as_secs_f64()) / few.1.saturating_sub(1).max(1) as f64;
    let times = (LONG_ENOUGH.as_secs_f64() / own.max(1e-6)).clamp(1.0, MOST as f64) as u64;
    let mut least = f64::INFINITY;
    for _ in 0..RUNS {
        least = least.min(each(run(times)?));
    }
    Ok(least)
}
