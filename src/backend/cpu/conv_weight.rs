//! The gradient of a convolution's filters: inner products of the result's gradient with the image, moved by each tap.

use std::ops::Range;

use super::conv::{shift, taps};
use super::epilogue::Output;
use super::isa::Isa;
use super::memory::{Lent, Region, Workspace};
use super::product::{Finish, Inner, inner};
use super::spread::{Spread, space_out};
use super::{Batch, Job};
use crate::ir::ConvGeometry;

/// Multiplications of a part.
const PART_WORK: usize = 2_000_000;
/// Most parts, each of which has its own copy of the result.
const MAX_PARTS: usize = 8;
/// Fewest elements of the result that are joined together.
const JOINED: usize = 4096;
/// Pixels that are summed in registers before the sums are written: a few rows of the gradient fill the nearest cache.
const PIXELS: usize = 1536;

/// The gradient of the filters.
pub struct WeightGrad {
    geometry: ConvGeometry,
    spread: Spread,
    x: Region,
    grad: Region,
    out: Output,
    isa: Isa,
    /// Elements of the result.
    len: usize,
    /// Where each tap of a filter finds the first pixel.
    b_columns: Vec<usize>,
    /// Words of a plane of the gradient as the product reads it.
    pixels: usize,
    /// Whether the gradient is read where it lies, row by row.
    in_place: bool,
    /// Where each piece of the sums begins in the gradient and in the laid out images.
    grad_pieces: Vec<usize>,
    image_pieces: Vec<usize>,
    /// Images that are summed in registers.
    together: usize,
    /// Images of a part.
    part: usize,
    /// The sums of each part; none if the only part writes the result.
    sums: Option<Lent>,
    by_rows: bool,
}

impl WeightGrad {
    /// Binds a kernel whose buffers have the sizes of the geometry.
    pub fn new(
        geometry: ConvGeometry,
        [x, grad]: [Region; 2],
        out: Output,
        batch: Option<Batch>,
        workspace: &Workspace,
        isa: Isa,
    ) -> WeightGrad {
        let g = &geometry;
        let spread = Spread::of_images(g);
        let taps = taps(g);
        let steps = |channel: usize| taps.iter().map(move |tap| (channel, *tap));
        let b_columns = (0..spread.channels).flat_map(steps).map(|(channel, tap)| spread.place(channel, shift(g, tap)));
        let b_columns = b_columns.collect();
        // Rows of whole vectors need no copy that has zeros where the laid out image has a border.
        let [height, width] = g.output;
        let in_place = width.is_multiple_of(16);
        let pixels = if in_place { height * width } else { spread.run(g.output).next_multiple_of(16) };
        let len = g.weight_shape().iter().product::<usize>();
        let work = grad.len * len / g.filters;
        let part = g.batch.div_ceil((work / PART_WORK).clamp(1, MAX_PARTS));
        let part = batch.map_or(part, |batch| batch.part);
        let parts = g.batch.div_ceil(part);
        let is_direct = parts == 1 && batch.is_none() && matches!(out, Output::Buffer(_));
        let sums = (!is_direct).then(|| workspace.lend(parts * len));
        let together = (PIXELS / pixels).clamp(1, part);
        let rows = if in_place { height } else { 1 };
        let places = |image: usize, row: usize| {
            let of_images = move |at: usize| (0..rows).map(move |y| at * image + y * row);
            (0..together).flat_map(of_images).collect()
        };
        WeightGrad {
            grad_pieces: places(if in_place { g.filters } else { g.filters / g.groups } * pixels, width),
            image_pieces: places(spread.len(), spread.size[1]),
            geometry,
            x,
            grad,
            out,
            isa,
            len,
            b_columns,
            pixels,
            in_place,
            together,
            part,
            sums,
            spread,
            by_rows: batch.is_some(),
        }
    }

    fn filters(&self) -> usize {
        self.geometry.filters / self.geometry.groups
    }

    /// Copies the gradient of some filters of an image to rows of the laid out image, with zeros between.
    fn fill(&self, grad: &[f32], to: &mut [f32]) {
        let [height, width] = self.geometry.output;
        for (grad, to) in grad.chunks_exact(height * width).zip(to.chunks_exact_mut(self.pixels)) {
            // SAFETY: `Isa::detect` has found the instructions.
            unsafe { space_out(self.isa, grad, width, to, self.spread.size[1]) };
        }
    }
}

impl Job for WeightGrad {
    fn phases(&self) -> usize {
        if self.sums.is_some() { 2 } else { 1 }
    }

    fn parts(&self, phase: usize) -> usize {
        if phase == 0 { self.n_sums() } else { self.len.div_ceil(self.joined()) }
    }

    fn scratch_words(&self) -> usize {
        let grads = if self.in_place { 0 } else { self.filters() * self.pixels };
        (self.together * (self.spread.len() + grads) + 32).max(self.out.scratch_words())
    }

    unsafe fn run_part(&self, phase: usize, part: usize, scratch: *mut u32) {
        if phase == 1 {
            // SAFETY: the caller's promise.
            return unsafe { self.join(part, scratch) };
        }
        let images = part * self.part..((part + 1) * self.part).min(self.geometry.batch);
        // SAFETY: the caller's promise; each part has its own sums.
        unsafe { self.run_rows(images, scratch) };
    }

    fn rows_phase(&self) -> Option<usize> {
        self.by_rows.then_some(0)
    }

    unsafe fn run_rows(&self, rows: Range<usize>, scratch: *mut u32) {
        let part = rows.start / self.part;
        let g = &self.geometry;
        let filters = self.filters();
        let source = self.spread.channels * g.input[0] * g.input[1];
        let (image_len, grad_len) = (self.spread.len(), filters * self.pixels);
        let result = filters * g.output[0] * g.output[1];
        // SAFETY: the builder has checked the sizes of all buffers, and each part has its own sums and scratch memory.
        unsafe {
            let sums = match (&self.sums, &self.out) {
                (Some(sums), _) => {
                    let start = sums.start().cast::<f32>().add(part * self.len);
                    std::slice::from_raw_parts_mut(start, self.len)
                }
                (None, Output::Buffer(out)) => out.part_mut(0, self.len),
                (None, Output::Epilogue(_)) => unreachable!("an epilogue reads the sums"),
            };
            let scratch = std::slice::from_raw_parts_mut(scratch.cast::<f32>(), self.scratch_words());
            let copied = if self.in_place { 0 } else { self.together * grad_len };
            let (grads, images) = scratch.split_at_mut(copied);
            for first in rows.clone().step_by(self.together) {
                let pieces = self.together.min(rows.end - first);
                for group in 0..g.groups {
                    for piece in 0..pieces {
                        let at = (first + piece) * g.groups + group;
                        self.spread.fill(
                            self.isa,
                            &self.x.slice()[at * source..][..source],
                            &mut images[piece * image_len..][..image_len],
                        );
                        if !self.in_place {
                            self.fill(
                                &self.grad.slice()[at * result..][..result],
                                &mut grads[piece * grad_len..][..grad_len],
                            );
                        }
                    }
                    // The last taps read a little further, times zero.
                    images[pieces * image_len..][..16].fill(0.0);
                    let row = self.b_columns.len();
                    let rows = self.grad_pieces.len() / self.together;
                    let a = match self.in_place {
                        true => self.grad.slice()[(first * g.groups + group) * result..].as_ptr(),
                        false => grads.as_ptr(),
                    };
                    let product = Inner {
                        rows: filters,
                        a,
                        a_row: self.pixels,
                        a_pieces: &self.grad_pieces[..pieces * rows],
                        b: images.as_ptr(),
                        b_columns: &self.b_columns,
                        b_pieces: &self.image_pieces[..pieces * rows],
                        length: if self.in_place { g.output[1] } else { self.pixels },
                        out: sums[group * filters * row..].as_mut_ptr(),
                        out_row: row,
                        add: first > part * self.part,
                        finish: Finish::default(),
                    };
                    inner(self.isa, &product);
                }
            }
        }
    }
}

impl WeightGrad {
    fn n_sums(&self) -> usize {
        self.geometry.batch.div_ceil(self.part)
    }

    /// Elements that a part of the second phase joins.
    fn joined(&self) -> usize {
        self.len.div_ceil(MAX_PARTS).next_multiple_of(64).max(JOINED)
    }

    /// Adds up the sums of all parts, in their order, for some elements of the result.
    ///
    /// # Safety
    /// As [`Job::run_part`], in the second phase.
    unsafe fn join(&self, part: usize, scratch: *mut u32) {
        let start = part * self.joined();
        let len = self.joined().min(self.len - start);
        // SAFETY: the sums are done; the caller's promise, as parts have no element in common.
        unsafe {
            let own = self.sums.as_ref().expect("a second phase joins sums").start().cast::<f32>();
            let sums = |at: usize| own.add(at * self.len + start);
            let total = std::slice::from_raw_parts_mut(sums(0), len);
            for at in 1..self.n_sums() {
                let sums = std::slice::from_raw_parts(sums(at).cast_const(), len);
                total.iter_mut().zip(sums).for_each(|(total, sum)| *total += *sum);
            }
            match &self.out {
                Output::Buffer(out) => out.part_mut(start, len).copy_from_slice(total),
                Output::Epilogue(epilogue) => epilogue.frame(scratch).run(start, len, total.as_ptr()),
            }
        }
    }
}
