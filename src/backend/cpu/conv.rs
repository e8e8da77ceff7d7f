//! Convolutions and the gradients of their images: products whose right operand is the image, moved by each tap; or, by
//! [`winograd`], sums of its rows.

use std::ops::Range;

use super::conv_turned::{self, TurnedWeightGrad};
use super::conv_weight::WeightGrad;
use super::depthwise::{Depthwise, DepthwiseKind};
use super::epilogue::{Late, Output};
use super::isa::Isa;
use super::memory::{Region, Words, Workspace};
use super::product::{Finish, Fragments, Outer, Runs, STRIP, outer};
use super::spread::{Spread, copy_to_every_second};
use super::winograd;
use super::{Batch, Job};
use crate::ir::ConvGeometry;

/// Multiplications of a part.
const PART_WORK: usize = 500_000;
/// Most parts of a kernel.
const MAX_PARTS: usize = 16;
/// Channels of the result that are computed before they are copied to their places, if those are not neighbours.
const COPIED: usize = 2 * STRIP;

/// `out = conv(x, weight)`
pub fn forward(
    g: ConvGeometry,
    [x, weight]: [Region; 2],
    out: Output,
    batch: Option<Batch>,
    workspace: &Workspace,
    isa: Isa,
) -> Box<dyn Job> {
    check(&g);
    x.expect_floats(images(&g), "the images of a convolution");
    weight.expect_floats(filters(&g), "the filters of a convolution");
    out.expect_floats(results(&g), "the result of a convolution");
    if is_depthwise(&g) {
        let build = |out| Box::new(Depthwise::new(DepthwiseKind::Forward, g, [x, weight, out], isa)) as Box<dyn Job>;
        return Late::build(out, results(&g), build);
    }
    if winograd::pays(&g) {
        return Box::new(winograd::conv::Conv::forward(&g, [x, weight], out, batch, workspace, isa));
    }
    let spread = Spread::of_images(&g);
    let taps = taps(&g);
    let steps = |channel: usize| taps.iter().map(move |tap| (channel, *tap));
    let pass = Pass {
        a_steps: (0..spread.channels * taps.len()).collect(),
        b_steps: (0..spread.channels)
            .flat_map(steps)
            .map(|(channel, tap)| spread.place(channel, shift(&g, tap)))
            .collect(),
        size: g.output,
        first: 0,
        step: [g.output[1], 1],
    };
    let row = spread.channels * taps.len();
    Box::new(Conv::new(
        &g,
        spread,
        vec![pass],
        [x, weight],
        out,
        g.filters,
        g.output,
        [row, row * g.filters / g.groups],
        batch,
        isa,
    ))
}

/// The gradient of the images.
///
/// Pixels whose places have equal remainders of the stride see the same taps; each such set is a convolution of the
/// gradient with those taps.
pub fn input_grad(
    g: ConvGeometry,
    [weight, grad]: [Region; 2],
    out: Output,
    batch: Option<Batch>,
    workspace: &Workspace,
    isa: Isa,
) -> Box<dyn Job> {
    check(&g);
    weight.expect_floats(filters(&g), "the filters of a convolution");
    grad.expect_floats(results(&g), "the gradient of a convolution's result");
    out.expect_floats(images(&g), "the gradient of a convolution's images");
    if is_depthwise(&g) {
        let build =
            |out| Box::new(Depthwise::new(DepthwiseKind::InputGrad, g, [out, weight, grad], isa)) as Box<dyn Job>;
        return Late::build(out, images(&g), build);
    }
    if winograd::pays(&g) {
        return Box::new(winograd::conv::Conv::input_grad(&g, [weight, grad], out, batch, workspace, isa));
    }
    // Where a tap finds the gradient from a pixel of a remainder, in steps of the stride; it may lie before the first.
    let places = |axis: usize, remainder: usize, tap: usize| {
        let place = (remainder + g.padding[axis]) as isize - (tap * g.dilation[axis]) as isize;
        (place.rem_euclid(g.stride[axis] as isize) == 0).then(|| place.div_euclid(g.stride[axis] as isize))
    };
    let count = |axis: usize, remainder: usize| g.input[axis].saturating_sub(remainder).div_ceil(g.stride[axis]);
    let mut before = [0; 2];
    let mut after = [0; 2];
    for axis in 0..2 {
        for remainder in 0..g.stride[axis].min(g.input[axis]) {
            for place in (0..g.kernel[axis]).filter_map(|tap| places(axis, remainder, tap)) {
                let end = place + count(axis, remainder) as isize - g.output[axis] as isize;
                before[axis] = before[axis].max(-place);
                after[axis] = after[axis].max(end);
            }
        }
    }
    let (channels, filters) = (g.channels / g.groups, g.filters / g.groups);
    let spread = Spread {
        channels: filters,
        input: g.output,
        padding: before.map(|before| before as usize),
        stride: [1, 1],
        remainders: [1, 1],
        size: [0, 1].map(|axis| (before[axis] + after[axis]) as usize + g.output[axis]),
    };
    let n_taps = g.kernel[0] * g.kernel[1];
    let mut passes = Vec::new();
    for y in 0..g.stride[0].min(g.input[0]) {
        for x in 0..g.stride[1].min(g.input[1]) {
            let (mut a_steps, mut b_steps) = (Vec::new(), Vec::new());
            for filter in 0..filters {
                for tap in taps(&g) {
                    let (Some(tap_y), Some(tap_x)) = (places(0, y, tap[0]), places(1, x, tap[1])) else { continue };
                    a_steps.push(filter * channels * n_taps + tap[0] * g.kernel[1] + tap[1]);
                    b_steps.push(spread.place(filter, [(tap_y + before[0]) as usize, (tap_x + before[1]) as usize]));
                }
            }
            passes.push(Pass {
                a_steps,
                b_steps,
                size: [count(0, y), count(1, x)],
                first: y * g.input[1] + x,
                step: [g.stride[0] * g.input[1], g.stride[1]],
            });
        }
    }
    let strides = [n_taps, filters * channels * n_taps];
    Box::new(Conv::new(&g, spread, passes, [grad, weight], out, g.channels, g.input, strides, batch, isa))
}

/// The gradient of the filters.
pub fn weight_grad(
    g: ConvGeometry,
    [x, grad]: [Region; 2],
    out: Output,
    batch: Option<Batch>,
    workspace: &Workspace,
    isa: Isa,
) -> Box<dyn Job> {
    check(&g);
    x.expect_floats(images(&g), "the images of a convolution");
    grad.expect_floats(results(&g), "the gradient of a convolution's result");
    out.expect_floats(filters(&g), "the gradient of a convolution's filters");
    if is_depthwise(&g) {
        let build = |out| Box::new(Depthwise::new(DepthwiseKind::WeightGrad, g, [x, out, grad], isa)) as Box<dyn Job>;
        return Late::build(out, filters(&g), build);
    }
    if conv_turned::pays(&g) {
        return Box::new(TurnedWeightGrad::new(g, [x, grad], out, batch, workspace, isa));
    }
    Box::new(WeightGrad::new(g, [x, grad], out, batch, workspace, isa))
}

/// Whether groups have one channel and too few filters for tiles of a product.
fn is_depthwise(g: &ConvGeometry) -> bool {
    g.channels == g.groups && g.filters < 4 * g.groups
}

fn check(g: &ConvGeometry) {
    assert!(g.groups > 0 && g.channels.is_multiple_of(g.groups), "groups divide the channels");
    assert!(g.filters.is_multiple_of(g.groups), "groups divide the filters");
    assert!(g.output[0] > 0 && g.output[1] > 0 && g.stride[0] > 0 && g.stride[1] > 0, "a convolution has a result");
}

fn images(g: &ConvGeometry) -> usize {
    g.input_shape().iter().product()
}

fn filters(g: &ConvGeometry) -> usize {
    g.weight_shape().iter().product()
}

fn results(g: &ConvGeometry) -> usize {
    g.output_shape().iter().product()
}

/// Rows and columns of the taps of a filter.
pub fn taps(g: &ConvGeometry) -> Vec<[usize; 2]> {
    (0..g.kernel[0]).flat_map(|y| (0..g.kernel[1]).map(move |x| [y, x])).collect()
}

/// How far a tap is from the corner of its window.
pub fn shift(g: &ConvGeometry, tap: [usize; 2]) -> [usize; 2] {
    [tap[0] * g.dilation[0], tap[1] * g.dilation[1]]
}

/// A product that gives some of the pixels of the result.
struct Pass {
    /// Where each step of the sums is in the filters.
    a_steps: Vec<usize>,
    /// Where each step of the sums is in the image.
    b_steps: Vec<usize>,
    /// Rows and columns of the pixels.
    size: [usize; 2],
    /// The first pixel in a plane of the result, and the distances of rows and columns.
    first: usize,
    step: [usize; 2],
}

/// A pass made ready.
struct Bound {
    pass: Pass,
    /// Where its filters begin in the copy, in strips.
    a_start: usize,
    /// Where each step is in a row of a strip, and in the image.
    steps: Runs,
    /// Pixels in rows of the laid out image.
    columns: usize,
    target: Target,
}

/// Where a pass writes.
enum Target {
    /// Rows of the result.
    Rows,
    /// Runs of the rows.
    Runs(Fragments),
    /// A copy, from where pixels are taken to places that are not neighbours.
    Copy,
}

/// A convolution of laid out images.
struct Conv {
    spread: Spread,
    passes: Vec<Bound>,
    x: Region,
    weight: Region,
    out: Output,
    isa: Isa,
    /// The filters, by group and pass, in strips of 8 channels of the result: `[strip, step, channel]`.
    filters: Words,
    /// Elements of a group in it.
    group_filters: usize,
    /// Whether images need not be laid out.
    in_place: bool,
    batch: usize,
    groups: usize,
    /// Channels of the result in a group, and elements of one of its planes.
    channels: usize,
    plane: usize,
    /// In the filters, from one channel of the result to the next, and from one group to the next.
    weight_strides: [usize; 2],
    /// Images of a part.
    part: usize,
    by_rows: bool,
}

impl Conv {
    #[allow(clippy::too_many_arguments)]
    fn new(
        g: &ConvGeometry,
        spread: Spread,
        passes: Vec<Pass>,
        [x, weight]: [Region; 2],
        out: Output,
        channels: usize,
        size: [usize; 2],
        weight_strides: [usize; 2],
        rows: Option<Batch>,
        isa: Isa,
    ) -> Conv {
        let work = g.output_shape().iter().product::<usize>() * weight.len / g.filters;
        let part = g.batch.div_ceil((work / PART_WORK).clamp(1, MAX_PARTS));
        let part = rows.map_or(part, |rows| rows.part);
        let (channels, plane) = (channels / g.groups, size[0] * size[1]);
        // No vector may go past the end of the last image.
        let in_place = spread.is_plain() && passes.iter().all(|pass| spread.run(pass.size).is_multiple_of(16));
        let strips = channels.div_ceil(STRIP);
        let mut group_filters = 0;
        let width = spread.size[1];
        let bind = |pass: Pass| {
            let a_start = group_filters;
            group_filters += strips * STRIP * pass.a_steps.len();
            let columns = spread.run(pass.size);
            let target = if pass.step[1] != 1 {
                Target::Copy
            } else if pass.size[1] == width && pass.step == [width, 1] {
                Target::Rows
            } else {
                let place = |column: usize| {
                    let (y, x) = (column / width, column % width);
                    (x < pass.size[1]).then_some(y * pass.step[0] + x)
                };
                Target::Runs(Fragments::new(columns, isa.lanes(), place))
            };
            let places = pass.b_steps.iter().enumerate().map(|(step, place)| [step * STRIP, *place]);
            let steps = Runs::of(&places.collect::<Vec<_>>());
            Bound { a_start, steps, columns, target, pass }
        };
        let passes = passes.into_iter().map(bind).collect();
        Conv {
            in_place,
            spread,
            passes,
            x,
            weight,
            out,
            isa,
            filters: Words::zeroed(g.groups * group_filters),
            group_filters,
            batch: g.batch,
            groups: g.groups,
            channels,
            plane,
            weight_strides,
            part,
            by_rows: rows.is_some(),
        }
    }

    /// Words of the laid out image, with some behind it that a vector may read.
    fn image_words(&self) -> usize {
        if self.in_place { 0 } else { (self.spread.len() + 16).next_multiple_of(16) }
    }

    /// Words of a row of a copy.
    fn copy_words(&self) -> usize {
        let copied = self.passes.iter().filter(|bound| matches!(bound.target, Target::Copy));
        copied.map(|bound| bound.columns.next_multiple_of(16)).max().unwrap_or(0)
    }

    /// Computes one image's result in one group.
    ///
    /// # Safety
    /// As [`Job::run_part`], for the image; the result is this thread's.
    unsafe fn image(&self, image: usize, group: usize, out: &mut [f32], scratch: *mut f32) {
        let source = self.spread.channels * self.spread.input[0] * self.spread.input[1];
        // SAFETY: the builders have checked the sizes of all buffers; scratch memory holds the image and a copy.
        unsafe {
            let x = &self.x.slice()[(image * self.groups + group) * source..][..source];
            let b = if self.in_place {
                x.as_ptr()
            } else {
                let to = std::slice::from_raw_parts_mut(scratch, self.image_words());
                self.spread.fill(self.isa, x, to);
                to[self.spread.len()..].fill(0.0);
                to.as_ptr()
            };
            let copy = scratch.add(self.image_words());
            let filters = self.filters.start().cast::<f32>().cast_const().add(group * self.group_filters);
            for bound in &self.passes {
                let product = Outer {
                    rows: self.channels,
                    columns: bound.columns,
                    a: filters.add(bound.a_start),
                    a_row: 1,
                    a_strip: STRIP * bound.steps.len(),
                    b,
                    steps: bound.steps.steps(),
                    out: out.as_mut_ptr().add(bound.pass.first),
                    out_row: self.plane,
                    fragments: match &bound.target {
                        Target::Runs(fragments) => Some(fragments),
                        Target::Rows | Target::Copy => None,
                    },
                    add: false,
                    finish: Finish::default(),
                };
                if matches!(bound.target, Target::Copy) {
                    self.copied(bound, product, copy, out);
                } else {
                    outer(self.isa, &product);
                }
            }
        }
    }

    /// Computes a product in a copy and takes the pixels from there.
    ///
    /// # Safety
    /// As [`outer`]; the copy is this thread's.
    unsafe fn copied(&self, bound: &Bound, product: Outer<'_>, copy: *mut f32, out: &mut [f32]) {
        let row = self.copy_words();
        for (copied, out) in out.chunks_mut(COPIED * self.plane).enumerate() {
            let rows = out.len() / self.plane;
            // SAFETY: the caller's promise; strips begin at multiples of 8 rows.
            let from = unsafe {
                let a = product.a.add(copied * COPIED / STRIP * product.a_strip);
                outer(self.isa, &Outer { rows, a, out: copy, out_row: row, ..product });
                std::slice::from_raw_parts(copy, rows * row)
            };
            for (from, out) in from.chunks_exact(row).zip(out.chunks_exact_mut(self.plane)) {
                bound.pass.place(self.isa, from, self.spread.size[1], &mut out[bound.pass.first..]);
            }
        }
    }
}

impl Pass {
    /// Copies the pixels of a channel, in rows of `width`, to their places.
    fn place(&self, isa: Isa, from: &[f32], width: usize, out: &mut [f32]) {
        for y in 0..self.size[0] {
            let from = &from[y * width..][..self.size[1]];
            let to = &mut out[y * self.step[0]..];
            match self.step[1] {
                // SAFETY: `Isa::detect` has found the instructions.
                2 => unsafe { copy_to_every_second(isa, from, to) },
                step => to.iter_mut().step_by(step).zip(from).for_each(|(to, from)| *to = *from),
            }
        }
    }
}

impl Conv {
    /// Copies strips of the filters; see [`Conv::filters`].
    ///
    /// # Safety
    /// No one else uses the copy.
    unsafe fn copy_filters(&self) {
        // SAFETY: the caller's promise.
        let (weight, filters) = unsafe {
            let filters = self.filters.start().cast::<f32>();
            (self.weight.slice(), std::slice::from_raw_parts_mut(filters, self.filters.len()))
        };
        for (group, filters) in filters.chunks_exact_mut(self.group_filters.max(1)).enumerate() {
            for bound in self.passes.iter().filter(|bound| bound.steps.len() > 0) {
                let strips = filters[bound.a_start..].chunks_exact_mut(STRIP * bound.steps.len());
                for (strip, to) in strips.take(self.channels.div_ceil(STRIP)).enumerate() {
                    let first = strip * STRIP;
                    let own = STRIP.min(self.channels - first);
                    let from = &weight[group * self.weight_strides[1] + first * self.weight_strides[0]..];
                    for (to, step) in to.chunks_exact_mut(STRIP).zip(&bound.pass.a_steps) {
                        for (channel, to) in to[..own].iter_mut().enumerate() {
                            *to = from[channel * self.weight_strides[0] + step];
                        }
                    }
                }
            }
        }
    }

    /// Elements of an image's result.
    fn result(&self) -> usize {
        self.groups * self.channels * self.plane
    }

    /// Words of an image's result before the epilogue.
    fn result_words(&self) -> usize {
        match &self.out {
            Output::Buffer(_) => 0,
            Output::Epilogue(_) => self.result().next_multiple_of(16),
        }
    }
}

impl Job for Conv {
    fn phases(&self) -> usize {
        2
    }

    fn parts(&self, phase: usize) -> usize {
        if phase == 0 { 1 } else { self.batch.div_ceil(self.part) }
    }

    fn scratch_words(&self) -> usize {
        self.out.scratch_words() + self.result_words() + self.image_words() + COPIED * self.copy_words()
    }

    unsafe fn run_part(&self, phase: usize, part: usize, scratch: *mut u32) {
        if phase == 0 {
            // SAFETY: this phase has one part.
            return unsafe { self.copy_filters() };
        }
        let images = part * self.part..((part + 1) * self.part).min(self.batch);
        // SAFETY: the caller's promise; parts have no image in common.
        unsafe { self.run_rows(images, scratch) };
    }

    fn rows_phase(&self) -> Option<usize> {
        self.by_rows.then_some(1)
    }

    unsafe fn run_rows(&self, images: Range<usize>, scratch: *mut u32) {
        let len = self.result();
        // SAFETY: the caller's promise; scratch memory holds what the epilogue needs, the result before it, and what an
        // image takes.
        unsafe {
            let results = scratch.add(self.out.scratch_words()).cast::<f32>();
            let rest = results.add(self.result_words());
            let frame = match &self.out {
                Output::Buffer(_) => None,
                Output::Epilogue(epilogue) => Some(epilogue.frame(scratch)),
            };
            for image in images {
                let out = match &self.out {
                    Output::Buffer(out) => out.part_mut(image * len, len),
                    Output::Epilogue(_) => std::slice::from_raw_parts_mut(results, len),
                };
                for (group, out) in out.chunks_exact_mut(len / self.groups).enumerate() {
                    self.image(image, group, out, rest);
                }
                if let Some(frame) = &frame {
                    frame.run(image * len, len, results);
                }
            }
        }
    }
}
