// Numbers by their bits. WGSL may assume that there is no NaN and no infinity, so `x != x` is always false and
// `max` swallows NaN; the tests here look at the exponent. `from_bits` is a function because a constant expression
// must be finite.

fn from_bits(bits: u32) -> f32 {
    return bitcast<f32>(bits);
}

fn is_nan(x: f32) -> bool {
    return (bitcast<u32>(x) & 0x7fffffffu) > 0x7f800000u;
}

fn non_finite(x: f32) -> bool {
    return (bitcast<u32>(x) & 0x7f800000u) == 0x7f800000u;
}

// 0 below 0, else the number, also NaN: only the bits from that of the least number below 0 to that of -∞ are replaced.
// A compiler that assumes no NaN makes `max(x, 0)` of a comparison with 0, and NVIDIA's does.
fn relu(x: f32) -> f32 {
    return select(x, 0.0, bitcast<u32>(x) - 0x80000001u < 0x7f800000u);
}

// The larger of two; NaN if one is.
fn larger(a: f32, b: f32) -> f32 {
    return select(select(b, a, a > b), select(b, a, is_nan(a)), is_nan(a) || is_nan(b));
}

// A word that orders as its number does: both zeros equal, NaN above infinity, 0 below all.
fn order_key(x: f32) -> u32 {
    let bits = bitcast<u32>(x);
    let key = select(bits | 0x80000000u, ~bits, bits > 0x80000000u);
    return select(key, 0xffffffffu, is_nan(x));
}
