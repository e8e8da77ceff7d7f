// out[row, column] = Σ a[row, term] · b[term, column]: an invocation computes 8 x 8 elements in named registers, without
// workgroup memory. For adapters that are a CPU, where barriers and workgroup memory cost more than they save.
//
// Constants: LANES_X, LANES_Y, the invocations of a workgroup. Functions: the sizes parts, rows, columns, terms, slices,
// slice_terms; those of the problem; keep.

const TILE = 8u;
const BLOCK = 512u;

// The row of this number.
fn pick(
    row: u32,
    row_0: vec4<f32>,
    row_1: vec4<f32>,
    row_2: vec4<f32>,
    row_3: vec4<f32>,
    row_4: vec4<f32>,
    row_5: vec4<f32>,
    row_6: vec4<f32>,
    row_7: vec4<f32>,
) -> vec4<f32> {
    let is_odd = (row & 1u) == 1u;
    let low = select(select(row_0, row_1, is_odd), select(row_2, row_3, is_odd), (row & 2u) == 2u);
    let high = select(select(row_4, row_5, is_odd), select(row_6, row_7, is_odd), (row & 2u) == 2u);
    return select(low, high, (row & 4u) == 4u);
}

fn run(group: u32, lane: u32) {
    let row_blocks = (rows() + TILE * LANES_Y - 1u) / (TILE * LANES_Y);
    let column_blocks = (columns() + TILE * LANES_X - 1u) / (TILE * LANES_X);
    let row = ((group % row_blocks) * LANES_Y + lane / LANES_X) * TILE;
    let column = (((group / row_blocks) % column_blocks) * LANES_X + lane % LANES_X) * TILE;
    let part = (group / (row_blocks * column_blocks)) % parts();
    let slice = group / (row_blocks * column_blocks * parts());
    if (row < rows() && column < columns()) {
        // Past the end, the last row or column is computed again and not kept.
        let row_0 = row_of(part, row);
        let row_1 = row_of(part, min(row + 1u, rows() - 1u));
        let row_2 = row_of(part, min(row + 2u, rows() - 1u));
        let row_3 = row_of(part, min(row + 3u, rows() - 1u));
        let row_4 = row_of(part, min(row + 4u, rows() - 1u));
        let row_5 = row_of(part, min(row + 5u, rows() - 1u));
        let row_6 = row_of(part, min(row + 6u, rows() - 1u));
        let row_7 = row_of(part, min(row + 7u, rows() - 1u));
        let column_0 = column_of(part, column);
        let column_1 = column_of(part, min(column + 1u, columns() - 1u));
        let column_2 = column_of(part, min(column + 2u, columns() - 1u));
        let column_3 = column_of(part, min(column + 3u, columns() - 1u));
        let column_4 = column_of(part, min(column + 4u, columns() - 1u));
        let column_5 = column_of(part, min(column + 5u, columns() - 1u));
        let column_6 = column_of(part, min(column + 6u, columns() - 1u));
        let column_7 = column_of(part, min(column + 7u, columns() - 1u));
        var total_left_0 = vec4<f32>();
        var total_right_0 = vec4<f32>();
        var total_left_1 = vec4<f32>();
        var total_right_1 = vec4<f32>();
        var total_left_2 = vec4<f32>();
        var total_right_2 = vec4<f32>();
        var total_left_3 = vec4<f32>();
        var total_right_3 = vec4<f32>();
        var total_left_4 = vec4<f32>();
        var total_right_4 = vec4<f32>();
        var total_left_5 = vec4<f32>();
        var total_right_5 = vec4<f32>();
        var total_left_6 = vec4<f32>();
        var total_right_6 = vec4<f32>();
        var total_left_7 = vec4<f32>();
        var total_right_7 = vec4<f32>();
        let end = min(terms(), (slice + 1u) * slice_terms());
        // Sums of at most BLOCK terms are added up, since one long sum loses digits.
        for (var first = slice * slice_terms(); first < end; first += BLOCK) {
            let last = min(end, first + BLOCK);
            var left_0 = vec4<f32>();
            var right_0 = vec4<f32>();
            var left_1 = vec4<f32>();
            var right_1 = vec4<f32>();
            var left_2 = vec4<f32>();
            var right_2 = vec4<f32>();
            var left_3 = vec4<f32>();
            var right_3 = vec4<f32>();
            var left_4 = vec4<f32>();
            var right_4 = vec4<f32>();
            var left_5 = vec4<f32>();
            var right_5 = vec4<f32>();
            var left_6 = vec4<f32>();
            var right_6 = vec4<f32>();
            var left_7 = vec4<f32>();
            var right_7 = vec4<f32>();
            for (var index = first; index < last; index++) {
                let term = term_of(part, index);
                let left = vec4<f32>(load_b(term, column_0), load_b(term, column_1), load_b(term, column_2), load_b(term, column_3));
                let right = vec4<f32>(load_b(term, column_4), load_b(term, column_5), load_b(term, column_6), load_b(term, column_7));
                let a_0 = load_a(row_0, term);
                left_0 += a_0 * left;
                right_0 += a_0 * right;
                let a_1 = load_a(row_1, term);
                left_1 += a_1 * left;
                right_1 += a_1 * right;
                let a_2 = load_a(row_2, term);
                left_2 += a_2 * left;
                right_2 += a_2 * right;
                let a_3 = load_a(row_3, term);
                left_3 += a_3 * left;
                right_3 += a_3 * right;
                let a_4 = load_a(row_4, term);
                left_4 += a_4 * left;
                right_4 += a_4 * right;
                let a_5 = load_a(row_5, term);
                left_5 += a_5 * left;
                right_5 += a_5 * right;
                let a_6 = load_a(row_6, term);
                left_6 += a_6 * left;
                right_6 += a_6 * right;
                let a_7 = load_a(row_7, term);
                left_7 += a_7 * left;
                right_7 += a_7 * right;
            }
            total_left_0 += left_0;
            total_right_0 += right_0;
            total_left_1 += left_1;
            total_right_1 += right_1;
            total_left_2 += left_2;
            total_right_2 += right_2;
            total_left_3 += left_3;
            total_right_3 += right_3;
            total_left_4 += left_4;
            total_right_4 += right_4;
            total_left_5 += left_5;
            total_right_5 += right_5;
            total_left_6 += left_6;
            total_right_6 += right_6;
            total_left_7 += left_7;
            total_right_7 += right_7;
        }
        // Loops whose lengths the driver does not know keep the program short: what follows an element stands here once.
        let height = min(TILE, rows() - row);
        let width = min(TILE, columns() - column);
        for (var y = 0u; y < height; y++) {
            let left = pick(
                y,
                total_left_0,
                total_left_1,
                total_left_2,
                total_left_3,
                total_left_4,
                total_left_5,
                total_left_6,
                total_left_7,
            );
            let right = pick(
                y,
                total_right_0,
                total_right_1,
                total_right_2,
                total_right_3,
                total_right_4,
                total_right_5,
                total_right_6,
                total_right_7,
            );
            for (var x = 0u; x < width; x++) {
                keep(slice, part, row + y, column + x, select(right, left, x < 4u)[x & 3u]);
            }
        }
    }
}
