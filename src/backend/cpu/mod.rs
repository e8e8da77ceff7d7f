//! The native executor: kernels compiled ahead to loops over bound addresses, on a pool of threads.
//!
//! Work is cut into parts by shapes alone, so results do not depend on the number of threads. While steps run,
//! nothing is allocated here and no lock is taken.

#[cfg(target_arch = "x86_64")]
mod assemble;
mod chain;
mod conv;
mod conv_turned;
mod conv_weight;
mod depthwise;
mod epilogue;
mod fold;
mod isa;
mod joined;
mod math;
mod matmul;
mod memory;
mod native;
mod philox;
mod pointwise;
mod pool;
mod pooling;
mod product;
mod program;
mod reduce;
#[cfg(target_arch = "x86_64")]
mod registers;
mod spread;
mod switch;
#[cfg(test)]
mod tests;
mod tile;
mod vector;
mod winograd;

use std::ops::Range;

use super::{BackendError, Meet, Session, Setup, alone};
use crate::ir::{DType, StateId};
use crate::plan::{self, BufferRef, Fusion, Kernel, KernelKind, Plan, Store};
use epilogue::{Beginning, Epilogue, Output};
use isa::Isa;
use matmul::MatMul;
use memory::{Memory, Region, Words, Workspace};
use pointwise::Pointwise;
use pool::Pool;
use pooling::{PoolKind, Pooling};
use reduce::Reduce;

/// What plans for this executor may fuse.
pub const FUSION: Fusion = Fusion { epilogues: true, deviations: true, chains: true, packs_halves: false };

/// A kernel ready to run, in parts that do not depend on each other.
trait Job: Send + Sync {
    /// How many phases; each begins when all parts of the one before are done.
    fn phases(&self) -> usize {
        1
    }

    /// How many parts a phase has.
    fn parts(&self, phase: usize) -> usize;

    /// Words of scratch memory that a part needs.
    fn scratch_words(&self) -> usize;

    /// Runs a part.
    ///
    /// # Safety
    /// `scratch` has [`Job::scratch_words`] words, aligned to 64 bytes, for this part alone; each part below
    /// [`Job::parts`] is run once, and nothing else uses the session's memory meanwhile.
    unsafe fn run_part(&self, phase: usize, part: usize, scratch: *mut u32);

    /// The phase that can run by rows of the [`Batch`] that the kernel was made for, if it can.
    fn rows_phase(&self) -> Option<usize> {
        None
    }

    /// Runs that phase for some rows of one part of the batch.
    ///
    /// # Safety
    /// As [`Job::run_part`]: the rows of a part come in order, and no other thread has rows of this part.
    unsafe fn run_rows(&self, rows: Range<usize>, scratch: *mut u32) {
        let _ = scratch;
        unreachable!("only kernels with a phase for them run rows, not {rows:?}");
    }
}

/// How the rows of a batch are cut into parts that threads take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Batch {
    /// All rows.
    rows: usize,
    /// Those of a part; the last may have fewer.
    part: usize,
}

/// Opens a session on the processor, with all its threads or as many as given.
///
/// # Panics
/// When a kernel does not stay inside its buffers, which is a mistake of ours.
pub fn open(setup: &Setup, threads: Option<usize>) -> Result<Box<dyn Session>, BackendError> {
    open_with(setup, threads, Isa::detect())
}

/// [`open`] with some of what the processor can.
fn open_with(setup: &Setup, threads: Option<usize>, isa: Isa) -> Result<Box<dyn Session>, BackendError> {
    let available = std::thread::available_parallelism().map_or(1, usize::from);
    let pool = Pool::new(threads.unwrap_or(available));
    let memory = Memory::new(setup);
    let workspace = Workspace::default();
    let jobs: Vec<Vec<(Box<dyn Job>, usize)>> = (setup.plans.iter().enumerate())
        .map(|(idx, plan)| {
            let bind = |buffer: &BufferRef| memory.bind(idx, plan, buffer);
            chain::compile(plan, &bind, &workspace, isa)
        })
        .collect();
    workspace.allocate();
    let words = jobs.iter().flatten().map(|(job, _)| job.scratch_words()).max().unwrap_or(0);
    let scratch = (0..pool.threads()).map(|_| Words::zeroed(words)).collect();
    let row_words = setup.plans.iter().map(|plan: &Plan| plan.step.words).collect();
    let last_writes = setup.plans.iter().map(|plan| plan.last_writes(setup.states.infos().len())).collect();
    let exchanges = setup.plans.iter().map(|plan| plan.exchanges.clone()).collect();
    Ok(Box::new(CpuSession { jobs, last_writes, exchanges, row_words, scratch, memory, pool, isa }))
}

struct CpuSession {
    /// By plan, in order, each with the number of kernels that are done when it is.
    jobs: Vec<Vec<(Box<dyn Job>, usize)>>,
    /// By plan and state: the number of kernels after which it is written no more.
    last_writes: Vec<Vec<usize>>,
    /// By plan, as in [`Plan::exchanges`].
    exchanges: Vec<Vec<(usize, StateId)>>,
    row_words: Vec<usize>,
    /// By thread.
    scratch: Vec<Words>,
    memory: Memory,
    pool: Pool,
    isa: Isa,
}

impl CpuSession {
    /// Runs a plan; says after each job how many kernels are done, and meets others at exchanges.
    fn step(&mut self, plan: usize, meet: Meet, mut done: impl FnMut(&mut Memory, usize)) -> Result<(), BackendError> {
        let mut exchanges = self.exchanges[plan].iter().peekable();
        for (job, kernels) in &self.jobs[plan] {
            for phase in 0..job.phases() {
                let parts = job.parts(phase);
                if parts == 1 {
                    // SAFETY: scratch memory is as large as the largest kernel needs, and this thread alone runs.
                    unsafe { job.run_part(phase, 0, self.scratch[0].start()) };
                } else {
                    let scratch = &self.scratch;
                    // SAFETY: as above; the pool runs each part once and tells each thread its own number.
                    let run = |part, thread: usize| unsafe { job.run_part(phase, part, scratch[thread].start()) };
                    self.pool.run(parts, &run);
                }
            }
            // No chain goes through an exchange.
            if let Some((_, id)) = exchanges.next_if(|(index, _)| index + 1 == *kernels) {
                let state = self.memory.states[id.index()].values();
                let sums = meet(bytemuck::cast_slice(state).to_vec())?;
                state.copy_from_slice(bytemuck::cast_slice(&sums));
            }
            done(&mut self.memory, *kernels);
        }
        Ok(())
    }
}

impl Session for CpuSession {
    fn device(&self) -> String {
        let threads = self.pool.threads();
        format!("CPU, {threads} thread{}, {}", if threads == 1 { "" } else { "s" }, self.isa)
    }

    fn write_state(&mut self, id: StateId, words: &[u32]) -> Result<(), BackendError> {
        self.memory.write_state(id, words);
        Ok(())
    }

    fn read_state(&mut self, id: StateId) -> Result<Vec<u32>, BackendError> {
        Ok(self.memory.states[id.index()].values().to_vec())
    }

    fn run(&mut self, plan: usize, rows: &[u32]) -> Result<(), BackendError> {
        let words = self.row_words[plan];
        if words == 0 {
            assert!(rows.is_empty(), "a plan without inputs has no rows");
            return self.step(plan, &mut alone, |_, _| {});
        }
        for row in rows.chunks_exact(words) {
            self.memory.rows[plan].values().copy_from_slice(row);
            self.step(plan, &mut alone, |_, _| {})?;
        }
        Ok(())
    }

    fn run_and_give(
        &mut self,
        plan: usize,
        row: &[u32],
        groups: &[Vec<StateId>],
        give: &mut dyn FnMut(Vec<u32>),
        meet: Meet,
    ) -> Result<(), BackendError> {
        let last = &self.last_writes[plan];
        let ready = |group: &Vec<StateId>| group.iter().map(|id| last[id.index()]).max().unwrap_or(0);
        let ready: Vec<usize> = groups.iter().map(ready).collect();
        let read = |memory: &mut Memory, group: &Vec<StateId>| {
            let words = group.iter().flat_map(|id| memory.states[id.index()].values().to_vec());
            words.collect::<Vec<u32>>()
        };
        self.memory.rows[plan].values().copy_from_slice(row);
        let mut next = 0;
        self.step(plan, meet, |memory, done| {
            while next < groups.len() && ready[next] <= done {
                give(read(memory, &groups[next]));
                next += 1;
            }
        })?;
        // A plan without kernels says nothing.
        groups[next..].iter().for_each(|group| give(read(&mut self.memory, group)));
        Ok(())
    }

    fn kind(&self) -> String {
        format!("CPU, {}", self.isa)
    }

    fn wait(&mut self) -> Result<(), BackendError> {
        Ok(())
    }
}

/// When a kernel is given to the threads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    /// By itself.
    Alone,
    /// Together with others that do not depend on it, so that smaller parts pay.
    Beside,
    /// By rows of the batch, with others before and behind it, if its family can.
    Rows(Batch),
}

impl Turn {
    fn batch(self) -> Option<Batch> {
        match self {
            Turn::Rows(batch) => Some(batch),
            Turn::Alone | Turn::Beside => None,
        }
    }
}

/// Makes a kernel ready.
fn compile(
    kernel: &Kernel,
    bind: &dyn Fn(&BufferRef) -> Region,
    workspace: &Workspace,
    turn: Turn,
    isa: Isa,
) -> Box<dyn Job> {
    let batch = turn.batch();
    let bind_all = |inputs: &[BufferRef]| inputs.iter().map(bind).collect::<Vec<Region>>();
    let bind_stores =
        |stores: &[Store]| stores.iter().map(|store| (store.clone(), bind(&store.output))).collect::<Vec<_>>();
    let result = |output: &plan::Output| match output {
        plan::Output::Buffer(buffer) => Output::Buffer(bind(buffer)),
        plan::Output::Epilogue(it) => {
            let (inputs, stores) = (bind_all(&it.inputs), bind_stores(&it.stores));
            Output::Epilogue(Box::new(Epilogue::new(&it.shape, &inputs, &it.body, &stores, isa)))
        }
    };
    match &kernel.kind {
        KernelKind::Pointwise { shape, inputs, body, stores } => {
            Box::new(Pointwise::new(shape, &bind_all(inputs), body, &bind_stores(stores), batch, isa))
        }
        KernelKind::Reduce { shape, kept, inputs, body, reductions } => {
            let reductions: Vec<_> = reductions.iter().map(|it| (it.clone(), bind(&it.output))).collect();
            Box::new(Reduce::new(shape, *kept, &bind_all(inputs), body, &reductions, batch, isa))
        }
        KernelKind::MatMul { m, n, k, transpose_a, transpose_b, a, b, out } => {
            let operands = [bind(a), bind(b)];
            let (beginning, out) = match out {
                plan::Output::Epilogue(it) if it.shape == [*m, *n] => {
                    let (beginning, rest) = epilogue::in_registers(it, bind);
                    (beginning, result(&rest))
                }
                _ => (Beginning::default(), result(out)),
            };
            Box::new(MatMul::new([*m, *n, *k], *transpose_a, *transpose_b, operands, (beginning, out), turn, isa))
        }
        KernelKind::Conv2d { geometry, x, weight, out } => {
            conv::forward(*geometry, [bind(x), bind(weight)], result(out), batch, workspace, isa)
        }
        KernelKind::Conv2dInputGrad { geometry, weight, grad, out } => {
            conv::input_grad(*geometry, [bind(weight), bind(grad)], result(out), batch, workspace, isa)
        }
        KernelKind::Conv2dWeightGrad { geometry, x, grad, out } => {
            conv::weight_grad(*geometry, [bind(x), bind(grad)], result(out), batch, workspace, isa)
        }
        KernelKind::MaxPool { geometry, x, out } => Box::new(Pooling::new(
            PoolKind::Max,
            *geometry,
            Some(bind(x)),
            None,
            (bind(out), out.dtype == DType::F16),
            batch,
            isa,
        )),
        KernelKind::MaxPoolGrad { geometry, x, grad, out } => Box::new(Pooling::new(
            PoolKind::MaxGrad,
            *geometry,
            Some(bind(x)),
            Some(bind(grad)),
            (bind(out), out.dtype == DType::F16),
            batch,
            isa,
        )),
        KernelKind::AvgPool { geometry, x, out } => Box::new(Pooling::new(
            PoolKind::Average,
            *geometry,
            Some(bind(x)),
            None,
            (bind(out), out.dtype == DType::F16),
            batch,
            isa,
        )),
        KernelKind::AvgPoolGrad { geometry, grad, out } => Box::new(Pooling::new(
            PoolKind::AverageGrad,
            *geometry,
            None,
            Some(bind(grad)),
            (bind(out), out.dtype == DType::F16),
            batch,
            isa,
        )),
        KernelKind::Copy { from, to } => Box::new(Pointwise::copy(bind(from), bind(to), isa)),
    }
}
