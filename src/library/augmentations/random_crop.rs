//! A window at a random place.

use super::{image_size, spread};
use crate::item;
use crate::library::{Augmentation, Coordinates, ImageBuilder, ShapeError, Type};
use crate::schema::{Border, FromArg, Pair};

item! {
    /// Cuts a window of a fixed size out of each image, at a random place.
    ///
    /// The border counts as black. As `torchvision.transforms.RandomCrop`.
    ///
    /// ```nnopt
    /// random_crop(32, padding = 4)
    /// ```
    "random_crop" => pub struct RandomCrop: Augmentation {
        /// Size of the window: a number for a square, or `[height, width]`.
        size: Pair,
        /// Rows and columns added on each side before.
        padding: Border = Border([0, 0]),
    }
}

impl RandomCrop {
    fn padded(&self, [height, width]: [usize; 2]) -> [usize; 2] {
        [height + 2 * self.padding.0[0], width + 2 * self.padding.0[1]]
    }
}

impl Augmentation for RandomCrop {
    fn changes_nothing(&self, input: &Type) -> bool {
        self.padding.0 == [0, 0] && input.shape[1..] == self.size.0
    }

    fn infer(&self, input: &Type) -> Result<Type, ShapeError> {
        let found = image_size("random_crop", input)?;
        let (size, padded) = (self.size.0, self.padded(found));
        if let Some(axis) = (0..2).find(|&axis| size[axis] > padded[axis]) {
            let message = format!(
                "the window of `random_crop` is {}×{}, the image before it is {}×{} with padding {}",
                size[0],
                size[1],
                found[0],
                found[1],
                self.padding.show()
            );
            let note = format!("{} + 2·{} = {} < {}", found[axis], self.padding.0[axis], padded[axis], size[axis]);
            let help = format!("choose a window of at most {}×{}, or add padding", padded[0], padded[1]);
            return Err(ShapeError::new(message).at("size").note(note).help(help));
        }
        Ok(Type { shape: vec![input.shape[0], size[0], size[1]], meaning: input.meaning })
    }

    fn lower(&self, images: &mut ImageBuilder, input: [usize; 2], output: [usize; 2], at: Coordinates) -> Coordinates {
        let padded = self.padded(input);
        let mut moved = [at.y, at.x];
        for axis in 0..2 {
            let start = images.random_below(padded[axis] - output[axis] + 1);
            let start = images.graph.offset(start, -(self.padding.0[axis] as f64));
            let start = spread(images, start, at);
            moved[axis] = images.graph.add(moved[axis], start);
        }
        Coordinates { y: moved[0], x: moved[1] }
    }
}
