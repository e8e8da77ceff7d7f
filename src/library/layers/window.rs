//! The arithmetic of windows that slide over images: convolution and pooling.

use crate::library::{ShapeError, Type};

/// A window that slides over an image; each size as `[height, width]`.
#[derive(Clone, Copy, Debug)]
pub struct Window {
    /// The layer, for messages.
    pub item: &'static str,
    /// Taps of the window.
    pub kernel: [usize; 2],
    /// How far it moves.
    pub stride: [usize; 2],
    /// Rows and columns added on each side.
    pub padding: [usize; 2],
    /// Distance between taps.
    pub dilation: [usize; 2],
}

impl Window {
    /// Rows and columns of the result.
    ///
    /// # Errors
    /// When the window does not fit into the padded image.
    pub fn output(&self, input: [usize; 2]) -> Result<[usize; 2], ShapeError> {
        let sizes = [self.along(0, input[0]), self.along(1, input[1])];
        match sizes.iter().position(|&size| size < 1) {
            None => Ok([sizes[0] as usize, sizes[1] as usize]),
            Some(axis) => Err(self.too_large(input, axis)),
        }
    }

    /// Rows and columns that the window reaches over.
    fn reach(&self, axis: usize) -> usize {
        self.dilation[axis] * (self.kernel[axis] - 1) + 1
    }

    fn along(&self, axis: usize, input: usize) -> i64 {
        let room = (input + 2 * self.padding[axis]) as i64 - self.reach(axis) as i64;
        room.div_euclid(self.stride[axis] as i64) + 1
    }

    /// How the size of an axis comes about: `(28 + 2·0 − 3)/1 + 1 = 26`.
    pub fn arithmetic(&self, axis: usize, input: usize) -> String {
        let (kernel, stride, padding) = (self.kernel[axis], self.stride[axis], self.padding[axis]);
        let reach = match self.dilation[axis] {
            1 => kernel.to_string(),
            dilation => format!("{dilation}·({kernel} − 1) − 1"),
        };
        let room = (input + 2 * padding) as i64 - self.reach(axis) as i64;
        let (open, end) = if room.rem_euclid(stride as i64) == 0 { ("", "") } else { ("⌊", "⌋") };
        let size = self.along(axis, input).to_string().replace('-', "−");
        format!("{open}({input} + 2·{padding} − {reach})/{stride}{end} + 1 = {size}")
    }

    fn too_large(&self, input: [usize; 2], axis: usize) -> ShapeError {
        let dilated = self.dilation != [1, 1];
        let reach = [self.reach(0), self.reach(1)];
        let spread = if dilated { format!(" and reaches over {}", show_size(reach)) } else { String::new() };
        let message = format!(
            "the kernel of `{}` is {}{spread}, the image before it is {} with padding {}",
            self.item,
            show_size(self.kernel),
            show_size(input),
            show_pair(self.padding),
        );
        let square = input[0] == input[1] && reach[0] == reach[1] && self.padding[0] == self.padding[1];
        let name = if square { "" } else { ["height: ", "width: "][axis] };
        let room = [input[0] + 2 * self.padding[0], input[1] + 2 * self.padding[1]];
        let help = if dilated {
            format!("choose a kernel and a dilation that reach over at most {}", show_size(room))
        } else {
            format!("choose a kernel of at most {}, or shrink the image less before it", show_size(room))
        };
        ShapeError::new(message).at("kernel").note(format!("{name}{}", self.arithmetic(axis, input[axis]))).help(help)
    }
}

/// `5×5`
pub fn show_size(size: [usize; 2]) -> String {
    format!("{}×{}", size[0], size[1])
}

/// `2`, or `[2, 3]`
pub fn show_pair(pair: [usize; 2]) -> String {
    crate::schema::FromArg::show(&crate::schema::Pair(pair))
}

/// Channels, height and width of an image type.
///
/// # Errors
/// When the type is not `[C, H, W]`.
pub fn image(item: &str, input: &Type) -> Result<[usize; 3], ShapeError> {
    match input.shape[..] {
        [channels, height, width] => Ok([channels, height, width]),
        _ => Err(ShapeError::new(format!("`{item}` takes [batch, channels, height, width], found {}", input.show()))
            .help("put it before `flatten`, or `reshape([channels, height, width])` before it")),
    }
}
