// out[row, column] = Σ a[row, term] · b[term, column]: a workgroup computes a tile of 64 x 64 from tiles of both
// operands in workgroup memory, an invocation 4 x 4 of it in registers. For GPUs.
//
// Constants: A_TERMS_ADJACENT and B_TERMS_ADJACENT say along which axis neighbours in memory lie. Functions: the sizes
// parts, rows, columns, terms, slices, slice_terms; those of the problem; keep.

const TILE = 64u;
const DEPTH = 16u;
const BLOCK = 512u;
// One quadruple more than the 16 of a tile's row, so that a column of a tile lies in different memory banks.
const PITCH = 17u;

var<workgroup> tile_a: array<vec4<f32>, DEPTH * PITCH>;
var<workgroup> tile_b: array<vec4<f32>, DEPTH * PITCH>;

fn keep_row(slice: u32, part: u32, row: u32, column: u32, values: vec4<f32>) {
    if (row >= rows()) {
        return;
    }
    if (column < columns()) {
        keep(slice, part, row, column, values.x);
    }
    if (column + 1u < columns()) {
        keep(slice, part, row, column + 1u, values.y);
    }
    if (column + 2u < columns()) {
        keep(slice, part, row, column + 2u, values.z);
    }
    if (column + 3u < columns()) {
        keep(slice, part, row, column + 3u, values.w);
    }
}

fn run(group: u32, lane: u32) {
    let row_tiles = (rows() + TILE - 1u) / TILE;
    let column_tiles = (columns() + TILE - 1u) / TILE;
    let first_row = (group % row_tiles) * TILE;
    let first_column = ((group / row_tiles) % column_tiles) * TILE;
    let part = (group / (row_tiles * column_tiles)) % parts();
    let slice = group / (row_tiles * column_tiles * parts());

    // What this invocation brings into workgroup memory: one term of four rows, and one of four columns.
    let a_term = select(lane / 16u, lane % 16u, A_TERMS_ADJACENT);
    let a_quad = select(lane % 16u, lane / 16u, A_TERMS_ADJACENT);
    let b_term = select(lane / 16u, lane % 16u, B_TERMS_ADJACENT);
    let b_quad = select(lane % 16u, lane / 16u, B_TERMS_ADJACENT);
    let a_row = first_row + a_quad * 4u;
    let b_column = first_column + b_quad * 4u;
    let row_0 = row_of(part, min(a_row, rows() - 1u));
    let row_1 = row_of(part, min(a_row + 1u, rows() - 1u));
    let row_2 = row_of(part, min(a_row + 2u, rows() - 1u));
    let row_3 = row_of(part, min(a_row + 3u, rows() - 1u));
    let column_0 = column_of(part, min(b_column, columns() - 1u));
    let column_1 = column_of(part, min(b_column + 1u, columns() - 1u));
    let column_2 = column_of(part, min(b_column + 2u, columns() - 1u));
    let column_3 = column_of(part, min(b_column + 3u, columns() - 1u));

    // What it computes.
    let y = lane / 16u;
    let x = lane % 16u;
    var sum_0 = vec4<f32>();
    var sum_1 = vec4<f32>();
    var sum_2 = vec4<f32>();
    var sum_3 = vec4<f32>();
    // Sums of at most BLOCK terms are added up, since one long sum loses digits.
    var total_0 = vec4<f32>();
    var total_1 = vec4<f32>();
    var total_2 = vec4<f32>();
    var total_3 = vec4<f32>();
    let end = min(terms(), (slice + 1u) * slice_terms());
    for (var first = slice * slice_terms(); first < end; first += DEPTH) {
        var a = vec4<f32>();
        if (first + a_term < end) {
            let term = term_of(part, first + a_term);
            a = vec4<f32>(load_a(row_0, term), load_a(row_1, term), load_a(row_2, term), load_a(row_3, term));
        }
        var b = vec4<f32>();
        if (first + b_term < end) {
            let term = term_of(part, first + b_term);
            b = vec4<f32>(load_b(term, column_0), load_b(term, column_1), load_b(term, column_2), load_b(term, column_3));
        }
        tile_a[a_term * PITCH + a_quad] = a;
        tile_b[b_term * PITCH + b_quad] = b;
        workgroupBarrier();
        for (var depth = 0u; depth < DEPTH; depth++) {
            let left = tile_a[depth * PITCH + y];
            let right = tile_b[depth * PITCH + x];
            sum_0 += left.x * right;
            sum_1 += left.y * right;
            sum_2 += left.z * right;
            sum_3 += left.w * right;
        }
        workgroupBarrier();
        if ((first / DEPTH) % (BLOCK / DEPTH) == 0u) {
            total_0 += sum_0;
            total_1 += sum_1;
            total_2 += sum_2;
            total_3 += sum_3;
            sum_0 = vec4<f32>();
            sum_1 = vec4<f32>();
            sum_2 = vec4<f32>();
            sum_3 = vec4<f32>();
        }
    }

    let row = first_row + y * 4u;
    let column = first_column + x * 4u;
    keep_row(slice, part, row, column, total_0 + sum_0);
    keep_row(slice, part, row + 1u, column, total_1 + sum_1);
    keep_row(slice, part, row + 2u, column, total_2 + sum_2);
    keep_row(slice, part, row + 3u, column, total_3 + sum_3);
}
