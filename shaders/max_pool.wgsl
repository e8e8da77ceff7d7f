// out[plane, i, j] = the largest x of the window, NaN if one is NaN; the border counts as nothing.
//
// Constants: the geometry (see pool.rs), COUNT outputs. Functions: read_x; keep_largest(i, value, place), which
// stores the value or where in its plane the first of the largest lies.

fn run(group: u32, lane: u32) {
    let i = group * LANES + lane;
    if (i < COUNT) {
        let plane = i / OUT_AREA;
        let pixel = i % OUT_AREA;
        // Below 0 wraps to a huge number, so one comparison finds both sides.
        let first_y = (pixel / OUT_WIDTH) * STRIDE_Y - PADDING_Y;
        let first_x = (pixel % OUT_WIDTH) * STRIDE_X - PADDING_X;
        var best = from_bits(0xff800000u);
        var key = 0u;
        var place = 0u;
        for (var tap = 0u; tap < TAPS; tap++) {
            let y = first_y + tap / KERNEL_WIDTH;
            let x = first_x + tap % KERNEL_WIDTH;
            if (y < IN_HEIGHT && x < IN_WIDTH) {
                let here = y * IN_WIDTH + x;
                let value = read_x(plane * IN_AREA + here);
                let value_key = order_key(value);
                if (value_key > key) {
                    best = value;
                    key = value_key;
                    place = here;
                }
            }
        }
        keep_largest(i, best, place);
    }
}
