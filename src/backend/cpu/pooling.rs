//! Pooling over planes, and its gradients.

use std::ops::Range;

use super::isa::{Arithmetic, Isa, for_each_isa};
use super::math::round_to_half;
use super::memory::Region;
use super::{Batch, Job};
use crate::ir::PoolGeometry;

/// Elements of a part.
const PART_ELEMENTS: usize = 16_384;
/// Most parts of a kernel.
const MAX_PARTS: usize = 32;

/// Which of the four.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PoolKind {
    /// The largest of each window.
    Max,
    /// Its gradient.
    MaxGrad,
    /// The mean of each window.
    Average,
    /// Its gradient.
    AverageGrad,
}

/// A pooling kernel.
pub struct Pooling {
    kind: PoolKind,
    geometry: PoolGeometry,
    x: Option<Region>,
    grad: Option<Region>,
    out: Region,
    /// Whether sums are rounded to 16 bits.
    halves: bool,
    isa: Isa,
    part: usize,
    /// Planes of a row of the batch, if it runs by rows.
    row: Option<usize>,
}

impl Pooling {
    /// Binds a kernel; `x` and `grad` where its kind has them. With the result goes whether it is rounded to 16 bits.
    pub fn new(
        kind: PoolKind,
        geometry: PoolGeometry,
        x: Option<Region>,
        grad: Option<Region>,
        (out, halves): (Region, bool),
        batch: Option<Batch>,
        isa: Isa,
    ) -> Pooling {
        let g = &geometry;
        let (inputs, outputs) = (g.planes * g.input[0] * g.input[1], g.planes * g.output[0] * g.output[1]);
        if let Some(x) = x {
            x.expect_floats(inputs, "the image of a pool");
        }
        if let Some(grad) = grad {
            grad.expect_floats(outputs, "the gradient of a pool");
        }
        let is_gradient = matches!(kind, PoolKind::MaxGrad | PoolKind::AverageGrad);
        assert_eq!(is_gradient, grad.is_some(), "a gradient, and nothing else, is computed from one");
        assert_eq!(kind != PoolKind::AverageGrad, x.is_some(), "all but the gradient of the mean need the image");
        out.expect_floats(if is_gradient { inputs } else { outputs }, "the result of a pool");
        let parts = (inputs / PART_ELEMENTS).clamp(1, MAX_PARTS);
        let row = batch.map(|batch| g.planes / batch.rows);
        let part = batch.map_or(g.planes.div_ceil(parts), |batch| batch.part * (g.planes / batch.rows));
        Pooling { kind, geometry, x, grad, out, halves, isa, part, row }
    }
}

impl Job for Pooling {
    fn parts(&self, _phase: usize) -> usize {
        self.geometry.planes.div_ceil(self.part)
    }

    fn scratch_words(&self) -> usize {
        0
    }

    unsafe fn run_part(&self, _phase: usize, part: usize, _scratch: *mut u32) {
        let planes = part * self.part..((part + 1) * self.part).min(self.geometry.planes);
        // SAFETY: the caller's promise; each plane belongs to one part.
        unsafe { self.planes(planes) };
    }

    fn rows_phase(&self) -> Option<usize> {
        self.row.map(|_| 0)
    }

    unsafe fn run_rows(&self, rows: Range<usize>, _scratch: *mut u32) {
        let row = self.row.unwrap_or_else(|| unreachable!("it has rows"));
        // SAFETY: the caller's promise.
        unsafe { self.planes(rows.start * row..rows.end * row) };
    }
}

impl Pooling {
    /// Pools some planes.
    ///
    /// # Safety
    /// As [`Job::run_part`]; the planes are this thread's.
    unsafe fn planes(&self, planes: Range<usize>) {
        let g = &self.geometry;
        let (inputs, outputs) = (g.input[0] * g.input[1], g.output[0] * g.output[1]);
        for plane in planes {
            // SAFETY: no one writes to operands while a kernel runs, and the planes are this thread's.
            unsafe {
                let x = self.x.map_or(&[][..], |x| &x.slice()[plane * inputs..][..inputs]);
                let grad = self.grad.map_or(&[][..], |grad| &grad.slice()[plane * outputs..][..outputs]);
                let size = if self.grad.is_some() { inputs } else { outputs };
                let out = self.out.part_mut(plane * size, size);
                pool_plane(self.isa, self.kind, g, x, grad, out);
                if self.halves {
                    out.iter_mut().for_each(|x| *x = round_to_half(*x));
                }
            }
        }
    }
}

for_each_isa! {
    /// Pools one plane.
    ///
    /// # Safety
    /// The processor has `isa`.
    unsafe fn pool_plane(kind: PoolKind, geometry: &PoolGeometry, x: &[f32], grad: &[f32], out: &mut [f32]) = pool_plane_body
}

/// # Safety
/// None of its own.
#[inline(always)]
unsafe fn pool_plane_body<A: Arithmetic>(
    kind: PoolKind,
    geometry: &PoolGeometry,
    x: &[f32],
    grad: &[f32],
    out: &mut [f32],
) {
    let g = geometry;
    let by_two = g.kernel == [2, 2] && g.stride == [2, 2] && g.padding == [0, 0];
    let by_two = by_two && 2 * g.output[0] <= g.input[0] && 2 * g.output[1] <= g.input[1];
    let is_grad = matches!(kind, PoolKind::MaxGrad | PoolKind::AverageGrad);
    if by_two {
        if is_grad && (g.input[0] != 2 * g.output[0] || g.input[1] != 2 * g.output[1]) {
            out.fill(0.0);
        }
        for row in 0..g.output[0] {
            let (width, half) = (g.input[1], g.output[1]);
            match kind {
                PoolKind::Max => max_pairs(pair(x, row, width, half), &mut out[row * half..][..half]),
                PoolKind::Average => average_pairs(pair(x, row, width, half), &mut out[row * half..][..half]),
                PoolKind::MaxGrad => {
                    let to = pair_mut(out, row, width, half);
                    max_pairs_grad(pair(x, row, width, half), &grad[row * half..][..half], to);
                }
                PoolKind::AverageGrad => {
                    average_pairs_grad(&grad[row * half..][..half], pair_mut(out, row, width, half))
                }
            }
        }
        return;
    }
    if is_grad {
        out.fill(0.0);
    }
    let share = 1.0 / (g.kernel[0] * g.kernel[1]) as f32;
    for row in 0..g.output[0] {
        let rows = window(g, 0, row);
        for column in 0..g.output[1] {
            let at = row * g.output[1] + column;
            let columns = window(g, 1, column);
            match kind {
                PoolKind::Max => {
                    out[at] = largest(g, x, rows.clone(), columns).map_or(f32::NEG_INFINITY, |(_, best)| best)
                }
                PoolKind::MaxGrad => {
                    if let Some((place, _)) = largest(g, x, rows.clone(), columns) {
                        out[place] += grad[at];
                    }
                }
                PoolKind::Average => {
                    let mut sum = 0.0;
                    for y in rows.clone() {
                        sum += x[y * g.input[1]..][columns.clone()].iter().sum::<f32>();
                    }
                    out[at] = sum * share;
                }
                PoolKind::AverageGrad => {
                    for y in rows.clone() {
                        out[y * g.input[1]..][columns.clone()].iter_mut().for_each(|out| *out += grad[at] * share);
                    }
                }
            }
        }
    }
}

/// The part of a window that lies in the image.
#[inline(always)]
fn window(g: &PoolGeometry, axis: usize, at: usize) -> Range<usize> {
    let start = at * g.stride[axis];
    let end = (start + g.kernel[axis]).saturating_sub(g.padding[axis]).min(g.input[axis]);
    start.saturating_sub(g.padding[axis]).min(end)..end
}

/// Place and value of the first largest of a window; NaN counts as largest.
#[inline(always)]
fn largest(g: &PoolGeometry, x: &[f32], rows: Range<usize>, columns: Range<usize>) -> Option<(usize, f32)> {
    let mut best: Option<(usize, f32)> = None;
    for y in rows {
        for (column, value) in columns.clone().zip(&x[y * g.input[1]..][columns.clone()]) {
            if best.is_none_or(|(_, best)| beats(best, *value)) {
                best = Some((y * g.input[1] + column, *value));
            }
        }
    }
    best
}

/// Whether `value` is larger than the best before it. Without branches, so that lanes can be compared together.
#[inline(always)]
fn beats(best: f32, value: f32) -> bool {
    (value > best) | (value.is_nan() & !best.is_nan())
}

/// The two rows of an image that a row of windows covers.
#[inline(always)]
fn pair(x: &[f32], row: usize, width: usize, half: usize) -> (&[f32], &[f32]) {
    (&x[2 * row * width..][..2 * half], &x[(2 * row + 1) * width..][..2 * half])
}

/// [`pair`] for writing.
#[inline(always)]
fn pair_mut(out: &mut [f32], row: usize, width: usize, half: usize) -> (&mut [f32], &mut [f32]) {
    let (upper, lower) = out[2 * row * width..].split_at_mut(width);
    (&mut upper[..2 * half], &mut lower[..2 * half])
}

#[inline(always)]
fn larger(best: f32, value: f32) -> f32 {
    if beats(best, value) { value } else { best }
}

/// Rows of windows are compared in blocks of the first size, then of the second, then one by one.
const BLOCKS: [usize; 2] = [16, 4];

/// The four pixels of `N` windows, place by place.
#[inline(always)]
fn windows<const N: usize>(upper: &[f32], lower: &[f32]) -> [[f32; N]; 4] {
    let (upper, lower) = (&upper[..2 * N], &lower[..2 * N]);
    let every_second = |pixels: &[f32], from: usize| std::array::from_fn(|at| pixels[2 * at + from]);
    [every_second(upper, 0), every_second(upper, 1), every_second(lower, 0), every_second(lower, 1)]
}

#[inline(always)]
fn max_block<const N: usize>(upper: &[f32], lower: &[f32], out: &mut [f32]) {
    let [a, b, c, d] = windows::<N>(upper, lower);
    let out = &mut out[..N];
    for at in 0..N {
        out[at] = larger(larger(larger(a[at], b[at]), c[at]), d[at]);
    }
}

#[inline(always)]
fn max_pairs((upper, lower): (&[f32], &[f32]), out: &mut [f32]) {
    let mut done = 0;
    while done < out.len() {
        let (upper, lower, left) = (&upper[2 * done..], &lower[2 * done..], out.len() - done);
        let out = &mut out[done..];
        done += match left {
            n if n >= BLOCKS[0] => {
                max_block::<{ BLOCKS[0] }>(upper, lower, out);
                BLOCKS[0]
            }
            n if n >= BLOCKS[1] => {
                max_block::<{ BLOCKS[1] }>(upper, lower, out);
                BLOCKS[1]
            }
            _ => {
                max_block::<1>(upper, lower, out);
                1
            }
        };
    }
}

#[inline(always)]
fn max_block_grad<const N: usize>(
    upper: &[f32],
    lower: &[f32],
    grad: &[f32],
    to_upper: &mut [f32],
    to_lower: &mut [f32],
) {
    let windows = windows::<N>(upper, lower);
    let (grad, to_upper, to_lower) = (&grad[..N], &mut to_upper[..2 * N], &mut to_lower[..2 * N]);
    // The bits of the gradient where a pixel is the largest, else none.
    let mut given = [[0_u32; N]; 4];
    for at in 0..N {
        let [a, b, c, d] = [windows[0][at], windows[1][at], windows[2][at], windows[3][at]];
        let mask = |wins: bool| if wins { u32::MAX } else { 0 };
        let (second, best) = (mask(beats(a, b)), larger(a, b));
        let (third, best) = (mask(beats(best, c)), larger(best, c));
        let fourth = mask(beats(best, d));
        let grad = grad[at].to_bits();
        given[0][at] = grad & !(second | third | fourth);
        given[1][at] = grad & second & !(third | fourth);
        given[2][at] = grad & third & !fourth;
        given[3][at] = grad & fourth;
    }
    for at in 0..N {
        to_upper[2 * at] = f32::from_bits(given[0][at]);
        to_upper[2 * at + 1] = f32::from_bits(given[1][at]);
        to_lower[2 * at] = f32::from_bits(given[2][at]);
        to_lower[2 * at + 1] = f32::from_bits(given[3][at]);
    }
}

#[inline(always)]
fn max_pairs_grad((upper, lower): (&[f32], &[f32]), grad: &[f32], (to_upper, to_lower): (&mut [f32], &mut [f32])) {
    let mut done = 0;
    while done < grad.len() {
        let (upper, lower, grad) = (&upper[2 * done..], &lower[2 * done..], &grad[done..]);
        let (to_upper, to_lower) = (&mut to_upper[2 * done..], &mut to_lower[2 * done..]);
        done += match grad.len() {
            n if n >= BLOCKS[0] => {
                max_block_grad::<{ BLOCKS[0] }>(upper, lower, grad, to_upper, to_lower);
                BLOCKS[0]
            }
            n if n >= BLOCKS[1] => {
                max_block_grad::<{ BLOCKS[1] }>(upper, lower, grad, to_upper, to_lower);
                BLOCKS[1]
            }
            _ => {
                max_block_grad::<1>(upper, lower, grad, to_upper, to_lower);
                1
            }
        };
    }
}

#[inline(always)]
fn average_pairs((upper, lower): (&[f32], &[f32]), out: &mut [f32]) {
    for (column, out) in out.iter_mut().enumerate() {
        let upper = upper[2 * column] + upper[2 * column + 1];
        *out = (upper + (lower[2 * column] + lower[2 * column + 1])) * 0.25;
    }
}

#[inline(always)]
fn average_pairs_grad(grad: &[f32], (to_upper, to_lower): (&mut [f32], &mut [f32])) {
    for (column, grad) in grad.iter().enumerate() {
        let share = *grad * 0.25;
        to_upper[2 * column] = share;
        to_upper[2 * column + 1] = share;
        to_lower[2 * column] = share;
        to_lower[2 * column + 1] = share;
    }
}
