//! Vectors of floats, for the few kernels whose registers a compiler does not find by itself.

#[cfg(target_arch = "aarch64")]
mod neon;
#[cfg(target_arch = "x86_64")]
mod x86;

/// Where the steps of a product's sums are in the left and the right operand: runs of as many steps each, at even distances.
#[derive(Clone, Copy, Debug)]
pub struct Steps<'a> {
    /// Where each run begins.
    pub starts: &'a [[usize; 2]],
    /// Steps of a run.
    pub number: usize,
    /// From one step of a run to the next; below 0 as a number that wraps around.
    pub distance: [usize; 2],
}

impl Steps<'_> {
    /// One run.
    pub fn even(number: usize, distance: [usize; 2]) -> Steps<'static> {
        Steps { starts: &[[0, 0]], number, distance }
    }
}

/// As many floats as the processor computes with at once.
///
/// # Safety
/// All functions: the processor has the instructions, and addresses are inside their allocations.
pub trait Vector: Copy {
    /// How many floats.
    const LANES: usize;
    /// Rows of a tile of a product whose sums stay in registers beside three vectors.
    const ROWS: usize;

    /// The same number in every lane.
    unsafe fn splat(x: f32) -> Self;
    /// The floats from an address on.
    unsafe fn load(from: *const f32) -> Self;
    /// Writes the lanes from an address on.
    unsafe fn store(self, to: *mut f32);
    /// The first `len` floats from an address on, and zeros; not more are read.
    unsafe fn load_some(from: *const f32, len: usize) -> Self;
    /// Writes `len` lanes from lane `first` on to an address.
    unsafe fn store_some(self, to: *mut f32, first: usize, len: usize);
    /// Every second float from an address on: the last that is read is the one before twice as many.
    unsafe fn load_every_second(from: *const f32) -> Self;
    /// Writes the lanes to every second float from an address on; what is between, and behind the last, stays.
    unsafe fn store_every_second(self, to: *mut f32);
    /// `self + a·b`
    unsafe fn add_product(self, a: Self, b: Self) -> Self;
    /// [`Unary::Relu`](crate::ir::Unary::Relu) of each lane: NaN and −0 stay.
    unsafe fn relu(self) -> Self;
    /// The sums of the lanes of eight vectors, each in the same order of halves.
    unsafe fn totals(of: [Self; 8]) -> [f32; 8];
    /// Copies a block of 8 rows and 8 columns so that rows become columns.
    unsafe fn transpose(from: *const f32, from_row: usize, to: *mut f32, to_row: usize);

    /// The tile `Σₖ a[row·a_row + aₖ] · b[bₖ + column]` of `N` vectors of columns, where `steps` say what `aₖ` and `bₖ` are.
    #[inline(always)]
    unsafe fn outer_sums<const ROWS: usize, const N: usize>(
        a: *const f32,
        a_row: usize,
        b: *const f32,
        steps: Steps<'_>,
    ) -> [[Self; N]; ROWS] {
        // SAFETY: the caller's promise.
        unsafe { outer_sums(a, a_row, b, steps) }
    }

    /// Adds `Σₖ a[row][k] · b[column][k]` of `vectors` whole vectors to sums by lane.
    #[inline(always)]
    unsafe fn add_inner_sums<const ROWS: usize, const N: usize>(
        sums: &mut [[Self; N]; ROWS],
        a: [*const f32; ROWS],
        b: [*const f32; N],
        vectors: usize,
    ) {
        // SAFETY: the caller's promise.
        unsafe { add_inner_sums(sums, a, b, vectors) }
    }
}

/// [`Vector::outer_sums`], whose registers the compiler chooses.
///
/// # Safety
/// As [`Vector`].
#[inline(always)]
unsafe fn outer_sums<V: Vector, const ROWS: usize, const N: usize>(
    a: *const f32,
    a_row: usize,
    b: *const f32,
    steps: Steps<'_>,
) -> [[V; N]; ROWS] {
    // SAFETY: the caller's promise.
    unsafe {
        let mut sums = [[V::splat(0.0); N]; ROWS];
        for [a_start, b_start] in steps.starts {
            let (mut a, mut b) = (a.wrapping_add(*a_start), b.wrapping_add(*b_start));
            for _ in 0..steps.number {
                let row: [V; N] = std::array::from_fn(|at| V::load(b.add(at * V::LANES)));
                for (at, sums) in sums.iter_mut().enumerate() {
                    let a = V::splat(*a.add(at * a_row));
                    for vector in 0..N {
                        sums[vector] = sums[vector].add_product(a, row[vector]);
                    }
                }
                (a, b) = (a.wrapping_add(steps.distance[0]), b.wrapping_add(steps.distance[1]));
            }
        }
        sums
    }
}

/// [`Vector::add_inner_sums`], whose registers the compiler chooses.
///
/// # Safety
/// As [`Vector`].
#[inline(always)]
unsafe fn add_inner_sums<V: Vector, const ROWS: usize, const N: usize>(
    sums: &mut [[V; N]; ROWS],
    a: [*const f32; ROWS],
    b: [*const f32; N],
    vectors: usize,
) {
    for at in (0..vectors * V::LANES).step_by(V::LANES) {
        // SAFETY: the caller's promise.
        unsafe {
            let b: [V; N] = std::array::from_fn(|column| V::load(b[column].add(at)));
            for row in 0..ROWS {
                let a = V::load(a[row].add(at));
                for column in 0..N {
                    sums[row][column] = sums[row][column].add_product(a, b[column]);
                }
            }
        }
    }
}

/// Copies a row. Rows are short: calling a copy for memory of any size would take longer than the copy.
///
/// # Safety
/// The processor has the instructions.
#[inline(always)]
pub unsafe fn copy_row<V: Vector>(from: &[f32], to: &mut [f32]) {
    let len = to.len();
    let from = &from[..len];
    let mut at = 0;
    // SAFETY: all is inside both slices.
    unsafe {
        while at + V::LANES <= len {
            V::load(from.as_ptr().add(at)).store(to.as_mut_ptr().add(at));
            at += V::LANES;
        }
        if at == len {
            return;
        }
        if len >= V::LANES {
            // Some of these again.
            at = len - V::LANES;
            return V::load(from.as_ptr().add(at)).store(to.as_mut_ptr().add(at));
        }
        V::load_some(from.as_ptr(), len).store_some(to.as_mut_ptr(), 0, len);
    }
}

/// Words of a line of the caches.
pub const LINE: usize = 16;

/// Asks for a line of memory that will be read, where the processor can be asked; any address will do.
#[inline(always)]
pub fn prefetch(from: *const u32) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: every processor of the architecture has the instruction, which reads nothing that a program sees.
    unsafe {
        std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(from.cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = from;
}

/// Four floats, left to the compiler; `FUSED` if the processor multiplies and adds at once.
#[derive(Clone, Copy)]
pub struct Four<const FUSED: bool>([f32; 4]);

impl<const FUSED: bool> Vector for Four<FUSED> {
    const LANES: usize = 4;
    const ROWS: usize = 4;

    #[inline(always)]
    unsafe fn splat(x: f32) -> Self {
        Four([x; 4])
    }

    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: the caller's promise.
        Four(unsafe { from.cast::<[f32; 4]>().read_unaligned() })
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: the caller's promise.
        unsafe { to.cast::<[f32; 4]>().write_unaligned(self.0) }
    }

    #[inline(always)]
    unsafe fn add_product(self, a: Self, b: Self) -> Self {
        let lane = |lane: usize| {
            if FUSED { a.0[lane].mul_add(b.0[lane], self.0[lane]) } else { a.0[lane] * b.0[lane] + self.0[lane] }
        };
        Four([lane(0), lane(1), lane(2), lane(3)])
    }

    #[inline(always)]
    unsafe fn relu(self) -> Self {
        Four(self.0.map(|x| if x < 0.0 { 0.0 } else { x }))
    }

    #[inline(always)]
    unsafe fn load_some(from: *const f32, len: usize) -> Self {
        // SAFETY: the caller's promise.
        Four(std::array::from_fn(|lane| if lane < len { unsafe { *from.add(lane) } } else { 0.0 }))
    }

    #[inline(always)]
    unsafe fn store_some(self, to: *mut f32, first: usize, len: usize) {
        for lane in 0..len {
            // SAFETY: the caller's promise.
            unsafe { *to.add(lane) = self.0[first + lane] };
        }
    }

    #[inline(always)]
    unsafe fn load_every_second(from: *const f32) -> Self {
        // SAFETY: the caller's promise.
        Four(std::array::from_fn(|lane| unsafe { *from.add(2 * lane) }))
    }

    #[inline(always)]
    unsafe fn store_every_second(self, to: *mut f32) {
        for (at, lane) in self.0.into_iter().enumerate() {
            // SAFETY: the caller's promise.
            unsafe { *to.add(2 * at) = lane };
        }
    }

    #[inline(always)]
    unsafe fn totals(of: [Self; 8]) -> [f32; 8] {
        of.map(|Four([a, b, c, d])| (a + c) + (b + d))
    }

    #[inline(always)]
    unsafe fn transpose(from: *const f32, from_row: usize, to: *mut f32, to_row: usize) {
        for row in 0..8 {
            for column in 0..8 {
                // SAFETY: the caller's promise.
                unsafe { *to.add(column * to_row + row) = *from.add(row * from_row + column) };
            }
        }
    }
}
