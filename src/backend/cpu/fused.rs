//! Pointwise kernels and reductions: chunks of tiles, the same chunks whatever the number of threads.

use super::bind::Bound;
use super::threads::Threads;
use super::tile::{MAX_AXES, Program, Space, TILE, merge};
use crate::ir::{DType, ReduceKind};
use crate::plan::{Access, Body, Reduction, Store};

/// Which instructions the processor has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Level {
    /// AVX-512 (F, VL, BW, DQ).
    #[cfg(target_arch = "x86_64")]
    Avx512,
    /// AVX2 and FMA.
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// What every processor of the architecture has.
    Portable,
}

impl Level {
    /// What this processor has.
    pub fn detect() -> Level {
        #[cfg(target_arch = "x86_64")]
        {
            let avx512 = is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512vl")
                && is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("avx512dq");
            if avx512 {
                return Level::Avx512;
            }
            if is_x86_feature_detected!("avx2") {
                return Level::Avx2;
            }
        }
        Level::Portable
    }

    /// Its name for people.
    pub fn name(self) -> &'static str {
        match self {
            #[cfg(target_arch = "x86_64")]
            Level::Avx512 => "AVX-512",
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 => "AVX2",
            Level::Portable => "portable",
        }
    }
}

/// Compiles `$body` once for each level and calls the one that fits.
macro_rules! for_level {
    ($(#[$docs:meta])* unsafe fn $name:ident($($arg:ident: $type:ty),* $(,)?) $body:block) => {
        $(#[$docs])*
        #[allow(clippy::too_many_arguments, reason = "one argument a piece of the kernel")]
        unsafe fn $name(level: Level, $($arg: $type),*) {
            #[inline(always)]
            #[allow(clippy::too_many_arguments, reason = "as above")]
            unsafe fn generic($($arg: $type),*) $body

            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx512f,avx512vl,avx512bw,avx512dq,avx2,fma")]
            #[allow(clippy::too_many_arguments, reason = "as above")]
            unsafe fn avx512($($arg: $type),*) {
                // SAFETY: as the caller promises.
                unsafe { generic($($arg),*) }
            }

            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma")]
            #[allow(clippy::too_many_arguments, reason = "as above")]
            unsafe fn avx2($($arg: $type),*) {
                // SAFETY: as the caller promises.
                unsafe { generic($($arg),*) }
            }

            // SAFETY: the level was detected on this processor.
            unsafe {
                match level {
                    #[cfg(target_arch = "x86_64")]
                    Level::Avx512 => avx512($($arg),*),
                    #[cfg(target_arch = "x86_64")]
                    Level::Avx2 => avx2($($arg),*),
                    Level::Portable => generic($($arg),*),
                }
            }
        }
    };
}

/// Simple operations below which a kernel runs on one thread: less than a fork costs.
const SERIAL: usize = 100_000;
/// Simple operations of one task.
const TASK: usize = 100_000;

/// A pointwise kernel bound to memory.
pub(super) struct Pointwise {
    space: Space,
    program: Program,
    stores: Vec<(usize, Bound, Access)>,
    chunk: usize,
}

impl Pointwise {
    /// Binds a kernel.
    pub fn new(
        shape: &[usize],
        body: &Body,
        inputs: &[Bound],
        types: &[DType],
        stores: &[(Store, Bound)],
    ) -> Pointwise {
        let accesses: Vec<Access> = stores.iter().map(|(store, _)| store.access.clone()).collect();
        let (space, body, accesses) = merge(shape, shape.len(), body, &accesses);
        let wanted: Vec<u16> = stores.iter().map(|(store, _)| store.reg).collect();
        let program = Program::new(&body, types, inputs, &wanted);
        let stores = stores
            .iter()
            .zip(accesses)
            .map(|((store, bound), access)| (program.slot(store.reg), *bound, access))
            .collect();
        let chunk = (TASK / program.cost().max(1)).next_multiple_of(TILE);
        Pointwise { space, program, stores, chunk }
    }

    /// Tile buffers needed by each worker.
    pub fn buffers(&self) -> usize {
        self.program.buffers
    }

    /// Runs the kernel.
    pub fn run(&self, level: Level, threads: &Threads, scratch: &Scratch) {
        let total = self.space.count(0..self.space.shape.len());
        let tasks = total.div_ceil(self.chunk);
        let parallel = total * self.program.cost() > SERIAL;
        threads.each(tasks, parallel, |task, worker| {
            let start = task * self.chunk;
            let end = (start + self.chunk).min(total);
            // SAFETY: each worker has its own tiles, and tasks write different elements.
            unsafe { pointwise_chunk(level, self, start, end, scratch.tiles(worker)) }
        });
    }
}

for_level! {
    /// Computes the positions `start..end` of the flattened space.
    unsafe fn pointwise_chunk(kernel: &Pointwise, start: usize, end: usize, tiles: &mut [[u32; TILE]]) {
        let space = &kernel.space;
        let rank = space.shape.len();
        let mut base = [0usize; MAX_AXES];
        let mut first = start;
        while first < end {
            let n = (end - first).min(TILE);
            unflatten(&space.shape, first, &mut base[..rank]);
            // SAFETY: the positions are inside the space.
            unsafe { kernel.program.run(space, 0..rank, &base[..rank], n, tiles) };
            for (slot, output, access) in &kernel.stores {
                // SAFETY: stores of different positions are different elements.
                unsafe { store(output, access, space, &base[..rank], n, &tiles[*slot]) };
            }
            first += n;
        }
    }
}

/// The position along each axis of a flat index.
#[inline(always)]
fn unflatten(shape: &[usize], mut flat: usize, base: &mut [usize]) {
    for axis in (0..shape.len()).rev() {
        base[axis] = flat % shape[axis];
        flat /= shape[axis];
    }
}

#[inline(always)]
unsafe fn store(output: &Bound, access: &Access, space: &Space, base: &[usize], n: usize, tile: &[u32; TILE]) {
    let rank = space.shape.len();
    let inner = rank - 1;
    let mut position = [0usize; MAX_AXES];
    position[..rank].copy_from_slice(base);
    let mut done = 0;
    while done < n {
        let length = (space.shape[inner] - position[inner]).min(n - done);
        let start = access.offset + access.strides.iter().zip(&position).map(|(stride, at)| stride * at).sum::<usize>();
        let stride = access.strides[inner];
        // SAFETY: the compiler keeps accesses inside their buffers; only this task writes these elements.
        unsafe {
            if stride == 1 || length == 1 {
                let floats = output.floats_mut(start, length);
                for (float, word) in floats.iter_mut().zip(&tile[done..done + length]) {
                    *float = f32::from_bits(*word);
                }
            } else {
                for (i, word) in tile[done..done + length].iter().enumerate() {
                    output.floats_mut(start + i * stride, 1)[0] = f32::from_bits(*word);
                }
            }
        }
        done += length;
        position[inner] = 0;
        for axis in (0..inner).rev() {
            position[axis] += 1;
            if position[axis] < space.shape[axis] {
                break;
            }
            position[axis] = 0;
        }
    }
}

/// A reduction bound to memory.
pub(super) struct Reduce {
    space: Space,
    program: Program,
    reductions: Vec<(usize, ReduceKind, Bound)>,
    /// Whether tiles run across kept positions (columns) instead of along reduced ones (rows).
    across: bool,
    kept: usize,
    reduced: usize,
    /// Reduced positions of one task.
    chunk: usize,
}

/// One running result: a sum, or a largest value with its position.
#[derive(Clone, Copy, Debug)]
pub(super) struct Partial {
    value: f64,
    at: u32,
}

impl Partial {
    #[inline(always)]
    fn start(kind: ReduceKind) -> Partial {
        Partial { value: if kind == ReduceKind::Sum { 0.0 } else { f64::NEG_INFINITY }, at: 0 }
    }

    /// Takes a later value; a largest value is the first of equals, and NaN is larger than all.
    #[inline(always)]
    fn add(&mut self, kind: ReduceKind, value: f64, at: u32) {
        if kind == ReduceKind::Sum {
            self.value += value;
        } else if value > self.value || (value.is_nan() && !self.value.is_nan()) {
            *self = Partial { value, at };
        }
    }

    #[inline(always)]
    fn word(self, kind: ReduceKind) -> u32 {
        if kind == ReduceKind::ArgMax { self.at } else { (self.value as f32).to_bits() }
    }
}

impl Reduce {
    /// Binds a kernel.
    pub fn new(
        shape: &[usize],
        kept: usize,
        body: &Body,
        inputs: &[Bound],
        types: &[DType],
        reductions: &[(Reduction, Bound)],
    ) -> Reduce {
        let (space, body, _) = merge(shape, kept, body, &[]);
        let wanted: Vec<u16> = reductions.iter().map(|(reduction, _)| reduction.reg).collect();
        let program = Program::new(&body, types, inputs, &wanted);
        let axes = space.shape.len();
        let (kept_count, reduced) = (space.count(0..space.kept), space.count(space.kept..axes));
        let across = space.kept > 0 && kept_count >= 8 && program.prefers(space.kept - 1, axes - 1);
        let width = if across { kept_count.min(TILE) } else { 1 };
        let chunk = (TASK / program.cost().max(1) / width).max(32).next_multiple_of(32).min(reduced.max(1));
        let reductions =
            reductions.iter().map(|(reduction, bound)| (program.slot(reduction.reg), reduction.kind, *bound)).collect();
        Reduce { space, program, reductions, across, kept: kept_count, reduced, chunk }
    }

    /// Tile buffers needed by each worker.
    pub fn buffers(&self) -> usize {
        self.program.buffers
    }

    fn chunks(&self) -> usize {
        self.reduced.div_ceil(self.chunk)
    }

    /// Partial results needed.
    pub fn partials(&self) -> usize {
        self.chunks() * self.kept * self.reductions.len()
    }

    /// Runs the kernel.
    pub fn run(&self, level: Level, threads: &Threads, scratch: &Scratch) {
        let chunks = self.chunks();
        let total = self.kept * self.reduced;
        let parallel = total * self.program.cost() > SERIAL;
        // Kept positions of one task: a tile across, or as many rows as make a task.
        let group = if self.across { TILE } else { (TASK / (self.program.cost() * self.chunk).max(1)).max(1) };
        let groups = self.kept.div_ceil(group);
        threads.each(groups * chunks, parallel, |task, worker| {
            let (group_index, chunk) = (task / chunks, task % chunks);
            let kept = group_index * group..((group_index + 1) * group).min(self.kept);
            let reduced = chunk * self.chunk..((chunk + 1) * self.chunk).min(self.reduced);
            // SAFETY: each worker has its own tiles, and each task its own partial results.
            unsafe {
                if self.across {
                    reduce_across(level, self, kept, reduced, chunk, scratch.tiles(worker), scratch);
                } else {
                    reduce_along(level, self, kept, reduced, chunk, scratch.tiles(worker), scratch);
                }
            }
        });
        for (index, (_, kind, output)) in self.reductions.iter().enumerate() {
            // SAFETY: all tasks are done.
            unsafe {
                let out = output.floats_mut(0, self.kept);
                for (kept, float) in out.iter_mut().enumerate() {
                    let mut sum = Partial::start(*kind);
                    for chunk in 0..chunks {
                        let part = *scratch.partial(self.partial(chunk, index, kept));
                        sum.add(*kind, part.value, part.at);
                    }
                    *float = f32::from_bits(sum.word(*kind));
                }
            }
        }
    }

    #[inline(always)]
    fn partial(&self, chunk: usize, reduction: usize, kept: usize) -> usize {
        (chunk * self.reductions.len() + reduction) * self.kept + kept
    }
}

for_level! {
    /// Each kept position on its own: tiles run along the reduced axes.
    unsafe fn reduce_along(
        kernel: &Reduce,
        kept: std::ops::Range<usize>,
        reduced: std::ops::Range<usize>,
        chunk: usize,
        tiles: &mut [[u32; TILE]],
        scratch: &Scratch,
    ) {
        let space = &kernel.space;
        let rank = space.shape.len();
        let mut base = [0usize; MAX_AXES];
        for row in kept {
            unflatten(&space.shape[..space.kept], row, &mut base[..space.kept]);
            let mut sums = [Partial::start(ReduceKind::Sum); MAX_REDUCTIONS];
            for (sum, (_, kind, _)) in sums.iter_mut().zip(&kernel.reductions) {
                *sum = Partial::start(*kind);
            }
            let mut first = reduced.start;
            while first < reduced.end {
                let n = (reduced.end - first).min(TILE);
                unflatten(&space.shape[space.kept..], first, &mut base[space.kept..rank]);
                // SAFETY: the positions are inside the space.
                unsafe { kernel.program.run(space, space.kept..rank, &base[..rank], n, tiles) };
                for (sum, (slot, kind, _)) in sums.iter_mut().zip(&kernel.reductions) {
                    let tile = &tiles[*slot];
                    if *kind == ReduceKind::Sum {
                        sum.value += f64::from(sum_tile(tile, n));
                    } else {
                        for (i, word) in tile[..n].iter().enumerate() {
                            sum.add(*kind, f64::from(f32::from_bits(*word)), (first + i) as u32);
                        }
                    }
                }
                first += n;
            }
            for (index, sum) in sums[..kernel.reductions.len()].iter().enumerate() {
                // SAFETY: this task alone has this chunk and row.
                unsafe { *scratch.partial(kernel.partial(chunk, index, row)) = *sum };
            }
        }
    }
}

/// More reductions than the compiler puts into one kernel.
const MAX_REDUCTIONS: usize = 64;

/// The sum of a tile in 16 lanes, which are then added in pairs: the order is fixed.
#[inline(always)]
fn sum_tile(tile: &[u32; TILE], n: usize) -> f32 {
    let mut lanes = [0f32; 16];
    let (blocks, rest) = tile[..n].as_chunks::<16>();
    for block in blocks {
        for (lane, word) in lanes.iter_mut().zip(block) {
            *lane += f32::from_bits(*word);
        }
    }
    for (lane, word) in lanes.iter_mut().zip(rest) {
        *lane += f32::from_bits(*word);
    }
    let mut width = 8;
    while width > 0 {
        for i in 0..width {
            lanes[i] += lanes[i + width];
        }
        width /= 2;
    }
    lanes[0]
}

for_level! {
    /// A tile of kept positions at once, one reduced position after another.
    unsafe fn reduce_across(
        kernel: &Reduce,
        kept: std::ops::Range<usize>,
        reduced: std::ops::Range<usize>,
        chunk: usize,
        tiles: &mut [[u32; TILE]],
        scratch: &Scratch,
    ) {
        let space = &kernel.space;
        let rank = space.shape.len();
        let n = kept.len();
        let mut base = [0usize; MAX_AXES];
        for (index, (_, kind, _)) in kernel.reductions.iter().enumerate() {
            for row in kept.clone() {
                // SAFETY: this task alone has this chunk and these rows.
                unsafe { *scratch.partial(kernel.partial(chunk, index, row)) = Partial::start(*kind) };
            }
        }
        for at in reduced {
            unflatten(&space.shape[..space.kept], kept.start, &mut base[..space.kept]);
            unflatten(&space.shape[space.kept..], at, &mut base[space.kept..rank]);
            // SAFETY: the positions are inside the space.
            unsafe { kernel.program.run(space, 0..space.kept, &base[..rank], n, tiles) };
            for (index, (slot, kind, _)) in kernel.reductions.iter().enumerate() {
                // SAFETY: as above.
                let partials = unsafe { scratch.partial_range(kernel.partial(chunk, index, kept.start), n) };
                let tile = &tiles[*slot];
                if *kind == ReduceKind::Sum {
                    for (partial, word) in partials.iter_mut().zip(&tile[..n]) {
                        partial.value += f64::from(f32::from_bits(*word));
                    }
                } else {
                    for (partial, word) in partials.iter_mut().zip(&tile[..n]) {
                        partial.add(*kind, f64::from(f32::from_bits(*word)), at as u32);
                    }
                }
            }
        }
    }
}

/// Memory that kernels use while they run, allocated once.
pub(super) struct Scratch {
    tiles: Vec<std::cell::UnsafeCell<Vec<[u32; TILE]>>>,
    floats: Vec<std::cell::UnsafeCell<Vec<f32>>>,
    partials: std::cell::UnsafeCell<Vec<Partial>>,
    shared: std::cell::UnsafeCell<Vec<f32>>,
}

// SAFETY: workers use their own tiles and floats, and tasks their own parts of what is shared.
unsafe impl Sync for Scratch {}

impl Scratch {
    /// Memory for so many workers: `tiles` tile buffers and `floats` floats each, `partials` and `shared` floats in all.
    pub fn new(workers: usize, tiles: usize, floats: usize, partials: usize, shared: usize) -> Scratch {
        use std::cell::UnsafeCell;
        Scratch {
            tiles: (0..workers).map(|_| UnsafeCell::new(vec![[0; TILE]; tiles])).collect(),
            floats: (0..workers).map(|_| UnsafeCell::new(vec![0.0; floats])).collect(),
            partials: UnsafeCell::new(vec![Partial { value: 0.0, at: 0 }; partials]),
            shared: UnsafeCell::new(vec![0.0; shared]),
        }
    }

    /// The tile buffers of a worker.
    ///
    /// # Safety
    /// Only that worker uses them.
    #[allow(clippy::mut_from_ref, reason = "each worker has its own")]
    pub unsafe fn tiles(&self, worker: usize) -> &mut [[u32; TILE]] {
        // SAFETY: as the caller promises.
        unsafe { &mut *self.tiles[worker].get() }
    }

    /// The floats of a worker.
    ///
    /// # Safety
    /// Only that worker uses them.
    #[allow(clippy::mut_from_ref, reason = "each worker has its own")]
    pub unsafe fn floats(&self, worker: usize) -> &mut [f32] {
        // SAFETY: as the caller promises.
        unsafe { &mut *self.floats[worker].get() }
    }

    /// A part of the shared floats.
    ///
    /// # Safety
    /// Only one task uses this part.
    #[allow(clippy::mut_from_ref, reason = "tasks divide it among themselves")]
    pub unsafe fn shared(&self, start: usize, len: usize) -> &mut [f32] {
        // SAFETY: as the caller promises; the pointer is offset before a reference is made.
        unsafe {
            let all = &raw mut *self.shared.get();
            assert!(start + len <= (*all).len(), "shared scratch is large enough");
            std::slice::from_raw_parts_mut((*all).as_mut_ptr().add(start), len)
        }
    }

    #[inline(always)]
    #[allow(clippy::mut_from_ref, reason = "tasks divide them among themselves")]
    unsafe fn partial(&self, index: usize) -> &mut Partial {
        // SAFETY: the index is below the number asked for; only one task uses it.
        unsafe { &mut *(*self.partials.get()).as_mut_ptr().add(index) }
    }

    #[inline(always)]
    #[allow(clippy::mut_from_ref, reason = "tasks divide them among themselves")]
    unsafe fn partial_range(&self, start: usize, len: usize) -> &mut [Partial] {
        // SAFETY: as in `partial`.
        unsafe { std::slice::from_raw_parts_mut((*self.partials.get()).as_mut_ptr().add(start), len) }
    }
}
