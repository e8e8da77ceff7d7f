// out[row, column] = Σ partial[slice, part, row, column]: the end of a product whose terms were cut into slices.
//
// Functions: the sizes parts, rows, columns, slices; finish; read_partial.

fn run(group: u32, lane: u32) {
    let i = group * LANES + lane;
    if (i < parts() * rows() * columns()) {
        var sum = 0.0;
        for (var slice = 0u; slice < slices(); slice++) {
            sum += read_partial(slice * parts() * rows() * columns() + i);
        }
        finish(i / (rows() * columns()), (i / columns()) % rows(), i % columns(), sum);
    }
}
