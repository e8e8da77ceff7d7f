//! The inverse of an affine map about the centre of an image.

use super::spread;
use crate::ir::{Unary, Value};
use crate::library::{Coordinates, ImageBuilder};
use crate::words;

words! {
    /// How a pixel between others is found.
    pub enum Interpolation {
        /// The nearest pixel.
        Nearest = "nearest",
        /// The mean of the four around, by distance.
        Bilinear = "bilinear",
    }
}

impl Interpolation {
    /// Says so to the resampling that follows all transforms.
    pub fn ask(self, images: &mut ImageBuilder) {
        images.bilinear |= self == Interpolation::Bilinear;
    }
}

/// An affine map of each image: slanted along the rows, scaled, turned clockwise, moved; each `f32 [batch]`.
pub struct Draws {
    /// The angle in radians.
    pub angle: Value,
    /// Rows and columns.
    pub translate: Option<[Value; 2]>,
    /// The factor of the size.
    pub scale: Option<Value>,
    /// The angle of the slant in radians.
    pub shear: Option<Value>,
}

impl Draws {
    /// Where each pixel of the transformed image comes from.
    ///
    /// The map is `M = T·C·R(a)·S(s)·[1, −t; 0, 1]·C⁻¹` with `t = tan(shear)`, as in torchvision, so its inverse about
    /// the centre is `[cos a − t·sin a, sin a + t·cos a; −sin a, cos a]/s`.
    pub fn map(&self, images: &mut ImageBuilder, size: [usize; 2], at: Coordinates) -> Coordinates {
        let center = size.map(|length| (length as f64 - 1.0) / 2.0);
        let mut y = images.graph.offset(at.y, -center[0]);
        let mut x = images.graph.offset(at.x, -center[1]);
        if let Some([rows, columns]) = self.translate {
            let (rows, columns) = (spread(images, rows, at), spread(images, columns, at));
            y = images.graph.sub(y, rows);
            x = images.graph.sub(x, columns);
        }
        let matrix = self.matrix(images);
        let [xx, xy, yx, yy] = matrix.map(|entry| spread(images, entry, at));
        let new_x = sum_of_products(images, [xx, x], [xy, y]);
        let new_y = sum_of_products(images, [yx, x], [yy, y]);
        Coordinates { y: images.graph.offset(new_y, center[0]), x: images.graph.offset(new_x, center[1]) }
    }

    /// The inverse matrix, row by row.
    fn matrix(&self, images: &mut ImageBuilder) -> [Value; 4] {
        let graph = &mut *images.graph;
        let sine = graph.unary(Unary::Sin, self.angle);
        let cosine = graph.unary(Unary::Cos, self.angle);
        let negative = graph.unary(Unary::Negate, sine);
        let mut matrix = [cosine, sine, negative, cosine];
        if let Some(shear) = self.shear {
            let (rise, run) = (graph.unary(Unary::Sin, shear), graph.unary(Unary::Cos, shear));
            let tangent = graph.div(rise, run);
            let (along, across) = (graph.mul(tangent, sine), graph.mul(tangent, cosine));
            matrix[0] = graph.sub(cosine, along);
            matrix[1] = graph.add(sine, across);
        }
        match self.scale {
            Some(scale) => matrix.map(|entry| graph.div(entry, scale)),
            None => matrix,
        }
    }
}

/// `a·b + c·d`
fn sum_of_products(images: &mut ImageBuilder, [a, b]: [Value; 2], [c, d]: [Value; 2]) -> Value {
    let left = images.graph.mul(a, b);
    let right = images.graph.mul(c, d);
    images.graph.add(left, right)
}
