//! Functions of f32 by polynomials and bit operations: loops over them vectorize, and every machine gives the same bits.

use std::f32::consts::{FRAC_2_SQRT_PI, LOG2_E};

/// `eˣ` to about 1 ULP: `x = n·ln 2 + r` with `|r| ≤ ln 2 / 2`, a polynomial for `eʳ`, and `2ⁿ` by its exponent bits.
#[inline(always)]
pub fn exp(x: f32) -> f32 {
    let clamped = if x > 88.8 { 88.8 } else { x };
    let clamped = if clamped < -104.0 { -104.0 } else { clamped };
    // Adding and subtracting 1.5·2²³ rounds to a whole number.
    let n = (clamped * LOG2_E + 12_582_912.0) - 12_582_912.0;
    let r = (clamped - n * 0.693_359_4) - n * -2.121_944_4e-4;
    let p = 1.987_569_2e-4;
    let p = p * r + 1.398_199_9e-3;
    let p = p * r + 8.333_452e-3;
    let p = p * r + 4.166_579_6e-2;
    let p = p * r + 0.166_666_65;
    let p = p * r + 0.5;
    let value = (p * (r * r) + r) + 1.0;
    // Two factors reach subnormal results and infinity without overflow of the exponent field.
    let n = n as i32;
    let half = n >> 1;
    let power = |n: i32| f32::from_bits(((n + 127) as u32) << 23);
    let scaled = value * power(half) * power(n - half);
    if x > 88.8 { f32::INFINITY } else { scaled }
}

/// The natural logarithm to about 1 ULP: the mantissa near 1 by a polynomial, the exponent times `ln 2`.
#[inline(always)]
pub fn log(x: f32) -> f32 {
    let tiny = x < f32::MIN_POSITIVE;
    let scaled = if tiny { x * 8_388_608.0 } else { x };
    let bits = scaled.to_bits();
    // The mantissa in [√½, √2).
    let shifted = bits.wrapping_sub(0x3f35_04f3);
    let exponent = (shifted as i32 >> 23) as f32 - if tiny { 23.0 } else { 0.0 };
    let f = f32::from_bits((shifted & 0x007f_ffff) + 0x3f35_04f3) - 1.0;
    let p = 7.037_683_6e-2;
    let p = p * f - 0.115_146_1;
    let p = p * f + 0.116_769_98;
    let p = p * f - 0.124_201_41;
    let p = p * f + 0.142_493_23;
    let p = p * f - 0.166_680_57;
    let p = p * f + 0.200_007_14;
    let p = p * f - 0.249_999_94;
    let p = p * f + 0.333_333_3;
    let square = f * f;
    let tail = p * f * square + exponent * -2.121_944_4e-4 - 0.5 * square;
    let value = f + tail + exponent * 0.693_359_4;
    let value = if x == f32::INFINITY { x } else { value };
    let value = if x == 0.0 { f32::NEG_INFINITY } else { value };
    if x < 0.0 || x.is_nan() { f32::NAN } else { value }
}

/// `1/(1 + e⁻ˣ)`
#[inline(always)]
pub fn sigmoid(x: f32) -> f32 {
    let e = exp(-x.abs());
    let small = e / (1.0 + e);
    let value = if x >= 0.0 { 1.0 / (1.0 + e) } else { small };
    if x.is_nan() { x } else { value }
}

/// The hyperbolic tangent: its odd polynomial below 0.625 (Cephes), `1 − 2/(e²ˣ + 1)` beyond.
#[inline(always)]
pub fn tanh(x: f32) -> f32 {
    let a = x.abs();
    let z = x * x;
    let p = -5.704_988_7e-3;
    let p = p * z + 2.063_909e-2;
    let p = p * z - 5.373_971e-2;
    let p = p * z + 0.133_314_42;
    let p = p * z - 0.333_332_8;
    let near = p * z * x + x;
    let far = (1.0 - 2.0 / (exp(2.0 * a) + 1.0)).copysign(x);
    let value = if a < 0.625 { near } else { far };
    if x.is_nan() { x } else { value }
}

/// `ln(1 + eˣ)`
#[inline(always)]
pub fn softplus(x: f32) -> f32 {
    let e = exp(-x.abs());
    // ln(1 + e) for small e without cancellation: the ratio corrects the rounding of 1 + e.
    let u = 1.0 + e;
    let rest = if u == 1.0 { e } else { log(u) * (e / (u - 1.0)) };
    let base = if x > 0.0 { x } else { 0.0 };
    if x.is_nan() { x } else { base + rest }
}

/// The error function: a series below 1, the complement by a rational fit beyond (Numerical Recipes' `erfcc` form,
/// refitted in Cephes' `ndtrf`).
#[inline(always)]
pub fn erf(x: f32) -> f32 {
    let a = x.abs();
    let z = x * x;
    let p = 7.853_862e-5;
    let p = p * z - 8.010_194e-4;
    let p = p * z + 5.188_327_5e-3;
    let p = p * z - 2.685_381_2e-2;
    let p = p * z + 0.112_835_85;
    let p = p * z - 0.376_126_26;
    let p = p * z + FRAC_2_SQRT_PI;
    let near = x * p;
    // erfc(a) = e^(−a²) · (1/a) · P(1/a²), for a in [1, 4].
    let safe = if a < 1.0 { 1.0 } else { a };
    let safe = if safe > 4.2 { 4.2 } else { safe };
    let q = 1.0 / safe;
    let y = q * q;
    let low = {
        let p = 2.326_819_8e-2;
        let p = p * y - 0.138_703_94;
        let p = p * y + 0.368_742_47;
        let p = p * y - 0.582_473_3;
        let p = p * y + 0.621_000_47;
        let p = p * y - 0.494_451_52;
        let p = p * y + 0.340_488;
        let p = p * y - 0.274_112_7;
        p * y + 0.563_825_96
    };
    let high = {
        let p = -10.477_664;
        let p = p * y + 12.977_2;
        let p = p * y - 7.495_518_7;
        let p = p * y + 2.921_019;
        let p = p * y - 1.015_265_2;
        let p = p * y + 0.421_846_35;
        let p = p * y - 0.282_076_75;
        p * y + 0.564_189_5
    };
    let tail = exp(-(safe * safe)) * q * if safe < 2.0 { low } else { high };
    let far = (1.0 - tail).copysign(x);
    let value = if a < 1.0 { near } else { far };
    if x.is_nan() { x } else { value }
}

/// Sine of radians, for angles up to some thousands; precise to about 1e-7 absolute.
#[inline(always)]
pub fn sin(x: f32) -> f32 {
    wave(x, 0)
}

/// Cosine of radians, as [`sin`].
#[inline(always)]
pub fn cos(x: f32) -> f32 {
    wave(x, 1)
}

/// `sin(x + quarter·π/2)`: quarter turns are taken off in f64, the rest by Cephes' polynomials.
#[inline(always)]
fn wave(x: f32, quarter: i32) -> f32 {
    let turns = (f64::from(x) * std::f64::consts::FRAC_2_PI + 6_755_399_441_055_744.0) - 6_755_399_441_055_744.0;
    let r = (f64::from(x) - turns * std::f64::consts::FRAC_PI_2) as f32;
    let n = turns as i32 + quarter;
    let z = r * r;
    let sine = ((-1.951_529_6e-4 * z + 8.332_161e-3) * z - 0.166_666_55) * z * r + r;
    let cosine = ((2.443_315_7e-5 * z - 1.388_731_6e-3) * z + 4.166_664_6e-2) * z * z - 0.5 * z + 1.0;
    let value = if n & 1 == 0 { sine } else { cosine };
    if n & 2 == 0 { value } else { -value }
}

/// The largest whole number not above `x`.
#[inline(always)]
pub fn floor(x: f32) -> f32 {
    x.floor()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ir::Unary;

    fn check(function: Unary, fast: fn(f32) -> f32, low: f32, high: f32, relative: f64, absolute: f64) {
        let n = 200_000;
        for i in 0..=n {
            let x = low + (high - low) * (i as f32 / n as f32);
            let (found, wanted) = (f64::from(fast(x)), function.value(f64::from(x)));
            let error = (found - wanted).abs();
            assert!(error <= absolute + relative * wanted.abs(), "{}({x}) = {found}, not {wanted}", function.name());
        }
        assert!(fast(f32::NAN).is_nan(), "{} of NaN", function.name());
    }

    #[test]
    fn functions_are_close_to_their_definitions() {
        check(Unary::Exp, exp, -87.0, 88.0, 2.4e-7, 1e-44);
        check(Unary::Log, log, 1e-6, 100.0, 2.4e-7, 1e-8);
        check(Unary::Log, log, 1.0, 1e30, 2.4e-7, 1e-8);
        check(Unary::Tanh, tanh, -12.0, 12.0, 3e-7, 0.0);
        check(Unary::Sigmoid, sigmoid, -80.0, 40.0, 4e-7, 1e-37);
        check(Unary::Softplus, softplus, -80.0, 80.0, 4e-7, 1e-37);
        check(Unary::Erf, erf, -6.0, 6.0, 2e-7, 2e-7);
        check(Unary::Sin, sin, -300.0, 300.0, 0.0, 2e-7);
        check(Unary::Cos, cos, -300.0, 300.0, 0.0, 2e-7);
    }

    #[test]
    fn ends_of_the_range_are_right() {
        assert_eq!(exp(f32::NEG_INFINITY), 0.0);
        assert_eq!(exp(f32::INFINITY), f32::INFINITY);
        assert_eq!(exp(0.0), 1.0);
        assert_eq!(log(0.0), f32::NEG_INFINITY);
        assert_eq!(log(f32::INFINITY), f32::INFINITY);
        assert_eq!(log(1.0), 0.0);
        assert!(log(-1.0).is_nan());
        assert_eq!(tanh(f32::INFINITY), 1.0);
        assert_eq!(sigmoid(f32::NEG_INFINITY), 0.0);
        assert_eq!(erf(f32::NEG_INFINITY), -1.0);
        assert_eq!(softplus(f32::INFINITY), f32::INFINITY);
    }
}
