// The convolution as a problem for the gemm_*.wgsl loops:
// out[n, o, i, j] = Σ x[n, c, i·s - p + u·d, j·s - p + v·d] · weight[o, c, u, v].
// Rows are the filters of a part (a group of channels), columns the pixels of all images, terms (c, u, v).
//
// Constants: the geometry (see conv.rs). Buffers: read_x, read_weight.

fn row_of(part: u32, row: u32) -> vec4<u32> {
    return vec4<u32>((part * rows() + row) * terms(), 0u, 0u, 0u);
}

// Where the image and the part begin, and the window's first row and column, which may be "below 0".
fn column_of(part: u32, column: u32) -> vec4<u32> {
    let image = column / OUT_AREA;
    let pixel = column % OUT_AREA;
    let start = (image * CHANNELS + part * PART_CHANNELS) * IN_AREA;
    return vec4<u32>(start, (pixel / OUT_WIDTH) * STRIDE_Y - PADDING_Y, (pixel % OUT_WIDTH) * STRIDE_X - PADDING_X, 0u);
}

fn term_of(part: u32, term: u32) -> vec4<u32> {
    let tap = term % TAPS;
    return vec4<u32>(term, (term / TAPS) * IN_AREA, (tap / KERNEL_WIDTH) * DILATION_Y, (tap % KERNEL_WIDTH) * DILATION_X);
}

fn load_a(row: vec4<u32>, term: vec4<u32>) -> Factor {
    return read_weight(row.x + term.x);
}

fn load_b(term: vec4<u32>, column: vec4<u32>) -> Factor {
    // Below 0 wraps to a huge number, so one comparison finds both sides. Something is read in any case: without branches
    // a driver has many reads under way at once.
    let y = column.y + term.z;
    let x = column.z + term.w;
    let inside = (y < IN_HEIGHT) & (x < IN_WIDTH);
    return select(Factor(), read_x(select(0u, column.x + term.y + y * IN_WIDTH + x, inside)), inside);
}

fn element_of(part: u32, row: u32, column: u32) -> u32 {
    let image = column / OUT_AREA;
    return (image * FILTERS + part * rows() + row) * OUT_AREA + column % OUT_AREA;
}
