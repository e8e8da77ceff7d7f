//! Instruction sets: one source compiled for several, chosen once when a session opens.

use std::fmt;

use super::philox;
use super::vector::{Four, Vector};

/// What the processor can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Isa {
    /// What every processor of the architecture can.
    Baseline,
    /// AVX2 and FMA.
    Avx2,
    /// AVX-512 F, BW, DQ and VL.
    Avx512,
    /// What every 64-bit ARM processor has.
    Neon,
}

impl Isa {
    /// The best that this processor can.
    pub fn detect() -> Isa {
        let isas = [Isa::Avx512, Isa::Avx2, Isa::Neon];
        isas.into_iter().find(|isa| isa.is_there()).unwrap_or(Isa::Baseline)
    }

    /// Whether this processor can it.
    #[cfg(target_arch = "x86_64")]
    pub fn is_there(self) -> bool {
        let fused = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
        let wide = is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512dq")
            && is_x86_feature_detected!("avx512vl");
        match self {
            Isa::Baseline => true,
            Isa::Avx2 => fused,
            Isa::Avx512 => fused && wide,
            Isa::Neon => false,
        }
    }

    /// Whether this processor can it.
    #[cfg(not(target_arch = "x86_64"))]
    pub fn is_there(self) -> bool {
        match self {
            Isa::Baseline => true,
            Isa::Avx2 | Isa::Avx512 => false,
            Isa::Neon => cfg!(target_arch = "aarch64"),
        }
    }

    /// Floats of a vector.
    pub fn lanes(self) -> usize {
        match self {
            Isa::Baseline => <<Portable as Arithmetic>::Vector as Vector>::LANES,
            Isa::Avx2 => 8,
            Isa::Avx512 => 16,
            Isa::Neon => 4,
        }
    }
}

impl fmt::Display for Isa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Isa::Baseline => std::env::consts::ARCH,
            Isa::Avx2 => "AVX2",
            Isa::Avx512 => "AVX-512",
            Isa::Neon => "NEON",
        })
    }
}

/// Bytes of a core's second-level cache, as the processor says.
#[cfg(target_arch = "x86_64")]
pub fn second_cache() -> usize {
    use std::arch::x86_64::__cpuid;

    const CACHES: u32 = 0x8000_0006;
    let kibibytes = if __cpuid(0x8000_0000).eax >= CACHES { __cpuid(CACHES).ecx >> 16 } else { 0 };
    // Some virtual machines say nothing.
    if kibibytes == 0 { USUAL_CACHE } else { (kibibytes as usize) << 10 }
}

/// Bytes of a core's second-level cache.
#[cfg(not(target_arch = "x86_64"))]
pub fn second_cache() -> usize {
    USUAL_CACHE
}

/// What a second-level cache has where nothing is known of it.
const USUAL_CACHE: usize = 1 << 20;

/// How numbers are computed with.
pub trait Arithmetic {
    /// As many floats as are computed with at once.
    type Vector: Vector;

    /// `a·b + c`, rounded once where the processor can do that.
    #[inline(always)]
    fn mul_add(a: f32, b: f32, c: f32) -> f32 {
        a.mul_add(b, c)
    }

    /// The random number of each index; see [`philox::uniform`].
    ///
    /// # Safety
    /// The processor has the instructions.
    #[inline(always)]
    unsafe fn uniform(key: [u32; 2], stream: u32, step: u32, index: &[u32], to: &mut [f32]) {
        philox::one_by_one(key, stream, step, index, to);
    }
}

/// With FMA and vectors of AVX-512.
#[cfg(target_arch = "x86_64")]
pub struct Wide;

/// With FMA and vectors of NEON.
#[cfg(target_arch = "aarch64")]
pub struct Neon;

/// With FMA: `a·b + c` is rounded once.
pub struct Fused;

/// Without: `a·b + c` is rounded twice.
#[cfg(any(test, not(target_arch = "aarch64")))]
pub struct Plain;

/// What [`Isa::Baseline`] has.
#[cfg(target_arch = "aarch64")]
pub type Portable = Fused;
/// What [`Isa::Baseline`] has.
#[cfg(not(target_arch = "aarch64"))]
pub type Portable = Plain;

#[cfg(target_arch = "x86_64")]
impl Arithmetic for Wide {
    type Vector = std::arch::x86_64::__m512;

    #[inline(always)]
    unsafe fn uniform(key: [u32; 2], stream: u32, step: u32, index: &[u32], to: &mut [f32]) {
        // SAFETY: the caller's promise.
        unsafe { philox::by_eight(key, stream, step, index, to) };
    }
}

#[cfg(target_arch = "aarch64")]
impl Arithmetic for Neon {
    type Vector = std::arch::aarch64::float32x4_t;
}

impl Arithmetic for Fused {
    #[cfg(target_arch = "x86_64")]
    type Vector = std::arch::x86_64::__m256;
    #[cfg(not(target_arch = "x86_64"))]
    type Vector = Four<true>;

    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    unsafe fn uniform(key: [u32; 2], stream: u32, step: u32, index: &[u32], to: &mut [f32]) {
        // SAFETY: the caller's promise.
        unsafe { philox::by_four(key, stream, step, index, to) };
    }
}

#[cfg(any(test, not(target_arch = "aarch64")))]
impl Arithmetic for Plain {
    type Vector = Four<false>;

    #[inline(always)]
    fn mul_add(a: f32, b: f32, c: f32) -> f32 {
        a * b + c
    }
}

/// Defines a function that calls a generic, always inlined one compiled for each [`Isa`].
macro_rules! for_each_isa {
    ($(#[$meta:meta])* $vis:vis unsafe fn $name:ident($($arg:ident: $ty:ty),* $(,)?) = $body:ident) => {
        $(#[$meta])*
        #[allow(clippy::too_many_arguments)]
        $vis unsafe fn $name(isa: $crate::backend::cpu::isa::Isa, $($arg: $ty),*) {
            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx2,fma,avx512f,avx512bw,avx512dq,avx512vl")]
                unsafe fn avx512($($arg: $ty),*) {
                    // SAFETY: the caller's promise.
                    unsafe { $body::<$crate::backend::cpu::isa::Wide>($($arg),*) }
                }
                #[target_feature(enable = "avx2,fma")]
                unsafe fn avx2($($arg: $ty),*) {
                    // SAFETY: the caller's promise.
                    unsafe { $body::<$crate::backend::cpu::isa::Fused>($($arg),*) }
                }
                match isa {
                    // SAFETY: `Isa::detect` has found the features; the rest is the caller's promise.
                    $crate::backend::cpu::isa::Isa::Avx512 => return unsafe { avx512($($arg),*) },
                    // SAFETY: as above.
                    $crate::backend::cpu::isa::Isa::Avx2 => return unsafe { avx2($($arg),*) },
                    $crate::backend::cpu::isa::Isa::Baseline | $crate::backend::cpu::isa::Isa::Neon => {}
                }
            }
            #[cfg(target_arch = "aarch64")]
            if isa == $crate::backend::cpu::isa::Isa::Neon {
                // SAFETY: the caller's promise.
                return unsafe { $body::<$crate::backend::cpu::isa::Neon>($($arg),*) };
            }
            let _ = isa;
            // SAFETY: the caller's promise.
            unsafe { $body::<$crate::backend::cpu::isa::Portable>($($arg),*) }
        }
    };
}

pub(super) use for_each_isa;
