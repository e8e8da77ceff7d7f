//! Reducing tiles to numbers, in a fixed order.

use super::isa::{Arithmetic, for_each_isa};
use crate::ir::ReduceKind;

/// Sums that run beside each other.
const LANES: usize = 64;

/// A reduction under way.
#[repr(C, align(64))]
#[derive(Clone, Debug)]
pub struct Fold {
    lanes: [f32; LANES],
    /// Position of the largest; the value is the first lane.
    place: u32,
}

/// What a reduction begins with.
pub fn identity(kind: ReduceKind) -> f32 {
    match kind {
        ReduceKind::Sum => 0.0,
        ReduceKind::Max | ReduceKind::ArgMax => f32::NEG_INFINITY,
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
    pub fn new(kind: ReduceKind) -> Fold {
        Fold { lanes: [identity(kind); LANES], place: 0 }
    }

    /// The bits of the result.
    pub fn result(&self, kind: ReduceKind) -> u32 {
        match kind {
            ReduceKind::Sum => tree(self.lanes, |a, b| a + b).to_bits(),
            ReduceKind::Max => tree(self.lanes, larger).to_bits(),
            ReduceKind::ArgMax => self.place,
        }
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
fn fill_lanes(lanes: &mut [f32; LANES], values: &[f32], function: impl Fn(f32, f32) -> f32) {
    let mut current = *lanes;
    let mut blocks = values.chunks_exact(LANES);
    for block in &mut blocks {
        for lane in 0..LANES {
            current[lane] = function(current[lane], block[lane]);
        }
    }
    for (lane, value) in current.iter_mut().zip(blocks.remainder()) {
        *lane = function(*lane, *value);
    }
    *lanes = current;
}

for_each_isa! {
    /// Goes on with the values of a tile, the first of which is at `start`.
    ///
    /// # Safety
    /// The processor has `isa`.
    pub unsafe fn tile(kind: ReduceKind, fold: &mut Fold, values: &[f32], start: usize) = tile_body
}

/// # Safety
/// None of its own.
#[inline(always)]
unsafe fn tile_body<A: Arithmetic>(kind: ReduceKind, fold: &mut Fold, values: &[f32], start: usize) {
    match kind {
        ReduceKind::Sum => fill_lanes(&mut fold.lanes, values, |a, b| a + b),
        ReduceKind::Max => fill_lanes(&mut fold.lanes, values, larger),
        ReduceKind::ArgMax => {
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
    pub unsafe fn rows(kind: ReduceKind, values: &[f32], width: usize, to: &mut [u32]) = rows_body
}

/// # Safety
/// None of its own.
#[inline(always)]
unsafe fn rows_body<A: Arithmetic>(kind: ReduceKind, values: &[f32], width: usize, to: &mut [u32]) {
    for (row, to) in values.chunks_exact(width).zip(to) {
        *to = match kind {
            ReduceKind::Sum => row_of(row, 0.0, |a, b| a + b).to_bits(),
            ReduceKind::Max => row_of(row, f32::NEG_INFINITY, larger).to_bits(),
            ReduceKind::ArgMax => {
                let mut best = (f32::NEG_INFINITY, 0);
                for (at, value) in row.iter().enumerate() {
                    if beats(best.0, *value) {
                        best = (*value, at as u32);
                    }
                }
                best.1
            }
        };
    }
}

#[inline(always)]
fn row_of(row: &[f32], identity: f32, function: impl Fn(f32, f32) -> f32) -> f32 {
    const NARROW: usize = 8;
    if row.len() >= LANES {
        let mut lanes = [identity; LANES];
        fill_lanes(&mut lanes, row, &function);
        return tree(lanes, function);
    }
    let mut lanes = [identity; NARROW];
    let mut blocks = row.chunks_exact(NARROW);
    for block in &mut blocks {
        for lane in 0..NARROW {
            lanes[lane] = function(lanes[lane], block[lane]);
        }
    }
    for (lane, value) in lanes.iter_mut().zip(blocks.remainder()) {
        *lane = function(*lane, *value);
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
        kind: ReduceKind,
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
    kind: ReduceKind,
    values: &[f32],
    sums: &mut [f32],
    places: &mut [u32],
    (at, width, is_first): (usize, usize, bool),
) {
    if is_first {
        sums.fill(identity(kind));
        if kind == ReduceKind::ArgMax {
            places.iter_mut().enumerate().for_each(|(idx, place)| *place = (at + idx / width) as u32);
        }
    }
    match kind {
        ReduceKind::Sum => sums.iter_mut().zip(values).for_each(|(sum, value)| *sum += *value),
        ReduceKind::Max => sums.iter_mut().zip(values).for_each(|(best, value)| *best = larger(*best, *value)),
        ReduceKind::ArgMax => {
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
    }
}

/// Reduces rows of `to.len()` running results to one.
pub fn halve(kind: ReduceKind, sums: &mut [f32], places: &mut [u32], to: &mut [u32]) {
    let width = to.len();
    let mut rows = sums.len() / width;
    while rows > 1 {
        let half = rows.div_ceil(2);
        let (low, high) = sums.split_at_mut(half * width);
        let (low_places, high_places) = places.split_at_mut(half * width);
        for (idx, value) in high[..(rows - half) * width].iter().enumerate() {
            match kind {
                ReduceKind::Sum => low[idx] += *value,
                ReduceKind::Max => low[idx] = larger(low[idx], *value),
                ReduceKind::ArgMax => {
                    let place = high_places[idx];
                    let ties = *value == low[idx] || value.is_nan() && low[idx].is_nan();
                    if beats(low[idx], *value) || ties && place < low_places[idx] {
                        (low[idx], low_places[idx]) = (*value, place);
                    }
                }
            }
        }
        rows = half;
    }
    for (idx, to) in to.iter_mut().enumerate() {
        *to = if kind == ReduceKind::ArgMax { places[idx] } else { sums[idx].to_bits() };
    }
}

/// Adds the results of a part of a sum to those of the parts before it.
pub fn combine(kind: ReduceKind, results: &mut [f32], partial: &[f32]) {
    match kind {
        ReduceKind::Sum => results.iter_mut().zip(partial).for_each(|(sum, value)| *sum += *value),
        ReduceKind::Max => results.iter_mut().zip(partial).for_each(|(best, value)| *best = larger(*best, *value)),
        ReduceKind::ArgMax => unreachable!("positions are found in one part"),
    }
}
