//! The data of templates: made up, small, and the same each time.

use std::fmt::Write as _;
use std::io::Cursor;

use image::{GrayImage, ImageFormat, Luma};

use crate::ir::random::Sequence;

/// A table of wind, the angle of a windmill's blades, and what it gives.
pub fn table() -> String {
    let mut random = Sequence::new(1, 0, 0);
    let mut table = "wind,angle,power\n".to_owned();
    for _ in 0..400 {
        let (wind, angle) = (3.0 + 12.0 * random.next_uniform(), 45.0 * random.next_uniform());
        let noise = 0.05 * random.next_normal();
        // It grows with the cube of the wind up to what the generator takes, and is best at 20 degrees.
        let power = (0.01 * wind.powi(3)).min(10.0) * (1.0 - ((angle - 20.0) / 30.0).powi(2)) + noise;
        let _ = writeln!(table, "{wind:.2},{angle:.1},{power:.3}");
    }
    table
}

/// The classes of [`pictures`].
const SHAPES: [&str; 3] = ["circle", "cross", "square"];

/// Pictures of 24×24 gray pixels as PNG, by their paths: `circle/00.png`.
pub fn pictures() -> Vec<(String, Vec<u8>)> {
    const SIZE: u32 = 24;
    let mut random = Sequence::new(2, 0, 0);
    let mut all = Vec::new();
    for shape in SHAPES {
        for number in 0..60 {
            let [x, y] = [0; 2].map(|_| 9.0 + 6.0 * random.next_uniform());
            let (radius, light) = (4.0 + 3.0 * random.next_uniform(), 120.0 + 110.0 * random.next_uniform());
            let mut picture = GrayImage::new(SIZE, SIZE);
            for (column, row, pixel) in picture.enumerate_pixels_mut() {
                let (dx, dy) = (f64::from(column) - x, f64::from(row) - y);
                let inside = match shape {
                    "circle" => dx.hypot(dy) <= radius,
                    "cross" => dx.abs().min(dy.abs()) <= 1.2 && dx.abs().max(dy.abs()) <= radius,
                    _ => dx.abs().max(dy.abs()) <= 0.85 * radius,
                };
                let value = 15.0 * random.next_normal() + if inside { light } else { 40.0 };
                *pixel = Luma([value.clamp(0.0, 255.0) as u8]);
            }
            let mut bytes = Cursor::new(Vec::new());
            let written = picture.write_to(&mut bytes, ImageFormat::Png);
            written.unwrap_or_else(|error| unreachable!("a gray picture is written to memory: {error}"));
            all.push((format!("{shape}/{number:02}.png"), bytes.into_inner()));
        }
    }
    all
}
