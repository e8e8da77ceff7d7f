// out[row, column] = Σ a[row, term] · b[term, column]: one invocation for each element, for thin products.
//
// Constants: PARTS, ROWS, COLUMNS, TERMS, SLICES, SLICE_TERMS, GRID_X. Functions of the problem, and `keep`.

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let i = (group.y * GRID_X + group.x) * 64u + lane;
    if (i >= SLICES * PARTS * ROWS * COLUMNS) {
        return;
    }
    let column = i % COLUMNS;
    let row = (i / COLUMNS) % ROWS;
    let part = (i / (COLUMNS * ROWS)) % PARTS;
    let slice = i / (COLUMNS * ROWS * PARTS);
    let row_info = row_of(part, row);
    let column_info = column_of(part, column);
    var sum = 0.0;
    let end = min(TERMS, (slice + 1u) * SLICE_TERMS);
    for (var term = slice * SLICE_TERMS; term < end; term++) {
        let info = term_of(part, term);
        sum += load_a(row_info, info) * load_b(info, column_info);
    }
    keep(slice, part, row, column, sum);
}
