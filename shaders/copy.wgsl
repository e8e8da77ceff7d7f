// to[i] = from[i], as words.
//
// Constants: COUNT. Buffers: read_from, write_to.

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = (group.y * groups.x + group.x) * 64u + lane;
    if (i < COUNT) {
        write_to(i, read_from(i));
    }
}
