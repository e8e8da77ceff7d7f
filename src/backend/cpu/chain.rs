//! Kernels that run a few rows of the batch at a time, one after another; see [`plan::Chain`].

use std::ops::Range;

use super::isa::Isa;
use super::memory::Region;
use super::{Batch, Job, compile as compile_kernel};
use crate::plan::{self, BufferRef, Plan};

/// Most parts of a batch, each of which one thread runs through the whole chain.
const MAX_PARTS: usize = 16;
/// Bytes that the kernels of a chain may touch for the rows that they run at once: well inside a second-level cache,
/// beside filters and copies.
const BLOCK_BYTES: usize = 768 << 10;

/// The jobs of a plan, in order.
pub fn compile(plan: &Plan, bind: &dyn Fn(&BufferRef) -> Region, isa: Isa) -> Vec<Box<dyn Job>> {
    let mut jobs: Vec<Box<dyn Job>> = Vec::new();
    let mut next = 0;
    let alone = |kernels: Range<usize>| {
        plan.kernels[kernels].iter().map(|kernel| compile_kernel(kernel, bind, None, isa)).collect::<Vec<_>>()
    };
    for chain in &plan.chains {
        jobs.extend(alone(next..chain.kernels.start));
        jobs.extend(linked(plan, chain, bind, isa));
        next = chain.kernels.end;
    }
    jobs.extend(alone(next..plan.kernels.len()));
    jobs
}

/// The jobs of a chain. Kernels whose family does not run by rows cut it: what is left of a chain is one.
fn linked(plan: &Plan, chain: &plan::Chain, bind: &dyn Fn(&BufferRef) -> Region, isa: Isa) -> Vec<Box<dyn Job>> {
    let batch = Batch { rows: chain.rows, part: chain.rows.div_ceil(MAX_PARTS) };
    let block = (BLOCK_BYTES / chain.row_bytes.max(1)).clamp(1, batch.part);
    let mut jobs: Vec<Box<dyn Job>> = Vec::new();
    let mut open: Vec<(Box<dyn Job>, usize)> = Vec::new();
    for kernel in &plan.kernels[chain.kernels.clone()] {
        let job = compile_kernel(kernel, bind, Some(batch), isa);
        match job.rows_phase() {
            Some(phase) => open.push((job, phase)),
            None => {
                jobs.extend(Chain::close(&mut open, batch, block));
                jobs.push(job);
            }
        }
    }
    jobs.extend(Chain::close(&mut open, batch, block));
    jobs
}

/// Jobs with the number of the phase that runs by rows. Phases before it prepare; they read nothing that the chain
/// writes. Phases after it finish; none of them reads what another one's writes.
struct Chain {
    jobs: Vec<(Box<dyn Job>, usize)>,
    batch: Batch,
    /// Rows that go through all jobs at once.
    block: usize,
    /// Most phases before and after that of the rows.
    before: usize,
    after: usize,
}

impl Chain {
    fn close(open: &mut Vec<(Box<dyn Job>, usize)>, batch: Batch, block: usize) -> Option<Box<dyn Job>> {
        let jobs = std::mem::take(open);
        if jobs.len() < 2 {
            return jobs.into_iter().next().map(|(job, _)| job);
        }
        let before = jobs.iter().map(|(_, phase)| *phase).max().unwrap_or(0);
        let after = jobs.iter().map(|(job, phase)| job.phases() - phase - 1).max().unwrap_or(0);
        Some(Box::new(Chain { jobs, batch, block, before, after }))
    }

    /// The jobs that take part in a phase other than that of the rows, with the number of their own.
    fn side(&self, phase: usize) -> impl Iterator<Item = (&dyn Job, usize)> {
        self.jobs.iter().filter_map(move |(job, rows)| {
            let own = if phase < self.before { phase } else { phase - self.before + rows };
            let takes_part = if phase < self.before { own < *rows } else { own < job.phases() };
            takes_part.then_some((&**job, own))
        })
    }
}

impl Job for Chain {
    fn phases(&self) -> usize {
        self.before + 1 + self.after
    }

    fn parts(&self, phase: usize) -> usize {
        if phase == self.before {
            return self.batch.rows.div_ceil(self.batch.part);
        }
        self.side(phase).map(|(job, own)| job.parts(own)).sum()
    }

    fn scratch_words(&self) -> usize {
        self.jobs.iter().map(|(job, _)| job.scratch_words()).max().unwrap_or(0)
    }

    unsafe fn run_part(&self, phase: usize, part: usize, scratch: *mut u32) {
        if phase != self.before {
            let mut part = part;
            for (job, own) in self.side(phase) {
                if part < job.parts(own) {
                    // SAFETY: the caller's promise; the jobs of a phase do not depend on each other.
                    return unsafe { job.run_part(own, part, scratch) };
                }
                part -= job.parts(own);
            }
            unreachable!("a phase has as many parts as its jobs");
        }
        let end = ((part + 1) * self.batch.part).min(self.batch.rows);
        for start in (part * self.batch.part..end).step_by(self.block) {
            for (job, _) in &self.jobs {
                // SAFETY: the caller's promise; what a job reads of the chain's own results are these rows.
                unsafe { job.run_rows(start..(start + self.block).min(end), scratch) };
            }
        }
    }
}
