// The matrix product as a problem for the gemm_*.wgsl loops: out [rows, columns] = a · b over terms.
//
// Functions: a_row, a_term strides of a; b_term, b_column strides of b. Buffers: read_a, read_b.

fn row_of(part: u32, row: u32) -> vec4<u32> {
    return vec4<u32>(row * a_row(), 0u, 0u, 0u);
}

fn column_of(part: u32, column: u32) -> vec4<u32> {
    return vec4<u32>(column * b_column(), 0u, 0u, 0u);
}

fn term_of(part: u32, term: u32) -> vec4<u32> {
    return vec4<u32>(term * a_term(), term * b_term(), 0u, 0u);
}

fn load_a(row: vec4<u32>, term: vec4<u32>) -> Factor {
    return read_a(row.x + term.x);
}

fn load_b(term: vec4<u32>, column: vec4<u32>) -> Factor {
    return read_b(term.y + column.x);
}

fn element_of(part: u32, row: u32, column: u32) -> u32 {
    return row * columns() + column;
}
