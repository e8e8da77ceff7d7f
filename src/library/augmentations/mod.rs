//! Augmentations.

use super::Augmentation;
use crate::schema::Schema;

pub mod horizontal_flip;

/// Every augmentation, in the order of the reference.
pub const ALL: &[&Schema<dyn Augmentation>] = &[&horizontal_flip::HorizontalFlip::SCHEMA];

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
