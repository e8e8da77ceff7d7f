//! A turn by a random angle.

use super::affine::{Draws, Interpolation};
use super::image_size;
use crate::item;
use crate::library::{Augmentation, Coordinates, ImageBuilder, ShapeError, Type};
use crate::schema::SymmetricSpread;

item! {
    /// Turns each image about its centre by a random angle.
    ///
    /// Positive angles turn counter-clockwise; corners that come from outside are black. As
    /// `torchvision.transforms.RandomRotation`; with `bilinear`, edges are those that it gives PIL images: a point within
    /// the image takes the pixels that there are, where tensors would fade to black.
    ///
    /// ```nnopt
    /// random_rotation(15, interpolation = bilinear)
    /// ```
    "random_rotation" => pub struct RandomRotation: Augmentation {
        /// The angles: a number `d` for `-d..d`, or a range.
        degrees: SymmetricSpread,
        /// How a pixel between others is found.
        interpolation: Interpolation = Interpolation::Nearest,
    }
}

impl Augmentation for RandomRotation {
    fn changes_nothing(&self, _input: &Type) -> bool {
        self.degrees == SymmetricSpread(0.0, 0.0)
    }

    fn infer(&self, input: &Type) -> Result<Type, ShapeError> {
        image_size("random_rotation", input)?;
        Ok(input.clone())
    }

    fn lower(&self, images: &mut ImageBuilder, input: [usize; 2], _output: [usize; 2], at: Coordinates) -> Coordinates {
        self.interpolation.ask(images);
        // The matrix turns clockwise.
        let SymmetricSpread(low, high) = self.degrees;
        let angle = images.random((-high).to_radians(), (-low).to_radians());
        Draws { angle, translate: None, scale: None, shear: None }.map(images, input, at)
    }
}
