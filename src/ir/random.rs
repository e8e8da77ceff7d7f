//! Random numbers from a counter: the same on every device, whatever the order of the work.

/// Philox4x32-10 of Salmon et al., "Parallel random numbers: as easy as 1, 2, 3" (SC'11).
#[inline(always)]
pub fn philox(mut counter: [u32; 4], mut key: [u32; 2]) -> [u32; 4] {
    for round in 0..10 {
        if round > 0 {
            key[0] = key[0].wrapping_add(0x9E37_79B9);
            key[1] = key[1].wrapping_add(0xBB67_AE85);
        }
        let first = u64::from(counter[0]) * 0xD251_1F53;
        let second = u64::from(counter[2]) * 0xCD9E_8D57;
        counter = [
            (second >> 32) as u32 ^ counter[1] ^ key[0],
            second as u32,
            (first >> 32) as u32 ^ counter[3] ^ key[1],
            first as u32,
        ];
    }
    counter
}

/// The uniform number in `[0, 1)` that [`super::Op::Random`] gives: 24 bits of the first word.
#[inline(always)]
pub fn uniform(seed: [u32; 2], stream: u32, step: u32, index: u32) -> f32 {
    (philox([index, step, stream, 0], seed)[0] >> 8) as f32 * (1.0 / 16_777_216.0)
}

/// Uniform numbers for use on the host: one sequence for each `(seed, stream, step)`.
pub struct Sequence {
    seed: [u32; 2],
    stream: u32,
    step: u32,
    index: u32,
}

impl Sequence {
    /// The sequence of a stream at a step.
    pub fn new(seed: u64, stream: u32, step: u32) -> Sequence {
        Sequence { seed: split_seed(seed), stream, step, index: 0 }
    }

    /// The next 64 bits.
    pub fn next_u64(&mut self) -> u64 {
        let words = philox([self.index, self.step, self.stream, 1], self.seed);
        self.index += 1;
        u64::from(words[0]) | u64::from(words[1]) << 32
    }

    /// The next number in `[0, 1)`, of 53 bits.
    pub fn next_uniform(&mut self) -> f64 {
        (self.next_u64() >> 11) as f64 * (1.0 / 9_007_199_254_740_992.0)
    }

    /// The next whole number below `bound`, without bias that could be seen (128-bit product).
    pub fn next_below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.next_u64()) * u128::from(bound)) >> 64) as u64
    }

    /// The next standard normal number (Box–Muller).
    pub fn next_normal(&mut self) -> f64 {
        let radius = (-2.0 * (1.0 - self.next_uniform()).ln()).sqrt();
        radius * (std::f64::consts::TAU * self.next_uniform()).cos()
    }

    /// Puts the items in random order (Fisher–Yates).
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.next_below(last as u64 + 1) as usize);
        }
    }
}

/// The key words of a seed.
pub fn split_seed(seed: u64) -> [u32; 2] {
    [seed as u32, (seed >> 32) as u32]
}

#[cfg(test)]
mod tests {
    use super::philox;

    #[test]
    fn philox_gives_the_known_answers() {
        // `kat_vectors` of the authors' Random123 library.
        let cases = [
            ([0; 4], [0; 2], [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]),
            ([u32::MAX; 4], [u32::MAX; 2], [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]),
            (
                [0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344],
                [0xa409_3822, 0x299f_31d0],
                [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1],
            ),
        ];
        for (counter, key, expected) in cases {
            assert_eq!(philox(counter, key), expected);
        }
    }
}
