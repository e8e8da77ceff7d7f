//! Matrix products of odd sizes.

use super::*;

fn mat_mul(bench: &mut Bench, [m, n, k]: [usize; 3], transpose_a: bool, transpose_b: bool) {
    let (a, b) = (bench.normal(m * k), bench.normal(k * n));
    let out = bench.out(m * n, DType::F32);
    bench.kernel(KernelKind::MatMul { m, n, k, transpose_a, transpose_b, a, b, out: out.into() });
}

#[test]
fn odd_sizes_with_every_transposition() {
    let mut bench = Bench::new(1e-6);
    let sizes = [
        [1, 1, 1],
        [8, 8, 8],
        [64, 64, 16],
        [65, 63, 17],
        [9, 130, 31],
        [131, 10, 64],
        [33, 70, 1],
        [1, 100, 50],
        [100, 1, 50],
        [3, 5, 700],
        [200, 77, 45],
    ];
    for (index, size) in sizes.into_iter().enumerate() {
        for (transpose_a, transpose_b) in [(false, false), (true, false), (false, true), (true, true)] {
            // Large ones only once each way.
            if index == 10 && transpose_a != transpose_b {
                continue;
            }
            mat_mul(&mut bench, size, transpose_a, transpose_b);
        }
    }
    bench.check();
}

#[test]
fn long_sums_are_cut_into_slices() {
    let mut bench = Bench::new(1e-6);
    mat_mul(&mut bench, [10, 12, 9_001], false, true);
    mat_mul(&mut bench, [9, 17, 3_333], true, false);
    mat_mul(&mut bench, [2, 3, 70_001], false, false);
    mat_mul(&mut bench, [8, 8, 66_003], true, false);
    bench.check();
}

#[test]
fn random_sizes() {
    let mut bench = Bench::new(1e-6);
    for _ in 0..25 {
        let size = [1 + bench.below(90), 1 + bench.below(90), 1 + bench.below(120)];
        let (transpose_a, transpose_b) = (bench.below(2) == 0, bench.below(2) == 0);
        mat_mul(&mut bench, size, transpose_a, transpose_b);
    }
    bench.check();
}
