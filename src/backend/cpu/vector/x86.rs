//! Vectors of AVX-512 and AVX2.

use std::arch::x86_64::*;

use super::{Steps, Vector, add_inner_sums, outer_sums};
use crate::backend::cpu::registers;

/// [`Vector::totals`] of vectors of eight.
///
/// # Safety
/// The processor has AVX.
#[inline(always)]
unsafe fn totals_of_eight(of: [__m256; 8]) -> [f32; 8] {
    // SAFETY: the caller's promise.
    unsafe {
        let [a, b, c, d, e, f, g, h] = of;
        let low = _mm256_hadd_ps(_mm256_hadd_ps(a, b), _mm256_hadd_ps(c, d));
        let high = _mm256_hadd_ps(_mm256_hadd_ps(e, f), _mm256_hadd_ps(g, h));
        let halves = (_mm256_permute2f128_ps::<0x20>(low, high), _mm256_permute2f128_ps::<0x31>(low, high));
        let mut sums = [0.0; 8];
        _mm256_storeu_ps(sums.as_mut_ptr(), _mm256_add_ps(halves.0, halves.1));
        sums
    }
}

/// [`Vector::transpose`] by pairs, fours and halves.
///
/// # Safety
/// The processor has AVX, and both blocks are inside their allocations.
#[inline(always)]
unsafe fn transpose_by_eight(from: *const f32, from_row: usize, to: *mut f32, to_row: usize) {
    // SAFETY: the caller's promise.
    unsafe {
        let mut rows = [_mm256_setzero_ps(); 8];
        for (at, row) in rows.iter_mut().enumerate() {
            *row = _mm256_loadu_ps(from.add(at * from_row));
        }
        let mut pairs = rows;
        for at in 0..4 {
            pairs[2 * at] = _mm256_unpacklo_ps(rows[2 * at], rows[2 * at + 1]);
            pairs[2 * at + 1] = _mm256_unpackhi_ps(rows[2 * at], rows[2 * at + 1]);
        }
        let mut fours = pairs;
        for at in 0..2 {
            let [a, b, c, d] = [pairs[4 * at], pairs[4 * at + 1], pairs[4 * at + 2], pairs[4 * at + 3]];
            fours[4 * at] = _mm256_shuffle_ps::<0x44>(a, c);
            fours[4 * at + 1] = _mm256_shuffle_ps::<0xEE>(a, c);
            fours[4 * at + 2] = _mm256_shuffle_ps::<0x44>(b, d);
            fours[4 * at + 3] = _mm256_shuffle_ps::<0xEE>(b, d);
        }
        for at in 0..4 {
            _mm256_storeu_ps(to.add(at * to_row), _mm256_permute2f128_ps::<0x20>(fours[at], fours[at + 4]));
            _mm256_storeu_ps(to.add((at + 4) * to_row), _mm256_permute2f128_ps::<0x31>(fours[at], fours[at + 4]));
        }
    }
}

/// The mask of `len` lanes from `first` on.
#[inline(always)]
fn lanes(first: usize, len: usize) -> u16 {
    (((1_u32 << len) - 1) << first) as u16
}

impl Vector for __m512 {
    const LANES: usize = 16;
    const ROWS: usize = 8;

    #[inline(always)]
    unsafe fn splat(x: f32) -> Self {
        // SAFETY: the caller's promise, here and below.
        unsafe { _mm512_set1_ps(x) }
    }

    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: as above.
        unsafe { _mm512_loadu_ps(from) }
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: as above.
        unsafe { _mm512_storeu_ps(to, self) }
    }

    #[inline(always)]
    unsafe fn add_product(self, a: Self, b: Self) -> Self {
        // SAFETY: as above.
        unsafe { _mm512_fmadd_ps(a, b, self) }
    }

    #[inline(always)]
    unsafe fn relu(self) -> Self {
        // SAFETY: as above. The second operand is the result where one is NaN or both are zeros.
        unsafe { _mm512_max_ps(_mm512_setzero_ps(), self) }
    }

    #[inline(always)]
    unsafe fn load_some(from: *const f32, len: usize) -> Self {
        // SAFETY: as above; lanes outside the mask are not read.
        unsafe { _mm512_maskz_loadu_ps(lanes(0, len), from) }
    }

    #[inline(always)]
    unsafe fn store_some(self, to: *mut f32, first: usize, len: usize) {
        // SAFETY: as above; lanes outside the mask are not written.
        unsafe { _mm512_mask_storeu_ps(to.wrapping_sub(first), lanes(first, len), self) }
    }

    #[inline(always)]
    unsafe fn load_every_second(from: *const f32) -> Self {
        // SAFETY: as above; the last number is not read.
        unsafe {
            let (low, high) = (_mm512_loadu_ps(from), _mm512_maskz_loadu_ps(lanes(0, 15), from.add(16)));
            let even = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
            _mm512_permutex2var_ps(low, even, high)
        }
    }

    #[inline(always)]
    unsafe fn store_every_second(self, to: *mut f32) {
        // SAFETY: as above; lanes outside the mask are not written.
        unsafe {
            let half = _mm512_castps512_ps256(self);
            let (low, high) = (_mm512_castps256_ps512(half), _mm512_extractf32x8_ps::<1>(self));
            let high = _mm512_castps256_ps512(high);
            let twice = _mm512_setr_epi32(0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7);
            _mm512_mask_storeu_ps(to, 0x5555, _mm512_permutexvar_ps(twice, low));
            _mm512_mask_storeu_ps(to.add(16), 0x5555, _mm512_permutexvar_ps(twice, high));
        }
    }

    #[inline(always)]
    unsafe fn totals(of: [Self; 8]) -> [f32; 8] {
        // SAFETY: as above.
        unsafe {
            // No closures here: they would be compiled without the instructions, and every call be one.
            let mut halves = [_mm256_setzero_ps(); 8];
            for (half, vector) in halves.iter_mut().zip(of) {
                *half = _mm256_add_ps(_mm512_castps512_ps256(vector), _mm512_extractf32x8_ps::<1>(vector));
            }
            totals_of_eight(halves)
        }
    }

    #[inline(always)]
    unsafe fn transpose(from: *const f32, from_row: usize, to: *mut f32, to_row: usize) {
        // SAFETY: as above.
        unsafe { transpose_by_eight(from, from_row, to, to_row) }
    }
}

/// The mask of the first `n` lanes of eight, from `8 - n` on.
static FIRST_LANES: [i32; 16] = [-1, -1, -1, -1, -1, -1, -1, -1, 0, 0, 0, 0, 0, 0, 0, 0];

/// Copies up to eight floats: a mask would take as long as all eight by themselves, and so would a call.
///
/// # Safety
/// They are inside their allocations.
#[inline(always)]
unsafe fn copy_lanes(mut from: *const f32, mut to: *mut f32, len: usize) {
    // SAFETY: the caller's promise.
    unsafe {
        if len & 8 != 0 {
            return to.cast::<[f32; 8]>().write_unaligned(from.cast::<[f32; 8]>().read_unaligned());
        }
        if len & 4 != 0 {
            to.cast::<[f32; 4]>().write_unaligned(from.cast::<[f32; 4]>().read_unaligned());
            (from, to) = (from.add(4), to.add(4));
        }
        if len & 2 != 0 {
            to.cast::<[f32; 2]>().write_unaligned(from.cast::<[f32; 2]>().read_unaligned());
            (from, to) = (from.add(2), to.add(2));
        }
        if len & 1 != 0 {
            *to = *from;
        }
    }
}

impl Vector for __m256 {
    const LANES: usize = 8;
    const ROWS: usize = 4;

    #[inline(always)]
    unsafe fn splat(x: f32) -> Self {
        // SAFETY: the caller's promise, here and below.
        unsafe { _mm256_set1_ps(x) }
    }

    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: as above.
        unsafe { _mm256_loadu_ps(from) }
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: as above.
        unsafe { _mm256_storeu_ps(to, self) }
    }

    #[inline(always)]
    unsafe fn add_product(self, a: Self, b: Self) -> Self {
        // SAFETY: as above.
        unsafe { _mm256_fmadd_ps(a, b, self) }
    }

    #[inline(always)]
    unsafe fn relu(self) -> Self {
        // SAFETY: as above. The second operand is the result where one is NaN or both are zeros.
        unsafe { _mm256_max_ps(_mm256_setzero_ps(), self) }
    }

    #[inline(always)]
    unsafe fn load_some(from: *const f32, len: usize) -> Self {
        // SAFETY: as above; lanes outside the mask are not read.
        unsafe {
            let mask = _mm256_loadu_si256(FIRST_LANES.as_ptr().add(8 - len).cast());
            _mm256_maskload_ps(from, mask)
        }
    }

    #[inline(always)]
    unsafe fn store_some(self, to: *mut f32, first: usize, len: usize) {
        let mut lanes = [0.0; 8];
        // SAFETY: as above.
        unsafe {
            _mm256_storeu_ps(lanes.as_mut_ptr(), self);
            copy_lanes(lanes.as_ptr().add(first), to, len);
        }
    }

    #[inline(always)]
    unsafe fn load_every_second(from: *const f32) -> Self {
        // SAFETY: as above; the vectors share a number, so that the one behind the last is not read.
        unsafe {
            let (low, high) = (_mm256_loadu_ps(from), _mm256_loadu_ps(from.add(7)));
            let fours = _mm256_castps_pd(_mm256_shuffle_ps::<0b11_01_10_00>(low, high));
            _mm256_castpd_ps(_mm256_permute4x64_pd::<0b11_01_10_00>(fours))
        }
    }

    #[inline(always)]
    unsafe fn store_every_second(self, to: *mut f32) {
        let mut lanes = [0.0; 8];
        // SAFETY: as above.
        unsafe {
            _mm256_storeu_ps(lanes.as_mut_ptr(), self);
            for (at, lane) in lanes.into_iter().enumerate() {
                *to.add(2 * at) = lane;
            }
        }
    }

    #[inline(always)]
    unsafe fn totals(of: [Self; 8]) -> [f32; 8] {
        // SAFETY: as above.
        unsafe { totals_of_eight(of) }
    }

    #[inline(always)]
    unsafe fn transpose(from: *const f32, from_row: usize, to: *mut f32, to_row: usize) {
        // SAFETY: as above.
        unsafe { transpose_by_eight(from, from_row, to, to_row) }
    }

    #[inline(always)]
    unsafe fn outer_sums<const ROWS: usize, const N: usize>(
        a: *const f32,
        a_row: usize,
        b: *const f32,
        steps: Steps<'_>,
    ) -> [[Self; N]; ROWS] {
        // SAFETY: as above; a tile of the constants' size is cast to itself.
        unsafe {
            if (ROWS, N) == (registers::ROWS, registers::VECTORS) {
                return std::mem::transmute_copy(&registers::outer_sums(a, a_row, b, steps));
            }
            if (ROWS, N) == (registers::ROWS, 2) {
                return std::mem::transmute_copy(&registers::outer_sums_of_two(a, a_row, b, steps));
            }
            outer_sums(a, a_row, b, steps)
        }
    }

    #[inline(always)]
    unsafe fn add_inner_sums<const ROWS: usize, const N: usize>(
        sums: &mut [[Self; N]; ROWS],
        a: [*const f32; ROWS],
        b: [*const f32; N],
        vectors: usize,
    ) {
        // SAFETY: as above; a tile of the constants' size is cast to itself.
        unsafe {
            if (ROWS, N) == (registers::ROWS, registers::VECTORS) {
                let (a, b) = (std::array::from_fn(|row| a[row]), std::array::from_fn(|column| b[column]));
                let sums = &mut *std::ptr::from_mut(sums).cast::<registers::Sums>();
                return registers::add_inner_sums(sums, a, b, vectors);
            }
            add_inner_sums(sums, a, b, vectors);
        }
    }
}
