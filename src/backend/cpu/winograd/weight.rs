//! Gradients of filters by products of sums of rows.
//!
//! Images are turned so that the channels of a pixel are neighbours: the taps of a row of a filter, with all channels,
//! are then one run of memory, and no pixel outside the result takes part.

use std::ops::Range;

use super::super::epilogue::Output;
use super::super::isa::Isa;
use super::super::memory::{Region, Words};
use super::super::product::{Outer, STRIP, Transpose, outer, transpose};
use super::super::{Batch, Job};
use super::{PRODUCTS, ROWS, Source, Sums, TAPS};
use crate::ir::ConvGeometry;

/// Multiplications of a part.
const PART_WORK: usize = 1_000_000;
/// Most parts, each of which has its own copy of the sums.
const MAX_PARTS: usize = 8;
/// About how many pixels go through all products at once.
const PIXELS: usize = 144;
/// Fewest elements of the result that are joined together.
const JOINED: usize = 4096;

/// The gradient of the filters.
pub struct WeightGrad {
    geometry: ConvGeometry,
    x: Region,
    grad: Region,
    out: Output,
    isa: Isa,
    /// Channels and filters of a group.
    channels: usize,
    filters: usize,
    /// Images, and tiles of each, that are computed together.
    together: usize,
    tiles: usize,
    /// Where each pixel is in the sums of the gradient's rows, and in those of the images'.
    grad_steps: Vec<usize>,
    image_steps: Vec<usize>,
    zeros: Vec<f32>,
    /// Images of a part.
    part: usize,
    /// The sums of each part, with a few words behind them: `[part, product, filter, tap, channel]`.
    sums: Words,
    by_rows: bool,
}

impl WeightGrad {
    /// Binds a kernel whose buffers have the sizes of the geometry.
    pub fn new(
        geometry: ConvGeometry,
        [x, grad]: [Region; 2],
        out: Output,
        batch: Option<Batch>,
        isa: Isa,
    ) -> WeightGrad {
        let g = &geometry;
        let (channels, filters) = (g.channels / g.groups, g.filters / g.groups);
        let part = g.batch.div_ceil((super::multiplications(g) / PART_WORK).clamp(1, MAX_PARTS));
        let part = batch.map_or(part, |batch| batch.part);
        let row = g.output[1] + g.kernel[1] - 1;
        let [together, tiles] = super::block(g.output[0].div_ceil(ROWS), g.output[1], PIXELS, part);
        let pixels = together * tiles * g.output[1];
        let sums = g.batch.div_ceil(part) * PRODUCTS * g.filters * channels * g.kernel[1] + 16;
        WeightGrad {
            x,
            grad,
            out,
            isa,
            channels,
            filters,
            together,
            tiles,
            grad_steps: (0..pixels).collect(),
            image_steps: (0..pixels)
                .map(|pixel| (pixel / g.output[1] * row + pixel % g.output[1]) * channels)
                .collect(),
            zeros: vec![0.0; (channels * g.input[1]).max(g.output[1])],
            part,
            sums: Words::zeroed(sums),
            by_rows: batch.is_some(),
            geometry,
        }
    }

    fn n_sums(&self) -> usize {
        self.geometry.batch.div_ceil(self.part)
    }

    /// Elements of a row of a filter, with all channels.
    fn row(&self) -> usize {
        self.geometry.kernel[1] * self.channels
    }

    /// Elements of a product's sums.
    fn product_len(&self) -> usize {
        self.geometry.filters * self.row()
    }

    /// Filters that are joined together.
    fn joined(&self) -> usize {
        let filters = self.geometry.filters;
        filters.div_ceil(MAX_PARTS).max(JOINED.div_ceil(TAPS * self.row())).min(filters)
    }

    /// Words of an image's sums of rows.
    fn image_words(&self) -> usize {
        let row = self.geometry.output[1] + self.geometry.kernel[1] - 1;
        self.tiles * row * self.channels
    }

    /// Words of scratch memory: images turned, the sums of their rows, those of the gradient's.
    fn words(&self) -> [usize; 3] {
        let turned = (self.tiles * ROWS + TAPS - 1).min(self.geometry.input[0]) * self.geometry.input[1];
        let images = PRODUCTS * self.together * self.image_words();
        let grads = PRODUCTS * self.filters * self.grad_steps.len();
        [turned * self.channels, images + 16, grads].map(|words| words.next_multiple_of(16))
    }

    /// Adds the products of some tiles of some images in one group.
    ///
    /// # Safety
    /// As [`Job::run_part`]; the sums are this thread's.
    unsafe fn add(
        &self,
        images: Range<usize>,
        group: usize,
        tiles: Range<usize>,
        sums: *mut f32,
        add: bool,
        scratch: *mut f32,
    ) {
        let g = &self.geometry;
        let [height, width] = g.input;
        let words = self.words();
        let tiles_at = [tiles.start, tiles.end];
        let pixels = images.len() * tiles.len() * g.output[1];
        // The rows of an image that these tiles read.
        let rows =
            [tiles.start * ROWS, tiles.end * ROWS + TAPS - 1].map(|row| row.saturating_sub(g.padding[0]).min(height));
        // SAFETY: the builder has checked the sizes of all buffers; scratch memory has these words.
        unsafe {
            let (turned, image_sums) = (scratch, scratch.add(words[0]));
            let grad_sums = image_sums.add(words[1]);
            let tile = (g.output[1] + g.kernel[1] - 1) * self.channels;
            let image_len = tiles.len() * tile;
            for (at, image) in images.clone().enumerate() {
                let image = image * g.groups + group;
                let from = image * self.channels * height * width + rows[0] * width;
                transpose(
                    self.isa,
                    Transpose {
                        rows: self.channels,
                        columns: (rows[1] - rows[0]) * width,
                        from: self.x.floats().cast_const().add(from),
                        from_row: height * width,
                        to: turned,
                        to_row: self.channels,
                    },
                );
                let source = Source {
                    from: turned,
                    planes: 1,
                    plane: 0,
                    rows,
                    width: width * self.channels,
                    before: g.padding[0],
                    tiles: tiles_at,
                    zeros: &self.zeros,
                };
                let to = Sums {
                    to: image_sums.add(at * image_len),
                    product: self.together * self.image_words(),
                    plane: 0,
                    tile,
                    before: g.padding[1] * self.channels,
                    width: tile,
                };
                super::of_images(self.isa, source, to);
                let plane = g.output[0] * g.output[1];
                let source = Source {
                    from: self.grad.floats().cast_const().add(image * self.filters * plane),
                    planes: self.filters,
                    plane,
                    rows: [0, g.output[0]],
                    width: g.output[1],
                    before: 0,
                    tiles: tiles_at,
                    zeros: &self.zeros,
                };
                let to = Sums {
                    to: grad_sums.add(at * tiles.len() * g.output[1]),
                    product: self.filters * self.grad_steps.len(),
                    plane: self.grad_steps.len(),
                    tile: g.output[1],
                    before: 0,
                    width: g.output[1],
                };
                super::of_gradients(self.isa, source, to);
            }
            for product in 0..PRODUCTS {
                let plane = self.grad_steps.len();
                let product = Outer {
                    rows: self.filters,
                    columns: self.row(),
                    a: grad_sums.add(product * self.filters * plane),
                    a_row: plane,
                    a_strip: STRIP * plane,
                    a_steps: &self.grad_steps[..pixels],
                    b: image_sums.add(product * self.together * self.image_words()),
                    b_steps: &self.image_steps[..pixels],
                    out: sums.add(product * self.product_len() + group * self.filters * self.row()),
                    out_row: self.row(),
                    fragments: None,
                    add,
                };
                outer(self.isa, &product);
            }
        }
    }

    /// Adds up the sums of all parts, in their order, for some filters, and finishes them.
    ///
    /// # Safety
    /// As [`Job::run_part`], in the second phase.
    unsafe fn join(&self, part: usize, scratch: *mut u32) {
        let row = self.row();
        let first = part * self.joined();
        let filters = self.joined().min(self.geometry.filters - first);
        // SAFETY: the sums are done; the caller's promise, as parts have no element in common.
        unsafe {
            let sums = |part: usize, product: usize| {
                let start = (part * PRODUCTS + product) * self.product_len() + first * row;
                self.sums.start().cast::<f32>().add(start)
            };
            for product in 0..PRODUCTS {
                let total = std::slice::from_raw_parts_mut(sums(0, product), filters * row);
                for part in 1..self.n_sums() {
                    let sums = std::slice::from_raw_parts(sums(part, product).cast_const(), filters * row);
                    total.iter_mut().zip(sums).for_each(|(total, sum)| *total += *sum);
                }
            }
            let len = TAPS * row;
            let result = match &self.out {
                Output::Buffer(out) => out.part_mut(first * len, filters * len),
                Output::Epilogue(_) => {
                    let results = scratch.add(self.out.scratch_words()).cast::<f32>();
                    std::slice::from_raw_parts_mut(results, filters * len)
                }
            };
            let taps = self.geometry.kernel[1];
            let products: [&[f32]; PRODUCTS] =
                [0, 1, 2, 3, 4, 5].map(|product| std::slice::from_raw_parts(sums(0, product), filters * row));
            for (filter, result) in result.chunks_exact_mut(len).enumerate() {
                for (channel, result) in result.chunks_exact_mut(TAPS * taps).enumerate() {
                    for tap in 0..taps {
                        let at = filter * row + tap * self.channels + channel;
                        let rows = super::to_filter(products.map(|product| product[at]));
                        rows.iter().enumerate().for_each(|(row, value)| result[row * taps + tap] = *value);
                    }
                }
            }
            if let Output::Epilogue(epilogue) = &self.out {
                epilogue.frame(scratch).run(first * len, filters * len, result.as_ptr());
            }
        }
    }
}

impl Job for WeightGrad {
    fn phases(&self) -> usize {
        2
    }

    fn parts(&self, phase: usize) -> usize {
        if phase == 0 { self.n_sums() } else { self.geometry.filters.div_ceil(self.joined()) }
    }

    fn scratch_words(&self) -> usize {
        let joined = self.out.scratch_words() + self.joined() * TAPS * self.row();
        self.words().iter().sum::<usize>().max(joined)
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
        // SAFETY: the caller's promise; each part has its own sums.
        unsafe {
            let sums = self.sums.start().cast::<f32>().add(part * PRODUCTS * self.product_len());
            for first in rows.clone().step_by(self.together) {
                let images = first..(first + self.together).min(rows.end);
                for group in 0..self.geometry.groups {
                    for tiles in super::blocks(self.geometry.output[0].div_ceil(ROWS), self.tiles) {
                        let add = first > part * self.part || tiles.start > 0;
                        self.add(images.clone(), group, tiles, sums, add, scratch.cast());
                    }
                }
            }
        }
    }
}
