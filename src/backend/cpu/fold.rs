//! Reducing tiles to numbers, in a fixed order.

use super::isa::{Arithmetic, for_each_isa};
use crate::plan::Reducer;

/// Sums that run beside each other.
const LANES: usize = 64;

/// The rule of plans that deviations keep.
const ALONG_MEMORY: &str = "squared deviations are planned where memory runs along the reduced axes";

/// A reduction under way.
#[repr(C, align(64))]
#[derive(Clone, Debug)]
pub struct Fold {
    lanes: [f32; LANES],
    /// Position of the largest, the value of which is the first lane; or how many elements there were, the mean and the
    /// squared deviations of which are the first two.
    place: u32,
}

/// The mean and the squared deviations of elements.
#[derive(Clone, Copy, Debug, Default)]
pub struct Moments {
    /// How many.
    pub count: usize,
    /// Their mean.
    pub mean: f32,
    /// `Σ(x − mean)²`
    pub deviations: f32,
}

impl Moments {
    /// Those of both sets of elements (Chan, Golub and LeVeque, "Updating Formulae and a Pairwise Algorithm for Computing
    /// Sample Variances", 1979).
    pub fn joined(self, other: Moments) -> Moments {
        let count = self.count + other.count;
        if count == 0 {
            return self;
        }
        let (own, others) = (self.count as f64, other.count as f64);
        let apart = f64::from(other.mean) - f64::from(self.mean);
        let between = apart * apart * own * others / count as f64;
        Moments {
            count,
            mean: (f64::from(self.mean) + apart * others / count as f64) as f32,
            deviations: (f64::from(self.deviations) + f64::from(other.deviations) + between) as f32,
        }
    }

    #[inline(always)]
    fn of(values: &[f32]) -> Moments {
        let mean = row_of(values, 0.0, |x| x, |a, b| a + b) / values.len() as f32;
        let deviations = row_of(values, 0.0, |x| (x - mean) * (x - mean), |a, b| a + b);
        Moments { count: values.len(), mean, deviations }
    }
}

/// What a reduction begins with.
pub fn identity(kind: Reducer) -> f32 {
    match kind {
        Reducer::Sum | Reducer::SquaredDeviation => 0.0,
        Reducer::Max | Reducer::ArgMax => f32::NEG_INFINITY,
    }
}

/// The larger, NaN if either is.
#[inline(always)]
fn larger(best: f32, x: f32) -> f32 {
    if x > best || x.is_nan() { x } else { best }
}

/// Whether `x` takes the place of `best`: NaN is the largest, and the first of equals stays.
#[inline(always)]
fn beats(best: f32, x: f32) -> bool {
    x > best || x.is_nan() && !best.is_nan()
}

impl Fold {
    /// A reduction of nothing.
    pub fn new(kind: Reducer) -> Fold {
        Fold { lanes: [identity(kind); LANES], place: 0 }
    }

    /// The bits of the result.
    pub fn result(&self, kind: Reducer) -> u32 {
        match kind {
            Reducer::Sum => tree(self.lanes, |a, b| a + b).to_bits(),
            Reducer::Max => tree(self.lanes, larger).to_bits(),
            Reducer::ArgMax => self.place,
            Reducer::SquaredDeviation => self.moments().deviations.to_bits(),
        }
    }

    /// What there is of squared deviations.
    pub fn moments(&self) -> Moments {
        Moments { count: self.place as usize, mean: self.lanes[0], deviations: self.lanes[1] }
    }
}

/// Halves the lanes until one is left.
#[inline(always)]
fn tree(mut lanes: [f32; LANES], function: impl Fn(f32, f32) -> f32) -> f32 {
    let mut width = LANES / 2;
    while width > 0 {
        for lane in 0..width {
            lanes[lane] = function(lanes[lane], lanes[lane + width]);
        }
        width /= 2;
    }
    lanes[0]
}

#[inline(always)]
fn fill_lanes(lanes: &mut [f32; LANES], values: &[f32], map: impl Fn(f32) -> f32, function: impl Fn(f32, f32) -> f32) {
    let mut current = *lanes;
    let mut blocks = values.chunks_exact(LANES);
    for block in &mut blocks {
        for lane in 0..LANES {
            current[lane] = function(current[lane], map(block[lane]));
        }
    }
    for (lane, value) in current.iter_mut().zip(blocks.remainder()) {
        *lane = function(*lane, map(*value));
    }
    *lanes = current;
}

for_each_isa! {
    /// Goes on with the values of a tile, the first of which is at `start`.
    ///
    /// # Safety
    /// The processor has `isa`.
    pub unsafe fn tile(kind: Reducer, fold: &mut Fold, values: &[f32], start: usize) = tile_body
}

/// # Safety
/// None of its own.
#[inline(always)]
unsafe fn tile_body<A: Arithmetic>(kind: Reducer, fold: &mut Fold, values: &[f32], start: usize) {
    match kind {
        Reducer::Sum => fill_lanes(&mut fold.lanes, values, |x| x, |a, b| a + b),
        Reducer::Max => fill_lanes(&mut fold.lanes, values, |x| x, larger),
        Reducer::SquaredDeviation => {
            let moments = fold.moments().joined(Moments::of(values));
            (fold.lanes[0], fold.lanes[1], fold.place) = (moments.mean, moments.deviations, moments.count as u32);
        }
        Reducer::ArgMax => {
            for (at, value) in values.iter().enumerate() {
                if beats(fold.lanes[0], *value) {
                    fold.lanes[0] = *value;
                    fold.place = (start + at) as u32;
                }
            }
        }
    }
}

for_each_isa! {
    /// Reduces each row of `width` values to an element of `to`.
    ///
    /// # Safety
    /// The processor has `isa`.
    pub unsafe fn rows(kind: Reducer, values: &[f32], width: usize, to: &mut [u32]) = rows_body
}

/// # Safety
/// None of its own.
#[inline(always)]
unsafe fn rows_body<A: Arithmetic>(kind: Reducer, values: &[f32], width: usize, to: &mut [u32]) {
    // Loops of a length that is known, where beginning one would take as long as the row: for the numbers of classes that
    // there often are.
    let to = to.as_chunks_mut::<1>().0;
    match width {
        2 => each_row(kind, values.as_chunks::<2>().0, to),
        3 => each_row(kind, values.as_chunks::<3>().0, to),
        4 => each_row(kind, values.as_chunks::<4>().0, to),
        10 => each_row(kind, values.as_chunks::<10>().0, to),
        _ => each_row(kind, values.chunks_exact(width), to),
    }
}

for_each_isa! {
    /// Reduces each row of `width` values, and repeats the result over a row of `to`.
    ///
    /// # Safety
    /// The processor has `isa`.
    pub unsafe fn spread(kind: Reducer, values: &[f32], width: usize, to: &mut [u32]) = spread_body
}

/// # Safety
/// None of its own.
#[inline(always)]
unsafe fn spread_body<A: Arithmetic>(kind: Reducer, values: &[f32], width: usize, to: &mut [u32]) {
    match width {
        2 => each_row(kind, values.as_chunks::<2>().0, to.as_chunks_mut::<2>().0),
        3 => each_row(kind, values.as_chunks::<3>().0, to.as_chunks_mut::<3>().0),
        10 => each_row(kind, values.as_chunks::<10>().0, to.as_chunks_mut::<10>().0),
        _ => each_row(kind, values.chunks_exact(width), to.chunks_exact_mut(width)),
    }
}

/// Fills an element of `to` for each row with its result.
#[inline(always)]
fn each_row<R: AsRef<[f32]>, T: AsMut<[u32]>>(
    kind: Reducer,
    rows: impl IntoIterator<Item = R>,
    to: impl IntoIterator<Item = T>,
) {
    match kind {
        Reducer::Sum => map_rows(rows, to, |row| row_of(row, 0.0, |x| x, |a, b| a + b).to_bits()),
        Reducer::Max => map_rows(rows, to, |row| row_of(row, f32::NEG_INFINITY, |x| x, larger).to_bits()),
        Reducer::SquaredDeviation => map_rows(rows, to, |row| Moments::of(row).deviations.to_bits()),
        Reducer::ArgMax => map_rows(rows, to, |row| {
            let mut best = (f32::NEG_INFINITY, 0);
            for (at, value) in row.iter().enumerate() {
                if beats(best.0, *value) {
                    best = (*value, at as u32);
                }
            }
            best.1
        }),
    }
}

#[inline(always)]
fn map_rows<R: AsRef<[f32]>, T: AsMut<[u32]>>(
    rows: impl IntoIterator<Item = R>,
    to: impl IntoIterator<Item = T>,
    result: impl Fn(&[f32]) -> u32,
) {
    for (row, mut to) in rows.into_iter().zip(to) {
        to.as_mut().fill(result(row.as_ref()));
    }
}

#[inline(always)]
fn row_of(row: &[f32], identity: f32, map: impl Fn(f32) -> f32, function: impl Fn(f32, f32) -> f32) -> f32 {
    const NARROW: usize = 8;
    if row.len() >= LANES {
        let mut lanes = [identity; LANES];
        fill_lanes(&mut lanes, row, map, &function);
        return tree(lanes, function);
    }
    let mut lanes = [identity; NARROW];
    let mut blocks = row.chunks_exact(NARROW);
    for block in &mut blocks {
        for lane in 0..NARROW {
            lanes[lane] = function(lanes[lane], map(block[lane]));
        }
    }
    for (lane, value) in lanes.iter_mut().zip(blocks.remainder()) {
        *lane = function(*lane, map(*value));
    }
    let half: [f32; 4] = std::array::from_fn(|lane| function(lanes[lane], lanes[lane + 4]));
    function(function(half[0], half[2]), function(half[1], half[3]))
}

for_each_isa! {
    /// Adds a tile, which begins at the reduced position `at` and has rows of `width`, to running results; sets
    /// them if it is the first.
    ///
    /// # Safety
    /// The processor has `isa`.
    pub unsafe fn add(
        kind: Reducer,
        values: &[f32],
        sums: &mut [f32],
        places: &mut [u32],
        position: (usize, usize, bool),
    ) = add_body
}

/// # Safety
/// None of its own.
#[inline(always)]
unsafe fn add_body<A: Arithmetic>(
    kind: Reducer,
    values: &[f32],
    sums: &mut [f32],
    places: &mut [u32],
    (at, width, is_first): (usize, usize, bool),
) {
    if is_first {
        if kind == Reducer::Sum {
            // In one pass, with the 0 that sums begin with: −0 alone gives 0.
            let (first, rest) = sums.split_at_mut(values.len().min(sums.len()));
            first.iter_mut().zip(values).for_each(|(sum, value)| *sum = 0.0 + *value);
            return rest.fill(0.0);
        }
        sums.fill(identity(kind));
        if kind == Reducer::ArgMax {
            places.iter_mut().enumerate().for_each(|(idx, place)| *place = (at + idx / width) as u32);
        }
    }
    match kind {
        Reducer::Sum => sums.iter_mut().zip(values).for_each(|(sum, value)| *sum += *value),
        Reducer::Max => sums.iter_mut().zip(values).for_each(|(best, value)| *best = larger(*best, *value)),
        Reducer::ArgMax => {
            for (row, values) in values.chunks(width).enumerate() {
                let from = row * width;
                let best = sums[from..].iter_mut().zip(&mut places[from..]);
                for ((best, place), value) in best.zip(values) {
                    let wins = beats(*best, *value);
                    *best = if wins { *value } else { *best };
                    *place = if wins { (at + row) as u32 } else { *place };
                }
            }
        }
        Reducer::SquaredDeviation => unreachable!("{ALONG_MEMORY}"),
    }
}

for_each_isa! {
    /// Reduces rows of `to.len()` running results to one.
    ///
    /// # Safety
    /// The processor has `isa`.
    pub unsafe fn halve(kind: Reducer, sums: &mut [f32], places: &mut [u32], to: &mut [u32]) = halve_body
}

/// # Safety
/// None of its own.
#[inline(always)]
unsafe fn halve_body<A: Arithmetic>(kind: Reducer, sums: &mut [f32], places: &mut [u32], to: &mut [u32]) {
    let width = to.len();
    let mut rows = sums.len() / width;
    while rows > 1 {
        let half = rows.div_ceil(2);
        let (low, high) = sums.split_at_mut(half * width);
        let (low_places, high_places) = places.split_at_mut(half * width);
        let high = &high[..(rows - half) * width];
        match kind {
            Reducer::Sum | Reducer::Max => combine(kind, low, high),
            Reducer::ArgMax => {
                for (idx, value) in high.iter().enumerate() {
                    let place = high_places[idx];
                    let ties = *value == low[idx] || value.is_nan() && low[idx].is_nan();
                    if beats(low[idx], *value) || ties && place < low_places[idx] {
                        (low[idx], low_places[idx]) = (*value, place);
                    }
                }
            }
            Reducer::SquaredDeviation => unreachable!("{ALONG_MEMORY}"),
        }
        rows = half;
    }
    for (idx, to) in to.iter_mut().enumerate() {
        *to = if kind == Reducer::ArgMax { places[idx] } else { sums[idx].to_bits() };
    }
}

/// Adds the results of a part of a sum to those of the parts before it.
#[inline]
pub fn combine(kind: Reducer, results: &mut [f32], partial: &[f32]) {
    match kind {
        Reducer::Sum => results.iter_mut().zip(partial).for_each(|(sum, value)| *sum += *value),
        Reducer::Max => results.iter_mut().zip(partial).for_each(|(best, value)| *best = larger(*best, *value)),
        Reducer::ArgMax => unreachable!("positions are found in one part"),
        Reducer::SquaredDeviation => unreachable!("deviations are joined with their means"),
    }
}
