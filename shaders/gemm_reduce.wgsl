// out[row, column] = Σ a[row, term] · b[term, column]: one workgroup for each element, for few elements of many terms.
//
// Constants: PARTS, ROWS, COLUMNS, TERMS, SLICES, SLICE_TERMS, GRID_X. Functions of the problem, and `keep`.

const LANES = 64u;

var<workgroup> sums: array<f32, LANES>;

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let i = group.y * GRID_X + group.x;
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
    for (var term = slice * SLICE_TERMS + lane; term < end; term += LANES) {
        let info = term_of(part, term);
        sum += load_a(row_info, info) * load_b(info, column_info);
    }
    sums[lane] = sum;
    for (var half = LANES / 2u; half > 0u; half /= 2u) {
        workgroupBarrier();
        if (lane < half) {
            sums[lane] += sums[lane + half];
        }
    }
    if (lane == 0u) {
        keep(slice, part, row, column, sums[0]);
    }
}
