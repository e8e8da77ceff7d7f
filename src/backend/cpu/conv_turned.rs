//! The gradient of a convolution's filters over images that are turned so that the channels of a pixel are neighbours.
//!
//! The taps of a row of a filter, with all channels, are then one run of memory: a product whose columns are taps and
//! channels, whose rows are filters, and which sums over pixels, without copies of the gradient. Filters of three rows
//! take sums of rows instead; see [`winograd`].

use std::ops::Range;

use super::epilogue::Output;
use super::isa::Isa;
use super::memory::{Lent, Region, Workspace};
use super::product::{Finish, Outer, Runs, STRIP, Transpose, outer, transpose};
use super::winograd::{self, PRODUCTS, ROWS, Source, Sums, TAPS};
use super::{Batch, Job};
use crate::ir::ConvGeometry;

/// Multiplications of a part.
const PART_WORK: usize = 1_000_000;
/// Most parts.
const MAX_PARTS: usize = 8;
/// About how many pixels are summed in registers.
const PIXELS: usize = 144;
/// Fewest elements of the result that are joined together.
const JOINED: usize = 4096;
/// Fewest columns of the product.
const FEWEST: usize = 16;

/// What the products are.
enum Form {
    /// Of sums of rows.
    Sums,
    /// One for each row of the filters, or for each tap if neighbours in a row are not neighbours in an image.
    Taps,
}

/// The gradient of the filters.
pub struct TurnedWeightGrad {
    form: Form,
    geometry: ConvGeometry,
    x: Region,
    grad: Region,
    out: Output,
    isa: Isa,
    /// Channels and filters of a group.
    channels: usize,
    filters: usize,
    /// Taps that are columns of one product.
    taps: usize,
    /// Images that are computed together, and rows of each: tiles of rows, for sums.
    together: usize,
    band: usize,
    /// Where each pixel is in the gradient, or in the sums of its rows, and in the images.
    pixels: Runs,
    zeros: Vec<f32>,
    /// Images of a part, and filters of one of a group.
    part: usize,
    part_filters: usize,
    /// The sums of the parts that have the same filters, with a few words behind them:
    /// `[part, product, filter, tap, channel]`.
    sums: Lent,
    by_rows: bool,
}

/// Whether it pays: narrow products would leave most of a vector unused.
pub fn pays(g: &ConvGeometry) -> bool {
    winograd::pays(g) || columns(g) >= FEWEST
}

/// Columns of a product.
fn columns(g: &ConvGeometry) -> usize {
    g.channels / g.groups * if g.dilation[1] == 1 { g.kernel[1] } else { 1 }
}

impl TurnedWeightGrad {
    /// Binds a kernel whose buffers have the sizes of the geometry.
    pub fn new(
        geometry: ConvGeometry,
        [x, grad]: [Region; 2],
        out: Output,
        batch: Option<Batch>,
        workspace: &Workspace,
        isa: Isa,
    ) -> TurnedWeightGrad {
        let g = &geometry;
        let form = if winograd::pays(g) { Form::Sums } else { Form::Taps };
        let (channels, filters) = (g.channels / g.groups, g.filters / g.groups);
        let taps = columns(g) / channels;
        let (products, work) = match form {
            Form::Sums => (PRODUCTS, winograd::multiplications(g)),
            Form::Taps => (g.kernel[0] * g.kernel[1] / taps, grad.len * channels * g.kernel[0] * g.kernel[1]),
        };
        // Copies of the sums take no more memory than twice what is summed.
        let len = products * g.filters * channels * taps;
        let most = (2 * (x.len + grad.len) / len).max(1);
        let batch = batch.filter(|batch| batch.rows.div_ceil(batch.part) <= most);
        let parts = (work / PART_WORK).clamp(1, MAX_PARTS);
        let part = batch.map_or(g.batch.div_ceil(parts.min(most)), |batch| batch.part);
        let n_sums = g.batch.div_ceil(part);
        let across = if batch.is_some() { 1 } else { (parts / n_sums).max(1) };
        let part_filters = filters.div_ceil(across).next_multiple_of(STRIP);
        let width = g.output[1];
        let [together, band] = match form {
            Form::Sums => winograd::block(g.output[0].div_ceil(ROWS), width, PIXELS, part),
            Form::Taps => winograd::block(g.output[0], width, PIXELS, part),
        };
        let mut turned = TurnedWeightGrad {
            form,
            x,
            grad,
            out,
            isa,
            channels,
            filters,
            taps,
            together,
            band,
            pixels: Runs::of(&[]),
            zeros: vec![0.0; (channels * g.input[1]).max(width)],
            part,
            part_filters,
            sums: workspace.lend(n_sums * len + 16),
            by_rows: batch.is_some(),
            geometry,
        };
        turned.pixels = turned.places_of_pixels();
        turned
    }

    /// Where the pixels of a block are: those of an image after those of the one before, row by row.
    fn places_of_pixels(&self) -> Runs {
        let g = &self.geometry;
        let [height, width] = g.output;
        let pixels = 0..self.together * self.band * width;
        let places: Vec<[usize; 2]> = match self.form {
            Form::Sums => {
                let place = |pixel: usize| (pixel / width * self.image_row() + pixel % width) * self.channels;
                pixels.map(|pixel| [pixel, place(pixel)]).collect()
            }
            Form::Taps => {
                let [step_y, step_x] = g.stride;
                let row = self.image_row();
                let place = |pixel: usize| {
                    let (line, x) = (pixel / width, pixel % width);
                    let (image, y) = (line / self.band, line % self.band);
                    let in_image = (y * step_y * row + x * step_x) * self.channels;
                    [image * g.filters * height * width + y * width + x, image * self.image_words() + in_image]
                };
                pixels.map(place).collect()
            }
        };
        Runs::of(&places)
    }

    fn n_sums(&self) -> usize {
        self.geometry.batch.div_ceil(self.part)
    }

    fn n_products(&self) -> usize {
        match self.form {
            Form::Sums => PRODUCTS,
            Form::Taps => self.geometry.kernel[0] * self.geometry.kernel[1] / self.taps,
        }
    }

    /// Elements of a product's row: taps with all channels.
    fn row(&self) -> usize {
        self.taps * self.channels
    }

    /// Elements of a product's sums.
    fn product_len(&self) -> usize {
        self.geometry.filters * self.row()
    }

    /// Elements of a filter.
    fn filter_len(&self) -> usize {
        self.geometry.kernel[0] * self.geometry.kernel[1] * self.channels
    }

    /// Filters that are joined together.
    fn joined(&self) -> usize {
        let filters = self.geometry.filters;
        filters.div_ceil(MAX_PARTS).max(JOINED.div_ceil(self.filter_len())).min(filters)
    }

    /// Pixels of a row of an image with its border.
    fn image_row(&self) -> usize {
        let g = &self.geometry;
        (g.output[1] - 1) * g.stride[1] + (g.kernel[1] - 1) * g.dilation[1] + 1
    }

    /// Words of an image's rows with their border, or of the sums of its rows for one product.
    fn image_words(&self) -> usize {
        let g = &self.geometry;
        let rows = match self.form {
            Form::Sums => self.band,
            Form::Taps => (self.band - 1) * g.stride[0] + (g.kernel[0] - 1) * g.dilation[0] + 1,
        };
        rows * self.image_row() * self.channels
    }

    /// Words of scratch memory: rows of an image, turned; images; sums of the gradient's rows.
    fn words(&self) -> [usize; 3] {
        let images = self.together * self.image_words();
        let words = match self.form {
            Form::Sums => {
                let turned = (self.band * ROWS + TAPS - 1).min(self.geometry.input[0]) * self.geometry.input[1];
                [turned * self.channels, PRODUCTS * images + 16, PRODUCTS * self.part_filters * self.pixels.len()]
            }
            Form::Taps => [0, images + 16, 0],
        };
        words.map(|words| words.next_multiple_of(16))
    }

    /// Turns the first columns of some rows of an image in one group; `to_row` is from one row of the copy to the next.
    ///
    /// # Safety
    /// As [`Job::run_part`]; the copy is this thread's.
    unsafe fn turn(&self, image: usize, [start, end]: [usize; 2], columns: usize, to: *mut f32, to_row: usize) {
        let [height, width] = self.geometry.input;
        let lies_close = columns == width && to_row == width * self.channels;
        let (calls, columns) = if lies_close { (1, (end - start) * width) } else { (end - start, columns) };
        for row in 0..calls {
            // SAFETY: the builder has checked the sizes of all buffers.
            unsafe {
                let from = image * self.channels * height * width + (start + row) * width;
                let copy = Transpose {
                    rows: self.channels,
                    columns,
                    from: self.x.floats().cast_const().add(from),
                    from_row: height * width,
                    to: to.add(row * to_row),
                    to_row: self.channels,
                };
                transpose(self.isa, copy);
            }
        }
    }

    /// Writes the sums of rows of an image and of its gradient, for one block.
    ///
    /// # Safety
    /// As [`Job::run_part`]; `images` and `grads` are this thread's, for the image's place in the block.
    unsafe fn fill_sums(
        &self,
        image: usize,
        tiles: &Range<usize>,
        filters: &Range<usize>,
        turned: *mut f32,
        [images, grads]: [*mut f32; 2],
    ) {
        let g = &self.geometry;
        let tiles_at = [tiles.start, tiles.end];
        // The rows of the image that these tiles read.
        let rows = [tiles.start * ROWS, tiles.end * ROWS + TAPS - 1];
        let rows = rows.map(|row| row.saturating_sub(g.padding[0]).min(g.input[0]));
        // SAFETY: the caller's promise.
        unsafe {
            let tile = self.image_row() * self.channels;
            self.turn(image, rows, g.input[1], turned, g.input[1] * self.channels);
            let source = Source {
                from: turned,
                planes: 1,
                plane: 0,
                rows,
                width: g.input[1] * self.channels,
                before: g.padding[0],
                tiles: tiles_at,
                zeros: &self.zeros,
            };
            let to = Sums {
                to: images,
                product: self.together * self.image_words(),
                plane: 0,
                tile,
                before: g.padding[1] * self.channels,
                width: tile,
            };
            winograd::of_images(self.isa, source, to);
            let plane = g.output[0] * g.output[1];
            let source = Source {
                from: self.grad.floats().cast_const().add((image * self.filters + filters.start) * plane),
                planes: filters.len(),
                plane,
                rows: [0, g.output[0]],
                width: g.output[1],
                before: 0,
                tiles: tiles_at,
                zeros: &self.zeros,
            };
            let to = Sums {
                to: grads,
                product: self.part_filters * self.pixels.len(),
                plane: self.pixels.len(),
                tile: g.output[1],
                before: 0,
                width: g.output[1],
            };
            winograd::of_gradients(self.isa, source, to);
        }
    }

    /// Turns the rows of an image that some rows of the result read, and puts zeros around them.
    ///
    /// # Safety
    /// As [`Job::run_part`]; `to` is this thread's.
    unsafe fn fill_rows(&self, image: usize, rows: &Range<usize>, to: *mut f32) {
        let g = &self.geometry;
        let row = self.image_row() * self.channels;
        let count = (rows.len() - 1) * g.stride[0] + (g.kernel[0] - 1) * g.dilation[0] + 1;
        let first = rows.start * g.stride[0];
        let inside = [first, first + count].map(|row| row.saturating_sub(g.padding[0]).min(g.input[0]));
        let filled = [0, 1].map(|end| (inside[end] + g.padding[0]).saturating_sub(first).min(count));
        // Columns before the image, and behind what is read of it.
        let before = g.padding[1].min(self.image_row());
        let columns = g.input[1].min(self.image_row() - before);
        // SAFETY: the caller's promise.
        unsafe {
            let all = std::slice::from_raw_parts_mut(to, count * row);
            for (at, row) in all.chunks_exact_mut(row).enumerate() {
                if (filled[0]..filled[1]).contains(&at) {
                    row[..before * self.channels].fill(0.0);
                    row[(before + columns) * self.channels..].fill(0.0);
                } else {
                    row.fill(0.0);
                }
            }
            if inside[0] < inside[1] {
                self.turn(image, inside, columns, to.add(filled[0] * row + before * self.channels), row);
            }
        }
    }

    /// Adds the products of some rows of some images, for some filters of one group.
    ///
    /// # Safety
    /// As [`Job::run_part`]; the sums are this thread's.
    unsafe fn add(
        &self,
        images: Range<usize>,
        group: usize,
        rows: Range<usize>,
        filters: Range<usize>,
        [sums, scratch]: [*mut f32; 2],
        add: bool,
    ) {
        let g = &self.geometry;
        let words = self.words();
        let pixels = images.len() * rows.len() * g.output[1];
        // SAFETY: the builder has checked the sizes of all buffers; scratch memory has these words.
        unsafe {
            let (turned, image_rows) = (scratch, scratch.add(words[0]));
            let grad_rows = image_rows.add(words[1]);
            for (at, image) in images.clone().enumerate() {
                let image = image * g.groups + group;
                match self.form {
                    Form::Sums => {
                        let images = image_rows.add(at * rows.len() * self.image_row() * self.channels);
                        let grads = grad_rows.add(at * rows.len() * g.output[1]);
                        self.fill_sums(image, &rows, &filters, turned, [images, grads]);
                    }
                    Form::Taps => self.fill_rows(image, &rows, image_rows.add(at * self.image_words())),
                }
            }
            let plane = g.output[0] * g.output[1];
            let first = ((images.start * g.groups + group) * self.filters + filters.start) * plane;
            let lying = self.grad.floats().cast_const().add(first + rows.start * g.output[1]);
            for product in 0..self.n_products() {
                let (a, a_row, b) = match self.form {
                    Form::Sums => {
                        let row = self.pixels.len();
                        let a = grad_rows.add(product * self.part_filters * row).cast_const();
                        (a, row, product * self.together * self.image_words())
                    }
                    Form::Taps => {
                        let in_row = g.kernel[1] / self.taps;
                        let [y, x] = [product / in_row * g.dilation[0], product % in_row * g.dilation[1]];
                        (lying, plane, (y * self.image_row() + x) * self.channels)
                    }
                };
                let out = product * self.product_len() + (group * self.filters + filters.start) * self.row();
                let product = Outer {
                    rows: filters.len(),
                    columns: self.row(),
                    a,
                    a_row,
                    a_strip: STRIP * a_row,
                    b: image_rows.add(b),
                    steps: self.pixels.first(pixels),
                    out: sums.add(out),
                    out_row: self.row(),
                    fragments: None,
                    add,
                    finish: Finish::default(),
                };
                outer(self.isa, &product);
            }
        }
    }

    /// Parts of the filters of a group.
    fn across(&self) -> usize {
        self.filters.div_ceil(self.part_filters)
    }

    /// Adds the products of some images to the sums of their part, for one part of the filters.
    ///
    /// # Safety
    /// As [`Job::run_part`]; the sums are this thread's.
    unsafe fn sum(&self, images: Range<usize>, across: usize, scratch: *mut u32) {
        let part = images.start / self.part;
        let filters = across * self.part_filters..self.filters.min((across + 1) * self.part_filters);
        let height = match self.form {
            Form::Sums => self.geometry.output[0].div_ceil(ROWS),
            Form::Taps => self.geometry.output[0],
        };
        // SAFETY: the caller's promise.
        unsafe {
            let sums = self.sums.start().cast::<f32>().add(part * self.n_products() * self.product_len());
            for first in images.clone().step_by(self.together) {
                let block = first..(first + self.together).min(images.end);
                for group in 0..self.geometry.groups {
                    for rows in winograd::blocks(height, self.band) {
                        let add = first > part * self.part || rows.start > 0;
                        self.add(block.clone(), group, rows, filters.clone(), [sums, scratch.cast()], add);
                    }
                }
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
                let start = (part * self.n_products() + product) * self.product_len() + first * row;
                self.sums.start().cast::<f32>().add(start)
            };
            for product in 0..self.n_products() {
                let total = std::slice::from_raw_parts_mut(sums(0, product), filters * row);
                for part in 1..self.n_sums() {
                    let sums = std::slice::from_raw_parts(sums(part, product).cast_const(), filters * row);
                    total.iter_mut().zip(sums).for_each(|(total, sum)| *total += *sum);
                }
            }
            let len = self.filter_len();
            let result = match &self.out {
                Output::Buffer(out) => out.part_mut(first * len, filters * len),
                Output::Epilogue(_) => {
                    let results = scratch.add(self.out.scratch_words()).cast::<f32>();
                    std::slice::from_raw_parts_mut(results, filters * len)
                }
            };
            let taps = self.geometry.kernel[0] * self.geometry.kernel[1];
            for (at, result) in result.chunks_exact_mut(taps).enumerate() {
                let (filter, channel) = (at / self.channels, at % self.channels);
                let total = |product: usize, column: usize| {
                    *sums(0, product).add(filter * row + column * self.channels + channel)
                };
                match self.form {
                    Form::Sums => (0..self.taps).for_each(|column| {
                        let products = [0, 1, 2, 3, 4, 5].map(|product| total(product, column));
                        let rows = winograd::to_filter(products);
                        rows.iter().enumerate().for_each(|(row, value)| result[row * self.taps + column] = *value);
                    }),
                    Form::Taps => (result.iter_mut().enumerate())
                        .for_each(|(tap, result)| *result = total(tap / self.taps, tap % self.taps)),
                }
            }
            if let Output::Epilogue(epilogue) = &self.out {
                epilogue.frame(scratch).run(first * len, filters * len, result.as_ptr());
            }
        }
    }
}

impl Job for TurnedWeightGrad {
    fn phases(&self) -> usize {
        2
    }

    fn parts(&self, phase: usize) -> usize {
        if phase == 0 { self.n_sums() * self.across() } else { self.geometry.filters.div_ceil(self.joined()) }
    }

    fn scratch_words(&self) -> usize {
        let joined = self.out.scratch_words() + self.joined() * self.filter_len();
        self.words().iter().sum::<usize>().max(joined)
    }

    unsafe fn run_part(&self, phase: usize, part: usize, scratch: *mut u32) {
        if phase == 1 {
            // SAFETY: the caller's promise.
            return unsafe { self.join(part, scratch) };
        }
        let (part, across) = (part / self.across(), part % self.across());
        let images = part * self.part..((part + 1) * self.part).min(self.geometry.batch);
        // SAFETY: the caller's promise; each part has its own sums.
        unsafe { self.sum(images, across, scratch) };
    }

    fn rows_phase(&self) -> Option<usize> {
        self.by_rows.then_some(0)
    }

    unsafe fn run_rows(&self, rows: Range<usize>, scratch: *mut u32) {
        // SAFETY: the caller's promise; what runs by rows has all filters in each part.
        unsafe { self.sum(rows, 0, scratch) };
    }
}
