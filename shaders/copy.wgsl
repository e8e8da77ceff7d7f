// to[i] = from[i], as words.
//
// Constants: COUNT. Buffers: read_from, write_to.

fn run(group: u32, lane: u32) {
    let i = group * LANES + lane;
    if (i < COUNT) {
        write_to(i, read_from(i));
    }
}
