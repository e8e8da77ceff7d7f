//! Finds kernels that can run a few rows of the batch at a time, one after another.
//!
//! Layer by layer, the images of a whole batch travel to memory and back between any two kernels. A few images at a time,
//! they stay in a cache from the first kernel of a chain to the last. A chain ends where something needs all rows: the
//! statistics of batch normalization, a product over the flattened batch.
//!
//! Networks of small products have another reason: each kernel is so short that giving it to several threads costs what
//! it gains. In a chain, a thread takes some rows from the first layer to the gradient of that layer's result. What needs
//! all rows and is read by none of them (gradients of weights, updates, metrics) waits for the end of the chain.

use std::collections::{HashMap, HashSet};

use super::kernel::{Access, Body, BufferRef, Chain, Instr, Kernel, KernelKind, Output, Place, Store};
use crate::ir::StateId;

/// Most elements of the right operand of a product that runs by rows: every part of the batch reads all of it.
const NEAR: usize = 128 * 1024;
/// Words at which a chain of products ends: what it touches shares no memory.
const PRODUCTS_WORDS: usize = 512 * 1024;

/// The chains of two or more kernels; none goes through an exchange. Each buffer has a place of its own here.
pub(super) fn find(kernels: &[Kernel], exchanges: &[(usize, StateId)]) -> Vec<Chain> {
    let images = kernels.iter().find_map(|kernel| match &kernel.kind {
        KernelKind::Conv2d { geometry, .. } => Some(geometry.batch),
        _ => None,
    });
    let products = || {
        kernels.iter().find_map(|kernel| match &kernel.kind {
            KernelKind::MatMul { m, transpose_a: false, .. } => Some(*m),
            _ => None,
        })
    };
    let Some(rows) = images.or_else(products).filter(|rows| *rows > 1) else { return Vec::new() };
    let mut chains = Vec::new();
    let mut open = Open::default();
    for (index, kernel) in kernels.iter().enumerate() {
        let uses = match images {
            _ if exchanges.iter().any(|(exchange, _)| *exchange == index) => None,
            Some(_) => Uses::of(kernel, rows),
            None => Uses::of_product(kernel, rows),
        };
        let fits = images.is_some() || open.words() <= PRODUCTS_WORDS;
        if let Some(uses) = &uses
            && fits
            && open.takes(uses)
        {
            open.add(index, uses);
            continue;
        }
        chains.extend(open.close(index, rows));
        if let Some(uses) = &uses {
            open.add(index, uses);
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
    /// Whether it does not run by rows, but as a whole when all rows are done.
    is_late: bool,
}

impl Uses {
    /// How a kernel of a step without images runs: by rows, as a whole behind them, or not in a chain.
    fn of_product(kernel: &Kernel, rows: usize) -> Option<Uses> {
        if let KernelKind::MatMul { m, n, k, transpose_a: false, a, b, out, .. } = &kernel.kind
            && *m == rows
        {
            let mut uses = Uses { row_reads: vec![*a], whole_reads: vec![*b], ..Uses::default() };
            return if n * k <= NEAR { uses.output(out, rows).map(|()| uses) } else { None };
        }
        let by_rows = Uses::of(kernel, rows).filter(|uses| uses.late_writes.is_empty());
        let late =
            || Uses { late_reads: kernel.inputs(), late_writes: kernel.outputs(), is_late: true, ..Uses::default() };
        Some(by_rows.unwrap_or_else(late))
    }

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

/// The places that a kernel reads and writes.
struct Touched {
    reads: HashSet<Place>,
    writes: HashSet<Place>,
}

impl Touched {
    /// Whether it must wait for another kernel.
    fn waits_for(&self, other: &Touched) -> bool {
        !self.reads.is_disjoint(&other.writes)
            || !self.writes.is_disjoint(&other.reads)
            || !self.writes.is_disjoint(&other.writes)
    }
}

/// A chain that grows.
#[derive(Default)]
struct Open {
    /// Kernels, and those that run by rows.
    kernels: usize,
    by_rows: usize,
    /// Those that run as a whole behind the rows, by what must be done before: their numbers and what they use.
    late: Vec<Vec<(usize, Touched)>>,
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
        if uses.is_late {
            // It comes after all that is before it.
            return true;
        }
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

    fn add(&mut self, index: usize, uses: &Uses) {
        let places = |buffers: &[BufferRef]| buffers.iter().map(|buffer| buffer.place).collect::<HashSet<_>>();
        let touched = Touched { reads: places(&uses.late_reads), writes: places(&uses.late_writes) };
        self.kernels += 1;
        self.row_writes.extend(places(&uses.row_writes));
        self.whole_reads.extend(places(&uses.whole_reads));
        self.late_reads.extend(&touched.reads);
        self.late_writes.extend(&touched.writes);
        for buffer in uses.row_reads.iter().chain(&uses.row_writes) {
            self.row_words.insert(buffer.place, buffer.len);
        }
        if !uses.is_late {
            self.by_rows += 1;
            return;
        }
        let waits = |level: &Vec<(usize, Touched)>| level.iter().any(|(_, other)| touched.waits_for(other));
        let level = self.late.iter().rposition(waits).map_or(0, |level| level + 1);
        if level == self.late.len() {
            self.late.push(Vec::new());
        }
        self.late[level].push((index, touched));
    }

    /// Words that are used by rows.
    fn words(&self) -> usize {
        self.row_words.values().sum()
    }

    /// Ends it before the kernel `end`.
    fn close(&mut self, end: usize, rows: usize) -> Option<Chain> {
        let done = std::mem::take(self);
        let row_bytes = done.words().div_ceil(rows) * 4;
        let numbers = |level: &Vec<(usize, Touched)>| level.iter().map(|(index, _)| *index).collect();
        let late: Vec<Vec<usize>> = done.late.iter().map(numbers).collect();
        (done.by_rows > 1 || late.iter().any(|level| level.len() > 1)).then(|| Chain {
            kernels: end - done.kernels..end,
            rows,
            row_bytes,
            late,
        })
    }
}
