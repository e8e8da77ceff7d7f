//! A few threads that wait for work: one fork and one join a kernel, without locks or allocation.

use std::cell::UnsafeCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{JoinHandle, Thread};

type Job = *const (dyn Fn(usize) + Sync);

struct Shared {
    /// Counts jobs; workers wait for it to change.
    epoch: AtomicUsize,
    /// The current job; written before `epoch` changes, read after.
    job: UnsafeCell<Option<Job>>,
    /// Workers that have not finished the current job.
    pending: AtomicUsize,
    stop: AtomicBool,
    /// A worker panicked; the panic goes on in the caller.
    failed: AtomicBool,
    sleeping: Vec<AtomicBool>,
}

// SAFETY: `job` is written only while no worker runs, and published by `epoch`.
unsafe impl Sync for Shared {}
// SAFETY: the pointer is only used while the caller of `run` waits.
unsafe impl Send for Shared {}

/// The caller and `count() - 1` workers.
pub(super) struct Threads {
    shared: Arc<Shared>,
    workers: Vec<(JoinHandle<()>, Thread)>,
}

/// How often a thread looks for work before it sleeps: some tens of microseconds.
const SPINS: usize = 20_000;

impl Threads {
    /// So many threads in all, the caller included.
    pub fn new(count: usize) -> Threads {
        let shared = Arc::new(Shared {
            epoch: AtomicUsize::new(0),
            job: UnsafeCell::new(None),
            pending: AtomicUsize::new(0),
            stop: AtomicBool::new(false),
            failed: AtomicBool::new(false),
            sleeping: (1..count).map(|_| AtomicBool::new(false)).collect(),
        });
        let workers = (1..count).filter_map(|worker| {
            let shared = Arc::clone(&shared);
            let name = format!("nnoptc-{worker}");
            let handle = std::thread::Builder::new().name(name).spawn(move || work(&shared, worker)).ok()?;
            let thread = handle.thread().clone();
            Some((handle, thread))
        });
        let workers: Vec<_> = workers.collect();
        Threads { shared, workers }
    }

    /// How many threads there are, the caller included.
    pub fn count(&self) -> usize {
        self.workers.len() + 1
    }

    /// Calls `task(index, worker)` for every index below `tasks`, on all threads if `parallel`. Which worker does which
    /// task is not fixed.
    pub fn each(&self, tasks: usize, parallel: bool, task: impl Fn(usize, usize) + Sync) {
        if !parallel || self.workers.is_empty() || tasks < 2 {
            for index in 0..tasks {
                task(index, 0);
            }
            return;
        }
        let next = AtomicUsize::new(0);
        self.run(&|worker| {
            loop {
                let index = next.fetch_add(1, Ordering::Relaxed);
                if index >= tasks {
                    return;
                }
                task(index, worker);
            }
        });
    }

    fn run(&self, job: &(dyn Fn(usize) + Sync)) {
        let shared = &*self.shared;
        // SAFETY: the lifetime is hidden from the workers, which are all done before this function returns; no worker
        // runs now, so nothing reads the cell.
        unsafe {
            let job: Job = std::mem::transmute::<*const (dyn Fn(usize) + Sync + '_), Job>(job);
            *shared.job.get() = Some(job);
        }
        shared.pending.store(self.workers.len(), Ordering::Relaxed);
        shared.epoch.fetch_add(1, Ordering::SeqCst);
        for (sleeping, (_, thread)) in shared.sleeping.iter().zip(&self.workers) {
            if sleeping.load(Ordering::SeqCst) {
                thread.unpark();
            }
        }
        job(0);
        let mut spins = 0;
        while shared.pending.load(Ordering::Acquire) > 0 {
            spins += 1;
            if spins < SPINS {
                std::hint::spin_loop();
            } else {
                std::thread::yield_now();
            }
        }
        assert!(!shared.failed.load(Ordering::Relaxed), "a worker of the CPU executor panicked");
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        self.shared.epoch.fetch_add(1, Ordering::SeqCst);
        for (handle, thread) in self.workers.drain(..) {
            thread.unpark();
            // A worker that panicked has been reported by `run`.
            let _ = handle.join();
        }
    }
}

fn work(shared: &Shared, worker: usize) {
    let mut seen = 0;
    loop {
        let mut spins = 0;
        while shared.epoch.load(Ordering::Acquire) == seen {
            spins += 1;
            if spins < SPINS {
                std::hint::spin_loop();
                continue;
            }
            let sleeping = &shared.sleeping[worker - 1];
            sleeping.store(true, Ordering::SeqCst);
            if shared.epoch.load(Ordering::SeqCst) == seen {
                std::thread::park();
            }
            sleeping.store(false, Ordering::SeqCst);
        }
        seen += 1;
        if shared.stop.load(Ordering::SeqCst) {
            return;
        }
        // SAFETY: the job was written before the epoch that was just seen, and lives until `pending` is 0.
        let job = unsafe { (*shared.job.get()).map(|job| &*job) };
        if let Some(job) = job {
            let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| job(worker)));
            if done.is_err() {
                shared.failed.store(true, Ordering::Relaxed);
            }
        }
        shared.pending.fetch_sub(1, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_task_runs_once() {
        let threads = Threads::new(3);
        for round in 0..2000 {
            let counts: Vec<AtomicUsize> = (0..round % 17).map(|_| AtomicUsize::new(0)).collect();
            threads.each(counts.len(), true, |index, _| {
                counts[index].fetch_add(1, Ordering::Relaxed);
            });
            assert!(counts.iter().all(|count| count.load(Ordering::Relaxed) == 1));
        }
    }
}
