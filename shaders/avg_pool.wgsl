// out[plane, i, j] = Σ x of the window / size of the window; the border counts as zeros.
//
// Constants: the geometry (see pool.rs), COUNT outputs. Buffers: read_x, write_out.

fn run(group: u32, lane: u32) {
    let i = group * LANES + lane;
    if (i < COUNT) {
        let plane = i / OUT_AREA;
        let pixel = i % OUT_AREA;
        // Below 0 wraps to a huge number, so one comparison finds both sides.
        let first_y = (pixel / OUT_WIDTH) * STRIDE_Y - PADDING_Y;
        let first_x = (pixel % OUT_WIDTH) * STRIDE_X - PADDING_X;
        var sum = 0.0;
        for (var tap = 0u; tap < TAPS; tap++) {
            let y = first_y + tap / KERNEL_WIDTH;
            let x = first_x + tap % KERNEL_WIDTH;
            if (y < IN_HEIGHT && x < IN_WIDTH) {
                sum += read_x(plane * IN_AREA + y * IN_WIDTH + x);
            }
        }
        write_out(i, sum / f32(TAPS));
    }
}
