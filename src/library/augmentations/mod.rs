//! Augmentations.

use super::{Augmentation, Coordinates, ImageBuilder};
use crate::ir::Value;
use crate::schema::Schema;

mod affine;
pub mod horizontal_flip;
pub mod random_affine;
pub mod random_crop;
pub mod random_rotation;

pub use affine::Interpolation;

/// Every augmentation, in the order of the reference.
pub const ALL: &[&Schema<dyn Augmentation>] = &[
    &horizontal_flip::HorizontalFlip::SCHEMA,
    &random_crop::RandomCrop::SCHEMA,
    &random_rotation::RandomRotation::SCHEMA,
    &random_affine::RandomAffine::SCHEMA,
];

/// Height and width of an image type.
///
/// # Errors
/// When the type is not `[C, H, W]`.
pub fn image_size(item: &str, input: &super::Type) -> Result<[usize; 2], super::ShapeError> {
    match input.shape[..] {
        [_, height, width] => Ok([height, width]),
        _ => Err(super::ShapeError::new(format!(
            "`{item}` takes images [batch, channels, height, width], found {}",
            input.show()
        ))),
    }
}

/// A number for each sample spread over all pixels whose origin is asked for.
///
/// Those are the pixels of the last image: a transform between may have had another size.
fn spread(images: &mut ImageBuilder, value: Value, at: Coordinates) -> Value {
    let [_, height, width] = images.graph.shape(at.y)[..] else { unreachable!("coordinates have a batch and a grid") };
    images.per_pixel(value, [height, width])
}
