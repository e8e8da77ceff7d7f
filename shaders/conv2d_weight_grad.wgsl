// The gradient of a convolution's filters as a problem for the gemm_*.wgsl loops:
// out[o, c, u, v] = Σ grad[n, o, i, j] · x[n, c, i·s - p + u·d, j·s - p + v·d].
// Rows are the filters of a part (a group of channels), columns (c, u, v), terms the pixels of all images.
//
// Constants: the geometry (see conv.rs). Buffers: read_x, read_grad.

fn row_of(part: u32, row: u32) -> vec4<u32> {
    return vec4<u32>((part * rows() + row) * OUT_AREA, 0u, 0u, 0u);
}

fn column_of(part: u32, column: u32) -> vec4<u32> {
    let tap = column % TAPS;
    let start = (part * PART_CHANNELS + column / TAPS) * IN_AREA;
    return vec4<u32>(start, (tap / KERNEL_WIDTH) * DILATION_Y, (tap % KERNEL_WIDTH) * DILATION_X, 0u);
}

// Where the image begins in x, and the window's first row and column, which may be "below 0".
fn term_of(part: u32, term: u32) -> vec4<u32> {
    let image = term / OUT_AREA;
    let pixel = term % OUT_AREA;
    let y = (pixel / OUT_WIDTH) * STRIDE_Y - PADDING_Y;
    let x = (pixel % OUT_WIDTH) * STRIDE_X - PADDING_X;
    return vec4<u32>(image * FILTERS * OUT_AREA + pixel, image * CHANNELS * IN_AREA, y, x);
}

fn load_a(row: vec4<u32>, term: vec4<u32>) -> Factor {
    return read_grad(row.x + term.x);
}

fn load_b(term: vec4<u32>, column: vec4<u32>) -> Factor {
    // Below 0 wraps to a huge number, so one comparison finds both sides. Something is read in any case: without branches
    // a driver has many reads under way at once.
    let y = term.z + column.y;
    let x = term.w + column.z;
    let inside = (y < IN_HEIGHT) & (x < IN_WIDTH);
    return select(Factor(), read_x(select(0u, term.y + column.x + y * IN_WIDTH + x, inside)), inside);
}

fn element_of(part: u32, row: u32, column: u32) -> u32 {
    return (part * rows() + row) * columns() + column;
}
