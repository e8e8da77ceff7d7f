//! Convolutions and the gradients of their images by products of sums of rows.

use std::ops::Range;

use super::super::epilogue::Output;
use super::super::isa::Isa;
use super::super::memory::{Lent, Region, Workspace};
use super::super::product::{Finish, Outer, Runs, STRIP, outer};
use super::super::{Batch, Job};
use super::{PRODUCTS, Planes, Products, ROWS, Source, Sums, TAPS};
use crate::ir::ConvGeometry;

/// Multiplications of a part.
const PART_WORK: usize = 500_000;
/// Most parts of a kernel.
const MAX_PARTS: usize = 16;
/// About how many pixels go through all products at once: four tiles of the products, so that the results of a strip of
/// filters stay in the nearest cache.
const COLUMNS: usize = 192;

/// A convolution of `channels` to `filters` of each group.
pub struct Conv {
    x: Region,
    weight: Region,
    out: Output,
    isa: Isa,
    groups: usize,
    channels: usize,
    filters: usize,
    input: [usize; 2],
    output: [usize; 2],
    /// Zeros before the first row and column of an image.
    before: [usize; 2],
    /// Columns of a filter.
    taps: usize,
    /// In the filters, from one group, filter and channel to the next.
    weight_strides: [usize; 3],
    /// Whether filters are read from their last tap to their first.
    reversed: bool,
    /// The factors of the products: `[group, strip, product, step, filter of the strip]`.
    factors: Lent,
    /// Where each step of the sums is in a row of a strip, and in the sums of rows.
    steps: Runs,
    zeros: Vec<f32>,
    /// Images, and tiles of each, that are computed together.
    together: usize,
    tiles: usize,
    /// Pixels of those.
    columns: usize,
    batch: usize,
    part: usize,
    by_rows: bool,
}

impl Conv {
    /// `out = conv(x, weight)`
    pub fn forward(
        g: &ConvGeometry,
        [x, weight]: [Region; 2],
        out: Output,
        batch: Option<Batch>,
        workspace: &Workspace,
        isa: Isa,
    ) -> Conv {
        let (channels, filters) = (g.channels / g.groups, g.filters / g.groups);
        let filter = g.kernel[0] * g.kernel[1];
        let strides = [filters * channels * filter, channels * filter, filter];
        Conv::new(
            g,
            [channels, filters],
            [g.input, g.output, g.padding],
            strides,
            false,
            [x, weight],
            out,
            batch,
            workspace,
            isa,
        )
    }

    /// The gradient of the images: the convolution of the gradient with the filters, turned around.
    pub fn input_grad(
        g: &ConvGeometry,
        [weight, grad]: [Region; 2],
        out: Output,
        batch: Option<Batch>,
        workspace: &Workspace,
        isa: Isa,
    ) -> Conv {
        let (channels, filters) = (g.channels / g.groups, g.filters / g.groups);
        let filter = g.kernel[0] * g.kernel[1];
        let strides = [filters * channels * filter, filter, channels * filter];
        let before = [0, 1].map(|axis| g.kernel[axis] - 1 - g.padding[axis]);
        Conv::new(
            g,
            [filters, channels],
            [g.output, g.input, before],
            strides,
            true,
            [grad, weight],
            out,
            batch,
            workspace,
            isa,
        )
    }

    #[allow(clippy::too_many_arguments)]
    fn new(
        g: &ConvGeometry,
        [channels, filters]: [usize; 2],
        [input, output, before]: [[usize; 2]; 3],
        weight_strides: [usize; 3],
        reversed: bool,
        [x, weight]: [Region; 2],
        out: Output,
        rows: Option<Batch>,
        workspace: &Workspace,
        isa: Isa,
    ) -> Conv {
        let part = g.batch.div_ceil((super::multiplications(g) / PART_WORK).clamp(1, MAX_PARTS));
        let part = rows.map_or(part, |rows| rows.part);
        let taps = g.kernel[1];
        let row = output[1] + taps - 1;
        let [together, tiles] = super::block(output[0].div_ceil(ROWS), row, COLUMNS, part);
        let columns = (together * tiles * row).next_multiple_of(16);
        let steps = channels * taps;
        Conv {
            x,
            weight,
            out,
            isa,
            groups: g.groups,
            channels,
            filters,
            input,
            output,
            before,
            taps,
            weight_strides,
            reversed,
            factors: workspace.lend(g.groups * filters.div_ceil(STRIP) * PRODUCTS * steps * STRIP),
            steps: Runs::of(
                &(0..steps).map(|step| [step * STRIP, step / taps * columns + step % taps]).collect::<Vec<_>>(),
            ),
            zeros: vec![0.0; input[1]],
            together,
            tiles,
            columns,
            batch: g.batch,
            part,
            by_rows: rows.is_some(),
        }
    }

    fn strips(&self) -> usize {
        self.filters.div_ceil(STRIP)
    }

    /// Elements of a product's factors for a strip of filters.
    fn strip_len(&self) -> usize {
        self.steps.len() * STRIP
    }

    /// Writes the factors of a strip of filters.
    ///
    /// # Safety
    /// No one else uses them.
    unsafe fn write_factors(&self, part: usize) {
        let (group, strip) = (part / self.strips(), part % self.strips());
        let len = self.strip_len();
        // SAFETY: the caller's promise.
        let (weight, factors) = unsafe {
            let factors = self.factors.start().cast::<f32>().add(part * PRODUCTS * len);
            (self.weight.slice(), std::slice::from_raw_parts_mut(factors, PRODUCTS * len))
        };
        let [of_group, of_filter, of_channel] = self.weight_strides;
        let filters = strip * STRIP..self.filters.min((strip + 1) * STRIP);
        for (at, filter) in filters.enumerate() {
            for step in 0..self.steps.len() {
                let (channel, tap) = (step / self.taps, step % self.taps);
                let filter = &weight[group * of_group + filter * of_filter + channel * of_channel..];
                let row = |row: usize| match self.reversed {
                    true => filter[(TAPS - 1 - row) * self.taps + self.taps - 1 - tap],
                    false => filter[row * self.taps + tap],
                };
                for (product, factor) in super::of_filter([row(0), row(1), row(2)]).into_iter().enumerate() {
                    factors[product * len + step * STRIP + at] = factor;
                }
            }
        }
    }

    /// Words of the sums of rows, with some behind them that a vector may read.
    fn sums_words(&self) -> usize {
        (PRODUCTS * self.channels * self.columns + 16 + self.taps).next_multiple_of(16)
    }

    /// Words of the products of a strip of filters.
    fn products_words(&self) -> usize {
        PRODUCTS * STRIP * self.columns
    }

    /// Elements of an image's result.
    fn result(&self) -> usize {
        self.groups * self.filters * self.output[0] * self.output[1]
    }

    /// Words of results before the epilogue.
    fn result_words(&self) -> usize {
        match &self.out {
            Output::Buffer(_) => 0,
            Output::Epilogue(_) => (self.together * self.result()).next_multiple_of(16),
        }
    }

    /// Computes some images' result in one group.
    ///
    /// # Safety
    /// As [`Job::run_part`], for the images; the results, of all groups, are this thread's.
    unsafe fn images(&self, images: Range<usize>, group: usize, out: *mut f32, scratch: *mut f32) {
        let row = self.output[1] + self.taps - 1;
        let (source, plane) = (self.input[0] * self.input[1], self.output[0] * self.output[1]);
        let len = self.strip_len();
        // SAFETY: the builders have checked the sizes of all buffers; scratch memory holds the sums and the products.
        unsafe {
            let (sums, products) = (scratch, scratch.add(self.sums_words()));
            for tiles in super::blocks(self.output[0].div_ceil(ROWS), self.tiles) {
                let tiles_at = [tiles.start, tiles.end];
                let image_columns = tiles.len() * row;
                for (at, image) in images.clone().enumerate() {
                    let first = (image * self.groups + group) * self.channels * source;
                    let source = Source {
                        from: self.x.floats().cast_const().add(first),
                        planes: self.channels,
                        plane: source,
                        rows: [0, self.input[0]],
                        width: self.input[1],
                        before: self.before[0],
                        tiles: tiles_at,
                        zeros: &self.zeros,
                    };
                    let to = Sums {
                        to: sums.add(at * image_columns),
                        product: self.channels * self.columns,
                        plane: self.columns,
                        tile: row,
                        before: self.before[1],
                        width: row,
                    };
                    super::of_images(self.isa, source, to);
                }
                let columns = (images.len() * image_columns).next_multiple_of(16);
                let factors = self.factors.start().cast::<f32>().cast_const();
                for strip in 0..self.strips() {
                    let filters = STRIP.min(self.filters - strip * STRIP);
                    let factors = factors.add((group * self.strips() + strip) * PRODUCTS * len);
                    for product in 0..PRODUCTS {
                        let product = Outer {
                            rows: filters,
                            columns,
                            a: factors.add(product * len),
                            a_row: 1,
                            a_strip: 0,
                            b: sums.add(product * self.channels * self.columns),
                            steps: self.steps.steps(),
                            out: products.add(product * STRIP * self.columns),
                            out_row: self.columns,
                            fragments: None,
                            add: false,
                            finish: Finish::default(),
                        };
                        outer(self.isa, &product);
                    }
                    for at in 0..images.len() {
                        let from = Products {
                            from: products.add(at * image_columns),
                            product: STRIP * self.columns,
                            plane: self.columns,
                            tile: row,
                        };
                        let channel = (at * self.groups + group) * self.filters + strip * STRIP;
                        let to = Planes {
                            to: out.add(channel * plane),
                            number: filters,
                            size: self.output,
                            tiles: tiles_at,
                        };
                        super::to_results(self.isa, from, to);
                    }
                }
            }
        }
    }
}

impl Job for Conv {
    fn phases(&self) -> usize {
        2
    }

    fn parts(&self, phase: usize) -> usize {
        if phase == 0 { self.groups * self.strips() } else { self.batch.div_ceil(self.part) }
    }

    fn scratch_words(&self) -> usize {
        self.out.scratch_words() + self.result_words() + self.sums_words() + self.products_words()
    }

    unsafe fn run_part(&self, phase: usize, part: usize, scratch: *mut u32) {
        if phase == 0 {
            // SAFETY: the caller's promise; parts have no strip in common.
            return unsafe { self.write_factors(part) };
        }
        let images = part * self.part..((part + 1) * self.part).min(self.batch);
        // SAFETY: the caller's promise; parts have no image in common.
        unsafe { self.run_rows(images, scratch) };
    }

    fn rows_phase(&self) -> Option<usize> {
        self.by_rows.then_some(1)
    }

    unsafe fn run_rows(&self, rows: Range<usize>, scratch: *mut u32) {
        let len = self.result();
        // SAFETY: the caller's promise; scratch memory holds what the epilogue needs, the results before it, and what
        // the products need.
        unsafe {
            let results = scratch.add(self.out.scratch_words()).cast::<f32>();
            let rest = results.add(self.result_words());
            for first in rows.clone().step_by(self.together) {
                let images = first..(first + self.together).min(rows.end);
                let out = match &self.out {
                    Output::Buffer(out) => out.part_mut(first * len, images.len() * len).as_mut_ptr(),
                    Output::Epilogue(_) => results,
                };
                for group in 0..self.groups {
                    self.images(images.clone(), group, out, rest);
                }
                if let Output::Epilogue(epilogue) = &self.out {
                    epilogue.frame(scratch).run(first * len, images.len() * len, results);
                }
            }
        }
    }
}
