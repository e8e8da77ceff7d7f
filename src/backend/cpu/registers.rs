//! Loops of products with AVX2 whose sixteen registers are all in use: a compiler moves some of them to memory and back.

use std::arch::asm;
use std::arch::x86_64::{__m256, _mm256_setzero_ps};

use super::vector::Steps;

/// Rows and vectors of a tile: twelve registers of sums, three of the right operand and one of the left.
pub const ROWS: usize = 4;
pub const VECTORS: usize = 3;

/// The sums of a tile.
pub type Sums = [[__m256; VECTORS]; ROWS];

/// What a step adds to the sums of a row of the left operand, which lies at `{at}` times `$scale` from `$a`.
macro_rules! products_of_a_row {
    ($load:literal, $a:literal, $scale:literal, $first:literal, $second:literal, $third:literal) => {
        concat!(
            $load,
            " ymm15, [{",
            $a,
            "} + {at}",
            $scale,
            "]\nvfmadd231ps ymm",
            $first,
            ", ymm15, ymm12\nvfmadd231ps ymm",
            $second,
            ", ymm15, ymm13\nvfmadd231ps ymm",
            $third,
            ", ymm15, ymm14\n"
        )
    };
}

/// `Σₖ a[row][aₖ] · b[bₖ + …]`, as [`Vector::outer_sums`](super::vector::Vector::outer_sums) says.
///
/// # Safety
/// The processor has AVX2 and FMA, and all elements are inside their allocations.
#[target_feature(enable = "avx2,fma")]
#[inline]
pub unsafe fn outer_sums(a: [*const f32; ROWS], b: *const f32, steps: Steps<'_>) -> Sums {
    // SAFETY: the caller's promise.
    unsafe {
        match steps {
            Steps::Even { number, a: a_step, b: b_step } => even_sums(a, b, number, [a_step, b_step]),
            Steps::Listed { a: a_steps, b: b_steps } => listed_sums(a, a_steps, b, b_steps),
        }
    }
}

/// A step of the sums that lies `{a_step}` and `{b_step}` bytes before the next.
macro_rules! even_step {
    () => {
        concat!(
            "vmovups ymm12, [{b}]\nvmovups ymm13, [{b} + 32]\nvmovups ymm14, [{b} + 64]\nadd {b}, {b_step}\n",
            products_of_a_row!("vbroadcastss", "a0", "", "0", "1", "2"),
            products_of_a_row!("vbroadcastss", "a1", "", "3", "4", "5"),
            products_of_a_row!("vbroadcastss", "a2", "", "6", "7", "8"),
            products_of_a_row!("vbroadcastss", "a3", "", "9", "10", "11"),
            "add {at}, {a_step}"
        )
    };
}

/// [`outer_sums`] of `number` steps at even distances. Lists of places would take room in the nearest cache, which the
/// operands need.
///
/// # Safety
/// As [`outer_sums`].
#[target_feature(enable = "avx2,fma")]
#[inline]
unsafe fn even_sums(a: [*const f32; ROWS], b: *const f32, number: usize, steps: [usize; 2]) -> Sums {
    let mut s = [[_mm256_setzero_ps(); VECTORS]; ROWS];
    if number == 0 {
        return s;
    }
    // SAFETY: the caller's promise.
    unsafe {
        asm!(
            // One by itself if their number is odd, then two and two.
            "shr {number}, 1",
            "jnc 2f",
            even_step!(),
            "test {number}, {number}",
            "jz 3f",
            "2:",
            even_step!(),
            even_step!(),
            "dec {number}",
            "jnz 2b",
            "3:",
            a0 = in(reg) a[0],
            a1 = in(reg) a[1],
            a2 = in(reg) a[2],
            a3 = in(reg) a[3],
            b = inout(reg) b => _,
            a_step = in(reg) steps[0] * size_of::<f32>(),
            b_step = in(reg) steps[1] * size_of::<f32>(),
            number = inout(reg) number => _,
            at = inout(reg) 0_usize => _,
            inout("ymm0") s[0][0],
            inout("ymm1") s[0][1],
            inout("ymm2") s[0][2],
            inout("ymm3") s[1][0],
            inout("ymm4") s[1][1],
            inout("ymm5") s[1][2],
            inout("ymm6") s[2][0],
            inout("ymm7") s[2][1],
            inout("ymm8") s[2][2],
            inout("ymm9") s[3][0],
            inout("ymm10") s[3][1],
            inout("ymm11") s[3][2],
            out("ymm12") _,
            out("ymm13") _,
            out("ymm14") _,
            out("ymm15") _,
            options(nostack, readonly),
        );
    }
    s
}

/// [`outer_sums`] of steps at the places of two lists.
///
/// # Safety
/// As [`outer_sums`].
#[target_feature(enable = "avx2,fma")]
#[inline]
unsafe fn listed_sums(a: [*const f32; ROWS], a_steps: &[usize], b: *const f32, b_steps: &[usize]) -> Sums {
    let mut s = [[_mm256_setzero_ps(); VECTORS]; ROWS];
    let count = a_steps.len().min(b_steps.len());
    if count == 0 {
        return s;
    }
    // SAFETY: the caller's promise; the steps are read from their first to the last that both have.
    unsafe {
        asm!(
            "2:",
            "mov {at}, [{b_steps} + {step}*8]",
            "vmovups ymm12, [{b} + {at}*4]",
            "vmovups ymm13, [{b} + {at}*4 + 32]",
            "vmovups ymm14, [{b} + {at}*4 + 64]",
            "mov {at}, [{a_steps} + {step}*8]",
            products_of_a_row!("vbroadcastss", "a0", "*4", "0", "1", "2"),
            products_of_a_row!("vbroadcastss", "a1", "*4", "3", "4", "5"),
            products_of_a_row!("vbroadcastss", "a2", "*4", "6", "7", "8"),
            products_of_a_row!("vbroadcastss", "a3", "*4", "9", "10", "11"),
            "inc {step}",
            "jnz 2b",
            a0 = in(reg) a[0],
            a1 = in(reg) a[1],
            a2 = in(reg) a[2],
            a3 = in(reg) a[3],
            b = in(reg) b,
            a_steps = in(reg) a_steps.as_ptr().add(count),
            b_steps = in(reg) b_steps.as_ptr().add(count),
            step = inout(reg) -(count as isize) => _,
            at = out(reg) _,
            inout("ymm0") s[0][0],
            inout("ymm1") s[0][1],
            inout("ymm2") s[0][2],
            inout("ymm3") s[1][0],
            inout("ymm4") s[1][1],
            inout("ymm5") s[1][2],
            inout("ymm6") s[2][0],
            inout("ymm7") s[2][1],
            inout("ymm8") s[2][2],
            inout("ymm9") s[3][0],
            inout("ymm10") s[3][1],
            inout("ymm11") s[3][2],
            out("ymm12") _,
            out("ymm13") _,
            out("ymm14") _,
            out("ymm15") _,
            options(nostack, readonly),
        );
    }
    s
}

/// Adds `Σₖ a[row][k] · b[column][k]` of a whole number of vectors to sums by lane.
///
/// # Safety
/// The processor has AVX2 and FMA, and `vectors` vectors are inside their allocations.
#[target_feature(enable = "avx2,fma")]
#[inline]
pub unsafe fn add_inner_sums(s: &mut Sums, a: [*const f32; ROWS], b: [*const f32; VECTORS], vectors: usize) {
    if vectors == 0 {
        return;
    }
    // SAFETY: the caller's promise.
    unsafe {
        asm!(
            "2:",
            "vmovups ymm12, [{b0} + {at}*4]",
            "vmovups ymm13, [{b1} + {at}*4]",
            "vmovups ymm14, [{b2} + {at}*4]",
            products_of_a_row!("vmovups", "a0", "*4", "0", "1", "2"),
            products_of_a_row!("vmovups", "a1", "*4", "3", "4", "5"),
            products_of_a_row!("vmovups", "a2", "*4", "6", "7", "8"),
            products_of_a_row!("vmovups", "a3", "*4", "9", "10", "11"),
            "add {at}, 8",
            "cmp {at}, {end}",
            "jb 2b",
            a0 = in(reg) a[0],
            a1 = in(reg) a[1],
            a2 = in(reg) a[2],
            a3 = in(reg) a[3],
            b0 = in(reg) b[0],
            b1 = in(reg) b[1],
            b2 = in(reg) b[2],
            end = in(reg) 8 * vectors,
            at = inout(reg) 0_usize => _,
            inout("ymm0") s[0][0],
            inout("ymm1") s[0][1],
            inout("ymm2") s[0][2],
            inout("ymm3") s[1][0],
            inout("ymm4") s[1][1],
            inout("ymm5") s[1][2],
            inout("ymm6") s[2][0],
            inout("ymm7") s[2][1],
            inout("ymm8") s[2][2],
            inout("ymm9") s[3][0],
            inout("ymm10") s[3][1],
            inout("ymm11") s[3][2],
            out("ymm12") _,
            out("ymm13") _,
            out("ymm14") _,
            out("ymm15") _,
            options(nostack, readonly),
        );
    }
}
