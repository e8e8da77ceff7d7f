// As tree.wgsl, where SUBGROUP invocations after each other are a subgroup, which needs no memory to hand values on. Each
// step has its partner by number, so that the order is always the same: that of `subgroupAdd` is the driver's, and
// `subgroupMax` swallows NaN.

var<workgroup> shared_values: array<f32, LANES / SUBGROUP>;
var<workgroup> shared_keys: array<u32, LANES / SUBGROUP>;
var<workgroup> shared_places: array<u32, LANES / SUBGROUP>;

fn tree_sum(lane: u32, value: f32) -> f32 {
    var sum = value;
    for (var step = 1u; step < SUBGROUP; step *= 2u) {
        sum += subgroupShuffleXor(sum, step);
    }
    workgroupBarrier();
    if (lane % SUBGROUP == 0u) {
        shared_values[lane / SUBGROUP] = sum;
    }
    for (var half = LANES / SUBGROUP / 2u; half > 0u; half /= 2u) {
        workgroupBarrier();
        if (lane < half) {
            shared_values[lane] += shared_values[lane + half];
        }
    }
    workgroupBarrier();
    return shared_values[0];
}

fn tree_max(lane: u32, value: f32) -> f32 {
    var most = value;
    for (var step = 1u; step < SUBGROUP; step *= 2u) {
        most = larger(most, subgroupShuffleXor(most, step));
    }
    workgroupBarrier();
    if (lane % SUBGROUP == 0u) {
        shared_values[lane / SUBGROUP] = most;
    }
    for (var half = LANES / SUBGROUP / 2u; half > 0u; half /= 2u) {
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
    var best_key = key;
    var best_place = place;
    for (var step = 1u; step < SUBGROUP; step *= 2u) {
        let key_there = subgroupShuffleXor(best_key, step);
        let place_there = subgroupShuffleXor(best_place, step);
        if (comes_first(key_there, place_there, best_key, best_place)) {
            best_key = key_there;
            best_place = place_there;
        }
    }
    workgroupBarrier();
    if (lane % SUBGROUP == 0u) {
        shared_keys[lane / SUBGROUP] = best_key;
        shared_places[lane / SUBGROUP] = best_place;
    }
    for (var half = LANES / SUBGROUP / 2u; half > 0u; half /= 2u) {
        workgroupBarrier();
        if (lane < half) {
            let key_there = shared_keys[lane + half];
            let place_there = shared_places[lane + half];
            if (comes_first(key_there, place_there, shared_keys[lane], shared_places[lane])) {
                shared_keys[lane] = key_there;
                shared_places[lane] = place_there;
            }
        }
    }
    workgroupBarrier();
    return shared_places[0];
}

fn comes_first(key: u32, place: u32, other_key: u32, other_place: u32) -> bool {
    return key > other_key || (key == other_key && place < other_place);
}
