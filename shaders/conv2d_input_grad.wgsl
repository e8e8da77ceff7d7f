// The gradient of a convolution's images as a problem for the gemm_*.wgsl loops:
// out[n, c, h, w] = Σ weight[o, c, u, v] · grad[n, o, (h + p - u·d) / s, (w + p - v·d) / s] where the quotients are whole.
// Rows are the channels of a part (a group of channels), columns the pixels of all images, terms (o, u, v).
//
// Constants: the geometry (see conv.rs). Buffers: read_weight, read_grad.

fn row_of(part: u32, row: u32) -> vec4<u32> {
    return vec4<u32>(row * TAPS, 0u, 0u, 0u);
}

fn column_of(part: u32, column: u32) -> vec4<u32> {
    let image = column / IN_AREA;
    let pixel = column % IN_AREA;
    let start = (image * FILTERS + part * PART_FILTERS) * OUT_AREA;
    return vec4<u32>(start, pixel / IN_WIDTH + PADDING_Y, pixel % IN_WIDTH + PADDING_X, 0u);
}

fn term_of(part: u32, term: u32) -> vec4<u32> {
    let tap = term % TAPS;
    let o = term / TAPS;
    let weight = (part * PART_FILTERS + o) * PART_CHANNELS * TAPS + tap;
    return vec4<u32>(weight, o * OUT_AREA, (tap / KERNEL_WIDTH) * DILATION_Y, (tap % KERNEL_WIDTH) * DILATION_X);
}

fn load_a(row: vec4<u32>, term: vec4<u32>) -> Factor {
    return read_weight(row.x + term.x);
}

fn load_b(term: vec4<u32>, column: vec4<u32>) -> Factor {
    // Something is read in any case: without branches a driver has many reads under way at once.
    let y = column.y - term.z;
    let x = column.z - term.w;
    let is_whole = (y % STRIDE_Y == 0u) & (x % STRIDE_X == 0u);
    let is_below = (column.y < term.z) | (column.z < term.w);
    let inside = is_whole & !is_below & (y / STRIDE_Y < OUT_HEIGHT) & (x / STRIDE_X < OUT_WIDTH);
    let pixel = (y / STRIDE_Y) * OUT_WIDTH + x / STRIDE_X;
    return select(Factor(), read_grad(select(0u, column.x + term.y + pixel, inside)), inside);
}

fn element_of(part: u32, row: u32, column: u32) -> u32 {
    let image = column / IN_AREA;
    return (image * CHANNELS + part * rows() + row) * IN_AREA + column % IN_AREA;
}
