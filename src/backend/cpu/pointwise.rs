//! Kernels that compute every element by itself, and plain copies.

use std::ops::Range;

use super::isa::Isa;
use super::memory::Region;
use super::program::Space;
use super::switch::Switch;
use super::tile::Frame;
use super::{Batch, Job};
use crate::ir::DType;
use crate::plan::{Access, Body, Instr, Load, Store};

/// Work of a part, in tenths of a nanosecond: below twice as much, a second thread does not pay.
const PART_COST: usize = 80_000;
/// Most parts of a kernel.
const MAX_PARTS: usize = 32;

/// A body over all positions of an iteration space.
pub struct Pointwise {
    program: Switch,
    isa: Isa,
    part: usize,
    /// Positions of a row of the batch, if it runs by rows.
    row: Option<usize>,
}

impl Pointwise {
    /// Compiles a kernel.
    pub fn new(
        shape: &[usize],
        inputs: &[Region],
        body: &Body,
        stores: &[(Store, Region)],
        batch: Option<Batch>,
        isa: Isa,
    ) -> Pointwise {
        let space = Space { shape, order: (0..shape.len()).collect(), groups: vec![0; shape.len()] };
        let switch = Switch::compile(&space, inputs, body, stores, isa);
        let program = switch.usual();
        let positions = program.positions();
        let parts = (positions * program.cost / PART_COST).clamp(1, MAX_PARTS);
        // Whole rows, or else whole cache lines, so that no two threads write to one.
        let unit = if program.by_rows && program.dims.len() > 1 { program.inner() } else { 64 };
        let part = positions.div_ceil(parts).next_multiple_of(unit);
        // The rows are the first axis.
        let row = batch.map(|batch| positions / batch.rows);
        let part = batch.map_or(part, |batch| batch.part * (positions / batch.rows));
        Pointwise { program: switch, isa, part, row }
    }

    /// A copy of words.
    pub fn copy(from: Region, to: Region, isa: Isa) -> Pointwise {
        assert_eq!(from.len, to.len, "a copy has one length");
        assert!(from.dtype != DType::U8 && to.dtype != DType::U8, "a copy is of words");
        let access = || Access { strides: vec![1], ..Access::default() };
        let body = Body { instrs: vec![Instr::Load(Load { input: 0, access: access() })] };
        let output = crate::plan::BufferRef { place: crate::plan::Place::Arena(0), len: to.len, dtype: to.dtype };
        Pointwise::new(&[from.len], &[from], &body, &[(Store { reg: 0, output, access: access() }, to)], None, isa)
    }
}

impl Job for Pointwise {
    fn parts(&self, _phase: usize) -> usize {
        self.program.usual().positions().div_ceil(self.part)
    }

    fn scratch_words(&self) -> usize {
        self.program.scratch_words()
    }

    unsafe fn run_part(&self, _phase: usize, part: usize, scratch: *mut u32) {
        let start = part * self.part;
        let len = self.part.min(self.program.usual().positions() - start);
        // SAFETY: the caller's promise; parts have no position in common.
        unsafe { Frame::new(self.program.choose(), self.isa, scratch).run(start, len, std::ptr::null()) };
    }

    fn rows_phase(&self) -> Option<usize> {
        self.row.map(|_| 0)
    }

    unsafe fn run_rows(&self, rows: Range<usize>, scratch: *mut u32) {
        let row = self.row.unwrap_or_else(|| unreachable!("it has rows"));
        // SAFETY: the caller's promise.
        unsafe {
            let frame = Frame::new(self.program.choose(), self.isa, scratch);
            frame.run(rows.start * row, rows.len() * row, std::ptr::null());
        }
    }
}
