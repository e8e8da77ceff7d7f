// Numbers of 16 bits (IEEE 754 binary16), by their bits. What WGSL's own conversions give for numbers that 16 bits do not
// hold, and how they round, is left to the driver; here it is not.

// The bits of the nearest number, half to even; infinity from 65520 on; NaN stays NaN.
fn half_bits(x: f32) -> u32 {
    let bits = bitcast<u32>(x);
    let magnitude = bits & 0x7fffffffu;
    // Below 2^-14 halves are multiples of 2^-24, as are f32 from one half to one.
    let small = bitcast<u32>(bitcast<f32>(magnitude) + 0.5) - 0x3f000000u;
    let normal = (magnitude - 0x38000000u + 0xfffu + ((magnitude >> 13u) & 1u)) >> 13u;
    let finite = select(select(normal, small, magnitude < 0x38800000u), 0x7c00u, magnitude >= 0x477ff000u);
    let all = select(finite, 0x7e00u, magnitude > 0x7f800000u);
    return ((bits >> 16u) & 0x8000u) | all;
}

fn round_to_half(x: f32) -> f32 {
    return from_half(half_bits(x));
}

fn from_half(bits: u32) -> f32 {
    let special = ((bits & 0x8000u) << 16u) | 0x7f800000u | ((bits & 0x3ffu) << 13u);
    return select(unpack2x16float(bits).x, bitcast<f32>(special), (bits & 0x7c00u) == 0x7c00u);
}
