// out[row, column] = Σ a[row, term] · b[term, column]: one invocation for each element, for thin products.
//
// Functions: the sizes parts, rows, columns, terms, slices, slice_terms; those of the problem; keep.

fn run(group: u32, lane: u32) {
    let i = group * LANES + lane;
    if (i < slices() * parts() * rows() * columns()) {
        let column = i % columns();
        let row = (i / columns()) % rows();
        let part = (i / (columns() * rows())) % parts();
        let slice = i / (columns() * rows() * parts());
        let row_info = row_of(part, row);
        let column_info = column_of(part, column);
        var sum = 0.0;
        let end = min(terms(), (slice + 1u) * slice_terms());
        for (var term = slice * slice_terms(); term < end; term++) {
            let info = term_of(part, term);
            sum += load_a(row_info, info) * load_b(info, column_info);
        }
        keep(slice, part, row, column, sum);
    }
}
