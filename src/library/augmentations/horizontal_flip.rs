//! The mirror.

use super::spread;
use crate::ir::Binary;
use crate::item;
use crate::library::{Augmentation, Coordinates, ImageBuilder, ShapeError, Type};
use crate::schema::Share;

item! {
    /// Mirrors images left to right at random.
    ///
    /// As `torchvision.transforms.RandomHorizontalFlip`.
    ///
    /// ```nnopt
    /// horizontal_flip(0.5)
    /// ```
    "horizontal_flip" => pub struct HorizontalFlip: Augmentation {
        /// The share of images that are mirrored.
        probability: Share = Share(0.5),
    }
}

impl Augmentation for HorizontalFlip {
    fn mirrors(&self) -> bool {
        self.probability.0 > 0.0
    }

    fn changes_nothing(&self, _input: &Type) -> bool {
        self.probability.0 == 0.0
    }

    fn infer(&self, input: &Type) -> Result<Type, ShapeError> {
        super::image_size("horizontal_flip", input)?;
        Ok(input.clone())
    }

    fn lower(&self, images: &mut ImageBuilder, input: [usize; 2], _output: [usize; 2], at: Coordinates) -> Coordinates {
        let draw = images.random(0.0, 1.0);
        let limit = images.graph.like(draw, self.probability.0);
        let flips = images.graph.binary(Binary::Less, draw, limit);
        let flips = spread(images, flips, at);
        let last = images.graph.like(at.x, input[1] as f64 - 1.0);
        let mirrored = images.graph.sub(last, at.x);
        Coordinates { y: at.y, x: images.graph.select(flips, mirrored, at.x) }
    }
}
