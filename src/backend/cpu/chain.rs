//! Kernels that run a few rows of the batch at a time, one after another; see [`plan::Chain`].

use std::ops::Range;

use super::isa::{self, Isa};
use super::joined::Joined;
use super::memory::{Region, Workspace};
use super::{Batch, Job, Turn, compile as compile_kernel};
use crate::plan::{self, Body, BufferRef, Kernel, KernelKind, Plan};

/// Most parts of a batch, each of which one thread runs through the whole chain.
const MAX_PARTS: usize = 16;
/// The share of the second-level cache that the kernels of a chain may touch for the rows that they run at once, beside
/// filters and copies: three parts of eight.
const BLOCK_SHARE: [usize; 2] = [3, 8];
/// Multiplications of a part of a batch in a chain of products: what a second thread does in less time costs more to
/// bring to its core.
const PRODUCTS_WORK: usize = 600_000;
/// Fewest rows of such a part: two strips of a product.
const PRODUCTS_ROWS: usize = 16;
/// Operations of a phase below which one thread is faster than several, for the same reason.
const SHORT: u64 = 1_000_000;
/// What copying an element of a product's right operand costs, in operations.
const COPY: usize = 8;

/// The jobs of a plan, in order, each with the number of kernels that are done when it is.
pub fn compile(
    plan: &Plan,
    bind: &dyn Fn(&BufferRef) -> Region,
    workspace: &Workspace,
    isa: Isa,
) -> Vec<(Box<dyn Job>, usize)> {
    let mut jobs: Vec<(Box<dyn Job>, usize)> = Vec::new();
    let mut next = 0;
    let compile = |kernel: &Kernel, turn: Turn| compile_kernel(kernel, bind, workspace, turn, isa);
    let alone = |kernels: Range<usize>| {
        let job = |index: usize| {
            workspace.begin_anew();
            (compile(&plan.kernels[index], Turn::Alone), index + 1)
        };
        kernels.map(job).collect::<Vec<_>>()
    };
    for chain in &plan.chains {
        jobs.extend(alone(next..chain.kernels.start));
        // What is left of a chain is done as a whole.
        let linked = linked(plan, chain, bind, workspace, isa);
        let last = linked.len();
        let done = |index: usize| if index + 1 == last { chain.kernels.end } else { chain.kernels.start };
        jobs.extend(linked.into_iter().enumerate().map(|(index, job)| (job, done(index))));
        next = chain.kernels.end;
    }
    jobs.extend(alone(next..plan.kernels.len()));
    jobs
}

/// The jobs of a chain. Kernels whose family does not run by rows cut it: what is left of a chain is one.
fn linked(
    plan: &Plan,
    chain: &plan::Chain,
    bind: &dyn Fn(&BufferRef) -> Region,
    workspace: &Workspace,
    isa: Isa,
) -> Vec<Box<dyn Job>> {
    workspace.begin_anew();
    let compile = |kernel: &Kernel, turn: Turn| compile_kernel(kernel, bind, workspace, turn, isa);
    let batch = Batch { rows: chain.rows, part: rows_of_part(plan, chain) };
    let block = (isa::second_cache() * BLOCK_SHARE[0] / BLOCK_SHARE[1] / chain.row_bytes.max(1)).clamp(1, batch.part);
    let is_short =
        |group: &Vec<usize>| group.iter().map(|index| operations(&plan.kernels[*index])).sum::<u64>() < SHORT;
    let is_short: Vec<bool> = chain.late.iter().map(is_short).collect();
    let runs = if block >= batch.rows { runs(plan, chain) } else { Vec::new() };
    let together = |(members, joined): (Vec<usize>, Joined)| {
        let others = plan.kernels.iter().enumerate().filter(|(index, _)| !members.contains(index));
        let read: Vec<BufferRef> = others.flat_map(|(_, kernel)| kernel.inputs()).collect();
        let is_read = |buffer: &BufferRef| read.iter().any(|read| read.place == buffer.place);
        Some((members, joined.compile(bind, &is_read, isa)?))
    };
    let mut runs: Vec<_> = runs.into_iter().filter_map(together).map(|(members, job)| (members, Some(job))).collect();
    let mut jobs: Vec<Box<dyn Job>> = Vec::new();
    let mut open = Open::default();
    for index in chain.kernels.clone() {
        let kernel = &plan.kernels[index];
        if let Some((_, job)) = runs.iter_mut().find(|(members, _)| members.contains(&index)) {
            // In the place of the first.
            open.by_rows.extend(job.take().map(|job| ByRows { job, rows_phase: 0, copies: 0 }));
            continue;
        }
        if let Some(group) = chain.late.iter().position(|group| group.contains(&index)) {
            let turn = if is_short[group] { Turn::Alone } else { Turn::Beside };
            open.late.push(Late { job: compile(kernel, turn), group, is_short: is_short[group] });
            continue;
        }
        let job = compile(kernel, Turn::Rows(batch));
        match job.rows_phase() {
            Some(rows_phase) => open.by_rows.push(ByRows { job, rows_phase, copies: copies(kernel) }),
            None => {
                jobs.extend(open.close(batch, block));
                jobs.push(job);
                workspace.begin_anew();
            }
        }
    }
    jobs.extend(open.close(batch, block));
    jobs
}

/// Runs of short kernels of a chain that goes through all rows at once, and what of the first late ones belongs to them:
/// their numbers, and all of them as one.
pub fn runs(plan: &Plan, chain: &plan::Chain) -> Vec<(Vec<usize>, Joined)> {
    let is_late = |index: &usize| chain.late.iter().flatten().any(|late| late == index);
    let by_rows: Vec<usize> = chain.kernels.clone().filter(|index| !is_late(index)).collect();
    let columns = |index: &usize| Joined::columns(&plan.kernels[*index], chain.rows);
    let mut runs = Vec::new();
    let mut next = 0;
    while next < by_rows.len() {
        let ahead = &by_rows[next..];
        let widest = ahead.iter().map_while(columns).find(|columns| *columns > 1);
        let mut joined = Joined::new([chain.rows, widest.unwrap_or(1)]);
        let mut members: Vec<usize> =
            ahead.iter().copied().take_while(|index| joined.take(&plan.kernels[*index])).collect();
        next += members.len().max(1);
        if members.len() < 2 {
            continue;
        }
        // What comes behind all rows in its own time, but needs nothing that is written after this.
        let later: Vec<BufferRef> = by_rows[next..].iter().flat_map(|index| plan.kernels[*index].outputs()).collect();
        for index in chain.late.iter().take(1).flatten() {
            let kernel = &plan.kernels[*index];
            let is_ready = kernel.inputs().iter().all(|input| later.iter().all(|output| output.place != input.place));
            if is_ready && joined.is_read_by(kernel) && joined.take(kernel) {
                members.push(*index);
            }
        }
        runs.push((members, joined));
    }
    runs
}

/// Rows of a part of the batch.
fn rows_of_part(plan: &Plan, chain: &plan::Chain) -> usize {
    let kernels = chain.kernels.clone().filter(|index| !chain.late.iter().flatten().any(|late| late == index));
    let work: usize = kernels
        .map(|index| match &plan.kernels[index].kind {
            KernelKind::MatMul { m, n, k, .. } => m * n * k,
            _ => 0,
        })
        .sum();
    if work == 0 {
        return chain.rows.div_ceil(MAX_PARTS);
    }
    let parts = (work / PRODUCTS_WORK).clamp(1, MAX_PARTS);
    chain.rows.div_ceil(parts).next_multiple_of(PRODUCTS_ROWS)
}

/// What phases before that of the rows cost, in operations.
fn copies(kernel: &Kernel) -> u64 {
    match &kernel.kind {
        KernelKind::MatMul { n, k, .. } => (n * k * COPY) as u64,
        // Filters and images.
        _ => u64::MAX,
    }
}

/// About how many operations a kernel is.
fn operations(kernel: &Kernel) -> u64 {
    let of_body = |shape: &[usize], body: &Body| (shape.iter().product::<usize>() * body.instrs.len()) as u64;
    let (KernelKind::Pointwise { shape, body, .. } | KernelKind::Reduce { shape, body, .. }) = &kernel.kind else {
        let epilogue = kernel.product_output().and_then(plan::Output::epilogue);
        return kernel.flops() + epilogue.map_or(0, |it| of_body(&it.shape, &it.body));
    };
    of_body(shape, body)
}

/// A job that runs by rows.
struct ByRows {
    job: Box<dyn Job>,
    /// The phase that does. Phases before it prepare; they read nothing that the chain writes. Phases after it finish;
    /// none of them reads what another one's writes.
    rows_phase: usize,
    /// Operations of the phases before it.
    copies: u64,
}

/// A job that runs as a whole when all rows are done.
struct Late {
    job: Box<dyn Job>,
    /// The number of its group.
    group: usize,
    /// Whether the group is [`SHORT`].
    is_short: bool,
}

/// A chain that grows.
#[derive(Default)]
struct Open {
    by_rows: Vec<ByRows>,
    late: Vec<Late>,
}

impl Open {
    fn close(&mut self, batch: Batch, block: usize) -> Option<Box<dyn Job>> {
        let Open { by_rows, late } = std::mem::take(self);
        let mut phases = Vec::new();
        let number = by_rows.len();
        // Phases of jobs that run at the same time: those of a number.
        let side = |own: &dyn Fn(&ByRows) -> Option<usize>| -> Vec<(usize, usize)> {
            by_rows.iter().enumerate().filter_map(|(job, it)| own(it).map(|phase| (job, phase))).collect()
        };
        for phase in 0..by_rows.iter().map(|it| it.rows_phase).max().unwrap_or(0) {
            let jobs = side(&|it| (phase < it.rows_phase).then_some(phase));
            let work = jobs.iter().fold(0, |sum: u64, (job, _)| sum.saturating_add(by_rows[*job].copies));
            phases.push(Phase::Whole { jobs, is_short: work < SHORT });
        }
        if number > 0 {
            phases.push(Phase::Rows);
        }
        for after in 1..by_rows.iter().map(|it| it.job.phases() - it.rows_phase).max().unwrap_or(0) {
            let jobs = side(&|it| Some(it.rows_phase + after).filter(|phase| *phase < it.job.phases()));
            phases.push(Phase::Whole { jobs, is_short: false });
        }
        for group in 0..late.iter().map(|it| it.group + 1).max().unwrap_or(0) {
            let own = || late.iter().enumerate().filter(|(_, it)| it.group == group);
            let is_short = own().any(|(_, it)| it.is_short);
            for phase in 0..own().map(|(_, it)| it.job.phases()).max().unwrap_or(0) {
                let jobs = own().filter(|(_, it)| phase < it.job.phases()).map(|(job, _)| (number + job, phase));
                phases.push(Phase::Whole { jobs: jobs.collect(), is_short });
            }
        }
        let jobs: Vec<_> = by_rows.into_iter().map(|it| it.job).chain(late.into_iter().map(|it| it.job)).collect();
        (!jobs.is_empty()).then(|| Box::new(Chain { jobs, by_rows: number, batch, block, phases }) as Box<dyn Job>)
    }
}

/// What the threads do between two points where all of them are done.
enum Phase {
    /// All jobs that run by rows, part of the batch by part of it.
    Rows,
    /// Phases of jobs, by the jobs' numbers; one part if they are short.
    Whole { jobs: Vec<(usize, usize)>, is_short: bool },
}

struct Chain {
    /// Those that run by rows come first.
    jobs: Vec<Box<dyn Job>>,
    /// How many of them.
    by_rows: usize,
    batch: Batch,
    /// Rows that go through all jobs at once.
    block: usize,
    phases: Vec<Phase>,
}

impl Job for Chain {
    fn phases(&self) -> usize {
        self.phases.len()
    }

    fn parts(&self, phase: usize) -> usize {
        match &self.phases[phase] {
            Phase::Rows => self.batch.rows.div_ceil(self.batch.part),
            Phase::Whole { is_short: true, .. } => 1,
            Phase::Whole { jobs, .. } => jobs.iter().map(|&(job, own)| self.jobs[job].parts(own)).sum(),
        }
    }

    fn scratch_words(&self) -> usize {
        self.jobs.iter().map(|job| job.scratch_words()).max().unwrap_or(0)
    }

    unsafe fn run_part(&self, phase: usize, part: usize, scratch: *mut u32) {
        match &self.phases[phase] {
            Phase::Rows => {
                let end = ((part + 1) * self.batch.part).min(self.batch.rows);
                for start in (part * self.batch.part..end).step_by(self.block) {
                    for job in &self.jobs[..self.by_rows] {
                        // SAFETY: the caller's promise; what a job reads of the chain's own results are these rows.
                        unsafe { job.run_rows(start..(start + self.block).min(end), scratch) };
                    }
                }
            }
            Phase::Whole { jobs, is_short: true } => {
                for &(job, own) in jobs {
                    for part in 0..self.jobs[job].parts(own) {
                        // SAFETY: the caller's promise; the jobs of a phase do not depend on each other.
                        unsafe { self.jobs[job].run_part(own, part, scratch) };
                    }
                }
            }
            Phase::Whole { jobs, is_short: false } => {
                let mut part = part;
                for &(job, own) in jobs {
                    let parts = self.jobs[job].parts(own);
                    if part < parts {
                        // SAFETY: as above.
                        return unsafe { self.jobs[job].run_part(own, part, scratch) };
                    }
                    part -= parts;
                }
                unreachable!("a phase has as many parts as its jobs");
            }
        }
    }
}
