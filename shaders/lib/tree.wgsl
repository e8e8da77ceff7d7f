// Reductions over the LANES invocations of a workgroup, always in the same order; every invocation gets the result.

var<workgroup> shared_values: array<f32, LANES>;
var<workgroup> shared_keys: array<u32, LANES>;
var<workgroup> shared_places: array<u32, LANES>;

fn tree_sum(lane: u32, value: f32) -> f32 {
    workgroupBarrier();
    shared_values[lane] = value;
    for (var half = LANES / 2u; half > 0u; half /= 2u) {
        workgroupBarrier();
        if (lane < half) {
            shared_values[lane] += shared_values[lane + half];
        }
    }
    workgroupBarrier();
    return shared_values[0];
}

fn tree_max(lane: u32, value: f32) -> f32 {
    workgroupBarrier();
    shared_values[lane] = value;
    for (var half = LANES / 2u; half > 0u; half /= 2u) {
        workgroupBarrier();
        if (lane < half) {
            shared_values[lane] = larger(shared_values[lane], shared_values[lane + half]);
        }
    }
    workgroupBarrier();
    return shared_values[0];
}

// The place of the largest key, the first of equals.
fn tree_place(lane: u32, key: u32, place: u32) -> u32 {
    workgroupBarrier();
    shared_keys[lane] = key;
    shared_places[lane] = place;
    for (var half = LANES / 2u; half > 0u; half /= 2u) {
        workgroupBarrier();
        if (lane < half) {
            let key_there = shared_keys[lane + half];
            let place_there = shared_places[lane + half];
            let same = key_there == shared_keys[lane];
            if (key_there > shared_keys[lane] || (same && place_there < shared_places[lane])) {
                shared_keys[lane] = key_there;
                shared_places[lane] = place_there;
            }
        }
    }
    workgroupBarrier();
    return shared_places[0];
}
