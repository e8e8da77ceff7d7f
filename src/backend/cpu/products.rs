//! Matrix products and convolutions, through the `gemm` crate on fixed parts of the result.

use super::bind::Bound;
use super::fused::Scratch;
use super::threads::Threads;
use crate::ir::ConvGeometry;

/// A matrix in memory: element `[i, j]` lies at `i·rows + j·columns`.
#[derive(Clone, Copy)]
struct Matrix {
    pointer: *const f32,
    rows: isize,
    columns: isize,
}

/// `out [m, n] (+)= a [m, k] · b [k, n]` on the calling thread; `out` is row-major with rows of `stride`.
///
/// # Safety
/// The matrices are in memory, and nobody else writes them or uses `out` meanwhile.
#[allow(clippy::too_many_arguments, reason = "the sizes and places of a product")]
unsafe fn product(m: usize, n: usize, k: usize, out: *mut f32, stride: usize, add: bool, a: Matrix, b: Matrix) {
    // SAFETY: as the caller promises.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            out,
            1,
            stride as isize,
            add,
            a.pointer,
            a.columns,
            a.rows,
            b.pointer,
            b.columns,
            b.rows,
            if add { 1.0 } else { 0.0 },
            1.0,
            false,
            false,
            false,
            gemm::Parallelism::None,
        );
    }
}

/// A matrix product bound to memory.
pub(super) struct MatMul {
    pub m: usize,
    pub n: usize,
    pub k: usize,
    pub transpose_a: bool,
    pub transpose_b: bool,
    pub a: Bound,
    pub b: Bound,
    pub out: Bound,
}

/// Multiply-adds below which a product stays on one thread.
const SERIAL: usize = 400_000;
/// Multiply-adds of one part of a product.
const PART: usize = 12_000_000;

impl MatMul {
    /// Runs the product. How it is divided depends on its sizes only.
    pub fn run(&self, threads: &Threads) {
        let (m, n, k) = (self.m, self.n, self.k);
        let work = m * n * k;
        // The longer side of the result is divided, in multiples of the kernels' tiles.
        let by_rows = m >= n;
        let side = if by_rows { m } else { n };
        let parts = if work < SERIAL { 1 } else { work.div_ceil(PART).max(2).min(side.div_ceil(32)) };
        let size = side.div_ceil(parts).next_multiple_of(16);
        let parts = side.div_ceil(size);
        threads.each(parts, true, |part, _| {
            let start = part * size;
            let len = size.min(side - start);
            let a = strides(self.transpose_a, m, k);
            let b = strides(self.transpose_b, k, n);
            let (row, column) = if by_rows { (start, 0) } else { (0, start) };
            // SAFETY: the parts of the result are apart, and the plan keeps operands from being written.
            unsafe {
                let a = Matrix { pointer: self.a.float_pointer(row * a.0), rows: a.0 as isize, columns: a.1 as isize };
                let b =
                    Matrix { pointer: self.b.float_pointer(column * b.1), rows: b.0 as isize, columns: b.1 as isize };
                let out = self.out.float_pointer(row * n + column);
                let (m, n_part) = if by_rows { (len, n) } else { (m, len) };
                product(m, n_part, k, out, n, false, a, b);
            }
        });
    }
}

/// Row and column strides of a matrix `[rows, columns]` that is stored transposed or not.
fn strides(transposed: bool, rows: usize, columns: usize) -> (usize, usize) {
    if transposed { (1, rows) } else { (columns, 1) }
}

/// Which convolution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Direction {
    Forward,
    InputGrad,
    WeightGrad,
}

/// A convolution, or one of its gradients, bound to memory.
///
/// Each image is unrolled to columns `[channels·taps, output pixels]` in the worker's scratch, so that the convolution
/// becomes a product.
pub(super) struct Conv {
    pub geometry: ConvGeometry,
    pub direction: Direction,
    /// Images, or their gradient.
    pub image: Bound,
    /// Filters, or their gradient.
    pub weight: Bound,
    /// The result, or its gradient.
    pub output: Bound,
}

/// Parts in which the images of a weight gradient are summed.
const SHARDS: usize = 8;

impl Conv {
    fn taps(&self) -> usize {
        let g = &self.geometry;
        g.channels / g.groups * g.kernel[0] * g.kernel[1]
    }

    fn pixels(&self) -> usize {
        self.geometry.output[0] * self.geometry.output[1]
    }

    /// Whether the columns are the image itself.
    fn is_pointwise(&self) -> bool {
        let g = &self.geometry;
        g.kernel == [1, 1] && g.stride == [1, 1] && g.padding == [0, 0] && g.input == g.output
    }

    /// Floats of scratch for each worker.
    pub fn floats(&self) -> usize {
        if self.is_pointwise() { 0 } else { self.taps() * self.pixels() }
    }

    /// Floats of scratch that all tasks share.
    pub fn shared(&self) -> usize {
        if self.direction == Direction::WeightGrad { self.shards() * self.weight.len } else { 0 }
    }

    fn shards(&self) -> usize {
        SHARDS.min(self.geometry.batch)
    }

    /// Runs the kernel.
    pub fn run(&self, threads: &Threads, scratch: &Scratch) {
        match self.direction {
            Direction::Forward => threads.each(self.geometry.batch, true, |image, worker| {
                // SAFETY: each task writes the result of its own image.
                unsafe { self.forward(image, scratch.floats(worker)) }
            }),
            Direction::InputGrad => threads.each(self.geometry.batch, true, |image, worker| {
                // SAFETY: each task writes the gradient of its own image.
                unsafe { self.input_grad(image, scratch.floats(worker)) }
            }),
            Direction::WeightGrad => self.weight_grad(threads, scratch),
        }
    }

    fn image_size(&self) -> usize {
        self.geometry.channels * self.geometry.input[0] * self.geometry.input[1]
    }

    fn output_size(&self) -> usize {
        self.geometry.filters * self.pixels()
    }

    /// The columns of one group of channels of an image.
    unsafe fn columns(&self, image: usize, group: usize, scratch: &mut [f32]) -> *const f32 {
        let g = &self.geometry;
        let plane = g.input[0] * g.input[1];
        let channels = g.channels / g.groups;
        let start = image * self.image_size() + group * channels * plane;
        if self.is_pointwise() {
            return self.image.float_pointer(start);
        }
        // SAFETY: the plan keeps the image from being written.
        let pixels = unsafe { self.image.floats(start, channels * plane) };
        let mut rows = scratch.chunks_exact_mut(self.pixels());
        for channel in 0..channels {
            let plane = &pixels[channel * plane..(channel + 1) * plane];
            for ky in 0..g.kernel[0] {
                for kx in 0..g.kernel[1] {
                    if let Some(row) = rows.next() {
                        unroll(g, plane, [ky, kx], row);
                    }
                }
            }
        }
        scratch.as_ptr()
    }

    unsafe fn forward(&self, image: usize, scratch: &mut [f32]) {
        let g = &self.geometry;
        let (taps, pixels, filters) = (self.taps(), self.pixels(), g.filters / g.groups);
        for group in 0..g.groups {
            // SAFETY: offsets are inside the buffers by the geometry.
            unsafe {
                let columns = self.columns(image, group, scratch);
                let weight = self.weight.float_pointer(group * filters * taps);
                let out = self.output.float_pointer(image * self.output_size() + group * filters * pixels);
                let a = Matrix { pointer: weight, rows: taps as isize, columns: 1 };
                let b = Matrix { pointer: columns, rows: pixels as isize, columns: 1 };
                product(filters, pixels, taps, out, pixels, false, a, b);
            }
        }
    }

    unsafe fn input_grad(&self, image: usize, scratch: &mut [f32]) {
        let g = &self.geometry;
        let (taps, pixels, filters) = (self.taps(), self.pixels(), g.filters / g.groups);
        let plane = g.input[0] * g.input[1];
        let channels = g.channels / g.groups;
        for group in 0..g.groups {
            // SAFETY: offsets are inside the buffers by the geometry; this task alone writes this image's gradient.
            unsafe {
                let weight = self.weight.float_pointer(group * filters * taps);
                let grad = self.output.float_pointer(image * self.output_size() + group * filters * pixels);
                let a = Matrix { pointer: weight, rows: 1, columns: taps as isize };
                let b = Matrix { pointer: grad, rows: pixels as isize, columns: 1 };
                let start = image * self.image_size() + group * channels * plane;
                if self.is_pointwise() {
                    product(taps, pixels, filters, self.image.float_pointer(start), pixels, false, a, b);
                    continue;
                }
                product(taps, pixels, filters, scratch.as_mut_ptr(), pixels, false, a, b);
                let out = self.image.floats_mut(start, channels * plane);
                out.fill(0.0);
                let mut rows = scratch.chunks_exact(pixels);
                for channel in 0..channels {
                    let plane = &mut out[channel * plane..(channel + 1) * plane];
                    for ky in 0..g.kernel[0] {
                        for kx in 0..g.kernel[1] {
                            if let Some(row) = rows.next() {
                                roll(g, row, [ky, kx], plane);
                            }
                        }
                    }
                }
            }
        }
    }

    fn weight_grad(&self, threads: &Threads, scratch: &Scratch) {
        let g = &self.geometry;
        let (taps, pixels, filters) = (self.taps(), self.pixels(), g.filters / g.groups);
        let shards = self.shards();
        let size = self.weight.len;
        threads.each(shards, true, |shard, worker| {
            let images = g.batch * shard / shards..g.batch * (shard + 1) / shards;
            // SAFETY: each shard has its own part of the shared scratch.
            unsafe {
                let sum = scratch.shared(shard * size, size);
                let floats = scratch.floats(worker);
                for (position, image) in images.enumerate() {
                    for group in 0..g.groups {
                        let columns = self.columns(image, group, floats);
                        let grad = self.output.float_pointer(image * self.output_size() + group * filters * pixels);
                        let a = Matrix { pointer: grad, rows: pixels as isize, columns: 1 };
                        let b = Matrix { pointer: columns, rows: 1, columns: pixels as isize };
                        let out = sum[group * filters * taps..].as_mut_ptr();
                        product(filters, taps, pixels, out, taps, position > 0, a, b);
                    }
                }
            }
        });
        // SAFETY: all tasks are done.
        unsafe {
            let parts = scratch.shared(0, shards * size);
            let out = self.weight.floats_mut(0, size);
            out.copy_from_slice(&parts[..size]);
            for part in parts[size..].chunks_exact(size) {
                for (sum, value) in out.iter_mut().zip(part) {
                    *sum += value;
                }
            }
        }
    }
}

/// For one tap: the input row of each output row, and the range of output columns whose input column exists.
fn window(g: &ConvGeometry, axis: usize, tap: usize) -> impl Fn(usize) -> Option<usize> {
    let (stride, padding, size) = (g.stride[axis], g.padding[axis], g.input[axis]);
    let offset = tap * g.dilation[axis];
    move |at| {
        let position = at * stride + offset;
        (position >= padding && position - padding < size).then(|| position - padding)
    }
}

/// The pixels that one tap sees, 0 beyond the border.
fn unroll(g: &ConvGeometry, plane: &[f32], [ky, kx]: [usize; 2], row: &mut [f32]) {
    let (down, across) = (window(g, 0, ky), window(g, 1, kx));
    let (first, last) = columns_inside(g, kx);
    for (oy, line) in row.chunks_exact_mut(g.output[1]).enumerate() {
        let Some(iy) = down(oy) else {
            line.fill(0.0);
            continue;
        };
        let source = &plane[iy * g.input[1]..(iy + 1) * g.input[1]];
        line[..first].fill(0.0);
        line[last..].fill(0.0);
        if first >= last {
            continue;
        }
        let start = across(first).unwrap_or(0);
        if g.stride[1] == 1 {
            line[first..last].copy_from_slice(&source[start..start + last - first]);
        } else {
            for (i, value) in line[first..last].iter_mut().enumerate() {
                *value = source[start + i * g.stride[1]];
            }
        }
    }
}

/// Adds what one tap gives back to the pixels that it saw.
fn roll(g: &ConvGeometry, row: &[f32], [ky, kx]: [usize; 2], plane: &mut [f32]) {
    let (down, across) = (window(g, 0, ky), window(g, 1, kx));
    let (first, last) = columns_inside(g, kx);
    if first >= last {
        return;
    }
    let start = across(first).unwrap_or(0);
    for (oy, line) in row.chunks_exact(g.output[1]).enumerate() {
        let Some(iy) = down(oy) else { continue };
        let target = &mut plane[iy * g.input[1]..(iy + 1) * g.input[1]];
        if g.stride[1] == 1 {
            for (sum, value) in target[start..start + last - first].iter_mut().zip(&line[first..last]) {
                *sum += value;
            }
        } else {
            for (i, value) in line[first..last].iter().enumerate() {
                target[start + i * g.stride[1]] += value;
            }
        }
    }
}

/// The output columns for which a tap lies inside the image.
fn columns_inside(g: &ConvGeometry, kx: usize) -> (usize, usize) {
    let across = window(g, 1, kx);
    let first = (0..g.output[1]).find(|&at| across(at).is_some()).unwrap_or(g.output[1]);
    let last = (first..g.output[1]).find(|&at| across(at).is_none()).unwrap_or(g.output[1]);
    (first, last)
}
