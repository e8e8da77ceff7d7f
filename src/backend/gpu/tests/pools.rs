//! Pooling and its gradients.

use super::*;
use crate::ir::PoolGeometry;

fn geometry(
    planes: usize,
    input: [usize; 2],
    kernel: [usize; 2],
    stride: [usize; 2],
    padding: [usize; 2],
) -> PoolGeometry {
    let size = |axis: usize| (input[axis] + 2 * padding[axis] - kernel[axis]) / stride[axis] + 1;
    PoolGeometry { planes, input, output: [size(0), size(1)], kernel, stride, padding }
}

fn all_four(bench: &mut Bench, geometry: PoolGeometry, x: BufferRef) {
    let grad = bench.normal(geometry.planes * geometry.output[0] * geometry.output[1]);
    let out = bench.out(grad.len, DType::F32);
    bench.kernel(KernelKind::MaxPool { geometry, x, out });
    let out = bench.out(x.len, DType::F32);
    bench.kernel(KernelKind::MaxPoolGrad { geometry, x, grad, out });
    let out = bench.out(grad.len, DType::F32);
    bench.kernel(KernelKind::AvgPool { geometry, x, out });
    let out = bench.out(x.len, DType::F32);
    bench.kernel(KernelKind::AvgPoolGrad { geometry, grad, out });
}

#[test]
fn windows_apart_and_overlapping() {
    let mut bench = Bench::new(1e-6);
    for geometry in [
        geometry(6, [8, 8], [2, 2], [2, 2], [0, 0]),
        geometry(5, [9, 7], [3, 3], [2, 2], [1, 1]),
        geometry(3, [7, 11], [3, 2], [1, 1], [0, 1]),
        geometry(2, [10, 10], [2, 3], [3, 4], [0, 0]),
        geometry(4, [7, 7], [7, 7], [7, 7], [0, 0]),
        geometry(1, [13, 5], [5, 5], [1, 2], [2, 2]),
        geometry(70, [5, 5], [2, 2], [2, 2], [0, 0]),
    ] {
        let x = bench.normal(geometry.planes * geometry.input[0] * geometry.input[1]);
        all_four(&mut bench, geometry, x);
    }
    // Equal values: the first of each window takes the gradient.
    let ties = geometry(3, [9, 9], [3, 3], [2, 2], [1, 1]);
    let values: Vec<f32> = (0..243).map(|index| (index % 3) as f32).collect();
    let x = bench.floats(&values);
    all_four(&mut bench, ties, x);
    bench.check();
}

#[test]
fn the_largest_of_a_window_with_nan_is_nan() {
    let mut bench = Bench::new(0.0);
    let mut values: Vec<f32> = (0..32).map(|index| -(index as f32)).collect();
    values[5] = f32::NAN;
    values[20] = f32::NEG_INFINITY;
    values[30] = f32::INFINITY;
    let x = bench.floats(&values);
    let geometry = geometry(2, [4, 4], [2, 2], [2, 2], [0, 0]);
    let out = bench.out(8, DType::F32);
    bench.kernel(KernelKind::MaxPool { geometry, x, out });
    bench.check();
}
