//! Convolutions whose filters have three rows, with half of the multiplications: Winograd's minimal filtering.
//!
//! Four rows of a result need six rows of the image. With three taps, that is twelve products of rows; as polynomials
//! whose values are known at six points, it is six. So a tile of six rows becomes six sums of rows, each is convolved
//! with a sum of the filter's rows in the other direction alone, and four sums of these results are the rows wanted:
//!
//! ```text
//! y = Aᵀ (G w ∘ Bᵀ x)        ∂w = Gᵀ Σ (A ∂y ∘ Bᵀ x)
//! ```
//!
//! S. Winograd, Arithmetic Complexity of Computations, 1980; A. Lavin and S. Gray, Fast Algorithms for Convolutional
//! Neural Networks, 2016, who take the points 0, ±1, ±2 and ∞. Here they are 0, ±¾, ±1½ and ∞: no factor of the sums is
//! larger than 4 and all in `A` and `B` are exact, so that the error of a result is about twice that of a plain sum.
//! Only rows are treated so, as columns would need shuffles and larger factors.

pub mod conv;

use std::ops::Range;

use super::isa::{Arithmetic, for_each_isa};
use super::vector::Vector;
use crate::ir::ConvGeometry;

/// Rows of a filter.
pub const TAPS: usize = 3;
/// Rows of the result in a tile.
pub const ROWS: usize = 4;
/// Rows of the image that a tile reads, and products that it takes.
pub const PRODUCTS: usize = ROWS + TAPS - 1;

/// The nearer points, its square and its cube.
const NEAR: [f32; 3] = [0.75, 0.5625, 0.421_875];
/// The same of the farther points.
const FAR: [f32; 3] = [1.5, 2.25, 3.375];
/// The product of the squares.
const SQUARES: f32 = NEAR[1] * FAR[1];
/// What the filter's polynomial is divided by at 0, at the nearer and at the farther points.
const DIVISORS: [f32; 3] = [SQUARES, 2.0 * NEAR[1] * (NEAR[1] - FAR[1]), 2.0 * FAR[1] * (FAR[1] - NEAR[1])];

/// Fewest channels and filters of a group: with fewer, the sums of rows take longer than the products they save.
const FEWEST: usize = 8;

/// Whether a convolution, and the gradients of its images and filters, are computed so.
pub fn pays(g: &ConvGeometry) -> bool {
    let tiles = |rows: usize| rows.div_ceil(ROWS) * PRODUCTS;
    // At least a fifth of the multiplications is saved, the rows that fill the last tile counted.
    let saves = |rows: usize| 5 * tiles(rows) <= 4 * TAPS * rows;
    g.kernel[0] == TAPS
        && g.stride == [1, 1]
        && g.dilation == [1, 1]
        && [0, 1].iter().all(|&axis| g.padding[axis] < g.kernel[axis])
        && g.channels / g.groups >= FEWEST
        && g.filters / g.groups >= FEWEST
        && saves(g.output[0])
        && saves(g.input[0])
}

/// The rows of a filter as the factors of the products: `G w`.
pub fn of_filter([first, second, third]: [f32; TAPS]) -> [f32; PRODUCTS] {
    let pair = |[point, square, _]: [f32; 3], divisor: f32| {
        let (even, odd) = (square.mul_add(third, first), point * second);
        [(even + odd) / divisor, (even - odd) / divisor]
    };
    let ([a, b], [c, d]) = (pair(NEAR, DIVISORS[1]), pair(FAR, DIVISORS[2]));
    [first / DIVISORS[0], a, b, c, d, third]
}

/// The gradient of a filter's rows from the sums of products: `Gᵀ m`.
pub fn to_filter(m: [f32; PRODUCTS]) -> [f32; TAPS] {
    let pair = |a: f32, b: f32, divisor: f32| [(a + b) / divisor, (a - b) / divisor];
    let ([near, near_odd], [far, far_odd]) = (pair(m[1], m[2], DIVISORS[1]), pair(m[3], m[4], DIVISORS[2]));
    [
        m[0] / DIVISORS[0] + near + far,
        NEAR[0].mul_add(near_odd, FAR[0] * far_odd),
        NEAR[1].mul_add(near, FAR[1].mul_add(far, m[5])),
    ]
}

/// What becomes of rows of numbers.
trait Rows {
    /// How many of the six are read.
    const READ: usize;

    /// # Safety
    /// The processor has the vector's instructions.
    unsafe fn products<V: Vector>(rows: [V; PRODUCTS]) -> [V; PRODUCTS];
}

/// Of images: `Bᵀ x`.
struct OfImage;

impl Rows for OfImage {
    const READ: usize = PRODUCTS;

    #[inline(always)]
    unsafe fn products<V: Vector>(x: [V; PRODUCTS]) -> [V; PRODUCTS] {
        // SAFETY: the caller's promise.
        unsafe {
            let outer = |low: V, middle: V, high: V| {
                high.add_product(V::splat(-(NEAR[1] + FAR[1])), middle).add_product(V::splat(SQUARES), low)
            };
            let (even, odd) = (x[4].add_product(V::splat(-FAR[1]), x[2]), x[3].add_product(V::splat(-FAR[1]), x[1]));
            let (far_even, far_odd) =
                (x[4].add_product(V::splat(-NEAR[1]), x[2]), x[3].add_product(V::splat(-NEAR[1]), x[1]));
            [
                outer(x[0], x[2], x[4]),
                even.add_product(V::splat(NEAR[0]), odd),
                even.add_product(V::splat(-NEAR[0]), odd),
                far_even.add_product(V::splat(FAR[0]), far_odd),
                far_even.add_product(V::splat(-FAR[0]), far_odd),
                outer(x[1], x[3], x[5]),
            ]
        }
    }
}

/// Of gradients of results: `A ∂y`.
struct OfGradient;

impl Rows for OfGradient {
    const READ: usize = ROWS;

    #[inline(always)]
    unsafe fn products<V: Vector>(y: [V; PRODUCTS]) -> [V; PRODUCTS] {
        // SAFETY: the caller's promise.
        unsafe {
            let one = V::splat(1.0);
            let even = y[0].add_product(V::splat(NEAR[1]), y[2]);
            let far_even = y[0].add_product(V::splat(FAR[1]), y[2]);
            let none = V::splat(0.0);
            let odd = none.add_product(V::splat(NEAR[0]), y[1]).add_product(V::splat(NEAR[2]), y[3]);
            let far_odd = none.add_product(V::splat(FAR[0]), y[1]).add_product(V::splat(FAR[2]), y[3]);
            let minus = V::splat(-1.0);
            [
                y[0],
                even.add_product(one, odd),
                even.add_product(minus, odd),
                far_even.add_product(one, far_odd),
                far_even.add_product(minus, far_odd),
                y[3],
            ]
        }
    }
}

/// Rows of results from products: `Aᵀ m`.
///
/// # Safety
/// The processor has the vector's instructions.
#[inline(always)]
unsafe fn results<V: Vector>(m: [V; PRODUCTS]) -> [V; ROWS] {
    // SAFETY: the caller's promise.
    unsafe {
        let (one, minus) = (V::splat(1.0), V::splat(-1.0));
        let (near, near_odd) = (m[1].add_product(one, m[2]), m[1].add_product(minus, m[2]));
        let (far, far_odd) = (m[3].add_product(one, m[4]), m[3].add_product(minus, m[4]));
        let none = V::splat(0.0);
        [
            m[0].add_product(one, near).add_product(one, far),
            none.add_product(V::splat(NEAR[0]), near_odd).add_product(V::splat(FAR[0]), far_odd),
            none.add_product(V::splat(NEAR[1]), near).add_product(V::splat(FAR[1]), far),
            m[5].add_product(V::splat(NEAR[2]), near_odd).add_product(V::splat(FAR[2]), far_odd),
        ]
    }
}

/// Tiles of planes of numbers.
#[derive(Clone, Copy)]
pub struct Source<'a> {
    /// The first row that is there, of the first plane.
    pub from: *const f32,
    /// Planes, and the distance from one to the next.
    pub planes: usize,
    pub plane: usize,
    /// The rows that are there: others are zeros.
    pub rows: [usize; 2],
    /// Numbers in a row.
    pub width: usize,
    /// Rows of zeros before the first.
    pub before: usize,
    /// The tiles wanted: the first and the one behind the last.
    pub tiles: [usize; 2],
    /// At least a row of zeros.
    pub zeros: &'a [f32],
}

/// Where the sums of a tile's rows go.
#[derive(Clone, Copy)]
pub struct Sums {
    /// The first number of the first product.
    pub to: *mut f32,
    /// From one product, plane and tile to the next.
    pub product: usize,
    pub plane: usize,
    pub tile: usize,
    /// Zeros before the first number of a row.
    pub before: usize,
    /// Numbers in a row, with zeros before and behind.
    pub width: usize,
}

for_each_isa! {
    /// Writes what the products read of images.
    ///
    /// # Safety
    /// The processor has `isa`, and all numbers are inside their allocations. No one else uses the sums.
    pub unsafe fn of_images(source: Source<'_>, sums: Sums) = of_images_body
}

for_each_isa! {
    /// Writes what the products read of gradients of results.
    ///
    /// # Safety
    /// As [`of_images`].
    pub unsafe fn of_gradients(source: Source<'_>, sums: Sums) = of_gradients_body
}

/// # Safety
/// As [`of_images`].
#[inline(always)]
unsafe fn of_images_body<A: Arithmetic>(source: Source<'_>, sums: Sums) {
    // SAFETY: the caller's promise.
    unsafe { to_products::<A::Vector, OfImage>(source, sums) }
}

/// # Safety
/// As [`of_images`].
#[inline(always)]
unsafe fn of_gradients_body<A: Arithmetic>(source: Source<'_>, sums: Sums) {
    // SAFETY: the caller's promise.
    unsafe { to_products::<A::Vector, OfGradient>(source, sums) }
}

/// # Safety
/// As [`of_images`].
#[inline(always)]
unsafe fn to_products<V: Vector, R: Rows>(source: Source<'_>, sums: Sums) {
    let width = source.width.min(sums.width - sums.before);
    assert!(source.zeros.len() >= width, "a row of zeros is as long as any");
    for plane in 0..source.planes {
        for tile in source.tiles[0]..source.tiles[1] {
            // SAFETY: rows that are there are inside the plane.
            let mut rows = [source.zeros.as_ptr(); PRODUCTS];
            for (at, row) in rows.iter_mut().enumerate().take(R::READ) {
                let Some(y) = (tile * ROWS + at).checked_sub(source.before) else { continue };
                if (source.rows[0]..source.rows[1]).contains(&y) {
                    // SAFETY: the row is there.
                    *row = unsafe { source.from.add(plane * source.plane + (y - source.rows[0]) * source.width) };
                }
            }
            // SAFETY: the caller's promise.
            unsafe {
                let to = sums.to.add(plane * sums.plane + (tile - source.tiles[0]) * sums.tile);
                for product in 0..PRODUCTS {
                    let to = to.add(product * sums.product);
                    (0..sums.before).for_each(|at| *to.add(at) = 0.0);
                    (sums.before + width..sums.width).for_each(|at| *to.add(at) = 0.0);
                }
                let to = to.add(sums.before);
                let mut at = 0;
                while at + V::LANES <= width {
                    let mut vectors = [V::splat(0.0); PRODUCTS];
                    for (vector, row) in vectors.iter_mut().zip(rows).take(R::READ) {
                        *vector = V::load(row.add(at));
                    }
                    for (product, vector) in R::products(vectors).into_iter().enumerate() {
                        vector.store(to.add(product * sums.product + at));
                    }
                    at += V::LANES;
                }
                if at < width {
                    let mut vectors = [V::splat(0.0); PRODUCTS];
                    for (vector, row) in vectors.iter_mut().zip(rows).take(R::READ) {
                        *vector = V::load_some(row.add(at), width - at);
                    }
                    for (product, vector) in R::products(vectors).into_iter().enumerate() {
                        vector.store_some(to.add(product * sums.product + at), 0, width - at);
                    }
                }
            }
        }
    }
}

/// Products of tiles of planes.
#[derive(Clone, Copy)]
pub struct Products {
    /// The first number of the first product.
    pub from: *const f32,
    /// From one product, plane and tile to the next.
    pub product: usize,
    pub plane: usize,
    pub tile: usize,
}

/// Planes of results.
#[derive(Clone, Copy)]
pub struct Planes {
    /// The first number of the first plane.
    pub to: *mut f32,
    /// How many planes.
    pub number: usize,
    /// Rows and columns.
    pub size: [usize; 2],
    /// The tiles wanted: the first and the one behind the last.
    pub tiles: [usize; 2],
}

for_each_isa! {
    /// Writes results.
    ///
    /// # Safety
    /// As [`of_images`].
    pub unsafe fn to_results(products: Products, planes: Planes) = to_results_body
}

/// # Safety
/// As [`of_images`].
#[inline(always)]
unsafe fn to_results_body<A: Arithmetic>(products: Products, planes: Planes) {
    let lanes = A::Vector::LANES;
    let [height, width] = planes.size;
    for plane in 0..planes.number {
        for tile in planes.tiles[0]..planes.tiles[1] {
            let rows = ROWS.min(height - tile * ROWS);
            // SAFETY: the caller's promise.
            unsafe {
                let from = products.from.add(plane * products.plane + (tile - planes.tiles[0]) * products.tile);
                let to = planes.to.add((plane * height + tile * ROWS) * width);
                let mut at = 0;
                while at + lanes <= width {
                    let mut vectors = [A::Vector::splat(0.0); PRODUCTS];
                    for (product, vector) in vectors.iter_mut().enumerate() {
                        *vector = A::Vector::load(from.add(product * products.product + at));
                    }
                    for (row, vector) in results(vectors).into_iter().enumerate() {
                        if row < rows {
                            vector.store(to.add(row * width + at));
                        }
                    }
                    at += lanes;
                }
                if at < width {
                    let mut vectors = [A::Vector::splat(0.0); PRODUCTS];
                    for (product, vector) in vectors.iter_mut().enumerate() {
                        *vector = A::Vector::load_some(from.add(product * products.product + at), width - at);
                    }
                    for (row, vector) in results(vectors).into_iter().enumerate() {
                        if row < rows {
                            vector.store_some(to.add(row * width + at), 0, width - at);
                        }
                    }
                }
            }
        }
    }
}

/// How many images, and tiles of each, are computed together so that they have about `numbers` numbers in their rows.
pub fn block(tiles: usize, width: usize, numbers: usize, most: usize) -> [usize; 2] {
    let image = tiles * width;
    if image <= numbers { [(numbers / image).clamp(1, most.max(1)), tiles] } else { [1, numbers.div_ceil(width)] }
}

/// The tiles of blocks of so many.
pub fn blocks(tiles: usize, block: usize) -> impl Iterator<Item = Range<usize>> {
    (0..tiles).step_by(block).map(move |first| first..(first + block).min(tiles))
}

/// Multiplications that take as long, for parts of the work.
pub fn multiplications(g: &ConvGeometry) -> usize {
    let taps = g.kernel[0] * g.kernel[1];
    g.output_shape().iter().product::<usize>() * (g.channels / g.groups) * taps / 2
}
