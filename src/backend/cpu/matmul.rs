//! Matrix products, cut into parts by their shape alone.

use super::Job;
use super::isa::Isa;
use super::memory::Region;
use super::product::{Inner, Outer, STRIP, Transpose, inner, outer, transpose};

/// Multiplications of a part: below twice as many, a second thread does not pay.
const PART_WORK: usize = 700_000;
/// Most parts of a product.
const MAX_PARTS: usize = 8;
/// Columns that are copied together: whole tiles of every vector length.
const PANEL: usize = 48;
/// Rows from which on copying pays, as it is paid back once by each eight.
const ROWS_TO_COPY: usize = 32;
/// A right operand of at most this many elements stays in the nearest cache, however its rows lie.
const SMALL: usize = 4096;
/// Length of the sums from which on adding up lanes at their end costs less than transposing the right operand.
const LONG: usize = 192;

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
    out: Region,
    isa: Isa,
    transpose_a: bool,
    transpose_b: bool,
    /// Where each step of the sums is in a row of `a`.
    a_steps: Vec<usize>,
    /// Where the row of each step begins in `b`, and in the copy of a panel.
    b_steps: Vec<usize>,
    panel_steps: Vec<usize>,
    /// Where each column begins in `b`; only for [`Form::Inner`].
    b_columns: Vec<usize>,
    /// Rows and columns of a part.
    part: [usize; 2],
}

impl MatMul {
    /// Binds a product of `[m, n, k]`.
    pub fn new(
        [m, n, k]: [usize; 3],
        transpose_a: bool,
        transpose_b: bool,
        [a, b, out]: [Region; 3],
        isa: Isa,
    ) -> MatMul {
        a.expect_floats(m * k, "the left operand of a product");
        b.expect_floats(k * n, "the right operand of a product");
        out.expect_floats(m * n, "a product");
        let form = if transpose_b && !transpose_a && k >= LONG { Form::Inner } else { Form::Outer };
        let parts = (m * n * k / PART_WORK).clamp(1, MAX_PARTS);
        let columns = match form {
            Form::Inner => n.div_ceil(parts).next_multiple_of(PANEL / 2),
            Form::Outer => n.div_ceil(parts).next_multiple_of(PANEL),
        };
        // Rows are cut where there are too few columns, but not so short that panels are copied for nothing.
        let rows = m.div_ceil(parts / n.div_ceil(columns)).next_multiple_of(ROWS_TO_COPY);
        let steps = |count: usize, stride: usize| (0..count).map(|at| at * stride).collect();
        MatMul {
            form,
            rows: m,
            columns: n,
            a,
            b,
            out,
            isa,
            transpose_a,
            transpose_b,
            a_steps: steps(k, if transpose_a { STRIP } else { 1 }),
            b_steps: steps(k, n),
            panel_steps: steps(k, PANEL),
            b_columns: steps(if form == Form::Inner { n } else { 0 }, k),
            part: [rows.min(m), columns.min(n)],
        }
    }

    fn k(&self) -> usize {
        self.a_steps.len()
    }

    /// Whether columns of the right operand are read where they lie. They are whole vectors then, so that none is read
    /// beyond the end.
    fn in_place(&self, rows: usize, columns: usize) -> bool {
        !self.transpose_b && columns.is_multiple_of(16) && (rows < ROWS_TO_COPY || self.b.len <= SMALL)
    }

    /// Copies columns of `b` to a panel, with zeros behind them.
    ///
    /// # Safety
    /// The panel has [`PANEL`] floats for each step, for this thread alone.
    unsafe fn copy_panel(&self, column: usize, columns: usize, panel: *mut f32) {
        let k = self.k();
        // SAFETY: the caller's promise, and the columns are inside the operand.
        unsafe {
            if self.transpose_b {
                if columns < PANEL {
                    panel.write_bytes(0, PANEL * k);
                }
                let from = self.b.floats().cast_const().add(column * k);
                let copy = Transpose { rows: columns, columns: k, from, from_row: k, to: panel, to_row: PANEL };
                transpose(self.isa, copy);
                return;
            }
            let from = self.b.slice();
            for (step, from) in from.chunks_exact(self.columns).enumerate() {
                let to = &mut *panel.add(step * PANEL).cast::<[f32; PANEL]>();
                let from = &from[column..column + columns];
                match <&[f32; PANEL]>::try_from(from) {
                    Ok(from) => *to = *from,
                    Err(_) => {
                        to[..columns].copy_from_slice(from);
                        to[columns..].fill(0.0);
                    }
                }
            }
        }
    }

    /// Copies rows of a transposed left operand to strips.
    ///
    /// # Safety
    /// `to` has room for whole strips, for this thread alone.
    unsafe fn copy_strips(&self, row: usize, rows: usize, to: *mut f32) {
        let k = self.k();
        // SAFETY: the caller's promise.
        let (from, to) = unsafe {
            let len = rows.next_multiple_of(STRIP) * k;
            (self.a.slice(), std::slice::from_raw_parts_mut(to, len))
        };
        for (strip, to) in to.chunks_exact_mut(STRIP * k).enumerate() {
            let first = row + strip * STRIP;
            let own = STRIP.min(row + rows - first);
            for (to, from) in to.chunks_exact_mut(STRIP).zip(from.chunks_exact(self.rows)) {
                match (to.first_chunk_mut::<STRIP>(), from[first..].first_chunk::<STRIP>()) {
                    (Some(to), Some(from)) => *to = *from,
                    _ => to[..own].copy_from_slice(&from[first..first + own]),
                }
            }
        }
    }

    /// # Safety
    /// As [`Job::run_part`].
    unsafe fn outer_part(&self, [row, rows]: [usize; 2], [start, end]: [usize; 2], scratch: *mut f32) {
        // SAFETY: the regions have the sizes of the product, parts have no element in common, and scratch memory holds
        // a panel and the strips.
        unsafe {
            let strips = scratch.add(PANEL * self.k());
            let a = if self.transpose_a {
                self.copy_strips(row, rows, strips);
                strips.cast_const()
            } else {
                self.a.floats().cast_const().add(row * self.k())
            };
            let mut column = start;
            while column < end {
                let columns = PANEL.min(end - column);
                let (b, b_steps) = if self.in_place(rows, columns) {
                    (self.b.floats().cast_const().add(column), &self.b_steps)
                } else {
                    self.copy_panel(column, columns, scratch);
                    (scratch.cast_const(), &self.panel_steps)
                };
                let product = Outer {
                    rows,
                    columns,
                    a,
                    a_row: if self.transpose_a { 1 } else { self.k() },
                    a_strip: STRIP * self.k(),
                    a_steps: &self.a_steps,
                    b,
                    b_steps,
                    out: self.out.floats().add(row * self.columns + column),
                    out_row: self.columns,
                    fragments: None,
                };
                outer(self.isa, &product);
                column += columns;
            }
        }
    }
}

impl Job for MatMul {
    fn parts(&self) -> usize {
        self.rows.div_ceil(self.part[0]) * self.columns.div_ceil(self.part[1])
    }

    fn scratch_words(&self) -> usize {
        match self.form {
            Form::Inner => 0,
            Form::Outer => {
                let strips = if self.transpose_a { self.part[0].next_multiple_of(STRIP) } else { 0 };
                (PANEL + strips) * self.k()
            }
        }
    }

    unsafe fn run_part(&self, part: usize, scratch: *mut u32) {
        let across = self.columns.div_ceil(self.part[1]);
        let row = part / across * self.part[0];
        let rows = self.part[0].min(self.rows - row);
        let column = part % across * self.part[1];
        let end = (column + self.part[1]).min(self.columns);
        // SAFETY: the caller's promise; parts have no element in common.
        unsafe {
            match self.form {
                Form::Outer => self.outer_part([row, rows], [column, end], scratch.cast()),
                Form::Inner => {
                    let product = Inner {
                        rows,
                        a: self.a.floats().add(row * self.k()),
                        a_row: self.k(),
                        a_pieces: &[0],
                        b: self.b.floats(),
                        b_columns: &self.b_columns[column..end],
                        b_pieces: &[0],
                        length: self.k(),
                        out: self.out.floats().add(row * self.columns + column),
                        out_row: self.columns,
                        add: false,
                    };
                    inner(self.isa, &product);
                }
            }
        }
    }
}
