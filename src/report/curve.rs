//! The curve of a range test as a picture: the loss over the learning rate, on a logarithmic axis.

use std::io::Cursor;

use image::{ImageError, ImageFormat, Rgb, RgbImage};

use crate::train::find_rate::RateTest;

const WIDTH: u32 = 800;
const HEIGHT: u32 = 500;
/// The frame's sides: left, right, top, bottom.
const FRAME: [f64; 4] = [90.0, 780.0, 40.0, 440.0];
const PAPER: Rgb<u8> = Rgb([255, 255, 255]);
const INK: Rgb<u8> = Rgb([60, 60, 60]);
const GRID: Rgb<u8> = Rgb([225, 225, 225]);
const LOSS: Rgb<u8> = Rgb([175, 190, 205]);
const SMOOTHED: Rgb<u8> = Rgb([30, 100, 180]);
const CHOSEN: Rgb<u8> = Rgb([220, 110, 20]);

/// The test as the bytes of a PNG: the loss of each step as points, the smoothed loss as a line, the chosen rate as an
/// upright one.
///
/// # Errors
/// When the picture cannot be encoded.
pub fn png(test: &RateTest) -> Result<Vec<u8>, ImageError> {
    let mut bytes = Cursor::new(Vec::new());
    draw(test).write_to(&mut bytes, ImageFormat::Png)?;
    Ok(bytes.into_inner())
}

fn draw(test: &RateTest) -> RgbImage {
    let mut image = RgbImage::from_pixel(WIDTH, HEIGHT, PAPER);
    let exponents = || test.points.iter().map(|point| point.lr.log10());
    let (first, last) = (exponents().fold(f64::INFINITY, f64::min), exponents().fold(f64::NEG_INFINITY, f64::max));
    let smoothed = || test.points.iter().map(|point| point.smoothed);
    let (low, high) = (smoothed().fold(f64::INFINITY, f64::min), smoothed().fold(f64::NEG_INFINITY, f64::max));
    // The loss that grows at the end would press the valley flat: twice the height of its beginning is enough.
    let start = test.points.first().map_or(1.0, |point| point.smoothed);
    let high = high.min(low + 2.0 * (start - low).max(0.1 * high.abs()).max(1e-12));
    let (low, high) = (low - 0.05 * (high - low), high + 0.05 * (high - low));
    let [left, right, top, bottom] = FRAME;
    let across = |exponent: f64| left + (exponent - first) / (last - first).max(1e-12) * (right - left);
    let up = |loss: f64| bottom - (loss - low) / (high - low) * (bottom - top);

    for exponent in first.ceil() as i32..=last.floor() as i32 {
        let x = across(f64::from(exponent));
        line(&mut image, [x, top], [x, bottom], GRID);
        centre(&mut image, x, bottom + 10.0, &format!("1e{exponent}"));
    }
    for part in 0..=4 {
        let loss = low + (high - low) * f64::from(part) / 4.0;
        line(&mut image, [left, up(loss)], [right, up(loss)], GRID);
        let text = format!("{loss:.3}");
        write(&mut image, left - 10.0 - width(&text), up(loss) - 7.0, &text, INK);
    }
    centre(&mut image, (left + right) / 2.0, bottom + 34.0, "learning rate");
    write(&mut image, left, top - 26.0, "loss", INK);

    for point in test.points.iter().filter(|point| point.loss >= low && point.loss <= high) {
        disc(&mut image, [across(point.lr.log10()), up(point.loss)], 2.0, LOSS);
    }
    for pair in test.points.windows(2) {
        let ends = [pair[0], pair[1]].map(|point| [across(point.lr.log10()), up(point.smoothed)]);
        thick_line(&mut image, ends, SMOOTHED);
    }
    if let Some((chosen, rate)) = test.chosen.zip(test.rate()) {
        let point = test.points[chosen];
        let [x, y] = [across(point.lr.log10()), up(point.smoothed)];
        line(&mut image, [x, top], [x, bottom], CHOSEN);
        disc(&mut image, [x, y], 5.0, CHOSEN);
        let text = format!("{rate:e}");
        write(&mut image, (x + 8.0).min(right - width(&text)), top + 6.0, &text, CHOSEN);
    }
    for [a, b] in [[[left, top], [left, bottom]], [[left, bottom], [right, bottom]]] {
        line(&mut image, a, b, INK);
    }
    image
}

/// Colours a pixel of the frame's inside, or of its edge; what lies outside the picture is left out.
fn dot(image: &mut RgbImage, x: f64, y: f64, colour: Rgb<u8>) {
    let (x, y) = (x.round(), y.round());
    if x >= 0.0 && y >= 0.0 && x < f64::from(WIDTH) && y < f64::from(HEIGHT) {
        image.put_pixel(x as u32, y as u32, colour);
    }
}

fn line(image: &mut RgbImage, [x0, y0]: [f64; 2], [x1, y1]: [f64; 2], colour: Rgb<u8>) {
    let steps = (x1 - x0).abs().max((y1 - y0).abs()).ceil().clamp(1.0, 4.0 * f64::from(WIDTH));
    for step in 0..=steps as u32 {
        let way = f64::from(step) / steps;
        dot(image, x0 + way * (x1 - x0), y0 + way * (y1 - y0), colour);
    }
}

/// A line three pixels thick that ends at the frame's upper side.
fn thick_line(image: &mut RgbImage, [[x0, y0], [x1, y1]]: [[f64; 2]; 2], colour: Rgb<u8>) {
    let steps = (x1 - x0).abs().max((y1 - y0).abs()).ceil().clamp(1.0, 4.0 * f64::from(WIDTH));
    for step in 0..=steps as u32 {
        let way = f64::from(step) / steps;
        let y = y0 + way * (y1 - y0);
        if y >= FRAME[2] {
            disc(image, [x0 + way * (x1 - x0), y], 1.5, colour);
        }
    }
}

fn disc(image: &mut RgbImage, [x, y]: [f64; 2], radius: f64, colour: Rgb<u8>) {
    let reach = radius.ceil() as i32;
    for (dx, dy) in (-reach..=reach).flat_map(|dx| (-reach..=reach).map(move |dy| (f64::from(dx), f64::from(dy)))) {
        if dx * dx + dy * dy <= radius * radius {
            dot(image, x + dx, y + dy, colour);
        }
    }
}

/// Pixels from one letter to the next.
const ADVANCE: f64 = 12.0;

fn width(text: &str) -> f64 {
    text.len() as f64 * ADVANCE
}

fn centre(image: &mut RgbImage, x: f64, y: f64, text: &str) {
    write(image, x - width(text) / 2.0, y, text, INK);
}

/// Writes text with its upper left corner at a place, each of the letters' points as four pixels.
fn write(image: &mut RgbImage, x: f64, y: f64, text: &str, colour: Rgb<u8>) {
    for (position, letter) in text.chars().enumerate() {
        for (row, points) in glyph(letter).iter().enumerate() {
            for column in (0..5).filter(|column| points & (1 << (4 - column)) != 0) {
                for (dx, dy) in [(0.0, 0.0), (1.0, 0.0), (0.0, 1.0), (1.0, 1.0)] {
                    let at = x + position as f64 * ADVANCE + f64::from(column) * 2.0 + dx;
                    dot(image, at, y + row as f64 * 2.0 + dy, colour);
                }
            }
        }
    }
}

/// The seven rows of five points of a letter that the picture uses; the leftmost point is the highest bit.
#[rustfmt::skip]
fn glyph(letter: char) -> [u8; 7] {
    match letter {
        '0' => [0b01110, 0b10001, 0b10011, 0b10101, 0b11001, 0b10001, 0b01110],
        '1' => [0b00100, 0b01100, 0b00100, 0b00100, 0b00100, 0b00100, 0b01110],
        '2' => [0b01110, 0b10001, 0b00001, 0b00110, 0b01000, 0b10000, 0b11111],
        '3' => [0b01110, 0b10001, 0b00001, 0b00110, 0b00001, 0b10001, 0b01110],
        '4' => [0b00010, 0b00110, 0b01010, 0b10010, 0b11111, 0b00010, 0b00010],
        '5' => [0b11111, 0b10000, 0b11110, 0b00001, 0b00001, 0b10001, 0b01110],
        '6' => [0b00110, 0b01000, 0b10000, 0b11110, 0b10001, 0b10001, 0b01110],
        '7' => [0b11111, 0b00001, 0b00010, 0b00100, 0b01000, 0b01000, 0b01000],
        '8' => [0b01110, 0b10001, 0b10001, 0b01110, 0b10001, 0b10001, 0b01110],
        '9' => [0b01110, 0b10001, 0b10001, 0b01111, 0b00001, 0b00010, 0b01100],
        '-' => [0b00000, 0b00000, 0b00000, 0b01110, 0b00000, 0b00000, 0b00000],
        '.' => [0b00000, 0b00000, 0b00000, 0b00000, 0b00000, 0b01100, 0b01100],
        'a' => [0b00000, 0b00000, 0b01110, 0b00001, 0b01111, 0b10001, 0b01111],
        'e' => [0b00000, 0b00000, 0b01110, 0b10001, 0b11111, 0b10000, 0b01110],
        'g' => [0b00000, 0b01111, 0b10001, 0b10001, 0b01111, 0b00001, 0b01110],
        'i' => [0b00100, 0b00000, 0b01100, 0b00100, 0b00100, 0b00100, 0b01110],
        'l' => [0b01100, 0b00100, 0b00100, 0b00100, 0b00100, 0b00100, 0b01110],
        'n' => [0b00000, 0b00000, 0b10110, 0b11001, 0b10001, 0b10001, 0b10001],
        'o' => [0b00000, 0b00000, 0b01110, 0b10001, 0b10001, 0b10001, 0b01110],
        'r' => [0b00000, 0b00000, 0b10110, 0b11001, 0b10000, 0b10000, 0b10000],
        's' => [0b00000, 0b00000, 0b01111, 0b10000, 0b01110, 0b00001, 0b11110],
        't' => [0b01000, 0b01000, 0b11100, 0b01000, 0b01000, 0b01001, 0b00110],
        _ => [0; 7],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::find_rate::RatePoint;

    fn test(chosen: Option<usize>) -> RateTest {
        let loss = |step: i32| if step < 60 { 3.0 - 0.03 * f64::from(step) } else { 1.2 * 1.2_f64.powi(step - 60) };
        let point = |step| {
            let (lr, smoothed) = (1e-7 * 10_f64.powf(f64::from(step) * 0.08), loss(step));
            RatePoint { lr, loss: smoothed * 1.05, smoothed }
        };
        RateTest { points: (0..80).map(point).collect(), chosen }
    }

    fn count(image: &RgbImage, colour: Rgb<u8>) -> usize {
        image.pixels().filter(|pixel| **pixel == colour).count()
    }

    #[test]
    fn a_picture_shows_the_curve_and_the_choice() {
        let picture = image::load_from_memory(&png(&test(Some(40))).unwrap()).unwrap().to_rgb8();
        assert_eq!(picture.dimensions(), (WIDTH, HEIGHT));
        assert!(count(&picture, SMOOTHED) > 1000 && count(&picture, LOSS) > 100);
        // The upright line stands where rate 40 of 80 does.
        let x = (FRAME[0] + 40.0 / 79.0 * (FRAME[1] - FRAME[0])).round() as u32;
        assert_eq!(*picture.get_pixel(x, 300), CHOSEN);
        let without = draw(&test(None));
        assert_eq!(count(&without, CHOSEN), 0);
    }

    #[test]
    fn a_test_of_one_point_is_drawn() {
        let one = RateTest { points: test(None).points[..1].to_vec(), chosen: None };
        assert!(png(&one).is_ok() && png(&RateTest { points: Vec::new(), chosen: None }).is_ok());
    }

    #[test]
    fn every_letter_has_a_shape() {
        for letter in "0123456789-.learning rate loss".chars().filter(|letter| *letter != ' ') {
            assert_ne!(glyph(letter), [0; 7], "{letter}");
        }
    }
}
