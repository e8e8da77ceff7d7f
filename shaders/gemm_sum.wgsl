// out[row, column] = Σ partial[slice, part, row, column]: the end of a product whose terms were cut into slices.
//
// Functions: the sizes parts, rows, columns, slices; finish; read_partial.

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = (group.y * groups.x + group.x) * 64u + lane;
    if (i >= parts() * rows() * columns()) {
        return;
    }
    var sum = 0.0;
    for (var slice = 0u; slice < slices(); slice++) {
        sum += read_partial(slice * parts() * rows() * columns() + i);
    }
    finish(i / (rows() * columns()), (i / columns()) % rows(), i % columns(), sum);
}
