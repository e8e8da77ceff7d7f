//! Images laid out so that every tap of a filter reads a straight run: with their border of zeros, and split by the
//! remainders of the stride.

use super::isa::{Arithmetic, Isa, for_each_isa};
use super::vector::{Vector, copy_row};
use crate::ir::ConvGeometry;

/// A layout of images.
///
/// Position `remainder + stride·i - padding` of an axis is at `i` of the plane of its remainder. Rows keep their
/// distance, so the pixels of an output image, counted in rows of this layout, lie `taps` places further for each tap.
#[derive(Clone, Debug)]
pub struct Spread {
    /// Planes of an image.
    pub channels: usize,
    /// Rows and columns of an image.
    pub input: [usize; 2],
    /// Zeros before the first row and column.
    pub padding: [usize; 2],
    /// Step between pixels of one plane.
    pub stride: [usize; 2],
    /// How many remainders of the stride are kept.
    pub remainders: [usize; 2],
    /// Rows and columns of a plane.
    pub size: [usize; 2],
}

impl Spread {
    /// The layout of the images of a convolution, of one group.
    pub fn of_images(g: &ConvGeometry) -> Spread {
        let reach = [0, 1].map(|axis| (g.kernel[axis] - 1) * g.dilation[axis]);
        Spread {
            channels: g.channels / g.groups,
            input: g.input,
            padding: g.padding,
            stride: g.stride,
            remainders: [0, 1].map(|axis| g.stride[axis].min(reach[axis] + 1)),
            size: [0, 1].map(|axis| g.output[axis] + reach[axis] / g.stride[axis]),
        }
    }

    /// Elements of a plane.
    fn plane(&self) -> usize {
        self.size[0] * self.size[1]
    }

    /// Elements of an image.
    pub fn len(&self) -> usize {
        self.channels * self.remainders[0] * self.remainders[1] * self.plane()
    }

    /// Where the first output pixel finds a tap that is `shift` rows and columns from the corner of the window.
    pub fn place(&self, channel: usize, shift: [usize; 2]) -> usize {
        let remainder = [0, 1].map(|axis| shift[axis] % self.stride[axis]);
        let plane = (channel * self.remainders[0] + remainder[0]) * self.remainders[1] + remainder[1];
        plane * self.plane() + shift[0] / self.stride[0] * self.size[1] + shift[1] / self.stride[1]
    }

    /// Elements from the first to the last pixel of an output image of this size.
    pub fn run(&self, output: [usize; 2]) -> usize {
        (output[0] - 1) * self.size[1] + output[1]
    }

    /// Whether images lie in memory as this layout says.
    pub fn is_plain(&self) -> bool {
        self.stride == [1, 1] && self.padding == [0, 0] && self.size == self.input
    }

    /// The positions of a plane whose pixels are in the image, for one remainder of one axis.
    fn inside(&self, axis: usize, remainder: usize) -> std::ops::Range<usize> {
        let start = self.padding[axis].saturating_sub(remainder).div_ceil(self.stride[axis]);
        let end = (self.input[axis] + self.padding[axis]).saturating_sub(remainder).div_ceil(self.stride[axis]);
        let end = end.min(self.size[axis]);
        start.min(end)..end
    }

    /// Lays out an image.
    pub fn fill(&self, isa: Isa, image: &[f32], to: &mut [f32]) {
        // SAFETY: `Isa::detect` has found the instructions; all rows are slices.
        unsafe { fill(isa, self, image, to) };
    }
}

for_each_isa! {
    /// [`Spread::fill`]
    ///
    /// # Safety
    /// The processor has `isa`.
    unsafe fn fill(spread: &Spread, image: &[f32], to: &mut [f32]) = fill_body
}

/// # Safety
/// As [`fill`].
#[inline(always)]
unsafe fn fill_body<A: Arithmetic>(spread: &Spread, image: &[f32], to: &mut [f32]) {
    let [height, width] = spread.input;
    let mut planes = to.chunks_exact_mut(spread.plane());
    for channel in image.chunks_exact(height * width).take(spread.channels) {
        for remainder in (0..spread.remainders[0]).flat_map(|y| (0..spread.remainders[1]).map(move |x| [y, x])) {
            let plane = planes.next().expect("a plane for each channel and remainder");
            let (ys, xs) = (spread.inside(0, remainder[0]), spread.inside(1, remainder[1]));
            for (y, row) in plane.chunks_exact_mut(spread.size[1]).enumerate() {
                if !ys.contains(&y) || xs.is_empty() {
                    row.fill(0.0);
                    continue;
                }
                let from = &channel[(remainder[0] + y * spread.stride[0] - spread.padding[0]) * width..][..width];
                let from = &from[remainder[1] + xs.start * spread.stride[1] - spread.padding[1]..];
                // SAFETY: the caller's promise.
                unsafe {
                    zero_row::<A::Vector>(&mut row[..xs.start]);
                    zero_row::<A::Vector>(&mut row[xs.end..]);
                }
                let row = &mut row[xs.clone()];
                match spread.stride[1] {
                    // SAFETY: the caller's promise.
                    1 => unsafe { copy_row::<A::Vector>(&from[..row.len()], row) },
                    // SAFETY: as above.
                    2 => unsafe { copy_every_second::<A::Vector>(from, row) },
                    stride => row.iter_mut().zip(from.iter().step_by(stride)).for_each(|(to, from)| *to = *from),
                }
            }
        }
    }
}

for_each_isa! {
    /// Copies rows of `width` to rows of `row`, with zeros behind each and behind the last.
    ///
    /// # Safety
    /// The processor has `isa`.
    pub unsafe fn space_out(from: &[f32], width: usize, to: &mut [f32], row: usize) = space_out_body
}

/// # Safety
/// As [`space_out`].
#[inline(always)]
unsafe fn space_out_body<A: Arithmetic>(from: &[f32], width: usize, to: &mut [f32], row: usize) {
    let mut rows = from.chunks_exact(width);
    for to in to.chunks_mut(row) {
        // SAFETY: the caller's promise.
        unsafe {
            let copied = match rows.next() {
                Some(from) => {
                    copy_row::<A::Vector>(from, &mut to[..width]);
                    width
                }
                None => 0,
            };
            zero_row::<A::Vector>(&mut to[copied..]);
        }
    }
}

/// Copies every second number of a row.
///
/// # Safety
/// The processor has the instructions.
#[inline(always)]
unsafe fn copy_every_second<V: Vector>(from: &[f32], to: &mut [f32]) {
    let len = to.len();
    let from = &from[..(2 * len).saturating_sub(1)];
    let mut at = 0;
    while at + V::LANES <= len {
        // SAFETY: all is inside both slices.
        unsafe { V::load_every_second(from.as_ptr().add(2 * at)).store(to.as_mut_ptr().add(at)) };
        at += V::LANES;
    }
    (at..len).for_each(|at| to[at] = from[2 * at]);
}

for_each_isa! {
    /// Copies a row to every second number of another.
    ///
    /// # Safety
    /// The processor has `isa`.
    pub unsafe fn copy_to_every_second(from: &[f32], to: &mut [f32]) = copy_to_every_second_body
}

/// # Safety
/// As [`copy_to_every_second`].
#[inline(always)]
unsafe fn copy_to_every_second_body<A: Arithmetic>(from: &[f32], to: &mut [f32]) {
    let len = from.len();
    let to = &mut to[..(2 * len).saturating_sub(1)];
    let mut at = 0;
    while at + A::Vector::LANES <= len {
        // SAFETY: all is inside both slices.
        unsafe { A::Vector::load(from.as_ptr().add(at)).store_every_second(to.as_mut_ptr().add(2 * at)) };
        at += A::Vector::LANES;
    }
    (at..len).for_each(|at| to[2 * at] = from[at]);
}

/// Fills a short row with zeros.
///
/// # Safety
/// The processor has the instructions.
#[inline(always)]
unsafe fn zero_row<V: Vector>(to: &mut [f32]) {
    let len = to.len();
    let mut at = 0;
    // SAFETY: all is inside the slice.
    unsafe {
        while at + V::LANES <= len {
            V::splat(0.0).store(to.as_mut_ptr().add(at));
            at += V::LANES;
        }
        if at < len {
            V::splat(0.0).store_some(to.as_mut_ptr().add(at), 0, len - at);
        }
    }
}
