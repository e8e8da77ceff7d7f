//! Finds kernels that can run a few rows of the batch at a time, one after another.
//!
//! Layer by layer, the images of a whole batch travel to memory and back between any two kernels. A few images at a time,
//! they stay in a cache from the first kernel of a chain to the last. A chain ends where something needs all rows: the
//! statistics of batch normalization, a product over the flattened batch.

use std::collections::{HashMap, HashSet};

use super::kernel::{Access, Body, BufferRef, Chain, Instr, Kernel, KernelKind, Output, Place, Store};

/// The chains of two or more kernels. Each buffer has a place of its own here.
pub(super) fn find(kernels: &[Kernel]) -> Vec<Chain> {
    // Images have a batch; other steps are products from end to end, which run by tiles of their own.
    let batch = kernels.iter().find_map(|kernel| match &kernel.kind {
        KernelKind::Conv2d { geometry, .. } => Some(geometry.batch),
        _ => None,
    });
    let Some(rows) = batch.filter(|batch| *batch > 1) else { return Vec::new() };
    let mut chains = Vec::new();
    let mut open = Open::default();
    for (index, kernel) in kernels.iter().enumerate() {
        let uses = Uses::of(kernel, rows);
        if let Some(uses) = &uses
            && open.takes(uses)
        {
            open.add(uses);
            continue;
        }
        chains.extend(open.close(index, rows));
        if let Some(uses) = &uses {
            open.add(uses);
        }
    }
    chains.extend(open.close(kernels.len(), rows));
    chains
}

/// The axis of an iteration space that goes through the rows of the batch: a step along it goes to the next row of some
/// buffer that is read.
pub fn row_axis(shape: &[usize], lens: &[usize], body: &Body, rows: usize) -> Option<usize> {
    (0..shape.len()).find(|&axis| {
        body.instrs.iter().any(|instr| match instr {
            Instr::Load(load) => is_by_rows(&load.access, shape, lens[load.input], axis, rows),
            _ => false,
        })
    })
}

/// Whether an access stays, at each position of an axis, inside the row of that number.
fn is_by_rows(access: &Access, shape: &[usize], len: usize, axis: usize, rows: usize) -> bool {
    let row = len / rows;
    let others = (0..shape.len()).filter(|&other| other != axis);
    let furthest = others.map(|other| (shape[other].max(1) - 1) * access.strides[other]).sum::<usize>();
    shape[axis] == rows
        && len.is_multiple_of(rows)
        && access.indirect.is_empty()
        && access.strides[axis] == row
        && access.offset + furthest < row
}

/// How a kernel uses its buffers when it runs by rows.
#[derive(Default)]
struct Uses {
    /// Read, for each row, in that row only.
    row_reads: Vec<BufferRef>,
    /// Read anywhere.
    whole_reads: Vec<BufferRef>,
    /// Written, for each row, in that row only.
    row_writes: Vec<BufferRef>,
    /// Read and written when all rows are done.
    late_reads: Vec<BufferRef>,
    late_writes: Vec<BufferRef>,
}

impl Uses {
    /// None if the kernel cannot run by rows.
    fn of(kernel: &Kernel, rows: usize) -> Option<Uses> {
        let mut uses = Uses::default();
        match &kernel.kind {
            KernelKind::Pointwise { shape, inputs, body, stores } => {
                uses.pointwise(shape, inputs, body, stores, rows)?;
            }
            KernelKind::Reduce { shape, kept, inputs, body, reductions } => {
                let lens: Vec<usize> = inputs.iter().map(|input| input.len).collect();
                let axis = row_axis(shape, &lens, body, rows)?;
                uses.loads(shape, inputs, body, axis, rows);
                let outputs = reductions.iter().map(|reduction| reduction.output);
                match axis {
                    _ if axis >= *kept => uses.late_writes.extend(outputs),
                    0 => uses.row_writes.extend(outputs),
                    _ => return None,
                }
            }
            KernelKind::Conv2d { geometry, x, weight, out } if geometry.batch == rows => {
                uses.row_reads.push(*x);
                uses.whole_reads.push(*weight);
                uses.output(out, rows)?;
            }
            KernelKind::Conv2dInputGrad { geometry, weight, grad, out } if geometry.batch == rows => {
                uses.row_reads.push(*grad);
                uses.whole_reads.push(*weight);
                uses.output(out, rows)?;
            }
            KernelKind::Conv2dWeightGrad { geometry, x, grad, .. } if geometry.batch == rows => {
                uses.row_reads.extend([*x, *grad]);
                uses.late_writes = kernel.outputs();
                // The operands come first.
                uses.late_reads = kernel.inputs().split_off(2);
            }
            KernelKind::MaxPool { geometry, x, out } | KernelKind::AvgPool { geometry, x, out }
                if geometry.planes.is_multiple_of(rows) =>
            {
                uses.row_reads.push(*x);
                uses.row_writes.push(*out);
            }
            KernelKind::MaxPoolGrad { geometry, x, grad, out } if geometry.planes.is_multiple_of(rows) => {
                uses.row_reads.extend([*x, *grad]);
                uses.row_writes.push(*out);
            }
            KernelKind::AvgPoolGrad { geometry, grad, out } if geometry.planes.is_multiple_of(rows) => {
                uses.row_reads.push(*grad);
                uses.row_writes.push(*out);
            }
            _ => return None,
        }
        Some(uses)
    }

    /// What an element-by-element program reads and writes; its first axis must be that of the rows.
    fn pointwise(
        &mut self,
        shape: &[usize],
        inputs: &[BufferRef],
        body: &Body,
        stores: &[Store],
        rows: usize,
    ) -> Option<()> {
        let by_rows = |store: &Store| is_by_rows(&store.access, shape, store.output.len, 0, rows);
        if shape.is_empty() || !stores.iter().all(by_rows) {
            return None;
        }
        self.loads(shape, inputs, body, 0, rows);
        self.row_writes.extend(stores.iter().map(|store| store.output));
        Some(())
    }

    /// What loads read.
    fn loads(&mut self, shape: &[usize], inputs: &[BufferRef], body: &Body, axis: usize, rows: usize) {
        for instr in &body.instrs {
            let Instr::Load(load) = instr else { continue };
            let buffer = inputs[load.input];
            let by_rows = is_by_rows(&load.access, shape, buffer.len, axis, rows);
            if by_rows { &mut self.row_reads } else { &mut self.whole_reads }.push(buffer);
        }
    }

    fn output(&mut self, out: &Output, rows: usize) -> Option<()> {
        match out {
            Output::Buffer(buffer) => self.row_writes.push(*buffer),
            Output::Epilogue(it) => self.pointwise(&it.shape, &it.inputs, &it.body, &it.stores, rows)?,
        }
        Some(())
    }
}

/// A chain that grows.
#[derive(Default)]
struct Open {
    kernels: usize,
    row_writes: HashSet<Place>,
    whole_reads: HashSet<Place>,
    late_reads: HashSet<Place>,
    late_writes: HashSet<Place>,
    /// Words of a row of each buffer that is used by rows.
    row_words: HashMap<Place, usize>,
}

impl Open {
    /// Whether a kernel can be the next.
    fn takes(&self, uses: &Uses) -> bool {
        let meets = |buffers: &[BufferRef], places: &HashSet<Place>| {
            buffers.iter().any(|buffer| places.contains(&buffer.place))
        };
        // What it reads is there: all of it, or the same rows.
        let reads_late = meets(&uses.row_reads, &self.late_writes) || meets(&uses.whole_reads, &self.late_writes);
        let reads_other_rows = meets(&uses.whole_reads, &self.row_writes);
        // What it writes, no one before it still has to read or write.
        let writes_early = [&self.whole_reads, &self.late_reads, &self.late_writes];
        let writes_early = writes_early.into_iter().any(|places| meets(&uses.row_writes, places));
        // What happens when all rows are done has no order.
        let late = [&self.late_reads, &self.late_writes, &self.row_writes];
        let late = late.into_iter().any(|places| meets(&uses.late_writes, places));
        let late = late || meets(&uses.late_reads, &self.late_writes);
        !(reads_late || reads_other_rows || writes_early || late)
    }

    fn add(&mut self, uses: &Uses) {
        let places = |buffers: &[BufferRef]| buffers.iter().map(|buffer| buffer.place).collect::<Vec<_>>();
        self.kernels += 1;
        self.row_writes.extend(places(&uses.row_writes));
        self.whole_reads.extend(places(&uses.whole_reads));
        self.late_reads.extend(places(&uses.late_reads));
        self.late_writes.extend(places(&uses.late_writes));
        for buffer in uses.row_reads.iter().chain(&uses.row_writes) {
            self.row_words.insert(buffer.place, buffer.len);
        }
    }

    /// Ends it before the kernel `end`.
    fn close(&mut self, end: usize, rows: usize) -> Option<Chain> {
        let done = std::mem::take(self);
        let row_bytes = done.row_words.values().sum::<usize>().div_ceil(rows) * 4;
        (done.kernels > 1).then(|| Chain { kernels: end - done.kernels..end, rows, row_bytes })
    }
}
