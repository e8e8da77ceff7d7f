//! Pools and their gradients, one plane a task.

use super::bind::Bound;
use super::threads::Threads;
use crate::ir::PoolGeometry;

/// Which pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Max,
    MaxGrad,
    Average,
    AverageGrad,
}

/// A pool, or the gradient of one, bound to memory.
pub(super) struct Pool {
    pub geometry: PoolGeometry,
    pub kind: Kind,
    /// The images; not used by the gradient of an average.
    pub x: Option<Bound>,
    /// The gradient of the result, for gradients.
    pub grad: Option<Bound>,
    /// What is written.
    pub out: Bound,
}

/// Elements below which a pool stays on one thread.
const SERIAL: usize = 20_000;

impl Pool {
    /// Runs the kernel.
    pub fn run(&self, threads: &Threads) {
        let g = &self.geometry;
        let (inner, outer) = (g.input[0] * g.input[1], g.output[0] * g.output[1]);
        let group = (SERIAL / inner.max(1)).max(1);
        let tasks = g.planes.div_ceil(group);
        threads.each(tasks, g.planes * inner > SERIAL, |task, _| {
            for plane in task * group..((task + 1) * group).min(g.planes) {
                // SAFETY: tasks write different planes, and the plan keeps operands from being written.
                unsafe {
                    let x = self.x.as_ref().map(|x| x.floats(plane * inner, inner)).unwrap_or_default();
                    let grad = self.grad.as_ref().map(|grad| grad.floats(plane * outer, outer)).unwrap_or_default();
                    match self.kind {
                        Kind::Max => max(g, x, self.out.floats_mut(plane * outer, outer)),
                        Kind::Average => average(g, x, self.out.floats_mut(plane * outer, outer)),
                        Kind::MaxGrad => max_grad(g, x, grad, self.out.floats_mut(plane * inner, inner)),
                        Kind::AverageGrad => average_grad(g, grad, self.out.floats_mut(plane * inner, inner)),
                    }
                }
            }
        });
    }
}

/// The pixels of the window of an output pixel along one axis.
#[inline(always)]
fn window(g: &PoolGeometry, axis: usize, at: usize) -> std::ops::Range<usize> {
    let start = at * g.stride[axis];
    let end = (start + g.kernel[axis]).saturating_sub(g.padding[axis]).min(g.input[axis]);
    start.saturating_sub(g.padding[axis])..end
}

fn max(g: &PoolGeometry, x: &[f32], out: &mut [f32]) {
    let width = g.input[1];
    for (oy, line) in out.chunks_exact_mut(g.output[1]).enumerate() {
        let rows = window(g, 0, oy);
        for (ox, value) in line.iter_mut().enumerate() {
            let columns = window(g, 1, ox);
            let mut best = f32::NEG_INFINITY;
            for iy in rows.clone() {
                for &pixel in &x[iy * width + columns.start..iy * width + columns.end] {
                    best = if pixel > best || pixel.is_nan() { pixel } else { best };
                    if best.is_nan() {
                        break;
                    }
                }
                if best.is_nan() {
                    break;
                }
            }
            *value = best;
        }
    }
}

fn max_grad(g: &PoolGeometry, x: &[f32], grad: &[f32], out: &mut [f32]) {
    out.fill(0.0);
    let width = g.input[1];
    for oy in 0..g.output[0] {
        let rows = window(g, 0, oy);
        for ox in 0..g.output[1] {
            let columns = window(g, 1, ox);
            let mut best = f32::NEG_INFINITY;
            let mut at = rows.start * width + columns.start;
            for iy in rows.clone() {
                for ix in columns.clone() {
                    let pixel = x[iy * width + ix];
                    if pixel > best || (pixel.is_nan() && !best.is_nan()) {
                        (best, at) = (pixel, iy * width + ix);
                    }
                }
            }
            out[at] += grad[oy * g.output[1] + ox];
        }
    }
}

fn average(g: &PoolGeometry, x: &[f32], out: &mut [f32]) {
    let width = g.input[1];
    let scale = 1.0 / (g.kernel[0] * g.kernel[1]) as f32;
    for (oy, line) in out.chunks_exact_mut(g.output[1]).enumerate() {
        let rows = window(g, 0, oy);
        for (ox, value) in line.iter_mut().enumerate() {
            let columns = window(g, 1, ox);
            let row = |iy: usize| x[iy * width + columns.start..iy * width + columns.end].iter().sum::<f32>();
            *value = rows.clone().map(row).sum::<f32>() * scale;
        }
    }
}

fn average_grad(g: &PoolGeometry, grad: &[f32], out: &mut [f32]) {
    out.fill(0.0);
    let width = g.input[1];
    let scale = 1.0 / (g.kernel[0] * g.kernel[1]) as f32;
    for oy in 0..g.output[0] {
        for ox in 0..g.output[1] {
            let share = grad[oy * g.output[1] + ox] * scale;
            let columns = window(g, 1, ox);
            for iy in window(g, 0, oy) {
                for pixel in &mut out[iy * width + columns.start..iy * width + columns.end] {
                    *pixel += share;
                }
            }
        }
    }
}
