//! The native executor: plans on the processor's cores, without a driver.

mod bind;
mod fused;
mod math;
mod pooling;
mod products;
#[cfg(test)]
mod tests;
mod threads;
mod tile;

use std::sync::Arc;

use super::{BackendError, DataBytes, Session, Setup};
use crate::ir::graph::count;
use crate::ir::{DType, StateId};
use crate::plan::{BufferRef, Kernel, KernelKind, Plan, Reduction, Store};
use bind::{Aligned, Bound, Memory};
use fused::{Level, Pointwise, Reduce, Scratch};
use pooling::{Kind, Pool};
use products::{Conv, Direction, MatMul};
use threads::Threads;

/// Opens a session on the processor, with so many threads or one for each core.
///
/// # Errors
/// When the system gives no memory for the plans.
pub fn open(setup: &Setup, threads: Option<usize>) -> Result<Box<dyn Session>, BackendError> {
    let cores = || std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    Ok(Box::new(CpuSession::new(setup, threads.unwrap_or_else(cores).max(1))))
}

/// A kernel bound to memory.
enum Work {
    Pointwise(Pointwise),
    Reduce(Reduce),
    MatMul(MatMul),
    Conv(Conv),
    Pool(Pool),
    Copy { from: Bound, to: Bound },
}

struct CpuSession {
    threads: Threads,
    level: Level,
    memory: Memory,
    /// Keeps the data sets where the kernels were told they are.
    _data: Vec<Resident>,
    plans: Vec<Vec<Work>>,
    row_words: Vec<usize>,
    scratch: Scratch,
}

impl CpuSession {
    fn new(setup: &Setup, threads: usize) -> CpuSession {
        let arena = setup.plans.iter().map(|plan| plan.arena_words).max().unwrap_or(0);
        let row = setup.plans.iter().map(|plan| plan.step.words).max().unwrap_or(0);
        let states = setup.states.infos().iter().map(|info| Aligned::new(count(&info.shape))).collect();
        let mut memory = Memory { arena: Aligned::new(arena), states, row: Aligned::new(row) };
        let data: Vec<Resident> = setup.data.iter().map(Resident::new).collect();
        let plans: Vec<Vec<Work>> = setup.plans.iter().map(|plan| bind_plan(plan, &mut memory, &data)).collect();
        let threads = Threads::new(threads);
        let scratch = scratch_for(&plans, threads.count());
        let row_words = setup.plans.iter().map(|plan| plan.step.words).collect();
        CpuSession { threads, level: Level::detect(), memory, _data: data, plans, row_words, scratch }
    }
}

/// A data set in memory, aligned to its elements.
struct Resident {
    name: String,
    bytes: Bytes,
}

enum Bytes {
    /// As it was given.
    Shared(Arc<Vec<u8>>),
    /// Numbers, moved to where numbers can be.
    Moved(Aligned),
}

impl Resident {
    fn new(set: &DataBytes) -> Resident {
        let bytes = if set.bytes.as_ptr().addr().is_multiple_of(set.info.dtype.size()) {
            Bytes::Shared(Arc::clone(&set.bytes))
        } else {
            let mut words = Aligned::new(set.bytes.len() / 4);
            for (word, bytes) in words.words_mut().iter_mut().zip(set.bytes.as_chunks::<4>().0) {
                *word = u32::from_ne_bytes(*bytes);
            }
            Bytes::Moved(words)
        };
        Resident { name: set.info.name.clone(), bytes }
    }

    fn bytes(&self) -> &[u8] {
        match &self.bytes {
            Bytes::Shared(bytes) => bytes,
            Bytes::Moved(words) => bytemuck::cast_slice(words.words()),
        }
    }
}

/// Memory enough for every kernel.
fn scratch_for(plans: &[Vec<Work>], workers: usize) -> Scratch {
    let [mut tiles, mut floats, mut partials, mut shared] = [0; 4];
    for work in plans.iter().flatten() {
        match work {
            Work::Pointwise(kernel) => tiles = tiles.max(kernel.buffers()),
            Work::Reduce(kernel) => {
                tiles = tiles.max(kernel.buffers());
                partials = partials.max(kernel.partials());
            }
            Work::Conv(kernel) => {
                floats = floats.max(kernel.floats());
                shared = shared.max(kernel.shared());
            }
            Work::MatMul(_) | Work::Pool(_) | Work::Copy { .. } => {}
        }
    }
    Scratch::new(workers, tiles, floats, partials, shared)
}

fn bind_plan(plan: &Plan, memory: &mut Memory, data: &[Resident]) -> Vec<Work> {
    let address = |id: u32| {
        let wanted = &plan.data[id as usize];
        let found = data.iter().find(|set| set.name == wanted.name);
        let set = found.unwrap_or_else(|| panic!("the data set `{}` is given", wanted.name));
        (set.bytes().as_ptr(), set.bytes().len())
    };
    let mut bind = |buffer: &BufferRef| memory.bind(buffer, &address);
    plan.kernels.iter().map(|kernel| bind_kernel(kernel, &mut bind)).collect()
}

fn bind_kernel(kernel: &Kernel, bind: &mut dyn FnMut(&BufferRef) -> Bound) -> Work {
    match &kernel.kind {
        KernelKind::Pointwise { shape, inputs, body, stores } => {
            let bound: Vec<Bound> = inputs.iter().map(&mut *bind).collect();
            let stores: Vec<(Store, Bound)> = stores.iter().map(|store| (store.clone(), bind(&store.output))).collect();
            Work::Pointwise(Pointwise::new(shape, body, &bound, &body.types(inputs), &stores))
        }
        KernelKind::Reduce { shape, kept, inputs, body, reductions } => {
            let bound: Vec<Bound> = inputs.iter().map(&mut *bind).collect();
            let reductions: Vec<(Reduction, Bound)> =
                reductions.iter().map(|reduction| (reduction.clone(), bind(&reduction.output))).collect();
            Work::Reduce(Reduce::new(shape, *kept, body, &bound, &body.types(inputs), &reductions))
        }
        KernelKind::MatMul { m, n, k, transpose_a, transpose_b, a, b, out } => Work::MatMul(MatMul {
            m: *m,
            n: *n,
            k: *k,
            transpose_a: *transpose_a,
            transpose_b: *transpose_b,
            a: bind(a),
            b: bind(b),
            out: bind(out),
        }),
        KernelKind::Conv2d { geometry, x, weight, out } => Work::Conv(Conv {
            geometry: *geometry,
            direction: Direction::Forward,
            image: bind(x),
            weight: bind(weight),
            output: bind(out),
        }),
        KernelKind::Conv2dInputGrad { geometry, weight, grad, out } => Work::Conv(Conv {
            geometry: *geometry,
            direction: Direction::InputGrad,
            image: bind(out),
            weight: bind(weight),
            output: bind(grad),
        }),
        KernelKind::Conv2dWeightGrad { geometry, x, grad, out } => Work::Conv(Conv {
            geometry: *geometry,
            direction: Direction::WeightGrad,
            image: bind(x),
            weight: bind(out),
            output: bind(grad),
        }),
        KernelKind::MaxPool { geometry, x, out } => {
            Work::Pool(Pool { geometry: *geometry, kind: Kind::Max, x: Some(bind(x)), grad: None, out: bind(out) })
        }
        KernelKind::MaxPoolGrad { geometry, x, grad, out } => {
            let (x, grad) = (Some(bind(x)), Some(bind(grad)));
            Work::Pool(Pool { geometry: *geometry, kind: Kind::MaxGrad, x, grad, out: bind(out) })
        }
        KernelKind::AvgPool { geometry, x, out } => {
            Work::Pool(Pool { geometry: *geometry, kind: Kind::Average, x: Some(bind(x)), grad: None, out: bind(out) })
        }
        KernelKind::AvgPoolGrad { geometry, grad, out } => {
            let grad = Some(bind(grad));
            Work::Pool(Pool { geometry: *geometry, kind: Kind::AverageGrad, x: None, grad, out: bind(out) })
        }
        KernelKind::Copy { from, to } => {
            assert!(from.len == to.len && from.dtype != DType::U8, "copies are of equal words");
            Work::Copy { from: bind(from), to: bind(to) }
        }
    }
}

impl Session for CpuSession {
    fn device(&self) -> String {
        let count = self.threads.count();
        format!("CPU, {count} thread{}, {}", if count == 1 { "" } else { "s" }, self.level.name())
    }

    fn write_state(&mut self, id: StateId, words: &[u32]) -> Result<(), BackendError> {
        self.memory.states[id.index()].words_mut().copy_from_slice(words);
        Ok(())
    }

    fn read_state(&mut self, id: StateId) -> Result<Vec<u32>, BackendError> {
        Ok(self.memory.states[id.index()].words().to_vec())
    }

    fn run(&mut self, plan: usize, rows: &[u32]) -> Result<(), BackendError> {
        let words = self.row_words[plan];
        // A plan without inputs runs once.
        let steps = rows.len().checked_div(words).unwrap_or(1);
        for step in 0..steps {
            self.memory.row.words_mut()[..words].copy_from_slice(&rows[step * words..(step + 1) * words]);
            for work in &self.plans[plan] {
                match work {
                    Work::Pointwise(kernel) => kernel.run(self.level, &self.threads, &self.scratch),
                    Work::Reduce(kernel) => kernel.run(self.level, &self.threads, &self.scratch),
                    Work::MatMul(kernel) => kernel.run(&self.threads),
                    Work::Conv(kernel) => kernel.run(&self.threads, &self.scratch),
                    Work::Pool(kernel) => kernel.run(&self.threads),
                    Work::Copy { from, to } => {
                        // SAFETY: nothing else runs now, and the plan copies between different buffers.
                        unsafe { to.floats_mut(0, to.len).copy_from_slice(from.floats(0, from.len)) }
                    }
                }
            }
        }
        Ok(())
    }

    fn wait(&mut self) -> Result<(), BackendError> {
        Ok(())
    }
}
