//! Turning, moving, scaling and slanting at random.

use super::affine::{Draws, Interpolation};
use super::image_size;
use crate::ir::{Unary, Value};
use crate::item;
use crate::library::{Augmentation, Coordinates, ImageBuilder, ShapeError, Type};
use crate::schema::{Shares, Spread, SymmetricSpread};

item! {
    /// Turns, moves, scales and slants each image at random, about its centre.
    ///
    /// What comes from outside is black. As `torchvision.transforms.RandomAffine`, with its order of operations: slant,
    /// scale, turn (positive angles clockwise), move by whole pixels. With `bilinear`, edges are those that it gives PIL
    /// images: a point within the image takes the pixels that there are, where tensors would fade to black.
    ///
    /// ```nnopt
    /// random_affine(10, translate = [0.1, 0.1], scale = 0.9..1.1)
    /// ```
    "random_affine" => pub struct RandomAffine: Augmentation {
        /// The angles: a number `d` for `-d..d`, or a range.
        degrees: SymmetricSpread,
        /// The largest move as shares of the width and the height: `[horizontal, vertical]`.
        translate: Option<Shares> = None,
        /// The factors of the size.
        scale: Option<Spread> = None,
        /// The angles of the slant along the rows, in degrees: a number `d` for `-d..d`, or a range.
        shear: Option<SymmetricSpread> = None,
        /// How a pixel between others is found.
        interpolation: Interpolation = Interpolation::Nearest,
    }
}

impl Augmentation for RandomAffine {
    fn changes_nothing(&self, _input: &Type) -> bool {
        let still = SymmetricSpread(0.0, 0.0);
        self.degrees == still
            && self.translate.is_none_or(|shares| shares.0 == [0.0, 0.0])
            && self.scale.is_none_or(|factors| factors == Spread(1.0, 1.0))
            && self.shear.is_none_or(|angles| angles == still)
    }

    fn infer(&self, input: &Type) -> Result<Type, ShapeError> {
        image_size("random_affine", input)?;
        if let Some(Spread(low, high)) = self.scale.filter(|spread| spread.0 <= 0.0) {
            return Err(ShapeError::new(format!("`scale` of `random_affine` is above 0, found `{low}..{high}`"))
                .at("scale")
                .help("write a range such as `0.9..1.1`"));
        }
        Ok(input.clone())
    }

    fn lower(&self, images: &mut ImageBuilder, input: [usize; 2], _output: [usize; 2], at: Coordinates) -> Coordinates {
        self.interpolation.ask(images);
        let angle = random_angle(images, self.degrees);
        let translate = self.translate.map(|Shares([horizontal, vertical])| {
            let x = whole_pixels(images, horizontal * input[1] as f64);
            [whole_pixels(images, vertical * input[0] as f64), x]
        });
        let scale = self.scale.map(|Spread(low, high)| images.random(low, high));
        let shear = self.shear.map(|range| random_angle(images, range));
        Draws { angle, translate, scale, shear }.map(images, input, at)
    }
}

/// An angle in radians for each sample.
fn random_angle(images: &mut ImageBuilder, SymmetricSpread(low, high): SymmetricSpread) -> Value {
    images.random(low.to_radians(), high.to_radians())
}

/// A whole number near one uniform in `±most`, for each sample.
fn whole_pixels(images: &mut ImageBuilder, most: f64) -> Value {
    let exact = images.random(-most, most);
    let raised = images.graph.offset(exact, 0.5);
    images.graph.unary(Unary::Floor, raised)
}
