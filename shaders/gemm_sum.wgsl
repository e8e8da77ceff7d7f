// out[row, column] = Σ partial[slice, part, row, column]: the end of a product whose terms were cut into slices.
//
// Constants: PARTS, ROWS, COLUMNS, SLICES, GRID_X. Functions: store_out of the problem, read_partial.

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let i = (group.y * GRID_X + group.x) * 64u + lane;
    if (i >= PARTS * ROWS * COLUMNS) {
        return;
    }
    var sum = 0.0;
    for (var slice = 0u; slice < SLICES; slice++) {
        sum += read_partial(slice * PARTS * ROWS * COLUMNS + i);
    }
    store_out(i / (ROWS * COLUMNS), (i / COLUMNS) % ROWS, i % COLUMNS, sum);
}
