//! Uniform random numbers for runs of indices: [`random::uniform`], several counters at once.

use super::isa::{Arithmetic, for_each_isa};
use crate::ir::random;

for_each_isa! {
    /// The number of each index.
    ///
    /// # Safety
    /// The processor has `isa`.
    pub unsafe fn uniform(key: [u32; 2], stream: u32, step: u32, index: &[u32], to: &mut [f32]) = uniform_body
}

/// # Safety
/// The processor has the instructions.
#[inline(always)]
unsafe fn uniform_body<A: Arithmetic>(key: [u32; 2], stream: u32, step: u32, index: &[u32], to: &mut [f32]) {
    // SAFETY: the caller's promise.
    unsafe { A::uniform(key, stream, step, index, to) };
}

/// [`uniform`] one by one.
#[inline(always)]
pub fn one_by_one(key: [u32; 2], stream: u32, step: u32, index: &[u32], to: &mut [f32]) {
    for (to, index) in to.iter_mut().zip(index) {
        *to = random::uniform(key, stream, step, *index);
    }
}

/// [`uniform`] with a counter's words in four vectors of 64-bit lanes, of which the lower halves count: products of 32 by
/// 32 bits then need no shuffles.
#[cfg(target_arch = "x86_64")]
macro_rules! by_lanes {
    ($name:ident, $vector:ty, $lanes:literal, $zero:ident, $splat:ident, $load:ident, $mul:ident, $high:ident, $xor:ident, $store:ident) => {
        /// # Safety
        /// The processor has the instructions.
        #[inline(always)]
        pub unsafe fn $name(key: [u32; 2], stream: u32, step: u32, index: &[u32], to: &mut [f32]) {
            // Enough beside each other to hide how long a product takes.
            const VECTORS: usize = 4;
            let mut indices = index.chunks_exact(VECTORS * $lanes);
            let mut places = to.chunks_exact_mut(VECTORS * $lanes);
            for (index, to) in (&mut indices).zip(&mut places) {
                // SAFETY: the caller's promise; each vector has its own lanes of the chunk.
                unsafe {
                    let wide = |word: u32| $splat(i64::from(word));
                    let factors = [wide(0xD251_1F53), wide(0xCD9E_8D57)];
                    let mut words = [[$zero(), wide(step), wide(stream), $zero()]; VECTORS];
                    for (at, words) in words.iter_mut().enumerate() {
                        words[0] = $load(index.as_ptr().add(at * $lanes));
                    }
                    let mut key = key;
                    for _ in 0..10 {
                        let keys = [wide(key[0]), wide(key[1])];
                        for words in &mut words {
                            let [a, b, c, d] = *words;
                            let (first, second): ($vector, $vector) = ($mul(a, factors[0]), $mul(c, factors[1]));
                            *words = [$xor($high(second), b, keys[0]), second, $xor($high(first), d, keys[1]), first];
                        }
                        key = [key[0].wrapping_add(0x9E37_79B9), key[1].wrapping_add(0xBB67_AE85)];
                    }
                    for (at, words) in words.iter().enumerate() {
                        $store(words[0], to.as_mut_ptr().add(at * $lanes));
                    }
                }
            }
            one_by_one(key, stream, step, indices.remainder(), places.into_remainder());
        }
    };
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;

    use super::one_by_one;

    /// 24 bits of each word as a number in `[0, 1)`.
    #[inline(always)]
    unsafe fn store_eight(words: __m512i, to: *mut f32) {
        // SAFETY: the caller has AVX-512 and room for eight.
        unsafe {
            let bits = _mm256_srli_epi32::<8>(_mm512_cvtepi64_epi32(words));
            _mm256_storeu_ps(to, _mm256_mul_ps(_mm256_cvtepi32_ps(bits), _mm256_set1_ps(1.0 / 16_777_216.0)));
        }
    }

    #[inline(always)]
    unsafe fn load_eight(from: *const u32) -> __m512i {
        // SAFETY: the caller has AVX-512 and eight words there.
        unsafe { _mm512_cvtepu32_epi64(_mm256_loadu_si256(from.cast())) }
    }

    #[inline(always)]
    unsafe fn xor_eight(a: __m512i, b: __m512i, c: __m512i) -> __m512i {
        // SAFETY: the caller has AVX-512.
        unsafe { _mm512_ternarylogic_epi64::<0x96>(a, b, c) }
    }

    #[inline(always)]
    unsafe fn high_eight(x: __m512i) -> __m512i {
        // SAFETY: the caller has AVX-512.
        unsafe { _mm512_srli_epi64::<32>(x) }
    }

    #[inline(always)]
    unsafe fn store_four(words: __m256i, to: *mut f32) {
        // SAFETY: the caller has AVX2 and room for four.
        unsafe {
            let lower = _mm256_permutevar8x32_epi32(words, _mm256_setr_epi32(0, 2, 4, 6, 0, 2, 4, 6));
            let bits = _mm_srli_epi32::<8>(_mm256_castsi256_si128(lower));
            _mm_storeu_ps(to, _mm_mul_ps(_mm_cvtepi32_ps(bits), _mm_set1_ps(1.0 / 16_777_216.0)));
        }
    }

    #[inline(always)]
    unsafe fn load_four(from: *const u32) -> __m256i {
        // SAFETY: the caller has AVX2 and four words there.
        unsafe { _mm256_cvtepu32_epi64(_mm_loadu_si128(from.cast())) }
    }

    #[inline(always)]
    unsafe fn xor_four(a: __m256i, b: __m256i, c: __m256i) -> __m256i {
        // SAFETY: the caller has AVX2.
        unsafe { _mm256_xor_si256(_mm256_xor_si256(a, b), c) }
    }

    #[inline(always)]
    unsafe fn high_four(x: __m256i) -> __m256i {
        // SAFETY: the caller has AVX2.
        unsafe { _mm256_srli_epi64::<32>(x) }
    }

    by_lanes!(
        by_eight,
        __m512i,
        8,
        _mm512_setzero_si512,
        _mm512_set1_epi64,
        load_eight,
        _mm512_mul_epu32,
        high_eight,
        xor_eight,
        store_eight
    );
    by_lanes!(
        by_four,
        __m256i,
        4,
        _mm256_setzero_si256,
        _mm256_set1_epi64x,
        load_four,
        _mm256_mul_epu32,
        high_four,
        xor_four,
        store_four
    );
}

#[cfg(target_arch = "x86_64")]
pub use x86::{by_eight, by_four};

#[cfg(test)]
mod tests {
    use super::super::isa::Isa;
    use super::uniform;
    use crate::ir::random;

    #[test]
    fn runs_of_indices_have_the_numbers_of_each() {
        let (key, stream, step) = ([0xDEAD_BEEF, 0xFFFF_FFFF], 0x8000_0007, 0xFFFF_FFFE);
        for isa in [Isa::detect(), Isa::Baseline] {
            for len in [0, 1, 7, 16, 31, 32, 33, 100, 1000] {
                let index: Vec<u32> = (0..len).map(|at: u32| at.wrapping_mul(0x1234_5679) ^ 0xF0F0_0000).collect();
                let mut found = vec![0.0; index.len()];
                // SAFETY: the processor has both.
                unsafe { uniform(isa, key, stream, step, &index, &mut found) };
                let wanted: Vec<f32> = index.iter().map(|at| random::uniform(key, stream, step, *at)).collect();
                assert_eq!(found, wanted, "{len} with {isa}");
            }
        }
    }
}
