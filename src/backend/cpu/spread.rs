//! Images laid out so that every tap of a filter reads a straight run: with their border of zeros, and split by the
//! remainders of the stride.

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
    pub fn fill(&self, image: &[f32], to: &mut [f32]) {
        let [height, width] = self.input;
        let mut planes = to.chunks_exact_mut(self.plane());
        for channel in image.chunks_exact(height * width).take(self.channels) {
            for remainder in (0..self.remainders[0]).flat_map(|y| (0..self.remainders[1]).map(move |x| [y, x])) {
                let plane = planes.next().expect("a plane for each channel and remainder");
                let (ys, xs) = (self.inside(0, remainder[0]), self.inside(1, remainder[1]));
                for (y, row) in plane.chunks_exact_mut(self.size[1]).enumerate() {
                    if !ys.contains(&y) || xs.is_empty() {
                        row.fill(0.0);
                        continue;
                    }
                    let from = &channel[(remainder[0] + y * self.stride[0] - self.padding[0]) * width..][..width];
                    let from = &from[remainder[1] + xs.start * self.stride[1] - self.padding[1]..];
                    row[..xs.start].fill(0.0);
                    row[xs.end..].fill(0.0);
                    let row = &mut row[xs.clone()];
                    match self.stride[1] {
                        1 => row.copy_from_slice(&from[..row.len()]),
                        2 => row.iter_mut().zip(from.iter().step_by(2)).for_each(|(to, from)| *to = *from),
                        stride => row.iter_mut().zip(from.iter().step_by(stride)).for_each(|(to, from)| *to = *from),
                    }
                }
            }
        }
    }
}
