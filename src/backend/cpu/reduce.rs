//! Kernels that reduce a body over axes, in an order that depends on the shape alone.
//!
//! The space is `[outer kept, reduced, inner kept]`. If memory runs along reduced axes there are no inner kept ones and
//! each tile is summed up; else tiles run along inner kept ones and are added to each other.

use std::ops::Range;

use super::fold::{self, Fold, Moments};
use super::isa::Isa;
use super::memory::{Region, Words};
use super::program::{Program, Space};
use super::tile::Frame;
use super::{Batch, Job};
use crate::ir::DType;
use crate::plan::{Body, Instr, Reducer, Reduction, row_axis};

/// Work of a part, in tenths of a nanosecond.
const PART_COST: usize = 80_000;
/// Most parts of a kernel.
const MAX_PARTS: usize = 32;

/// One value that is reduced.
struct Target {
    reg: usize,
    kind: Reducer,
    output: Region,
    /// Results of parts of the sum, by part and then by element of the output, if they are joined at the end.
    partial: Words,
    /// The means that belong to them if they are squared deviations.
    means: Words,
}

/// A body reduced over some axes.
pub struct Reduce {
    program: Program,
    isa: Isa,
    targets: Vec<Target>,
    outer: usize,
    reduced: usize,
    inner: usize,
    /// Rows of `inner` that a tile holds; 1 if tiles are parts of rows.
    rows: usize,
    /// Kept positions (outer ones, or tiles of them) that a part takes.
    kept_part: usize,
    /// Reduced positions that a part takes.
    reduced_part: usize,
    /// Pieces of a row of `inner`: start and length.
    pieces: Vec<(usize, usize)>,
    /// The rows of the batch, if it runs by them.
    batch: Option<Batch>,
    /// Whether parts of the sums are joined at the end.
    is_joined: bool,
}

/// Which part of the sums is computed.
struct Part {
    /// Its number among those that are joined.
    number: usize,
    /// Reduced positions.
    range: Range<usize>,
    /// Those of the same part that are done.
    done: usize,
}

impl Reduce {
    /// Compiles a kernel.
    pub fn new(
        shape: &[usize],
        kept: usize,
        inputs: &[Region],
        body: &Body,
        reductions: &[(Reduction, Region)],
        batch: Option<Batch>,
        isa: Isa,
    ) -> Reduce {
        let n_kept: usize = shape[..kept].iter().product();
        let reduced: usize = shape[kept..].iter().product();
        let (order, groups, inner) = arrange(shape, kept, inputs, body);
        let regs: Vec<usize> = reductions.iter().map(|(reduction, _)| usize::from(reduction.reg)).collect();
        let batch = batch.and_then(|batch| by_rows(shape, kept, inputs, body, &order, batch));
        let program = Program::compile(&Space { shape, order, groups }, inputs, body, &[], &regs, isa);
        let outer = n_kept / inner;

        let rows =
            if program.by_rows && program.dims.len() > 1 || inner == 1 { 1 } else { (program.tile / inner).max(1) };
        let rows = rows.min(reduced);
        let pieces = pieces(&program, inner);
        let has_position = reductions.iter().any(|(reduction, _)| reduction.kind == Reducer::ArgMax);

        let parts = (shape.iter().product::<usize>() * program.cost / PART_COST).clamp(1, MAX_PARTS);
        let kept_units = outer * pieces.len();
        let kept_part = kept_units.div_ceil(parts.min(kept_units));
        let wanted = if has_position { 1 } else { parts / kept_units.div_ceil(kept_part) };
        // Parts of the sum hold whole tiles.
        let unit = if inner > 1 { rows } else { program.tile };
        let reduced_part = reduced.div_ceil(wanted.max(1)).next_multiple_of(unit);
        let batch = batch.filter(|(_, along)| !(*along && has_position));
        let is_along = batch.is_some_and(|(_, along)| along);
        let (kept_part, reduced_part) = match batch {
            Some((batch, true)) => (kept_units, batch.part * (reduced / batch.rows)),
            Some((batch, false)) => (batch.part * (kept_units / batch.rows), reduced),
            None => (kept_part, reduced_part),
        };
        let n_partial = reduced.div_ceil(reduced_part);
        let is_joined = n_partial > 1 || is_along;
        let targets = (reductions.iter().zip(&program.reduced))
            .map(|((reduction, output), reg)| {
                let dtype = if reduction.kind == Reducer::ArgMax { DType::U32 } else { DType::F32 };
                assert_eq!(
                    (output.len, output.dtype),
                    (n_kept, dtype),
                    "a reduction has an output for each kept position"
                );
                let is_deviation = reduction.kind == Reducer::SquaredDeviation;
                assert!(!is_deviation || inner == 1, "memory runs along the axes of squared deviations");
                let words = |needed: bool| Words::zeroed(if needed { n_partial * n_kept } else { 0 });
                let (partial, means) = (words(is_joined), words(is_joined && is_deviation));
                Target { reg: *reg, kind: reduction.kind, output: *output, partial, means }
            })
            .collect();
        Reduce {
            program,
            isa,
            targets,
            outer,
            reduced,
            inner,
            rows,
            kept_part,
            reduced_part,
            pieces,
            batch: batch.map(|(batch, _)| batch),
            is_joined,
        }
    }

    fn n_partial(&self) -> usize {
        self.reduced.div_ceil(self.reduced_part)
    }

    /// Where a part of the sum leaves its results.
    fn place(&self, target: &Target, part: usize, kept: usize) -> *mut u32 {
        if self.is_joined {
            target.partial.start().wrapping_add(part * self.outer * self.inner + kept)
        } else {
            target.output.words().wrapping_add(kept)
        }
    }

    /// Adds results to those of the positions of the part that are done.
    ///
    /// # Safety
    /// The places are this part's.
    unsafe fn put(&self, target: &Target, part: &Part, kept: usize, results: &[u32]) {
        // SAFETY: the caller's promise.
        let place = unsafe { std::slice::from_raw_parts_mut(self.place(target, part.number, kept), results.len()) };
        if part.done == 0 {
            place.copy_from_slice(results);
            return;
        }
        let number = |bits: &u32| f32::from_bits(*bits);
        for (place, result) in place.iter_mut().zip(results) {
            let mut joined = [number(place)];
            fold::combine(target.kind, &mut joined, &[number(result)]);
            *place = joined[0].to_bits();
        }
    }

    /// [`Reduce::put`] for squared deviations.
    ///
    /// # Safety
    /// The places are this part's.
    unsafe fn put_moments(&self, target: &Target, part: &Part, kept: usize, moments: Moments) {
        let place = self.place(target, part.number, kept).cast::<f32>();
        if !self.is_joined {
            // SAFETY: the caller's promise.
            return unsafe { *place = moments.deviations };
        }
        let mean = target.means.start().wrapping_add(part.number * self.outer * self.inner + kept).cast::<f32>();
        // SAFETY: there is a mean for each result; the caller's promise. What is there counts for nothing before the
        // first.
        unsafe {
            let before = Moments { count: part.done, mean: *mean, deviations: *place };
            let joined = if part.done == 0 { moments } else { before.joined(moments) };
            (*mean, *place) = (joined.mean, joined.deviations);
        }
    }

    /// Reduces whole rows, several to a tile.
    ///
    /// # Safety
    /// As [`Job::run_part`].
    unsafe fn short_rows(&self, frame: &Frame<'_>, start: usize, end: usize) {
        let at_once = self.program.tile / self.reduced;
        let mut row = start;
        while row < end {
            let rows = at_once.min(end - row);
            let len = rows * self.reduced;
            // SAFETY: the rows are this part's, and a tile holds them.
            unsafe {
                frame.eval(row * self.reduced, len);
                for target in &self.targets {
                    let values = frame.floats(target.reg, len);
                    let to = std::slice::from_raw_parts_mut(self.place(target, 0, row), rows);
                    fold::rows(self.isa, target.kind, values, self.reduced, to);
                }
            }
            row += rows;
        }
    }

    /// Reduces a part of the sum of one kept position.
    ///
    /// # Safety
    /// As [`Job::run_part`].
    unsafe fn long_row(&self, frame: &Frame<'_>, lanes: &mut [Fold], row: usize, part: &Part) {
        let Range { start, end } = part.range;
        let inner = self.program.inner();
        for (target, lanes) in self.targets.iter().zip(lanes.iter_mut()) {
            *lanes = Fold::new(target.kind);
        }
        let mut at = start;
        while at < end {
            let left = if self.program.by_rows { inner - at % inner } else { usize::MAX };
            let len = self.program.tile.min(end - at).min(left);
            // SAFETY: the positions are this part's.
            unsafe {
                frame.eval(row * self.reduced + at, len);
                for (target, lanes) in self.targets.iter().zip(lanes.iter_mut()) {
                    fold::tile(self.isa, target.kind, lanes, frame.floats(target.reg, len), at);
                }
            }
            at += len;
        }
        for (target, lanes) in self.targets.iter().zip(lanes.iter()) {
            // SAFETY: the place is this part's.
            unsafe {
                match target.kind {
                    Reducer::SquaredDeviation => self.put_moments(target, part, row, lanes.moments()),
                    kind => self.put(target, part, row, &[lanes.result(kind)]),
                }
            }
        }
    }

    /// Reduces a part of the sums of one piece of a row of kept positions.
    ///
    /// # Safety
    /// As [`Job::run_part`]; `sums` has two tiles for each target, and one.
    unsafe fn columns(&self, frame: &Frame<'_>, sums: *mut u32, unit: usize, part: &Part) {
        let (outer, piece) = (unit / self.pieces.len(), unit % self.pieces.len());
        let (first, width) = self.pieces[piece];
        let Range { start, end } = part.range;
        let tile = self.program.tile;
        let length = width * self.rows.min(end - start);
        // SAFETY: `scratch_words` counts two tiles for each target, and one, all positions are this part's, and so are
        // the places of the results.
        unsafe {
            let tiles = |idx: usize| {
                let own = sums.add(2 * idx * tile);
                let places = std::slice::from_raw_parts_mut(own.add(tile), length);
                (std::slice::from_raw_parts_mut(own.cast::<f32>(), length), places)
            };
            let last = sums.add(2 * self.targets.len() * tile);
            let mut at = start;
            while at < end {
                let rows = self.rows.min(end - at);
                let len = rows * width;
                frame.eval((outer * self.reduced + at) * self.inner + first, len);
                for (idx, target) in self.targets.iter().enumerate() {
                    let (sums, places) = tiles(idx);
                    let values = frame.floats(target.reg, len);
                    fold::add(self.isa, target.kind, values, sums, places, (at, width, at == start));
                }
                at += rows;
            }
            for (idx, target) in self.targets.iter().enumerate() {
                let (sums, places) = tiles(idx);
                let results = std::slice::from_raw_parts_mut(last, width);
                fold::halve(self.isa, target.kind, sums, places, results);
                self.put(target, part, outer * self.inner + first, results);
            }
        }
    }

    /// Joins the results of parts of the sums, in their order.
    fn join(&self) {
        let n_partial = self.n_partial();
        let n_kept = self.outer * self.inner;
        for target in &self.targets {
            // SAFETY: all parts are done, so this thread alone uses these buffers.
            let (partial, output) = unsafe {
                (
                    std::slice::from_raw_parts(target.partial.start().cast_const().cast::<f32>(), n_partial * n_kept),
                    target.output.part_mut(0, n_kept),
                )
            };
            if target.kind == Reducer::SquaredDeviation {
                self.join_moments(target, output);
                continue;
            }
            output.copy_from_slice(&partial[..n_kept]);
            for partial in partial[n_kept..].chunks_exact(n_kept) {
                fold::combine(target.kind, output, partial);
            }
        }
    }

    /// [`Reduce::join`] for squared deviations.
    fn join_moments(&self, target: &Target, output: &mut [f32]) {
        let (n_partial, n_kept) = (self.n_partial(), output.len());
        // SAFETY: all parts are done, so this thread alone uses these buffers.
        let [deviations, means] = [&target.partial, &target.means].map(|words| unsafe {
            std::slice::from_raw_parts(words.start().cast_const().cast::<f32>(), n_partial * n_kept)
        });
        for (kept, output) in output.iter_mut().enumerate() {
            let mut total = Moments::default();
            for part in 0..n_partial {
                let at = part * n_kept + kept;
                let count = self.reduced_part.min(self.reduced - part * self.reduced_part);
                total = total.joined(Moments { count, mean: means[at], deviations: deviations[at] });
            }
            *output = total.deviations;
        }
    }

    /// Computes part of the sums of some kept positions.
    ///
    /// # Safety
    /// As [`Job::run_part`]; no other part has both in common.
    unsafe fn units(&self, units: Range<usize>, part: &Part, scratch: *mut u32) {
        // SAFETY: the caller's promise.
        unsafe {
            let frame = Frame::new(&self.program, self.isa, scratch);
            let sums = scratch.add(self.program.scratch_words().next_multiple_of(16));
            if self.is_short() {
                self.short_rows(&frame, units.start, units.end);
            } else if self.inner == 1 {
                // `Fold` holds words only and needs the alignment of a cache line at most.
                let lanes = sums.add((2 * self.targets.len() + 1) * self.program.tile).cast::<Fold>();
                (0..self.targets.len()).for_each(|idx| lanes.add(idx).write(Fold::new(self.targets[idx].kind)));
                let lanes = std::slice::from_raw_parts_mut(lanes, self.targets.len());
                units.for_each(|row| self.long_row(&frame, lanes, row, part));
            } else {
                units.for_each(|unit| self.columns(&frame, sums, unit, part));
            }
        }
    }

    fn is_short(&self) -> bool {
        // A tile of a program by rows must not go past the end of one.
        let one_row = !self.program.by_rows || self.program.dims.len() == 1;
        self.inner == 1 && !self.is_joined && one_row && self.reduced * 2 <= self.program.tile
    }
}

impl Job for Reduce {
    fn phases(&self) -> usize {
        1 + usize::from(self.is_joined)
    }

    fn parts(&self, phase: usize) -> usize {
        if phase == 1 {
            return 1;
        }
        (self.outer * self.pieces.len()).div_ceil(self.kept_part) * self.n_partial()
    }

    fn scratch_words(&self) -> usize {
        self.program.scratch_words().next_multiple_of(16)
            + (2 * self.targets.len() + 1) * self.program.tile
            + self.targets.len() * size_of::<Fold>().div_ceil(4)
            + 16
    }

    unsafe fn run_part(&self, phase: usize, part: usize, scratch: *mut u32) {
        if phase == 1 {
            return self.join();
        }
        let (kept, number) = (part / self.n_partial(), part % self.n_partial());
        let units = kept * self.kept_part..((kept + 1) * self.kept_part).min(self.outer * self.pieces.len());
        let start = number * self.reduced_part;
        let part = Part { number, range: start..(start + self.reduced_part).min(self.reduced), done: 0 };
        // SAFETY: the caller's promise; parts have no kept position and part of the sum in common.
        unsafe { self.units(units, &part, scratch) };
    }

    fn rows_phase(&self) -> Option<usize> {
        self.batch.map(|_| 0)
    }

    unsafe fn run_rows(&self, rows: Range<usize>, scratch: *mut u32) {
        let batch = self.batch.unwrap_or_else(|| unreachable!("it has rows"));
        let all = self.outer * self.pieces.len();
        let (units, part) = if self.is_joined {
            let row = self.reduced / batch.rows;
            let number = rows.start / batch.part;
            let done = (rows.start - number * batch.part) * row;
            (0..all, Part { number, range: rows.start * row..rows.end * row, done })
        } else {
            let row = all / batch.rows;
            (rows.start * row..rows.end * row, Part { number: 0, range: 0..self.reduced, done: 0 })
        };
        // SAFETY: the caller's promise.
        unsafe { self.units(units, &part, scratch) };
    }
}

/// Whether a kernel runs by the rows of a batch, and whether these are reduced.
fn by_rows(
    shape: &[usize],
    kept: usize,
    inputs: &[Region],
    body: &Body,
    order: &[usize],
    batch: Batch,
) -> Option<(Batch, bool)> {
    let lens: Vec<usize> = inputs.iter().map(|input| input.len).collect();
    let axis = row_axis(shape, &lens, body, batch.rows)?;
    let outermost = if axis < kept { order.first() } else { order.iter().find(|axis| **axis >= kept) };
    (outermost == Some(&axis)).then_some((batch, axis >= kept))
}

/// The order of axes, their groups, and how many inner kept positions there are.
fn arrange(shape: &[usize], kept: usize, inputs: &[Region], body: &Body) -> (Vec<usize>, Vec<u8>, usize) {
    let strides = |axis: usize| {
        body.instrs.iter().filter_map(move |instr| match instr {
            Instr::Load(load) => Some((load.access.strides[axis], inputs[load.input].len)),
            _ => None,
        })
    };
    // Reduced axes in the order of memory; which comes first makes no difference to what is computed.
    let mut reduced: Vec<usize> = (kept..shape.len()).collect();
    reduced.sort_by_key(|axis| std::cmp::Reverse(strides(*axis).map(|(stride, _)| stride).max().unwrap_or(0)));
    let weight = |axis: usize| strides(axis).filter(|(stride, _)| *stride == 1).map(|(_, len)| len).sum::<usize>();
    let along_reduced = (kept..shape.len()).filter(|axis| shape[*axis] > 1).map(weight).max().unwrap_or(0);
    let last_kept = (0..kept).rfind(|axis| shape[*axis] > 1);
    let is_reducing = shape[kept..].iter().any(|dim| *dim > 1);
    let inner_from = match last_kept {
        // Inner kept axes: as many as follow each other in memory in the longest load.
        Some(last) if is_reducing && weight(last) > along_reduced => {
            let mut from = last;
            while from > 0
                && strides(from - 1).zip(strides(last)).all(|((outer, _), (inner, _))| {
                    let run: usize = shape[from..=last].iter().product();
                    outer == inner * run || outer == 0 && inner == 0
                })
            {
                from -= 1;
            }
            from
        }
        _ => kept,
    };
    let mut order: Vec<usize> = (0..inner_from).collect();
    order.extend(&reduced);
    order.extend(inner_from..kept);
    let groups = (0..shape.len()).map(|axis| if axis >= kept { 1 } else { 2 * u8::from(axis >= inner_from) }).collect();
    (order, groups, shape[inner_from..kept].iter().product())
}

/// Cuts a row of inner kept positions into pieces that each fit a tile.
fn pieces(program: &Program, inner: usize) -> Vec<(usize, usize)> {
    if inner == 1 {
        return vec![(0, 1)];
    }
    let mut pieces = Vec::new();
    let mut start = 0;
    while start < inner {
        let left = if program.by_rows { program.inner() - start % program.inner() } else { usize::MAX };
        let len = program.tile.min(inner - start).min(left);
        pieces.push((start, len));
        start += len;
    }
    pieces
}
