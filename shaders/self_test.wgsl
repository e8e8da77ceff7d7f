// What drivers are known to get wrong; check.rs knows the right answers.
//
// words[0..3]: lengths of loops; words[4..10]: numbers by their bits. Answers from words[16] on:
//   [16], [17], [18]  trips of a long loop, of two nested ones, of a second long one
//   [20..26], [26]    which of the numbers are not finite; ReLU of words[7]
//   [32..288]         what 256 invocations saw of each other's workgroup memory
//   [288..544]        what each invocation computed from philox
//   [544], [545]      sum and number of what all invocations of GROUPS workgroups added with atomics
//   [546], [547]      the largest number that one was given when it counted itself; a mix of those numbers
//   [548..1060]       half words, each written by an invocation of its own, in words that two workgroups share

@group(0) @binding(1) var<storage, read_write> words: array<u32>;
// The same memory, as kernels see halves of words.
@group(0) @binding(7) var<storage, read_write> counters: array<atomic<u32>>;

const LANES = 256u;
const ROUNDS = 64u;
const GROUPS = 4u;

var<workgroup> ring: array<u32, LANES>;

@compute @workgroup_size(LANES)
fn main(@builtin(local_invocation_index) lane: u32, @builtin(workgroup_id) group: vec3<u32>) {
    atomicAdd(&counters[544], lane + 1u);
    let ticket = atomicAdd(&counters[545], 1u);
    atomicMax(&counters[546], ticket);
    atomicXor(&counters[547], ticket * 40503u + 1u);
    let place = lane * GROUPS + group.x;
    let shift = (place & 1u) * 16u;
    atomicAnd(&counters[548u + (place >> 1u)], 0xffff0000u >> shift);
    atomicOr(&counters[548u + (place >> 1u)], (place * 63u) << shift);
    if (group.x > 0u) {
        return;
    }
    if (lane == 0u) {
        var trips = 0u;
        for (var i = 0u; i < words[0]; i++) {
            trips += 1u + (i & 1u);
        }
        words[16] = trips;
        trips = 0u;
        for (var i = 0u; i < words[1]; i++) {
            for (var j = 0u; j < words[1]; j++) {
                trips += 1u + ((i ^ j) & 1u);
            }
        }
        words[17] = trips;
        trips = 0u;
        for (var i = 0u; i < words[2]; i++) {
            trips += 1u + (i & 1u);
        }
        words[18] = trips;
    }
    if (lane < 6u) {
        words[20u + lane] = select(0u, 1u, non_finite(bitcast<f32>(words[4u + lane])));
    }
    if (lane == 6u) {
        words[26] = bitcast<u32>(relu(bitcast<f32>(words[7])));
    }
    ring[lane] = lane;
    for (var round = 0u; round < ROUNDS; round++) {
        workgroupBarrier();
        let next = ring[(lane + 1u) % LANES];
        workgroupBarrier();
        ring[lane] = next + 1u;
    }
    words[32u + lane] = ring[lane];
    words[288u + lane] = philox(vec4<u32>(lane, 1u, 2u, 3u), vec2<u32>(words[0], words[1])).x;
}
