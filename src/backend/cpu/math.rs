//! Functions of one float in forms that compilers turn into vector code: no branches, no calls, no tables.

use super::isa::Arithmetic;
use crate::ir::Unary;

/// Adding and subtracting it rounds to a whole number, which its lowest bits then hold.
const ROUND: f32 = 12_582_912.0;
/// `ln 2` in two parts: the first has so few bits that its product with an exponent is exact.
const LN_2_HIGH: f32 = 0.693_359_4;
const LN_2_LOW: f32 = -2.121_944_4e-4;
/// Beyond it, sine and cosine leave the vector form, whose reduction loses its digits.
const LARGE_ANGLE: f32 = 1e7;

/// Horner's scheme, highest coefficient first.
#[inline(always)]
fn polynomial<A: Arithmetic, const N: usize>(x: f32, coefficients: [f32; N]) -> f32 {
    let mut sum = coefficients[0];
    for coefficient in &coefficients[1..] {
        sum = A::mul_add(sum, x, *coefficient);
    }
    sum
}

/// The nearest number that IEEE 754 binary16 holds, half to even; from 65,520 on infinity.
#[inline(always)]
pub fn round_to_half(x: f32) -> f32 {
    let magnitude = x.to_bits() & 0x7FFF_FFFF;
    // Below 2⁻¹⁴ halves are multiples of 2⁻²⁴, as are floats from one half to one.
    let small = (f32::from_bits(magnitude) + 0.5 - 0.5).to_bits();
    let normal = (magnitude.wrapping_add(0xFFF).wrapping_add((magnitude >> 13) & 1)) & !0x1FFF;
    let finite = if magnitude < 0x3880_0000 { small } else { normal };
    let bounded = if magnitude >= 0x477F_F000 { 0x7F80_0000 } else { finite };
    let all = if magnitude > 0x7F80_0000 { magnitude } else { bounded };
    f32::from_bits(all | (x.to_bits() & 0x8000_0000))
}

/// `eˣ`; polynomial of Cephes' `expf`.
#[inline(always)]
pub fn exp<A: Arithmetic>(x: f32) -> f32 {
    // Comparisons that are false for NaN, so that it stays.
    let x = if x > 89.0 { 89.0 } else { x };
    let x = if x < -104.5 { -104.5 } else { x };
    let rounded = A::mul_add(x, std::f32::consts::LOG2_E, ROUND);
    let exponent = (rounded.to_bits() as i32).wrapping_sub(ROUND.to_bits() as i32);
    let n = rounded - ROUND;
    let r = A::mul_add(n, -LN_2_LOW, A::mul_add(n, -LN_2_HIGH, x));
    let p = polynomial::<A, 6>(r, [1.987_569_2e-4, 1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 5e-1]);
    let value = A::mul_add(p, r * r, r) + 1.0;
    // In two factors, so that neither leaves the range of normal numbers.
    let half = exponent >> 1;
    value * power_of_two(half) * power_of_two(exponent.wrapping_sub(half))
}

/// `2ⁿ` for `-126 ≤ n ≤ 127`
#[inline(always)]
fn power_of_two(n: i32) -> f32 {
    f32::from_bits((n.wrapping_add(127) as u32) << 23)
}

/// Natural logarithm; polynomial of Cephes' `logf`.
#[inline(always)]
pub fn log<A: Arithmetic>(x: f32) -> f32 {
    let subnormal = x < f32::MIN_POSITIVE;
    let scaled = if subnormal { x * 8_388_608.0 } else { x };
    // The mantissa is taken from √½ on, the bits of which are subtracted.
    let bits = scaled.to_bits().wrapping_sub(0x3F35_04F3) as i32;
    let exponent = (bits >> 23) as f32 - if subnormal { 23.0 } else { 0.0 };
    let f = f32::from_bits(((bits & 0x007F_FFFF) as u32).wrapping_add(0x3F35_04F3)) - 1.0;
    let square = f * f;
    let p = polynomial::<A, 9>(
        f,
        [
            7.037_683_6e-2,
            -1.151_461e-1,
            1.167_699_9e-1,
            -1.242_014_1e-1,
            1.424_932_3e-1,
            -1.666_805_8e-1,
            2.000_071_5e-1,
            -2.499_999_4e-1,
            3.333_333e-1,
        ],
    );
    let tail = A::mul_add(exponent, LN_2_LOW, p * (f * square));
    let value = A::mul_add(exponent, LN_2_HIGH, f + A::mul_add(square, -0.5, tail));
    let value = if x < f32::INFINITY { value } else { x };
    let value = if x == 0.0 { f32::NEG_INFINITY } else { value };
    if x < 0.0 { f32::NAN } else { value }
}

/// Hyperbolic tangent; polynomial of Cephes' `tanhf`.
#[inline(always)]
pub fn tanh<A: Arithmetic>(x: f32) -> f32 {
    let size = x.abs();
    let square = x * x;
    let p = polynomial::<A, 5>(square, [-5.704_988_7e-3, 2.063_909e-2, -5.373_971_6e-2, 1.333_144_2e-1, -3.333_328e-1]);
    let near = A::mul_add(p * square, x, x);
    let far = (1.0 - 2.0 / (exp::<A>(size + size) + 1.0)).copysign(x);
    if size < 0.625 { near } else { far }
}

/// `1/(1 + e⁻ˣ)`
#[inline(always)]
pub fn sigmoid<A: Arithmetic>(x: f32) -> f32 {
    1.0 / (1.0 + exp::<A>(-x))
}

/// `ln(1 + eˣ)`
#[inline(always)]
pub fn softplus<A: Arithmetic>(x: f32) -> f32 {
    let e = exp::<A>(-x.abs());
    let u = 1.0 + e;
    // What the rounding of u has lost, to first order.
    let tail = log::<A>(u) - ((u - 1.0) - e) / u;
    let top = if x < 0.0 { 0.0 } else { x };
    top + tail
}

/// The error function; minimax forms by Norbert Juffa.
#[inline(always)]
pub fn erf<A: Arithmetic>(x: f32) -> f32 {
    let t = x.abs();
    let s = x * x;
    let u = A::mul_add(A::mul_add(-1.728_534_7e-5, t, 3.831_972e-4), s, A::mul_add(-3.883_964_4e-3, t, 2.425_462_2e-2));
    let q = polynomial::<A, 4>(t, [u, -1.067_778_8e-1, -6.348_467e-1, -1.287_175_1e-1]);
    // Beyond 4 it is 1, and the polynomial would turn round.
    let far = if t > 4.0 { 1.0 } else { 1.0 - exp::<A>(A::mul_add(q, t, -t)) };
    let p = polynomial::<A, 6>(
        s,
        [-5.967_617e-4, 4.991_194e-3, -2.676_813e-2, 1.128_199_25e-1, -3.761_253_4e-1, 1.283_791_7e-1],
    );
    let near = A::mul_add(p, x, x);
    let value = if t > 0.927_734_4 { far.copysign(x) } else { near };
    if x.is_nan() { x } else { value }
}

/// Sine (`quarter` 0) or cosine (1) of an angle up to [`LARGE_ANGLE`]; polynomials of Cephes' `sinf`.
#[inline(always)]
fn wave<A: Arithmetic>(x: f32, quarter: u32) -> f32 {
    const ROUND: f64 = 6_755_399_441_055_744.0;
    let rounded = f64::from(x) * std::f64::consts::FRAC_2_PI + ROUND;
    let quadrant = (rounded.to_bits() as u32).wrapping_add(quarter);
    let r = (f64::from(x) - (rounded - ROUND) * std::f64::consts::FRAC_PI_2) as f32;
    let s = r * r;
    let sine_p = polynomial::<A, 3>(s, [-1.951_529_6e-4, 8.332_161e-3, -1.666_665_5e-1]);
    let sine = A::mul_add(sine_p * s, r, r);
    let cosine_p = polynomial::<A, 3>(s, [2.443_315_7e-5, -1.388_731_6e-3, 4.166_664_6e-2]);
    let cosine = A::mul_add(cosine_p * s, s, A::mul_add(s, -0.5, 1.0));
    let value = if quadrant & 1 == 0 { sine } else { cosine };
    f32::from_bits(value.to_bits() ^ (quadrant & 2) << 30)
}

#[inline(always)]
fn map(target: &mut [f32], x: &[f32], function: impl Fn(f32) -> f32) {
    for (target, x) in target.iter_mut().zip(x) {
        *target = function(*x);
    }
}

/// `target = f(x)`, element by element; both of one length.
#[inline(always)]
pub fn unary<A: Arithmetic>(function: Unary, target: &mut [f32], x: &[f32]) {
    match function {
        Unary::Negate => map(target, x, |x| -x),
        Unary::Abs => map(target, x, f32::abs),
        Unary::Sign => map(target, x, |x| {
            let negative = if x < 0.0 { -1.0 } else { x };
            if x > 0.0 { 1.0 } else { negative }
        }),
        Unary::Exp => map(target, x, exp::<A>),
        Unary::Log => map(target, x, log::<A>),
        Unary::Sqrt => map(target, x, f32::sqrt),
        Unary::Reciprocal => map(target, x, |x| 1.0 / x),
        Unary::Tanh => map(target, x, tanh::<A>),
        Unary::Sigmoid => map(target, x, sigmoid::<A>),
        Unary::Softplus => map(target, x, softplus::<A>),
        Unary::Erf => map(target, x, erf::<A>),
        Unary::Sin => {
            map(target, x, |x| wave::<A>(x, 0));
            large_angles(target, x, f32::sin);
        }
        Unary::Cos => {
            map(target, x, |x| wave::<A>(x, 1));
            large_angles(target, x, f32::cos);
        }
        Unary::Floor => map(target, x, f32::floor),
        Unary::Relu => map(target, x, |x| if x < 0.0 { 0.0 } else { x }),
        Unary::NonFinite => map(target, x, |x| if x.to_bits() & 0x7F80_0000 == 0x7F80_0000 { 1.0 } else { 0.0 }),
    }
}

/// Computes the angles too large for [`wave`] one by one.
#[inline(always)]
fn large_angles(target: &mut [f32], x: &[f32], function: fn(f32) -> f32) {
    if x.iter().fold(false, |found, x| found | (x.abs() > LARGE_ANGLE)) {
        for (target, x) in target.iter_mut().zip(x) {
            if x.abs() > LARGE_ANGLE {
                *target = function(*x);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::isa::{Fused, Plain};
    use super::*;

    /// Numbers of every size and sign, densest around 1.
    fn samples() -> Vec<f32> {
        let mut samples: Vec<f32> =
            (0..=u32::MAX >> 13).map(|high| f32::from_bits(high << 13 | high & 0x1FFF)).collect();
        samples.extend((-400_000..=400_000).map(|i| i as f32 * 2.6e-4));
        samples.extend([0.0, -0.0, f32::INFINITY, f32::NEG_INFINITY, f32::NAN, f32::MAX, f32::MIN_POSITIVE, 1e-45]);
        samples
    }

    /// The distance in units of the last place of the exact value.
    fn ulps(found: f32, exact: f64) -> f64 {
        let rounded = exact as f32;
        if found == rounded || found.is_nan() && exact.is_nan() {
            return 0.0;
        }
        let exponent = f64::from(rounded.abs().max(f32::MIN_POSITIVE)).log2().floor();
        (f64::from(found) - exact).abs() / (exponent - 23.0).exp2()
    }

    fn check_unary<A: Arithmetic>(function: Unary, allowed_ulps: f64, allowed_error: f64) {
        let mut samples = samples();
        if matches!(function, Unary::Sin | Unary::Cos) {
            samples.retain(|x| x.abs() < 1e6 || !x.is_finite());
        }
        let mut found = vec![0.0; samples.len()];
        unary::<A>(function, &mut found, &samples);
        for (x, found) in samples.iter().zip(&found) {
            let exact = function.value(f64::from(*x));
            assert_eq!(found.is_nan(), exact.is_nan(), "{} of {x:e} is {found:e}, not {exact:e}", function.name());
            let far = ulps(*found, exact);
            let near = (f64::from(*found) - exact).abs() <= allowed_error;
            assert!(far <= allowed_ulps || near, "{} of {x:e} is {found:e}, {far} ULP off {exact:e}", function.name());
        }
    }

    #[test]
    fn functions_are_as_exact_as_promised() {
        for (function, ulps, error) in [
            (Unary::Negate, 0.0, 0.0),
            (Unary::Abs, 0.0, 0.0),
            (Unary::Sign, 0.0, 0.0),
            (Unary::Exp, 2.0, 0.0),
            (Unary::Log, 2.0, 0.0),
            (Unary::Sqrt, 0.5, 0.0),
            (Unary::Reciprocal, 0.5, 0.0),
            (Unary::Tanh, 3.0, 0.0),
            (Unary::Sigmoid, 3.0, 1e-37),
            (Unary::Softplus, 3.0, 1e-37),
            (Unary::Erf, 3.0, 1e-38),
            (Unary::Sin, 3.0, 1.5e-7),
            (Unary::Cos, 3.0, 1.5e-7),
            (Unary::Floor, 0.0, 0.0),
            (Unary::Relu, 0.0, 0.0),
            (Unary::NonFinite, 0.0, 0.0),
        ] {
            check_unary::<Plain>(function, ulps, error);
            check_unary::<Fused>(function, ulps, error);
        }
    }

    #[test]
    fn large_angles_are_reduced() {
        let x = [3e8_f32, -1e30, f32::MAX];
        let mut found = [0.0; 3];
        unary::<Plain>(Unary::Sin, &mut found, &x);
        for (x, found) in x.iter().zip(found) {
            assert!((f64::from(found) - f64::from(*x).sin()).abs() < 1e-6);
        }
    }
}
