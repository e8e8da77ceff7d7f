// Philox4x32-10 of Salmon et al., "Parallel random numbers: as easy as 1, 2, 3" (SC'11), in 32-bit arithmetic.

// Low and high word of a product.
fn multiply_wide(a: u32, b: u32) -> vec2<u32> {
    let low = (a & 0xffffu) * (b & 0xffffu);
    let middle = (a >> 16u) * (b & 0xffffu) + (low >> 16u);
    let other = (a & 0xffffu) * (b >> 16u) + (middle & 0xffffu);
    return vec2<u32>(a * b, (a >> 16u) * (b >> 16u) + (middle >> 16u) + (other >> 16u));
}

fn philox_round(counter: vec4<u32>, key: vec2<u32>) -> vec4<u32> {
    let first = multiply_wide(counter.x, 0xd2511f53u);
    let second = multiply_wide(counter.z, 0xcd9e8d57u);
    return vec4<u32>(second.y ^ counter.y ^ key.x, second.x, first.y ^ counter.w ^ key.y, first.x);
}

fn philox(counter: vec4<u32>, key: vec2<u32>) -> vec4<u32> {
    let bump = vec2<u32>(0x9e3779b9u, 0xbb67ae85u);
    var words = philox_round(counter, key);
    words = philox_round(words, key + bump);
    words = philox_round(words, key + 2u * bump);
    words = philox_round(words, key + 3u * bump);
    words = philox_round(words, key + 4u * bump);
    words = philox_round(words, key + 5u * bump);
    words = philox_round(words, key + 6u * bump);
    words = philox_round(words, key + 7u * bump);
    words = philox_round(words, key + 8u * bump);
    return philox_round(words, key + 9u * bump);
}

// A uniform number in [0, 1): 24 bits of the first word.
fn uniform_number(seed_low: u32, seed_high: u32, stream: u32, step: u32, index: u32) -> f32 {
    let words = philox(vec4<u32>(index, step, stream, 0u), vec2<u32>(seed_low, seed_high));
    return f32(words.x >> 8u) * 5.9604644775390625e-8;
}
