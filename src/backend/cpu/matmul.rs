//! Matrix products, cut into parts by their shape alone.

use super::Job;
use super::isa::Isa;
use super::memory::Region;
use super::product::{Outer, outer};

/// Multiplications of a part: below twice as many, a second thread does not pay.
const PART_WORK: usize = 700_000;
/// Most parts of a product.
const MAX_PARTS: usize = 8;
/// Columns that are copied together: whole tiles of every vector length.
const PANEL: usize = 48;
/// Rows from which on copying pays, as it is paid back once by each eight.
const ROWS_TO_COPY: usize = 32;

/// A product.
pub struct MatMul {
    rows: usize,
    columns: usize,
    a: Region,
    b: Region,
    out: Region,
    isa: Isa,
    /// From one row of `a` to the next.
    a_row: usize,
    /// Where each step of the sums is in a row of `a`.
    a_steps: Vec<usize>,
    /// Where the row of each step begins in `b`, and in the copy of a panel.
    b_steps: Vec<usize>,
    panel_steps: Vec<usize>,
    transpose_b: bool,
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
        let parts = (m * n * k / PART_WORK).clamp(1, MAX_PARTS);
        let columns = n.div_ceil(parts).next_multiple_of(PANEL);
        // Rows are cut where there are too few columns, but not so short that panels are copied for nothing.
        let rows = m.div_ceil(parts / n.div_ceil(columns)).next_multiple_of(ROWS_TO_COPY);
        let steps = |stride: usize| (0..k).map(|at| at * stride).collect();
        MatMul {
            rows: m,
            columns: n,
            a,
            b,
            out,
            isa,
            a_row: if transpose_a { 1 } else { k },
            a_steps: steps(if transpose_a { m } else { 1 }),
            b_steps: steps(n),
            panel_steps: steps(PANEL),
            transpose_b,
            part: [rows, columns],
        }
    }

    /// Copies columns of `b` to a panel, with zeros behind them.
    fn copy_panel(&self, b: &[f32], column: usize, columns: usize, panel: &mut [f32]) {
        let k = self.a_steps.len();
        if self.transpose_b {
            if columns < PANEL {
                panel.fill(0.0);
            }
            for (at, from) in b[column * k..].chunks_exact(k).take(columns).enumerate() {
                for (to, from) in panel[at..].iter_mut().step_by(PANEL).zip(from) {
                    *to = *from;
                }
            }
        } else {
            for (to, from) in panel.chunks_exact_mut(PANEL).zip(b.chunks_exact(self.columns)) {
                to[..columns].copy_from_slice(&from[column..column + columns]);
                to[columns..].fill(0.0);
            }
        }
    }
}

impl Job for MatMul {
    fn parts(&self) -> usize {
        self.rows.div_ceil(self.part[0]) * self.columns.div_ceil(self.part[1])
    }

    fn scratch_words(&self) -> usize {
        PANEL * self.a_steps.len()
    }

    unsafe fn run_part(&self, part: usize, scratch: *mut u32) {
        let across = self.columns.div_ceil(self.part[1]);
        let row = part / across * self.part[0];
        let rows = self.part[0].min(self.rows - row);
        let mut column = part % across * self.part[1];
        let end = (column + self.part[1]).min(self.columns);
        while column < end {
            let columns = PANEL.min(end - column);
            // SAFETY: the regions have the sizes of the product, and parts have no element in common. Without a copy
            // the columns are whole vectors, so none is read beyond the end.
            unsafe {
                let in_place = !self.transpose_b && columns.is_multiple_of(16) && rows < ROWS_TO_COPY;
                let (b, b_steps) = if in_place {
                    (self.b.floats().cast_const().add(column), &self.b_steps)
                } else {
                    let panel = std::slice::from_raw_parts_mut(scratch.cast::<f32>(), self.scratch_words());
                    self.copy_panel(self.b.slice(), column, columns, panel);
                    (panel.as_ptr(), &self.panel_steps)
                };
                let product = Outer {
                    rows,
                    columns,
                    a: self.a.floats().add(row * self.a_row),
                    a_row: self.a_row,
                    a_steps: &self.a_steps,
                    b,
                    b_steps,
                    out: self.out.floats().add(row * self.columns + column),
                    out_row: self.columns,
                };
                outer(self.isa, &product);
            }
            column += columns;
        }
    }
}
