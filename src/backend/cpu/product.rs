//! Tiles of matrix products whose sums stay in registers.

use super::isa::{Arithmetic, for_each_isa};
use super::vector::Vector;

/// Vectors beside each other in a tile.
const VECTORS: usize = 3;
/// Most floats of a tile: rows times columns.
const TILE: usize = 8 * VECTORS * 16;

/// `out [rows, columns] = a · b`, where each step of the sums has its own place in `a` and `b`:
/// `out[i, j] = Σₖ a[i·a_row + a_steps[k]] · b[b_steps[k] + j]`.
#[derive(Clone, Copy)]
pub struct Outer<'a> {
    /// Rows of the result.
    pub rows: usize,
    /// Columns of the result.
    pub columns: usize,
    /// Where `a` begins.
    pub a: *const f32,
    /// From one row of `a` to the next.
    pub a_row: usize,
    /// Where each step is in a row of `a`.
    pub a_steps: &'a [usize],
    /// Where `b` begins.
    pub b: *const f32,
    /// Where the row of each step begins in `b`.
    pub b_steps: &'a [usize],
    /// Where the result begins.
    pub out: *mut f32,
    /// From one row of the result to the next.
    pub out_row: usize,
}

for_each_isa! {
    /// Computes a product.
    ///
    /// # Safety
    /// The processor has `isa`, all elements are inside their allocations, and those of `b` even when the number of
    /// columns is rounded up to a multiple of 16. No one else uses the result.
    pub unsafe fn outer(product: &Outer<'_>) = outer_body
}

/// # Safety
/// As [`outer`].
#[inline(always)]
unsafe fn outer_body<A: Arithmetic>(product: &Outer<'_>) {
    let width = VECTORS * A::Vector::LANES;
    let mut column = 0;
    while column < product.columns {
        let columns = width.min(product.columns - column);
        let mut row = 0;
        while row < product.rows {
            let left = product.rows - row;
            // SAFETY: the caller's promise.
            unsafe {
                row += match left {
                    8.. if A::Vector::ROWS >= 8 => outer_rows::<A::Vector, 8>(product, row, column, columns),
                    4.. => outer_rows::<A::Vector, 4>(product, row, column, columns),
                    2.. => outer_rows::<A::Vector, 2>(product, row, column, columns),
                    _ => outer_rows::<A::Vector, 1>(product, row, column, columns),
                };
            }
        }
        column += columns;
    }
}

/// Computes `ROWS` rows of a few columns.
///
/// # Safety
/// As [`outer`].
#[inline(always)]
unsafe fn outer_rows<V: Vector, const ROWS: usize>(p: &Outer<'_>, row: usize, column: usize, columns: usize) -> usize {
    // SAFETY: the caller's promise.
    unsafe {
        match columns.div_ceil(V::LANES) {
            1 => outer_tile::<V, ROWS, 1>(p, row, column, columns),
            2 => outer_tile::<V, ROWS, 2>(p, row, column, columns),
            _ => outer_tile::<V, ROWS, VECTORS>(p, row, column, columns),
        }
    }
    ROWS
}

/// Computes a tile.
///
/// # Safety
/// As [`outer`].
#[inline(always)]
unsafe fn outer_tile<V: Vector, const ROWS: usize, const N: usize>(
    p: &Outer<'_>,
    row: usize,
    column: usize,
    columns: usize,
) {
    // SAFETY: the caller's promise.
    unsafe {
        let a: [*const f32; ROWS] = std::array::from_fn(|at| p.a.add((row + at) * p.a_row));
        let b = p.b.add(column);
        let mut sums = [[V::splat(0.0); N]; ROWS];
        for (a_step, b_step) in p.a_steps.iter().zip(p.b_steps) {
            let from = b.add(*b_step);
            let b: [V; N] = std::array::from_fn(|at| V::load(from.add(at * V::LANES)));
            for at in 0..ROWS {
                let a = V::splat(*a[at].add(*a_step));
                for vector in 0..N {
                    sums[at][vector] = sums[at][vector].add_product(a, b[vector]);
                }
            }
        }
        let out = p.out.add(row * p.out_row + column);
        if columns == N * V::LANES {
            for (at, sums) in sums.iter().enumerate() {
                for (vector, sum) in sums.iter().enumerate() {
                    sum.store(out.add(at * p.out_row + vector * V::LANES));
                }
            }
        } else {
            for (at, sums) in sums.iter().enumerate() {
                let mut whole = [0.0_f32; TILE / 8];
                for (vector, sum) in sums.iter().enumerate() {
                    sum.store(whole.as_mut_ptr().add(vector * V::LANES));
                }
                std::ptr::copy_nonoverlapping(whole.as_ptr(), out.add(at * p.out_row), columns);
            }
        }
    }
}

/// `out [rows, columns] += a · bᵀ`, summed along memory: `out[i, j] += Σₛ Σₖ a[s·a_piece + i·a_row + k] ·
/// b[s·b_piece + b_columns[j] + k]`.
#[derive(Clone, Copy)]
pub struct Inner<'a> {
    /// Rows of the result.
    pub rows: usize,
    /// Where `a` begins.
    pub a: *const f32,
    /// From one row of `a` to the next.
    pub a_row: usize,
    /// From one piece of the sums to the next in `a`.
    pub a_piece: usize,
    /// Where `b` begins.
    pub b: *const f32,
    /// Where each column of the result begins in `b`.
    pub b_columns: &'a [usize],
    /// From one piece of the sums to the next in `b`.
    pub b_piece: usize,
    /// How many pieces.
    pub pieces: usize,
    /// Length of a piece; a multiple of 16.
    pub length: usize,
    /// Where the result begins.
    pub out: *mut f32,
    /// From one row of the result to the next.
    pub out_row: usize,
}

for_each_isa! {
    /// Adds a product.
    ///
    /// # Safety
    /// The processor has `isa`, and all elements are inside their allocations. No one else uses the result.
    pub unsafe fn inner(product: &Inner<'_>) = inner_body
}

/// # Safety
/// As [`inner`].
#[inline(always)]
unsafe fn inner_body<A: Arithmetic>(product: &Inner<'_>) {
    let mut row = 0;
    while row < product.rows {
        let left = product.rows - row;
        let mut column = 0;
        while column < product.b_columns.len() {
            // SAFETY: the caller's promise.
            unsafe {
                match left {
                    8.. if A::Vector::ROWS >= 8 => inner_tile::<A::Vector, 8>(product, row, column),
                    4.. => inner_tile::<A::Vector, 4>(product, row, column),
                    2.. => inner_tile::<A::Vector, 2>(product, row, column),
                    _ => inner_tile::<A::Vector, 1>(product, row, column),
                }
            }
            column += VECTORS;
        }
        row += match left {
            8.. if A::Vector::ROWS >= 8 => 8,
            4.. => 4,
            2.. => 2,
            _ => 1,
        };
    }
}

/// Computes a tile.
///
/// # Safety
/// As [`inner`].
#[inline(always)]
unsafe fn inner_tile<V: Vector, const ROWS: usize>(p: &Inner<'_>, row: usize, column: usize) {
    let last = p.b_columns.len() - 1;
    // SAFETY: the caller's promise. Columns past the last repeat it and are not written.
    unsafe {
        let mut sums = [[V::splat(0.0); VECTORS]; ROWS];
        for piece in 0..p.pieces {
            let a: [*const f32; ROWS] = std::array::from_fn(|at| p.a.add(piece * p.a_piece + (row + at) * p.a_row));
            let b: [*const f32; VECTORS] =
                std::array::from_fn(|at| p.b.add(piece * p.b_piece + p.b_columns[last.min(column + at)]));
            let mut at = 0;
            while at < p.length {
                let b: [V; VECTORS] = std::array::from_fn(|column| V::load(b[column].add(at)));
                for row in 0..ROWS {
                    let a = V::load(a[row].add(at));
                    for column in 0..VECTORS {
                        sums[row][column] = sums[row][column].add_product(a, b[column]);
                    }
                }
                at += V::LANES;
            }
        }
        for (at, sums) in sums.iter().enumerate() {
            for (to, sum) in sums.iter().enumerate().take(last + 1 - column) {
                *p.out.add((row + at) * p.out_row + column + to) += total(*sum);
            }
        }
    }
}

/// The sum of the lanes, by halves.
///
/// # Safety
/// The processor has the instructions of the vector.
#[inline(always)]
unsafe fn total<V: Vector>(vector: V) -> f32 {
    let mut lanes = [0.0_f32; 16];
    // SAFETY: no vector has more than 16 lanes; the rest is the caller's promise.
    unsafe { vector.store(lanes.as_mut_ptr()) };
    let mut width = V::LANES / 2;
    while width > 0 {
        for lane in 0..width {
            lanes[lane] += lanes[lane + width];
        }
        width /= 2;
    }
    lanes[0]
}
