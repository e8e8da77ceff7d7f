//! A fork-join pool of threads that spin briefly before they sleep.
//!
//! The caller works too and never waits for a thread that has not begun: a thread takes part in a job only by taking
//! one of its parts, so one that wakes late finds nothing left and goes back.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU64, AtomicUsize, Ordering};
use std::thread::{JoinHandle, Thread};
use std::time::{Duration, Instant};

/// How long a thread without work spins before it sleeps.
const SPIN: Duration = Duration::from_micros(60);

/// A job: called with the part and the number of the thread that runs it.
type Task<'a> = &'a (dyn Fn(usize, usize) + Sync + 'a);

struct Shared {
    /// Number of the job in the upper half, parts not yet taken in the lower.
    ticket: AtomicU64,
    /// Parts of the job.
    parts: AtomicUsize,
    /// The job: a `*const Task` of the caller.
    task: AtomicPtr<()>,
    /// Parts that are done.
    done: AtomicUsize,
    panicked: AtomicBool,
    closing: AtomicBool,
    sleeping: Vec<AtomicBool>,
}

/// Threads that wait for jobs.
pub struct Pool {
    shared: Arc<Shared>,
    workers: Vec<JoinHandle<()>>,
    handles: Vec<Thread>,
}

impl Pool {
    /// A pool of `threads` threads, the caller counted.
    pub fn new(threads: usize) -> Pool {
        let n_workers = threads.max(1) - 1;
        let shared = Arc::new(Shared {
            ticket: AtomicU64::new(0),
            parts: AtomicUsize::new(0),
            task: AtomicPtr::new(std::ptr::null_mut()),
            done: AtomicUsize::new(0),
            panicked: AtomicBool::new(false),
            closing: AtomicBool::new(false),
            sleeping: (0..n_workers).map(|_| AtomicBool::new(false)).collect(),
        });
        let workers: Vec<JoinHandle<()>> = (0..n_workers)
            .filter_map(|worker| {
                let shared = Arc::clone(&shared);
                // Without the thread the work is done all the same, by the others.
                std::thread::Builder::new().name(format!("nnoptc-{worker}")).spawn(move || work(&shared, worker)).ok()
            })
            .collect();
        let handles = workers.iter().map(|worker| worker.thread().clone()).collect();
        Pool { shared, workers, handles }
    }

    /// How many threads work, the caller counted.
    pub fn threads(&self) -> usize {
        self.workers.len() + 1
    }

    /// Runs `task(part, thread)` for each part below `parts`, and returns when all are done. Thread 0 is the caller.
    pub fn run(&mut self, parts: usize, task: Task<'_>) {
        if self.workers.is_empty() || parts <= 1 {
            (0..parts).for_each(|part| task(part, 0));
            return;
        }
        let shared = &*self.shared;
        shared.done.store(0, Ordering::Relaxed);
        shared.parts.store(parts, Ordering::Relaxed);
        shared.task.store((&raw const task).cast::<()>().cast_mut(), Ordering::Relaxed);
        let job = (shared.ticket.load(Ordering::Relaxed) >> 32).wrapping_add(1) << 32;
        // In one order with the threads' `sleeping`: either they see the ticket or this sees them asleep.
        shared.ticket.store(job | parts as u64, Ordering::SeqCst);
        for (sleeping, handle) in shared.sleeping.iter().zip(&self.handles) {
            if sleeping.load(Ordering::SeqCst) && sleeping.swap(false, Ordering::SeqCst) {
                handle.unpark();
            }
        }
        while take_part(shared, 0) {}
        let mut spins = 0_u32;
        while shared.done.load(Ordering::Acquire) != parts {
            spins += 1;
            if spins > 20_000 {
                // The thread has lost its core; leave this one to whoever holds it up.
                std::thread::yield_now();
            } else {
                std::hint::spin_loop();
            }
        }
        if shared.panicked.swap(false, Ordering::Relaxed) {
            resume_unwind(Box::new("a part of a kernel has panicked"));
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.shared.closing.store(true, Ordering::SeqCst);
        for handle in &self.handles {
            handle.unpark();
        }
        for worker in self.workers.drain(..) {
            // Tasks' panics are caught, so a worker ends normally.
            let _ = worker.join();
        }
    }
}

/// Takes a part of the current job and runs it; false when none is left.
fn take_part(shared: &Shared, thread: usize) -> bool {
    let mut ticket = shared.ticket.load(Ordering::Acquire);
    let (part, task) = loop {
        let left = ticket as u32;
        if left == 0 {
            return false;
        }
        let parts = shared.parts.load(Ordering::Relaxed);
        let task = shared.task.load(Ordering::Acquire);
        match shared.ticket.compare_exchange_weak(ticket, ticket - 1, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => break (parts - left as usize, task),
            Err(now) => ticket = now,
        }
    };
    // SAFETY: the exchange has found the ticket's job unfinished, so `task` and `parts` are of this job (they change
    // only after all parts are done) and the caller of `run` holds the task until this part is counted as done.
    let task = unsafe { *task.cast_const().cast::<Task<'_>>() };
    if catch_unwind(AssertUnwindSafe(|| task(part, thread))).is_err() {
        shared.panicked.store(true, Ordering::Relaxed);
    }
    shared.done.fetch_add(1, Ordering::Release);
    true
}

/// What a thread does until the pool closes.
fn work(shared: &Shared, worker: usize) {
    let mut idle_since = None;
    let mut seen = 0;
    while !shared.closing.load(Ordering::Relaxed) {
        if shared.ticket.load(Ordering::Acquire) as u32 != 0 {
            while take_part(shared, worker + 1) {}
            idle_since = None;
            continue;
        }
        for _ in 0..32 {
            std::hint::spin_loop();
        }
        let ticket = shared.ticket.load(Ordering::Relaxed);
        if ticket != seen {
            // A job came and went, so the next is near.
            seen = ticket;
            idle_since = None;
            continue;
        }
        if idle_since.get_or_insert_with(Instant::now).elapsed() < SPIN {
            continue;
        }
        shared.sleeping[worker].store(true, Ordering::SeqCst);
        if shared.ticket.load(Ordering::SeqCst) as u32 == 0 && !shared.closing.load(Ordering::SeqCst) {
            std::thread::park();
        }
        shared.sleeping[worker].store(false, Ordering::SeqCst);
        idle_since = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_runs_once() {
        for threads in 1..5 {
            let mut pool = Pool::new(threads);
            for parts in [0, 1, 2, 3, 17, 100] {
                for _ in 0..50 {
                    let counts: Vec<AtomicUsize> = (0..parts).map(|_| AtomicUsize::new(0)).collect();
                    pool.run(parts, &|part, thread| {
                        assert!(thread < threads);
                        counts[part].fetch_add(1, Ordering::Relaxed);
                    });
                    assert!(counts.iter().all(|count| count.load(Ordering::Relaxed) == 1));
                }
            }
        }
    }

    #[test]
    fn a_panic_reaches_the_caller_and_the_pool_lives() {
        let mut pool = Pool::new(2);
        let result = catch_unwind(AssertUnwindSafe(|| pool.run(8, &|part, _| assert_ne!(part, 3))));
        assert!(result.is_err());
        let count = AtomicUsize::new(0);
        pool.run(8, &|_, _| {
            count.fetch_add(1, Ordering::Relaxed);
        });
        assert_eq!(count.into_inner(), 8);
    }

    #[test]
    fn sleeping_threads_do_not_hold_up_a_job() {
        let mut pool = Pool::new(3);
        for _ in 0..20 {
            std::thread::sleep(Duration::from_micros(300));
            let count = AtomicUsize::new(0);
            pool.run(5, &|_, _| {
                count.fetch_add(1, Ordering::Relaxed);
            });
            assert_eq!(count.into_inner(), 5);
        }
    }
}
