//! Vectors of NEON, which every 64-bit ARM processor has.

use std::arch::aarch64::*;

use super::Vector;

impl Vector for float32x4_t {
    const LANES: usize = 4;
    // Of 32 registers, 24 hold sums, three the right operand and the rest the left one.
    const ROWS: usize = 8;

    #[inline(always)]
    unsafe fn splat(x: f32) -> Self {
        // SAFETY: the caller's promise, here and below.
        unsafe { vdupq_n_f32(x) }
    }

    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: as above.
        unsafe { vld1q_f32(from) }
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: as above.
        unsafe { vst1q_f32(to, self) }
    }

    #[inline(always)]
    unsafe fn add_product(self, a: Self, b: Self) -> Self {
        // SAFETY: as above.
        unsafe { vfmaq_f32(self, a, b) }
    }

    #[inline(always)]
    unsafe fn relu(self) -> Self {
        // SAFETY: as above. A maximum of zeros would be the one without a sign.
        unsafe { vbslq_f32(vcltzq_f32(self), vdupq_n_f32(0.0), self) }
    }

    #[inline(always)]
    unsafe fn load_some(from: *const f32, len: usize) -> Self {
        let mut lanes = [0.0; 4];
        // SAFETY: as above.
        unsafe {
            std::ptr::copy_nonoverlapping(from, lanes.as_mut_ptr(), len);
            vld1q_f32(lanes.as_ptr())
        }
    }

    #[inline(always)]
    unsafe fn store_some(self, to: *mut f32, first: usize, len: usize) {
        let mut lanes = [0.0; 4];
        // SAFETY: as above.
        unsafe {
            vst1q_f32(lanes.as_mut_ptr(), self);
            std::ptr::copy_nonoverlapping(lanes.as_ptr().add(first), to, len);
        }
    }

    #[inline(always)]
    unsafe fn load_every_second(from: *const f32) -> Self {
        // SAFETY: as above; the vectors share a number, so that the one behind the last is not read.
        unsafe {
            let (low, high) = (vld1q_f32(from), vld1q_f32(from.add(3)));
            vcombine_f32(vget_low_f32(vuzp1q_f32(low, low)), vget_low_f32(vuzp2q_f32(high, high)))
        }
    }

    #[inline(always)]
    unsafe fn store_every_second(self, to: *mut f32) {
        // SAFETY: as above.
        unsafe {
            vst1q_lane_f32::<0>(to, self);
            vst1q_lane_f32::<1>(to.add(2), self);
            vst1q_lane_f32::<2>(to.add(4), self);
            vst1q_lane_f32::<3>(to.add(6), self);
        }
    }

    #[inline(always)]
    unsafe fn totals([a, b, c, d, e, f, g, h]: [Self; 8]) -> [f32; 8] {
        let mut sums = [0.0; 8];
        // SAFETY: as above.
        unsafe {
            vst1q_f32(sums.as_mut_ptr(), vpaddq_f32(vpaddq_f32(a, b), vpaddq_f32(c, d)));
            vst1q_f32(sums.as_mut_ptr().add(4), vpaddq_f32(vpaddq_f32(e, f), vpaddq_f32(g, h)));
        }
        sums
    }

    #[inline(always)]
    unsafe fn transpose(from: *const f32, from_row: usize, to: *mut f32, to_row: usize) {
        for row in [0, 4] {
            for column in [0, 4] {
                // SAFETY: as above; the block consists of four of four rows and columns.
                unsafe {
                    transpose_four(from.add(row * from_row + column), from_row, to.add(column * to_row + row), to_row)
                };
            }
        }
    }
}

/// [`Vector::transpose`] of four rows and columns.
///
/// # Safety
/// Both blocks are inside their allocations.
#[inline(always)]
unsafe fn transpose_four(from: *const f32, from_row: usize, to: *mut f32, to_row: usize) {
    // SAFETY: the caller's promise.
    unsafe {
        let row = |at: usize| vld1q_f32(from.add(at * from_row));
        let (a, b, c, d) = (row(0), row(1), row(2), row(3));
        let (even, odd) = (vtrn1q_f32(a, b), vtrn2q_f32(a, b));
        let (even_below, odd_below) = (vtrn1q_f32(c, d), vtrn2q_f32(c, d));
        vst1q_f32(to, vcombine_f32(vget_low_f32(even), vget_low_f32(even_below)));
        vst1q_f32(to.add(to_row), vcombine_f32(vget_low_f32(odd), vget_low_f32(odd_below)));
        vst1q_f32(to.add(2 * to_row), vcombine_f32(vget_high_f32(even), vget_high_f32(even_below)));
        vst1q_f32(to.add(3 * to_row), vcombine_f32(vget_high_f32(odd), vget_high_f32(odd_below)));
    }
}
