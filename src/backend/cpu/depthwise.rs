//! Convolutions whose groups have one channel: each tap scales shifted rows.

use super::Job;
use std::ops::Range;

use super::isa::{Arithmetic, Isa, for_each_isa};
use super::memory::Region;
use crate::ir::ConvGeometry;

/// Multiplications of a part.
const PART_WORK: usize = 100_000;
/// Most parts of a kernel.
const MAX_PARTS: usize = 32;

/// Which of the three.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DepthwiseKind {
    /// The convolution.
    Forward,
    /// The gradient of the images.
    InputGrad,
    /// The gradient of the filters.
    WeightGrad,
}

/// A depthwise convolution.
pub struct Depthwise {
    kind: DepthwiseKind,
    geometry: ConvGeometry,
    x: Region,
    weight: Region,
    y: Region,
    isa: Isa,
    /// Planes of a part: of an image and a channel, or for the filters' gradient of a channel.
    part: usize,
}

impl Depthwise {
    /// Binds a kernel whose buffers have the sizes of the geometry.
    pub fn new(kind: DepthwiseKind, geometry: ConvGeometry, [x, weight, y]: [Region; 3], isa: Isa) -> Depthwise {
        let work = y.len * geometry.kernel[0] * geometry.kernel[1];
        let parts = (work / PART_WORK).clamp(1, MAX_PARTS);
        let mut kernel = Depthwise { kind, geometry, x, weight, y, isa, part: 1 };
        kernel.part = kernel.planes().div_ceil(parts);
        kernel
    }

    fn planes(&self) -> usize {
        match self.kind {
            DepthwiseKind::Forward | DepthwiseKind::InputGrad => self.geometry.batch * self.geometry.channels,
            DepthwiseKind::WeightGrad => self.geometry.channels,
        }
    }
}

impl Job for Depthwise {
    fn parts(&self, _phase: usize) -> usize {
        self.planes().div_ceil(self.part)
    }

    fn scratch_words(&self) -> usize {
        0
    }

    unsafe fn run_part(&self, _phase: usize, part: usize, _scratch: *mut u32) {
        let g = &self.geometry;
        let filters = g.filters / g.channels;
        let taps = g.kernel[0] * g.kernel[1];
        let (inputs, outputs) = (g.input[0] * g.input[1], g.output[0] * g.output[1]);
        for plane in part * self.part..((part + 1) * self.part).min(self.planes()) {
            // SAFETY: no one writes to operands while a kernel runs, and each plane belongs to one part.
            unsafe {
                let weight = |filter: usize| &self.weight.slice()[filter * taps..][..taps];
                match self.kind {
                    DepthwiseKind::Forward => {
                        let x = &self.x.slice()[plane * inputs..][..inputs];
                        let first = plane % g.channels * filters;
                        for filter in 0..filters {
                            let y = self.y.part_mut((plane * filters + filter) * outputs, outputs);
                            y.fill(0.0);
                            scatter(self.isa, g, x, weight(first + filter), y);
                        }
                    }
                    DepthwiseKind::InputGrad => {
                        let x = self.x.part_mut(plane * inputs, inputs);
                        x.fill(0.0);
                        let first = plane % g.channels * filters;
                        for filter in 0..filters {
                            let y = &self.y.slice()[(plane * filters + filter) * outputs..][..outputs];
                            gather(self.isa, g, x, weight(first + filter), y);
                        }
                    }
                    DepthwiseKind::WeightGrad => {
                        let sums = self.weight.part_mut(plane * filters * taps, filters * taps);
                        sums.fill(0.0);
                        for image in 0..g.batch {
                            let at = image * g.channels + plane;
                            let x = &self.x.slice()[at * inputs..][..inputs];
                            for (filter, sums) in sums.chunks_exact_mut(taps).enumerate() {
                                let y = &self.y.slice()[(at * filters + filter) * outputs..][..outputs];
                                correlate(self.isa, g, x, sums, y);
                            }
                        }
                    }
                }
            }
        }
    }
}

/// The positions of the output whose window has this tap inside the image.
#[inline(always)]
fn inside(g: &ConvGeometry, axis: usize, tap: usize) -> Range<usize> {
    let shift = tap * g.dilation[axis];
    let start = g.padding[axis].saturating_sub(shift).div_ceil(g.stride[axis]);
    let end = (g.input[axis] + g.padding[axis]).saturating_sub(shift).div_ceil(g.stride[axis]).min(g.output[axis]);
    start.min(end)..end
}

/// The position in the image under a tap of the window of an output position that is [`inside`].
#[inline(always)]
fn under(g: &ConvGeometry, axis: usize, tap: usize, at: usize) -> usize {
    at * g.stride[axis] + tap * g.dilation[axis] - g.padding[axis]
}

/// Calls `visit(tap, start in x, range in y)` for each tap and row of the output that it meets.
#[inline(always)]
fn for_rows(g: &ConvGeometry, mut visit: impl FnMut(usize, usize, Range<usize>)) {
    for tap_y in 0..g.kernel[0] {
        for tap_x in 0..g.kernel[1] {
            let xs = inside(g, 1, tap_x);
            if xs.is_empty() {
                continue;
            }
            for y in inside(g, 0, tap_y) {
                let from = under(g, 0, tap_y, y) * g.input[1] + under(g, 1, tap_x, xs.start);
                let row = y * g.output[1];
                visit(tap_y * g.kernel[1] + tap_x, from, row + xs.start..row + xs.end);
            }
        }
    }
}

for_each_isa! {
    /// `y += conv(x, weight)`
    ///
    /// # Safety
    /// The processor has `isa`.
    unsafe fn scatter(g: &ConvGeometry, x: &[f32], weight: &[f32], y: &mut [f32]) = scatter_body
}

/// # Safety
/// None of its own.
#[inline(always)]
unsafe fn scatter_body<A: Arithmetic>(g: &ConvGeometry, x: &[f32], weight: &[f32], y: &mut [f32]) {
    for_rows(g, |tap, from, to| {
        let (weight, y) = (weight[tap], &mut y[to]);
        if g.stride[1] == 1 {
            y.iter_mut().zip(&x[from..]).for_each(|(y, x)| *y = A::mul_add(*x, weight, *y));
        } else {
            y.iter_mut().zip(x[from..].iter().step_by(g.stride[1])).for_each(|(y, x)| *y = A::mul_add(*x, weight, *y));
        }
    });
}

for_each_isa! {
    /// Adds the gradient of the images.
    ///
    /// # Safety
    /// The processor has `isa`.
    unsafe fn gather(g: &ConvGeometry, x: &mut [f32], weight: &[f32], y: &[f32]) = gather_body
}

/// # Safety
/// None of its own.
#[inline(always)]
unsafe fn gather_body<A: Arithmetic>(g: &ConvGeometry, x: &mut [f32], weight: &[f32], y: &[f32]) {
    for_rows(g, |tap, from, to| {
        let (weight, y) = (weight[tap], &y[to]);
        if g.stride[1] == 1 {
            x[from..].iter_mut().zip(y).for_each(|(x, y)| *x = A::mul_add(*y, weight, *x));
        } else {
            x[from..].iter_mut().step_by(g.stride[1]).zip(y).for_each(|(x, y)| *x = A::mul_add(*y, weight, *x));
        }
    });
}

for_each_isa! {
    /// Adds the gradient of the filters.
    ///
    /// # Safety
    /// The processor has `isa`.
    unsafe fn correlate(g: &ConvGeometry, x: &[f32], weight: &mut [f32], y: &[f32]) = correlate_body
}

/// # Safety
/// None of its own.
#[inline(always)]
unsafe fn correlate_body<A: Arithmetic>(g: &ConvGeometry, x: &[f32], weight: &mut [f32], y: &[f32]) {
    const LANES: usize = 16;
    for_rows(g, |tap, from, to| {
        let (x, y) = (&x[from..], &y[to]);
        let mut lanes = [0.0; LANES];
        if g.stride[1] == 1 {
            for (x, y) in x.chunks(LANES).zip(y.chunks(LANES)) {
                for (lane, (x, y)) in lanes.iter_mut().zip(x.iter().zip(y)) {
                    *lane = A::mul_add(*x, *y, *lane);
                }
            }
        } else {
            for (at, (x, y)) in x.iter().step_by(g.stride[1]).zip(y).enumerate() {
                lanes[at % LANES] = A::mul_add(*x, *y, lanes[at % LANES]);
            }
        }
        weight[tap] += lanes.iter().sum::<f32>();
    });
}
