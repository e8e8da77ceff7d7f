// Elementary functions from + · and bits, since the built-in ones are too loose on some adapters: WGSL allows an
// absolute error of 2⁻¹¹ in `sin` and SwiftShader uses it. Polynomials and reductions are those of the Cephes library
// (S. Moshier, single precision) where no other source is named; the relative error is about 2e-7.

const INFINITY_BITS = 0x7f800000u;
const NAN_BITS = 0x7fc00000u;

// 2ⁿ for -126 ≤ n ≤ 127.
fn power_of_two(n: i32) -> f32 {
    return bitcast<f32>(u32(n + 127) << 23u);
}

// x = n·ln 2 + r with |r| ≤ ln 2 / 2, eˣ = 2ⁿ·eʳ.
fn exp_f32(x: f32) -> f32 {
    let bounded = clamp(x, -104.0, 89.0);
    let n = floor(bounded * 1.44269504 + 0.5);
    // ln 2 in two parts, the first of few digits so that its product is exact. The clamp changes nothing, but without
    // it a compiler may join both parts into one again, and lavapipe does.
    let r = fma(n, 2.12194440e-4, clamp(fma(n, -0.693359375, bounded), -1.0, 1.0));
    var p = fma(1.9875691500e-4, r, 1.3981999507e-3);
    p = fma(p, r, 8.3334519073e-3);
    p = fma(p, r, 4.1665795894e-2);
    p = fma(p, r, 1.6666665459e-1);
    p = fma(p, r, 5.0000001201e-1);
    p = fma(p, r * r, r) + 1.0;
    let whole = i32(n);
    let half = whole >> 1u;
    var y = p * power_of_two(half) * power_of_two(whole - half);
    y = select(y, from_bits(INFINITY_BITS), x > 88.72284);
    y = select(y, 0.0, x < -103.97208);
    return select(y, x, is_nan(x));
}

// x = m·2ⁿ with √½ ≤ m < √2, ln x = n·ln 2 + ln m.
fn log_f32(x: f32) -> f32 {
    // A number below the normal ones is read as a whole number of 2⁻¹⁴⁹, since some adapters flush it to 0.
    let bits = bitcast<u32>(x);
    let tiny = bits < 0x00800000u;
    let normal = select(bits, bitcast<u32>(f32(bits)), tiny);
    var n = f32(i32(normal >> 23u) - 126) - select(0.0, 149.0, tiny);
    var m = bitcast<f32>((normal & 0x007fffffu) | 0x3f000000u);
    let low = m < 0.70710678;
    n = select(n, n - 1.0, low);
    m = select(m, m + m, low) - 1.0;
    let square = m * m;
    var p = fma(7.0376836292e-2, m, -1.1514610310e-1);
    p = fma(p, m, 1.1676998740e-1);
    p = fma(p, m, -1.2420140846e-1);
    p = fma(p, m, 1.4249322787e-1);
    p = fma(p, m, -1.6668057665e-1);
    p = fma(p, m, 2.0000714765e-1);
    p = fma(p, m, -2.4999993993e-1);
    p = fma(p, m, 3.3333331174e-1);
    var y = p * m * square;
    y = fma(n, -2.12194440e-4, y);
    y = fma(-0.5, square, y);
    y = fma(n, 0.693359375, m + y);
    y = select(y, from_bits(NAN_BITS), (bits >> 31u) == 1u);
    y = select(y, x, bits == INFINITY_BITS || is_nan(x));
    return select(y, from_bits(0xff800000u), (bits & 0x7fffffffu) == 0u);
}

// ln(1 + t) for 0 ≤ t ≤ 1: 2·artanh(t / (2 + t)) by its series.
fn log_one_plus(t: f32) -> f32 {
    let s = t / (2.0 + t);
    let square = s * s;
    var p = fma(1.0 / 17.0, square, 1.0 / 15.0);
    p = fma(p, square, 1.0 / 13.0);
    p = fma(p, square, 1.0 / 11.0);
    p = fma(p, square, 1.0 / 9.0);
    p = fma(p, square, 1.0 / 7.0);
    p = fma(p, square, 1.0 / 5.0);
    p = fma(p, square, 1.0 / 3.0);
    // Half of a tiny number may be flushed to 0.
    return select(2.0 * fma(p * square, s, s), t, t < 1e-8);
}

fn tanh_f32(x: f32) -> f32 {
    let a = abs(x);
    let square = x * x;
    var p = fma(-5.70498872745e-3, square, 2.06390887954e-2);
    p = fma(p, square, -5.37397155531e-2);
    p = fma(p, square, 1.33314422036e-1);
    p = fma(p, square, -3.33332819422e-1);
    let near = fma(p * square, x, x);
    let far = 1.0 - 2.0 / (exp_f32(2.0 * min(a, 20.0)) + 1.0);
    let y = select(select(far, -far, x < 0.0), near, a < 0.625);
    return select(y, x, is_nan(x));
}

fn sigmoid_f32(x: f32) -> f32 {
    let e = exp_f32(-abs(x));
    return select(e, 1.0, x >= 0.0) / (1.0 + e);
}

fn softplus_f32(x: f32) -> f32 {
    let y = select(x, 0.0, x < 0.0) + log_one_plus(exp_f32(-abs(x)));
    return select(y, x, is_nan(x));
}

fn erf_f32(x: f32) -> f32 {
    let a = abs(x);
    let square = x * x;
    var near = fma(7.853861353153693e-5, square, -8.010193625184903e-4);
    near = fma(near, square, 5.188327685732524e-3);
    near = fma(near, square, -2.685381193529856e-2);
    near = fma(near, square, 1.128358514861418e-1);
    near = fma(near, square, -3.761262582423300e-1);
    near = fma(near, square, 1.128379165726710);
    // 1 - erf x = e^(-x²) / x · p(1 / x²); the polynomial changes at 2, beyond 4 the result is 1.
    let bounded = clamp(a, 1.0, 4.5);
    let q = 1.0 / bounded;
    let y = q * q;
    var middle = fma(2.326819970068386e-2, y, -1.387039388740657e-1);
    middle = fma(middle, y, 3.687424674597105e-1);
    middle = fma(middle, y, -5.824733027278666e-1);
    middle = fma(middle, y, 6.210004621745983e-1);
    middle = fma(middle, y, -4.944515323274145e-1);
    middle = fma(middle, y, 3.404879937665872e-1);
    middle = fma(middle, y, -2.741127028184656e-1);
    middle = fma(middle, y, 5.638259427386472e-1);
    var outer = fma(-1.047766399936249e+1, y, 1.297719955372516e+1);
    outer = fma(outer, y, -7.495518717768503);
    outer = fma(outer, y, 2.921019019210786);
    outer = fma(outer, y, -1.015265279202700);
    outer = fma(outer, y, 4.218463358204948e-1);
    outer = fma(outer, y, -2.820767439740514e-1);
    outer = fma(outer, y, 5.641895067754075e-1);
    let rest = exp_f32(-bounded * bounded) * q * select(middle, outer, bounded >= 2.0);
    let far = 1.0 - rest;
    let result = select(select(far, -far, x < 0.0), near * x, a < 1.0);
    return select(result, x, is_nan(x));
}
