// out[row, column] = Σ a[row, term] · b[term, column]: one workgroup for each element, for few elements of many terms.
//
// Functions: the sizes parts, rows, columns, terms, slices, slice_terms; those of the problem; keep; tree_sum.

fn run(group: u32, lane: u32) {
    let column = group % columns();
    let row = (group / columns()) % rows();
    let part = (group / (columns() * rows())) % parts();
    let slice = group / (columns() * rows() * parts());
    let row_info = row_of(part, row);
    let column_info = column_of(part, column);
    var sum = 0.0;
    let end = min(terms(), (slice + 1u) * slice_terms());
    for (var term = slice * slice_terms() + lane; term < end; term += LANES) {
        let info = term_of(part, term);
        sum += load_a(row_info, info) * load_b(info, column_info);
    }
    let total = tree_sum(lane, sum);
    if (lane == 0u) {
        keep(slice, part, row, column, total);
    }
}
