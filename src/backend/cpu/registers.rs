//! Loops of products with AVX2 for tiles of three vectors, whose sixteen registers are all in use: a compiler moves some of
//! them to memory and back. That for two vectors, which are left behind the last three, is the same with fewer.

use std::arch::asm;
use std::arch::x86_64::{__m256, _mm256_setzero_ps};

use super::vector::Steps;

/// Rows and vectors of a tile: twelve registers of sums, three of the right operand and one of the left.
pub const ROWS: usize = 4;
pub const VECTORS: usize = 3;

/// The sums of a tile.
pub type Sums = [[__m256; VECTORS]; ROWS];

/// What a step adds to the sums of a row of the left operand, which lies at the address `$from`.
macro_rules! products_of_a_row {
    ($load:literal, $from:literal, $first:literal, $second:literal, $third:literal) => {
        concat!(
            $load,
            " ymm15, [",
            $from,
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

/// What a step adds to the two sums of a row of the left operand, which lies at the address `$from`.
macro_rules! two_products_of_a_row {
    ($from:literal, $first:literal, $second:literal) => {
        concat!(
            "vbroadcastss ymm15, [",
            $from,
            "]\nvfmadd231ps ymm",
            $first,
            ", ymm15, ymm12\nvfmadd231ps ymm",
            $second,
            ", ymm15, ymm13\n"
        )
    };
}

/// A step of [`outer_sums`], and on to the next.
macro_rules! step_of_three {
    () => {
        concat!(
            "vmovups ymm12, [{b}]\nvmovups ymm13, [{b} + 32]\nvmovups ymm14, [{b} + 64]\nadd {b}, {b_step}\n",
            products_of_a_row!("vbroadcastss", "{a}", "0", "1", "2"),
            products_of_a_row!("vbroadcastss", "{a} + {row}", "3", "4", "5"),
            products_of_a_row!("vbroadcastss", "{a} + {row}*2", "6", "7", "8"),
            products_of_a_row!("vbroadcastss", "{a} + {row_3}", "9", "10", "11"),
            "add {a}, {a_step}"
        )
    };
}

/// A step of [`outer_sums_of_two`], and on to the next.
macro_rules! step_of_two {
    () => {
        concat!(
            "vmovups ymm12, [{b}]\nvmovups ymm13, [{b} + 32]\nadd {b}, {b_step}\n",
            two_products_of_a_row!("{a}", "0", "1"),
            two_products_of_a_row!("{a} + {row}", "2", "3"),
            two_products_of_a_row!("{a} + {row}*2", "4", "5"),
            two_products_of_a_row!("{a} + {row_3}", "6", "7"),
            "add {a}, {a_step}"
        )
    };
}

/// Defines a function for tiles of so many vectors of columns, by what a step of it is and which registers have its sums.
macro_rules! outer_sums {
    ($(#[$meta:meta])* $name:ident, $vectors:literal, $step:ident, $($register:tt: $row:literal $vector:literal),*) => {
        $(#[$meta])*
        #[target_feature(enable = "avx2,fma")]
        #[inline]
        pub unsafe fn $name(a: *const f32, a_row: usize, b: *const f32, steps: Steps<'_>) -> [[__m256; $vectors]; ROWS] {
            const FLOAT: usize = size_of::<f32>();
            let mut s = [[_mm256_setzero_ps(); $vectors]; ROWS];
            if steps.starts.is_empty() || steps.number == 0 {
                return s;
            }
            // SAFETY: the caller's promise.
            unsafe {
                asm!(
                    // A run, of which one step goes by itself if their number is odd, and the others two and two.
                    "2:",
                    "mov {a}, [{starts} + {run}]",
                    "mov {b}, [{starts} + {run} + 8]",
                    "lea {a}, [{a_start} + {a}*4]",
                    "lea {b}, [{b_start} + {b}*4]",
                    "mov {left}, {number}",
                    "shr {left}, 1",
                    "jnc 3f",
                    $step!(),
                    "test {left}, {left}",
                    "jz 4f",
                    "3:",
                    $step!(),
                    $step!(),
                    "dec {left}",
                    "jnz 3b",
                    "4:",
                    "add {run}, 16",
                    "jnz 2b",
                    a = out(reg) _,
                    b = out(reg) _,
                    a_start = in(reg) a,
                    b_start = in(reg) b,
                    row = in(reg) a_row * FLOAT,
                    row_3 = in(reg) 3 * a_row * FLOAT,
                    a_step = in(reg) steps.distance[0].wrapping_mul(FLOAT),
                    b_step = in(reg) steps.distance[1].wrapping_mul(FLOAT),
                    starts = in(reg) steps.starts.as_ptr_range().end,
                    run = inout(reg) (size_of_val(steps.starts)).wrapping_neg() => _,
                    number = in(reg) steps.number,
                    left = out(reg) _,
                    $(inout($register) s[$row][$vector],)*
                    out("ymm12") _,
                    out("ymm13") _,
                    out("ymm14") _,
                    out("ymm15") _,
                    options(nostack, readonly),
                );
            }
            s
        }
    };
}

outer_sums!(
    /// `Σₖ a[row·a_row + aₖ] · b[bₖ + …]`, as [`Vector::outer_sums`](super::vector::Vector::outer_sums) says. Places are
    /// computed step by step: to read each from a list would be one more of the loads by which the loop is bound.
    ///
    /// # Safety
    /// The processor has AVX2 and FMA, and all elements are inside their allocations.
    outer_sums,
    3,
    step_of_three,
    "ymm0": 0 0, "ymm1": 0 1, "ymm2": 0 2,
    "ymm3": 1 0, "ymm4": 1 1, "ymm5": 1 2,
    "ymm6": 2 0, "ymm7": 2 1, "ymm8": 2 2,
    "ymm9": 3 0, "ymm10": 3 1, "ymm11": 3 2
);

outer_sums!(
    /// [`outer_sums`] of two vectors of columns, which are left where columns are no whole tiles.
    ///
    /// # Safety
    /// As [`outer_sums`].
    outer_sums_of_two,
    2,
    step_of_two,
    "ymm0": 0 0, "ymm1": 0 1,
    "ymm2": 1 0, "ymm3": 1 1,
    "ymm4": 2 0, "ymm5": 2 1,
    "ymm6": 3 0, "ymm7": 3 1
);

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
            products_of_a_row!("vmovups", "{a0} + {at}*4", "0", "1", "2"),
            products_of_a_row!("vmovups", "{a1} + {at}*4", "3", "4", "5"),
            products_of_a_row!("vmovups", "{a2} + {at}*4", "6", "7", "8"),
            products_of_a_row!("vmovups", "{a3} + {at}*4", "9", "10", "11"),
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
