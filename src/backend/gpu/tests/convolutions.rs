//! Convolutions and their gradients with strides, dilation, padding and groups.

use super::*;
use crate::ir::ConvGeometry;
use crate::ir::graph::count;

/// All three kernels of one geometry.
fn all_three(bench: &mut Bench, geometry: ConvGeometry) {
    let (input, filters, output) =
        (count(&geometry.input_shape()), count(&geometry.weight_shape()), count(&geometry.output_shape()));
    let (x, weight, grad) = (bench.normal(input), bench.normal(filters), bench.normal(output));
    let out = bench.out(output, DType::F32);
    bench.kernel(KernelKind::Conv2d { geometry, x, weight, out: out.into() });
    let out = bench.out(input, DType::F32);
    bench.kernel(KernelKind::Conv2dInputGrad { geometry, weight, grad, out: out.into() });
    let out = bench.out(filters, DType::F32);
    bench.kernel(KernelKind::Conv2dWeightGrad { geometry, x, grad, out: out.into() });
}

/// The geometry whose output follows as in PyTorch.
fn geometry(
    [batch, channels, filters, groups]: [usize; 4],
    input: [usize; 2],
    kernel: [usize; 2],
    stride: [usize; 2],
    padding: [usize; 2],
    dilation: [usize; 2],
) -> ConvGeometry {
    let size =
        |axis: usize| (input[axis] + 2 * padding[axis] - dilation[axis] * (kernel[axis] - 1) - 1) / stride[axis] + 1;
    ConvGeometry {
        batch,
        channels,
        input,
        filters,
        kernel,
        output: [size(0), size(1)],
        stride,
        padding,
        dilation,
        groups,
    }
}

#[test]
fn usual_geometries() {
    let mut bench = Bench::new(2e-6);
    all_three(&mut bench, geometry([3, 5, 9, 1], [11, 13], [3, 3], [1, 1], [1, 1], [1, 1]));
    all_three(&mut bench, geometry([2, 1, 12, 1], [28, 28], [5, 5], [1, 1], [0, 0], [1, 1]));
    all_three(&mut bench, geometry([2, 16, 10, 1], [9, 9], [1, 1], [1, 1], [0, 0], [1, 1]));
    // Depthwise, grouped, strided, dilated.
    all_three(&mut bench, geometry([2, 12, 12, 12], [9, 10], [3, 3], [1, 1], [1, 1], [1, 1]));
    all_three(&mut bench, geometry([2, 20, 18, 2], [8, 7], [3, 2], [2, 1], [1, 0], [1, 1]));
    all_three(&mut bench, geometry([1, 8, 8, 1], [15, 16], [3, 3], [2, 2], [2, 2], [2, 2]));
    all_three(&mut bench, geometry([1, 3, 8, 1], [17, 23], [7, 5], [3, 4], [3, 2], [1, 2]));
    bench.check();
}

#[test]
fn more_zeros_after_than_before() {
    // "SAME" padding of a strided convolution: nothing before, one row after.
    let mut bench = Bench::new(2e-6);
    let mut uneven = geometry([2, 4, 9, 1], [8, 8], [3, 3], [2, 2], [0, 0], [1, 1]);
    uneven.output = [4, 4];
    all_three(&mut bench, uneven);
    bench.check();
}

#[test]
fn a_weight_gradient_over_many_pixels() {
    let mut bench = Bench::new(2e-6);
    let wide = geometry([16, 8, 8, 1], [64, 64], [1, 1], [1, 1], [0, 0], [1, 1]);
    let (x, grad) = (bench.normal(16 * 8 * 4_096), bench.normal(16 * 8 * 4_096));
    let out = bench.out(64, DType::F32);
    bench.kernel(KernelKind::Conv2dWeightGrad { geometry: wide, x, grad, out: out.into() });
    // 69,696 terms for each of few elements.
    let thin = geometry([16, 2, 2, 2], [66, 66], [1, 1], [1, 1], [0, 0], [1, 1]);
    let (x, grad) = (bench.normal(16 * 2 * 4_356), bench.normal(16 * 2 * 4_356));
    let out = bench.out(2, DType::F32);
    bench.kernel(KernelKind::Conv2dWeightGrad { geometry: thin, x, grad, out: out.into() });
    bench.check();
}

#[test]
fn random_geometries() {
    let mut bench = Bench::new(2e-6);
    for _ in 0..12 {
        let groups = 1 + bench.below(3);
        let sizes = [1 + bench.below(3), groups * (1 + bench.below(9)), groups * (1 + bench.below(11)), groups];
        let kernel = [1 + bench.below(4), 1 + bench.below(4)];
        let dilation = [1 + bench.below(2), 1 + bench.below(2)];
        let input = [8 + bench.below(6), 8 + bench.below(6)];
        let stride = [1 + bench.below(3), 1 + bench.below(3)];
        let padding = [bench.below(3), bench.below(3)];
        all_three(&mut bench, geometry(sizes, input, kernel, stride, padding, dilation));
    }
    bench.check();
}
