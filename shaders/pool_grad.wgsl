// out[plane, h, w] = Σ share over the windows that hold (h, w).
//
// Constants: the geometry (see pool.rs), COUNT elements of out. Functions: share(window, place), what the window
// gives to the pixel at this place of its plane; write_out.

fn run(group: u32, lane: u32) {
    let i = group * LANES + lane;
    if (i < COUNT) {
        let plane = i / IN_AREA;
        let place = i % IN_AREA;
        // Windows i·s - p ≤ h < i·s - p + k.
        let y = place / IN_WIDTH + PADDING_Y;
        let x = place % IN_WIDTH + PADDING_X;
        let begin_y = select(0u, (y - KERNEL_HEIGHT) / STRIDE_Y + 1u, y >= KERNEL_HEIGHT);
        let begin_x = select(0u, (x - KERNEL_WIDTH) / STRIDE_X + 1u, x >= KERNEL_WIDTH);
        let end_y = min(y / STRIDE_Y + 1u, OUT_HEIGHT);
        let end_x = min(x / STRIDE_X + 1u, OUT_WIDTH);
        var sum = 0.0;
        for (var window_y = begin_y; window_y < end_y; window_y++) {
            for (var window_x = begin_x; window_x < end_x; window_x++) {
                sum += share(plane * OUT_AREA + window_y * OUT_WIDTH + window_x, place);
            }
        }
        write_out(i, sum);
    }
}
