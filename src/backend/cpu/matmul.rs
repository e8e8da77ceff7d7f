//! Matrix products, cut into parts by their shape alone.

use std::ops::Range;

use super::epilogue::{Beginning, Output};
use super::isa::{Isa, second_cache};
use super::memory::{Region, Words};
use super::product::{Finish, Inner, Outer, STRIP, Steps, Transpose, inner, outer, transpose};
use super::tile::Frame;
use super::{Job, Turn};

/// Multiplications of a part: below twice as many, a second thread does not pay.
const PART_WORK: usize = 700_000;
/// The same where the threads have other products at the same time, and wait for none.
const PART_WORK_BESIDE: usize = 50_000;
/// Most parts of a product.
const MAX_PARTS: usize = 8;
/// Columns that parts begin with a multiple of: whole tiles of every vector length.
const PANEL: usize = 48;
/// Fewest columns for which copying rows of the left operand pays: where rows are a multiple of 4 KiB long, those of a tile
/// want the same few places of the nearest cache.
const COLUMNS_TO_PACK: usize = 96;
/// Most rows of the left operand that are copied together.
const BLOCK: usize = 256;
/// Fewest columns of a part with an epilogue: shorter runs cost more to begin than to compute.
const RUN: usize = 240;
/// Rows from which on copying the right operand pays, as it is paid back once by each eight.
const ROWS_TO_COPY: usize = 32;
/// A right operand of at most this many elements stays in the nearest cache, however its rows lie.
const SMALL: usize = 4096;
/// Elements of the right operand that a part may go through again and again: a quarter of the second cache.
const NEAR: usize = 128 * 1024;
/// Length of the sums from which on adding up lanes at their end costs less than transposing the right operand.
const LONG: usize = 192;
/// Rows from which on transposing pays all the same.
const ROWS_TO_TRANSPOSE: usize = 48;
/// Length of a piece of the sums, so that a strip of it stays in the nearest cache.
const PIECE: usize = 1024;
/// Elements of the right operand, along the sums, that all rows go through before the next ones: half of the nearest cache.
const GROUP: usize = 4096;
/// Most steps of the sums at once where lanes are columns: what a tile reads of a panel then stays in the nearest cache.
const DEPTH: usize = 256;
/// Results before the epilogue: few beside what the second cache holds of the operands.
const RESULTS: usize = 16 * 1024;
/// Most rows of those.
const MAX_TOGETHER: usize = 64;

/// How a product is computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// Both operands run along the sums: lanes of the sums are added up at the end.
    Inner,
    /// Lanes are columns of the result.
    Outer,
}

/// A product.
pub struct MatMul {
    form: Form,
    rows: usize,
    columns: usize,
    a: Region,
    b: Region,
    /// What becomes of sums that have all their terms.
    beginning: Beginning,
    out: Output,
    isa: Isa,
    transpose_a: bool,
    transpose_b: bool,
    /// From one row of `a` to the next, where it lies.
    a_row: usize,
    /// How many steps the sums have.
    k: usize,
    /// From one step of the sums to the next in a row of `a`, or of a strip.
    a_step: usize,
    /// From one step to the next in `b`, or in a panel.
    b_step: usize,
    /// Columns of a panel that is copied, or all.
    panel: usize,
    /// Whether rows of the left operand are copied to strips, `[strip, step, row]`.
    packs: bool,
    /// Steps of the sums at once.
    depth: usize,
    /// Rows that are copied together: as many as half of the second cache holds.
    block: usize,
    /// Where each column begins in `b`; only for [`Form::Inner`].
    b_columns: Vec<usize>,
    /// The right operand in panels of columns, `[panel, step, column]`; empty if it is read where it lies.
    panels: Words,
    /// Rows and columns of a part.
    part: [usize; 2],
    /// Whether parts are rows of the batch.
    by_rows: bool,
}

impl MatMul {
    /// Binds a product of `[m, n, k]`. Rows of the result are those of the batch, if it runs by them.
    pub fn new(
        [m, n, k]: [usize; 3],
        transpose_a: bool,
        transpose_b: bool,
        [a, b]: [Region; 2],
        (beginning, out): (Beginning, Output),
        turn: Turn,
        isa: Isa,
    ) -> MatMul {
        a.expect_floats(m * k, "the left operand of a product");
        b.expect_floats(k * n, "the right operand of a product");
        out.expect_floats(m * n, "a product");
        let is_inner = transpose_b && !transpose_a && k >= LONG && m < ROWS_TO_TRANSPOSE;
        let form = if is_inner { Form::Inner } else { Form::Outer };
        // No vector is read beyond the end if columns are whole vectors.
        let in_place = !transpose_b && n.is_multiple_of(16) && (m < ROWS_TO_COPY || k * n <= SMALL);
        let copies = form == Form::Outer && !in_place;
        let panel = if copies { panel(n, isa.lanes()) } else { n };
        let packs = form == Form::Outer && (transpose_a && m * k > SMALL || copies && n >= COLUMNS_TO_PACK);
        let fewest = match &out {
            Output::Epilogue(_) => RUN,
            // Parts begin with whole panels.
            Output::Buffer(_) if copies => panel.max(PANEL),
            Output::Buffer(_) => PANEL,
        };
        let part = match turn {
            Turn::Alone => cut([m, n, k], form, fewest, PART_WORK),
            Turn::Beside => cut([m, n, k], form, fewest, PART_WORK_BESIDE),
            Turn::Rows(batch) => {
                assert_eq!((m, transpose_a), (batch.rows, false), "the result has a row for each of the batch");
                [batch.part, n]
            }
        };
        let depth = k.div_ceil(k.div_ceil(DEPTH).max(1));
        let block = second_cache() / 2 / (4 * depth.max(1));
        let (a_row, a_step) = if transpose_a { (1, m) } else { (k, 1) };
        MatMul {
            form,
            rows: m,
            columns: n,
            a,
            b,
            isa,
            transpose_a,
            transpose_b,
            a_row,
            k,
            a_step: if packs { STRIP } else { a_step },
            b_step: if copies { panel } else { n },
            panel,
            packs,
            depth,
            block: (block / STRIP * STRIP).clamp(MAX_TOGETHER, BLOCK),
            b_columns: (0..if form == Form::Inner { n } else { 0 }).map(|column| column * k).collect(),
            panels: Words::zeroed(if copies { n.div_ceil(panel) * panel * k } else { 0 }),
            part,
            by_rows: turn.batch().is_some(),
            beginning,
            out,
        }
    }

    fn copies(&self) -> bool {
        self.panels.len() > 0
    }

    fn n_panels(&self) -> usize {
        self.columns.div_ceil(self.panel)
    }

    /// Panels that a part of the first phase copies.
    fn panels_of_part(&self) -> usize {
        let parts = (self.b.len * 8 / PART_WORK).clamp(1, MAX_PARTS);
        self.n_panels().div_ceil(parts)
    }

    /// Copies columns of `b` to a panel, with zeros behind them.
    ///
    /// # Safety
    /// The panel is this thread's.
    unsafe fn copy_panel(&self, idx: usize) {
        let (k, width) = (self.k, self.panel);
        let column = idx * width;
        let columns = width.min(self.columns - column);
        // SAFETY: the panel and the columns are inside their allocations; the rest is the caller's promise.
        unsafe {
            let panel = self.panels.start().cast::<f32>().add(column * k);
            if self.transpose_b {
                // What lies behind the last column is 0 from the beginning.
                let from = self.b.floats().cast_const().add(column * k);
                let copy = Transpose { rows: columns, columns: k, from, from_row: k, to: panel, to_row: width };
                return transpose(self.isa, copy);
            }
            let to = std::slice::from_raw_parts_mut(panel, width * k);
            let (from, columns) = (self.b.slice(), column..column + columns);
            match width {
                24 => copy_columns::<24>(from, self.columns, columns, to),
                32 => copy_columns::<32>(from, self.columns, columns, to),
                48 => copy_columns::<48>(from, self.columns, columns, to),
                64 => copy_columns::<64>(from, self.columns, columns, to),
                _ => unreachable!("panels have three or four vectors of 8 or 16, not {width} columns"),
            }
        }
    }

    /// Copies rows of the left operand, of some steps of the sums, to strips.
    ///
    /// # Safety
    /// `to` has room for whole strips, for this thread alone.
    unsafe fn copy_strips(&self, rows: Range<usize>, steps: Range<usize>, to: *mut f32) {
        for (strip, row) in rows.clone().step_by(STRIP).enumerate() {
            let own = STRIP.min(rows.end - row);
            // SAFETY: the caller's promise; the rows and steps are those of the operand.
            unsafe {
                let to = to.add(strip * STRIP * steps.len());
                if self.transpose_a {
                    let from = &self.a.slice()[steps.start * self.rows..steps.end * self.rows];
                    let to = std::slice::from_raw_parts_mut(to, STRIP * steps.len());
                    copy_columns::<STRIP>(from, self.rows, row..row + own, to);
                } else {
                    let k = self.k;
                    let from = self.a.floats().cast_const().add(row * k + steps.start);
                    let copy = Transpose { rows: own, columns: steps.len(), from, from_row: k, to, to_row: STRIP };
                    transpose(self.isa, copy);
                }
            }
        }
    }

    /// Computes rows of some columns; `out` is where the result begins, and `strips` where rows may be copied to.
    ///
    /// # Safety
    /// As [`Job::run_part`]; the result and the strips are this thread's.
    unsafe fn product(
        &self,
        rows: Range<usize>,
        [start, end]: [usize; 2],
        out: *mut f32,
        out_row: usize,
        strips: *mut f32,
    ) {
        let k = self.k;
        match self.form {
            Form::Inner => {
                for piece in (0..k).step_by(PIECE) {
                    let length = PIECE.min(k - piece);
                    let together = (GROUP / length).max(6) / 6 * 6;
                    for column in (start..end).step_by(together) {
                        // SAFETY: the caller's promise.
                        unsafe {
                            let product = Inner {
                                rows: rows.len(),
                                a: self.a.floats().cast_const().add(rows.start * k + piece),
                                a_row: k,
                                a_pieces: &[0],
                                b: self.b.floats().add(piece),
                                b_columns: &self.b_columns[column..(column + together).min(end)],
                                b_pieces: &[0],
                                length,
                                out: out.add(column - start),
                                out_row,
                                add: piece > 0,
                                finish: if piece + length == k {
                                    self.beginning.at_column(column)
                                } else {
                                    Finish::default()
                                },
                            };
                            inner(self.isa, &product);
                        }
                    }
                }
            }
            Form::Outer => {
                let block = if self.packs { self.block } else { rows.len() };
                for step in (0..k).step_by(self.depth) {
                    let steps = step..(step + self.depth).min(k);
                    for row in rows.clone().step_by(block) {
                        let own = block.min(rows.end - row);
                        // SAFETY: the caller's promise.
                        let out = unsafe { out.add((row - rows.start) * out_row) };
                        // SAFETY: the caller's promise.
                        unsafe { self.outer_block(row..row + own, steps.clone(), [start, end], out, out_row, strips) };
                    }
                }
            }
        }
    }

    /// Adds some steps of the sums to some rows, or begins with them.
    ///
    /// # Safety
    /// As [`MatMul::product`]; there are no more rows and steps than strips have room for.
    unsafe fn outer_block(
        &self,
        rows: Range<usize>,
        steps: Range<usize>,
        [start, end]: [usize; 2],
        out: *mut f32,
        out_row: usize,
        strips: *mut f32,
    ) {
        // SAFETY: the caller's promise; parts begin with whole panels.
        unsafe {
            let (a, a_row, a_strip) = if self.packs {
                self.copy_strips(rows.clone(), steps.clone(), strips);
                (strips.cast_const(), 1, STRIP * steps.len())
            } else {
                let a = self.a.floats().cast_const();
                (a.add(rows.start * self.a_row + steps.start * self.a_step), self.a_row, STRIP * self.a_row)
            };
            for column in (start..end).step_by(self.panel) {
                let b = if self.copies() {
                    self.panels.start().cast::<f32>().cast_const().add(column * self.k)
                } else {
                    self.b.floats().cast_const().add(column)
                };
                let product = Outer {
                    rows: rows.len(),
                    columns: self.panel.min(end - column),
                    a,
                    a_row,
                    a_strip,
                    b: b.add(steps.start * self.b_step),
                    steps: Steps::even(steps.len(), [self.a_step, self.b_step]),
                    out: out.add(column - start),
                    out_row,
                    fragments: None,
                    add: steps.start > 0,
                    finish: if steps.end == self.k { self.beginning.at_column(column) } else { Finish::default() },
                };
                outer(self.isa, &product);
            }
        }
    }

    /// Rows whose results are in scratch memory at once.
    fn together(&self) -> usize {
        let rows = RESULTS / self.part[1] / STRIP * STRIP;
        rows.clamp(STRIP, MAX_TOGETHER).min(self.part[0].next_multiple_of(STRIP))
    }

    /// Computes a piece of the result, no larger than a part, and finishes it.
    ///
    /// # Safety
    /// As [`Job::run_part`]; the piece is this thread's.
    unsafe fn compute(&self, rows: Range<usize>, [start, end]: [usize; 2], scratch: *mut u32) {
        let (row, rows) = (rows.start, rows.len());
        // SAFETY: the caller's promise; scratch memory holds some rows of results, the strips of a part, and what the
        // epilogue needs.
        unsafe {
            let results = scratch.add(self.out.scratch_words()).cast::<f32>();
            let strips = results.add(self.results_words());
            match &self.out {
                Output::Buffer(out) => {
                    let out = out.floats().add(row * self.columns + start);
                    self.product(row..row + rows, [start, end], out, self.columns, strips);
                }
                Output::Epilogue(epilogue) => {
                    let frame = epilogue.frame(scratch);
                    let width = end - start;
                    for at in (0..rows).step_by(self.together()) {
                        let own = self.together().min(rows - at);
                        self.product(row + at..row + at + own, [start, end], results, width, strips);
                        let first = (row + at) * self.columns + start;
                        run_rows(&frame, [own, width, self.columns], first, results);
                    }
                }
            }
        }
    }

    /// Words of scratch memory before the strips.
    fn results_words(&self) -> usize {
        match &self.out {
            Output::Buffer(_) => 0,
            Output::Epilogue(_) => (self.together() * self.part[1]).next_multiple_of(16),
        }
    }
}

/// Columns of a panel that is copied: as many as a tile has, so that a tile reads all of the lines that it touches (256
/// steps of 24 columns are 24 KiB), or as two tiles of two vectors have.
fn panel(columns: usize, lanes: usize) -> usize {
    let lanes = lanes.max(8);
    if (3 * lanes + 1..=4 * lanes).contains(&columns) { 4 * lanes } else { 3 * lanes }
}

/// Rows and columns of a part of about `work` multiplications; `fewest` columns pay where lanes are columns.
fn cut([m, n, k]: [usize; 3], form: Form, fewest: usize, work: usize) -> [usize; 2] {
    let parts = (m * n * k / work).clamp(1, MAX_PARTS);
    let (unit, fewest) = match form {
        Form::Inner => (24, 24),
        Form::Outer => (PANEL, fewest),
    };
    let rows_at_most = m.div_ceil(STRIP);
    let across = (n * k).div_ceil(NEAR).max(parts.div_ceil(rows_at_most)).min(parts).min(n.div_ceil(fewest));
    let columns = n.div_ceil(across.max(1)).next_multiple_of(unit).min(n.next_multiple_of(unit));
    let down = (parts / n.div_ceil(columns)).clamp(1, rows_at_most);
    [m.div_ceil(down).next_multiple_of(STRIP).min(m), columns.min(n)]
}

/// Copies columns of rows of `row` floats to the beginning of rows of `W`.
fn copy_columns<const W: usize>(from: &[f32], row: usize, columns: Range<usize>, to: &mut [f32]) {
    for (to, from) in to.as_chunks_mut::<W>().0.iter_mut().zip(from.chunks_exact(row)) {
        let from = &from[columns.clone()];
        // As values of a known size, which take no call.
        if let Ok(from) = <&[f32; W]>::try_from(from) {
            *to = *from;
            continue;
        }
        let (eights, rest) = from.as_chunks::<8>();
        to.as_chunks_mut::<8>().0.iter_mut().zip(eights).for_each(|(to, from)| *to = *from);
        to[from.len() - rest.len()..from.len()].copy_from_slice(rest);
    }
}

impl Job for MatMul {
    fn phases(&self) -> usize {
        if self.copies() { 2 } else { 1 }
    }

    fn parts(&self, phase: usize) -> usize {
        if phase + 1 < self.phases() {
            return self.n_panels().div_ceil(self.panels_of_part());
        }
        self.rows.div_ceil(self.part[0]) * self.columns.div_ceil(self.part[1])
    }

    fn scratch_words(&self) -> usize {
        let strips = if self.packs { self.block * self.depth } else { 0 };
        self.out.scratch_words() + self.results_words() + strips
    }

    unsafe fn run_part(&self, phase: usize, part: usize, scratch: *mut u32) {
        if phase + 1 < self.phases() {
            let panels = self.panels_of_part();
            for panel in part * panels..((part + 1) * panels).min(self.n_panels()) {
                // SAFETY: the caller's promise; parts have no panel in common.
                unsafe { self.copy_panel(panel) };
            }
            return;
        }
        let across = self.columns.div_ceil(self.part[1]);
        let row = part / across * self.part[0];
        let start = part % across * self.part[1];
        let rows = row..(row + self.part[0]).min(self.rows);
        // SAFETY: the caller's promise; parts have no element in common.
        unsafe { self.compute(rows, [start, (start + self.part[1]).min(self.columns)], scratch) };
    }

    fn rows_phase(&self) -> Option<usize> {
        self.by_rows.then(|| self.phases() - 1)
    }

    unsafe fn run_rows(&self, rows: Range<usize>, scratch: *mut u32) {
        // SAFETY: the caller's promise.
        unsafe { self.compute(rows, [0, self.columns], scratch) };
    }
}

/// Runs an epilogue on `[rows, width]` results; rows of the whole result have `columns`, and `first` is the position of
/// the first.
///
/// # Safety
/// As [`Frame::run`].
unsafe fn run_rows(frame: &Frame<'_>, [rows, width, columns]: [usize; 3], first: usize, results: *const f32) {
    // SAFETY: the caller's promise.
    unsafe {
        if width == columns {
            return frame.run(first, rows * width, results);
        }
        for row in 0..rows {
            frame.run(first + row * columns, width, results.add(row * width));
        }
    }
}
