// Sine and cosine, the polynomials of Cephes after an exact reduction of the angle. Needs multiply_wide.

struct Angle {
    // Which quarter of the circle.
    quarter: u32,
    // The rest, between -π/4 and π/4.
    rest: f32,
}

// Bits of 2/π in words, the point behind the first word.
fn two_over_pi(word: u32) -> u32 {
    switch word {
        case 1u: { return 0xa2f9836eu; }
        case 2u: { return 0x4e441529u; }
        case 3u: { return 0xfc2757d1u; }
        case 4u: { return 0xf534ddc0u; }
        case 5u: { return 0xdb629599u; }
        case 6u: { return 0x3c439041u; }
        case 7u: { return 0xfe5163abu; }
        default: { return 0u; }
    }
}

// 32 bits of the same from this bit on.
fn two_over_pi_bits(bit: u32) -> u32 {
    let word = bit >> 5u;
    let shift = bit & 31u;
    let next = select(two_over_pi(word + 1u) >> (32u - max(shift, 1u)), 0u, shift == 0u);
    return (two_over_pi(word) << shift) | next;
}

// Payne and Hanek: |x| = m·2ᵉ with a whole m of 24 bits; of m·2ᵉ·2/π only the two bits before the point and those
// after it matter, and only those bits of 2/π that reach them.
fn reduce_large(bits: u32) -> Angle {
    let mantissa = (bits & 0x007fffffu) | 0x00800000u;
    // e = exponent - 150; bits of 2/π before place e - 2 after the point only add whole circles.
    let start = (bits >> 23u) - 120u;
    let high = mantissa * two_over_pi_bits(start);
    let middle = multiply_wide(mantissa, two_over_pi_bits(start + 32u));
    let low = multiply_wide(mantissa, two_over_pi_bits(start + 64u));
    let sum = middle.x + low.y;
    let top = high + middle.y + select(0u, 1u, sum < middle.x);
    // `top` begins with the two whole bits; the fraction is rounded to the nearest quarter.
    let fraction = (top << 2u) | (sum >> 30u);
    let up = fraction >> 31u;
    let quarter = (top >> 30u) + up;
    let rest_high = f32(bitcast<i32>(fraction)) * 2.3283064365386963e-10;
    let rest_low = f32((sum << 2u) >> 8u) * 1.3877787807814457e-17;
    return Angle(quarter & 3u, rest_high * 1.5707963267948966 + rest_low * 1.5707963267948966);
}

fn reduce_angle(a: f32) -> Angle {
    let n = floor(a * 0.63661977 + 0.5);
    // π/2 in three parts, the first two of few digits so that their products are exact. The clamps change nothing, but
    // without them a compiler may join the parts into one again.
    var rest = clamp(fma(n, -1.5703125, a), -4.0, 4.0);
    rest = clamp(fma(n, -4.837512969970703125e-4, rest), -1.0, 1.0);
    rest = fma(n, -7.54978995489188216e-8, rest);
    return Angle(u32(n) & 3u, rest);
}

fn angle_of(a: f32) -> Angle {
    if (a < 4096.0) {
        return reduce_angle(a);
    }
    return reduce_large(bitcast<u32>(a));
}

// The sine of a quarter turn `quarter` further on.
fn sine_of(angle: Angle) -> f32 {
    let r = angle.rest;
    let square = r * r;
    var sine = fma(-1.9515295891e-4, square, 8.3321608736e-3);
    sine = fma(sine, square, -1.6666654611e-1);
    sine = fma(sine * square, r, r);
    var cosine = fma(2.443315711809948e-5, square, -1.388731625493765e-3);
    cosine = fma(cosine, square, 4.166664568298827e-2);
    cosine = fma(cosine * square, square, fma(-0.5, square, 1.0));
    let value = select(sine, cosine, (angle.quarter & 1u) == 1u);
    return select(value, -value, (angle.quarter & 2u) == 2u);
}

fn sin_f32(x: f32) -> f32 {
    let y = sine_of(angle_of(abs(x)));
    return select(select(y, -y, x < 0.0), from_bits(0x7fc00000u), non_finite(x));
}

fn cos_f32(x: f32) -> f32 {
    var angle = angle_of(abs(x));
    angle.quarter += 1u;
    return select(sine_of(angle), from_bits(0x7fc00000u), non_finite(x));
}
