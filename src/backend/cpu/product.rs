//! Tiles of matrix products whose sums stay in registers.

use std::mem::MaybeUninit;

use super::isa::{Arithmetic, for_each_isa};
pub use super::vector::Steps;
use super::vector::{LINE, Vector, prefetch};

/// Vectors beside each other in a tile.
const VECTORS: usize = 3;
/// Room for the largest tile: rows times columns. Nobody fills it with zeros, which would take as long as short sums do.
type Tile = [f32; 8 * VECTORS * 16];
/// Rows of a strip of the left operand, which can be stored apart from others.
pub const STRIP: usize = 8;

/// Lanes of a vector that go to one place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fragment {
    /// The first lane.
    pub first: u8,
    /// How many.
    pub len: u8,
    /// Where the first goes, from where the row of the result begins.
    pub to: u32,
}

/// Where the columns of a product go if its rows are not runs: the fragments of each vector.
#[derive(Clone, Debug, Default)]
pub struct Fragments {
    /// The first fragment of each vector, and their number.
    starts: Vec<u32>,
    list: Vec<Fragment>,
}

impl Fragments {
    /// Cuts `columns` columns into vectors of `lanes`; `place` gives each column's place, if it has one.
    pub fn new(columns: usize, lanes: usize, place: impl Fn(usize) -> Option<usize>) -> Fragments {
        let mut fragments = Fragments { starts: vec![0], list: Vec::new() };
        for start in (0..columns).step_by(lanes) {
            let mut last: Option<Fragment> = None;
            for column in start..(start + lanes).min(columns) {
                let Some(to) = place(column) else { continue };
                let (lane, to) = ((column - start) as u8, to as u32);
                match &mut last {
                    Some(last) if last.first + last.len == lane && last.to + u32::from(last.len) == to => last.len += 1,
                    _ => {
                        fragments.list.extend(last);
                        last = Some(Fragment { first: lane, len: 1, to });
                    }
                }
            }
            fragments.list.extend(last);
            fragments.starts.push(fragments.list.len() as u32);
        }
        fragments
    }

    /// The fragments of a vector.
    #[inline(always)]
    fn of(&self, vector: usize) -> &[Fragment] {
        match self.starts.get(vector..vector + 2) {
            Some(range) => &self.list[range[0] as usize..range[1] as usize],
            None => &[],
        }
    }
}

/// [`Steps`] that were a list of places.
#[derive(Clone, Debug)]
pub struct Runs {
    starts: Vec<[usize; 2]>,
    number: usize,
    distance: [usize; 2],
}

impl Runs {
    /// The longest runs, all of one length, that the places of the steps in both operands are.
    pub fn of(places: &[[usize; 2]]) -> Runs {
        let apart = |pair: &[[usize; 2]]| [0, 1].map(|side| pair[1][side].wrapping_sub(pair[0][side]));
        let distance = places.get(..2).map_or([0, 0], apart);
        let is_even = |run: &[[usize; 2]]| run.windows(2).all(|pair| apart(pair) == distance);
        let is_length = |number: &usize| places.len().is_multiple_of(*number) && places.chunks(*number).all(is_even);
        let number = (1..=places.len()).rev().find(is_length).unwrap_or(0);
        Runs { starts: places.iter().step_by(number.max(1)).copied().collect(), number, distance }
    }

    /// How many steps there are.
    pub fn len(&self) -> usize {
        self.starts.len() * self.number
    }

    /// All steps.
    pub fn steps(&self) -> Steps<'_> {
        self.first(self.len())
    }

    /// So many steps: some of the only run, or whole runs.
    pub fn first(&self, count: usize) -> Steps<'_> {
        let Runs { starts, number, distance } = self;
        if let [start] = &starts[..] {
            return Steps { starts: std::slice::from_ref(start), number: count, distance: *distance };
        }
        assert!(count.is_multiple_of((*number).max(1)), "{count} steps are runs of {number}");
        Steps { starts: &starts[..count / (*number).max(1)], number: *number, distance: *distance }
    }
}

/// What becomes of the elements of a product before they are written, while they are in registers.
#[derive(Clone, Copy, Debug, Default)]
pub struct Finish {
    /// What is added to each row: as many numbers as there are columns.
    pub row: Option<*const f32>,
    /// Whether what is below 0 becomes 0.
    pub relu: bool,
}

impl Finish {
    /// What becomes of the columns from one on.
    ///
    /// # Safety
    /// There are as many.
    pub unsafe fn at_column(self, column: usize) -> Finish {
        // SAFETY: the caller's promise.
        Finish { row: self.row.map(|row| unsafe { row.add(column) }), ..self }
    }
}

/// `out [rows, columns] = a · b`, where each step of the sums has its own place, `aₖ` and `bₖ`:
/// `out[i, j] = Σₖ a[i / 8·a_strip + i % 8·a_row + aₖ] · b[bₖ + j]`.
#[derive(Clone, Copy)]
pub struct Outer<'a> {
    /// Rows of the result.
    pub rows: usize,
    /// Columns of the result.
    pub columns: usize,
    /// Where `a` begins.
    pub a: *const f32,
    /// From one row of a strip of `a` to the next.
    pub a_row: usize,
    /// From one strip of `a` to the next.
    pub a_strip: usize,
    /// Where `b` begins.
    pub b: *const f32,
    /// Where each step is in a row of `a`, and where its row begins in `b`.
    pub steps: Steps<'a>,
    /// Where the result begins.
    pub out: *mut f32,
    /// From one row of the result to the next.
    pub out_row: usize,
    /// Where columns go in a row of the result, if not one after the other.
    pub fragments: Option<&'a Fragments>,
    /// Whether the product is added to what is there; then rows of the result are runs.
    pub add: bool,
    /// What becomes of the sums.
    pub finish: Finish,
}

for_each_isa! {
    /// Computes a product.
    ///
    /// # Safety
    /// The processor has `isa`, all elements are inside their allocations, and those of `b` even when the number of
    /// columns is rounded up to a multiple of 16. No one else uses the result.
    pub unsafe fn outer(product: &Outer<'_>) = outer_body
}

/// # Safety
/// As [`outer`].
#[inline(always)]
unsafe fn outer_body<A: Arithmetic>(product: &Outer<'_>) {
    let mut column = 0;
    while column < product.columns {
        let left = product.columns - column;
        // Four vectors are two and two: few sums beside each other wait for their own last ones.
        let vectors = if left.div_ceil(A::Vector::LANES) == VECTORS + 1 { 2 } else { VECTORS };
        let columns = left.min(vectors * A::Vector::LANES);
        let mut row = 0;
        while row < product.rows {
            let left = product.rows - row;
            // SAFETY: the caller's promise.
            unsafe {
                row += match left {
                    8.. if A::Vector::ROWS >= 8 => outer_rows::<A::Vector, 8>(product, row, column, columns),
                    8.. if columns <= A::Vector::LANES => {
                        outer_tile::<A::Vector, 8, 1>(product, row, column, columns);
                        8
                    }
                    4.. => outer_rows::<A::Vector, 4>(product, row, column, columns),
                    2.. => outer_rows::<A::Vector, 2>(product, row, column, columns),
                    _ => outer_rows::<A::Vector, 1>(product, row, column, columns),
                };
            }
        }
        column += columns;
    }
}

/// Computes `ROWS` rows of a few columns.
///
/// # Safety
/// As [`outer`].
#[inline(always)]
unsafe fn outer_rows<V: Vector, const ROWS: usize>(p: &Outer<'_>, row: usize, column: usize, columns: usize) -> usize {
    // SAFETY: the caller's promise.
    unsafe {
        match columns.div_ceil(V::LANES) {
            1 => outer_tile::<V, ROWS, 1>(p, row, column, columns),
            2 => outer_tile::<V, ROWS, 2>(p, row, column, columns),
            _ => outer_tile::<V, ROWS, VECTORS>(p, row, column, columns),
        }
    }
    ROWS
}

/// Computes a tile.
///
/// # Safety
/// As [`outer`].
#[inline(always)]
unsafe fn outer_tile<V: Vector, const ROWS: usize, const N: usize>(
    p: &Outer<'_>,
    row: usize,
    column: usize,
    columns: usize,
) {
    // SAFETY: the caller's promise.
    unsafe {
        let first = p.a.add(row / STRIP * p.a_strip + row % STRIP * p.a_row);
        let b = p.b.add(column);
        let out = p.out.add(row * p.out_row + column);
        if p.add {
            for at in 0..ROWS {
                let row = out.add(at * p.out_row).cast::<u32>().cast_const();
                (0..columns).step_by(LINE).for_each(|column| prefetch(row.add(column)));
                prefetch(row.add(columns - 1));
            }
        }
        let mut sums = V::outer_sums::<ROWS, N>(first, p.a_row, b, p.steps);
        if p.add {
            // Behind the sums, not before: sums of sums lose less than one long sum.
            for (at, sums) in sums.iter_mut().enumerate() {
                for (vector, sum) in sums.iter_mut().enumerate() {
                    let from = out.add(at * p.out_row + vector * V::LANES);
                    let before = match columns - vector * V::LANES {
                        len if len < V::LANES => V::load_some(from, len),
                        _ => V::load(from),
                    };
                    *sum = sum.add_product(V::splat(1.0), before);
                }
            }
        }
        finish_tile(&mut sums, p.finish.at_column(column), columns);
        if p.fragments.is_none() && columns == N * V::LANES {
            for (at, sums) in sums.iter().enumerate() {
                for (vector, sum) in sums.iter().enumerate() {
                    sum.store(out.add(at * p.out_row + vector * V::LANES));
                }
            }
            return;
        }
        // By way of memory: what is addressed by numbers that are not known here would not stay in registers before.
        let mut tile = MaybeUninit::<Tile>::uninit();
        let tile = tile.as_mut_ptr().cast::<f32>();
        for (at, sums) in sums.iter().enumerate() {
            for (vector, sum) in sums.iter().enumerate() {
                sum.store(tile.add((at * N + vector) * V::LANES));
            }
        }
        place_tile::<V>(p, tile, [row, ROWS], [column, columns], N);
    }
}

/// Finishes the sums of a tile of so many columns.
///
/// # Safety
/// As [`outer`].
#[inline(always)]
unsafe fn finish_tile<V: Vector, const ROWS: usize, const N: usize>(
    sums: &mut [[V; N]; ROWS],
    finish: Finish,
    columns: usize,
) {
    // SAFETY: the caller's promise.
    unsafe {
        if let Some(row) = finish.row {
            for vector in 0..N {
                let added = match columns - vector * V::LANES {
                    len if len < V::LANES => V::load_some(row.add(vector * V::LANES), len),
                    _ => V::load(row.add(vector * V::LANES)),
                };
                for sums in sums.iter_mut() {
                    sums[vector] = sums[vector].add_product(V::splat(1.0), added);
                }
            }
        }
        if finish.relu {
            for sum in sums.iter_mut().flatten() {
                *sum = sum.relu();
            }
        }
    }
}

/// Copies a tile of `n` vectors a row to its place.
///
/// # Safety
/// As [`outer`]; the tile has so many vectors in each of its rows.
#[inline(always)]
unsafe fn place_tile<V: Vector>(
    p: &Outer<'_>,
    tile: *const f32,
    [row, rows]: [usize; 2],
    [column, columns]: [usize; 2],
    n: usize,
) {
    for vector in 0..n {
        // SAFETY: the caller's promise.
        unsafe {
            let whole = [Fragment { first: 0, len: V::LANES.min(columns - vector * V::LANES) as u8, to: 0 }];
            let (fragments, start) = match p.fragments {
                Some(fragments) => (fragments.of(column / V::LANES + vector), 0),
                None => (&whole[..], column + vector * V::LANES),
            };
            for fragment in fragments {
                let to = p.out.add(row * p.out_row + start + fragment.to as usize);
                for at in 0..rows {
                    let lanes = V::load(tile.add((at * n + vector) * V::LANES));
                    lanes.store_some(to.add(at * p.out_row), usize::from(fragment.first), usize::from(fragment.len));
                }
            }
        }
    }
}

/// `out [rows, columns] = a · bᵀ`, summed along memory: `out[i, j] = Σₛ Σₖ a[a_pieces[s] + i·a_row + k] ·
/// b[b_pieces[s] + b_columns[j] + k]`.
#[derive(Clone, Copy)]
pub struct Inner<'a> {
    /// Rows of the result.
    pub rows: usize,
    /// Where `a` begins.
    pub a: *const f32,
    /// From one row of `a` to the next.
    pub a_row: usize,
    /// Where each piece of the sums begins in `a`.
    pub a_pieces: &'a [usize],
    /// Where `b` begins.
    pub b: *const f32,
    /// Where each column of the result begins in `b`.
    pub b_columns: &'a [usize],
    /// Where each piece of the sums begins in `b`; as many as in `a`.
    pub b_pieces: &'a [usize],
    /// Length of a piece.
    pub length: usize,
    /// Where the result begins.
    pub out: *mut f32,
    /// From one row of the result to the next.
    pub out_row: usize,
    /// Whether the product is added to what is there.
    pub add: bool,
    /// What becomes of the sums.
    pub finish: Finish,
}

for_each_isa! {
    /// Computes or adds a product.
    ///
    /// # Safety
    /// The processor has `isa`, and all elements are inside their allocations. No one else uses the result.
    pub unsafe fn inner(product: &Inner<'_>) = inner_body
}

/// # Safety
/// As [`inner`].
#[inline(always)]
unsafe fn inner_body<A: Arithmetic>(product: &Inner<'_>) {
    let mut row = 0;
    while row < product.rows {
        let left = product.rows - row;
        let mut column = 0;
        while column < product.b_columns.len() {
            // SAFETY: the caller's promise.
            unsafe {
                match left {
                    8.. if A::Vector::ROWS >= 8 => inner_tile::<A::Vector, 8>(product, row, column),
                    4.. => inner_tile::<A::Vector, 4>(product, row, column),
                    2.. => inner_tile::<A::Vector, 2>(product, row, column),
                    _ => inner_tile::<A::Vector, 1>(product, row, column),
                }
            }
            column += VECTORS;
        }
        row += match left {
            8.. if A::Vector::ROWS >= 8 => 8,
            4.. => 4,
            2.. => 2,
            _ => 1,
        };
    }
}

/// Computes a tile.
///
/// # Safety
/// As [`inner`].
#[inline(always)]
unsafe fn inner_tile<V: Vector, const ROWS: usize>(p: &Inner<'_>, row: usize, column: usize) {
    let last = p.b_columns.len() - 1;
    // SAFETY: the caller's promise. Columns past the last repeat it and are not written.
    unsafe {
        let mut sums = [[V::splat(0.0); VECTORS]; ROWS];
        let first = p.a.add(row * p.a_row);
        for (a_piece, b_piece) in p.a_pieces.iter().zip(p.b_pieces) {
            let a: [*const f32; ROWS] = std::array::from_fn(|at| first.add(a_piece + at * p.a_row));
            let b: [*const f32; VECTORS] =
                std::array::from_fn(|at| p.b.add(b_piece + p.b_columns[last.min(column + at)]));
            V::add_inner_sums(&mut sums, a, b, p.length / V::LANES);
            let at = p.length / V::LANES * V::LANES;
            if at < p.length {
                let len = p.length - at;
                let b: [V; VECTORS] = std::array::from_fn(|column| V::load_some(b[column].add(at), len));
                for row in 0..ROWS {
                    let a = V::load_some(a[row].add(at), len);
                    for column in 0..VECTORS {
                        sums[row][column] = sums[row][column].add_product(a, b[column]);
                    }
                }
            }
        }
        // By way of memory: what is addressed by numbers that are not known here would not stay in registers before.
        let mut tile = MaybeUninit::<Tile>::uninit();
        let tile = tile.as_mut_ptr().cast::<f32>();
        for (at, sums) in sums.iter().enumerate() {
            for (vector, sum) in sums.iter().enumerate() {
                sum.store(tile.add((vector * ROWS + at) * V::LANES));
            }
        }
        // The lanes of as many sums at once as there are, whatever their columns.
        for start in (0..ROWS * VECTORS).step_by(STRIP) {
            let number = STRIP.min(ROWS * VECTORS - start);
            let mut vectors = [V::splat(0.0); STRIP];
            for (at, vector) in vectors.iter_mut().enumerate().take(number) {
                *vector = V::load(tile.add((start + at) * V::LANES));
            }
            let totals = V::totals(vectors);
            for (at, total) in totals.iter().enumerate().take(number) {
                let (to, row_of_tile) = ((start + at) / ROWS, (start + at) % ROWS);
                if column + to <= last {
                    let out = p.out.add((row + row_of_tile) * p.out_row + column + to);
                    let mut sum = if p.add { *out + *total } else { *total };
                    if let Some(row) = p.finish.row {
                        sum += *row.add(column + to);
                    }
                    *out = if p.finish.relu && sum < 0.0 { 0.0 } else { sum };
                }
            }
        }
    }
}

/// Copies `rows` rows of `columns` floats so that rows become columns.
#[derive(Clone, Copy)]
pub struct Transpose {
    /// Rows of the source.
    pub rows: usize,
    /// Columns of the source.
    pub columns: usize,
    /// The source, and the distance of its rows.
    pub from: *const f32,
    /// From one row of the source to the next.
    pub from_row: usize,
    /// The copy.
    pub to: *mut f32,
    /// From one row of the copy to the next.
    pub to_row: usize,
}

for_each_isa! {
    /// Transposes.
    ///
    /// # Safety
    /// The processor has `isa`, and all elements are inside their allocations. No one else uses the copy.
    pub unsafe fn transpose(copy: Transpose) = transpose_body
}

/// # Safety
/// As [`transpose`].
#[inline(always)]
unsafe fn transpose_body<A: Arithmetic>(copy: Transpose) {
    let Transpose { rows, columns, from, from_row, to, to_row } = copy;
    // SAFETY: the caller's promise.
    unsafe {
        if rows < 8 || columns < 8 {
            let one = |row: usize, column: usize| *to.add(column * to_row + row) = *from.add(row * from_row + column);
            return (0..rows).for_each(|row| (0..columns).for_each(|column| one(row, column)));
        }
        // The last block of each direction has some of the one before again.
        for row in (0..rows).step_by(8).map(|row| row.min(rows - 8)) {
            for column in (0..columns).step_by(8).map(|column| column.min(columns - 8)) {
                let (from, to) = (from.add(row * from_row + column), to.add(column * to_row + row));
                A::Vector::transpose(from, from_row, to, to_row);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Runs, Steps};

    fn places(steps: Steps<'_>) -> Vec<[usize; 2]> {
        let run = |start: &[usize; 2]| {
            let place = |step: usize, side: usize| start[side].wrapping_add(step.wrapping_mul(steps.distance[side]));
            (0..steps.number).map(|step| [place(step, 0), place(step, 1)]).collect::<Vec<_>>()
        };
        steps.starts.iter().flat_map(run).collect()
    }

    #[test]
    fn runs_have_the_places_that_they_were_made_of() {
        let image = |at: usize| [at * 8, at / 9 * 100 + at % 9 / 3 * 12 + at % 3];
        let cases: [(Vec<[usize; 2]>, usize); 7] = [
            (Vec::new(), 0),
            (vec![[5, 7]], 1),
            ((0..10).map(|at| [at * 8, at * 24]).collect(), 10),
            // Three taps in each of three rows of each of four channels.
            ((0..36).map(image).collect(), 3),
            // From the last to the first.
            ((0..12).map(|at| [at, 100 - at % 4 + at / 4 * 50]).collect(), 4),
            // Even for longer than runs can be.
            ((0..6).map(|at| [at, if at < 5 { at } else { 9 }]).collect(), 1),
            ((0..6).map(|at| [at / 2 * 7 + at % 2, at]).collect(), 2),
        ];
        for (list, length) in cases {
            let runs = Runs::of(&list);
            assert_eq!((runs.number, runs.len()), (length, list.len()), "{list:?}");
            assert_eq!(places(runs.steps()), list);
            let half = if length == list.len() { list.len() / 2 } else { list.len() / length / 2 * length };
            assert_eq!(places(runs.first(half)), list[..half]);
        }
    }
}
