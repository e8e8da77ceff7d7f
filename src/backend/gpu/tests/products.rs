//! Matrix products of odd sizes, and epilogues.

use super::*;
use crate::ir::graph::count;
use crate::ir::{Binary, ConvGeometry, Unary};
use crate::plan::{Access, Body, Epilogue, Instr, Load, Output, Store};

fn dense_strides(shape: &[usize]) -> Vec<usize> {
    (0..shape.len()).map(|axis| count(&shape[axis + 1..])).collect()
}

pub(super) fn mat_mul(bench: &mut Bench, [m, n, k]: [usize; 3], transpose_a: bool, transpose_b: bool) {
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
    bench.check_with_subgroups();
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

/// A product with an epilogue: bias along the columns, a state updated in place, a mask by the position, and the
/// product itself.
pub(super) fn with_epilogue(bench: &mut Bench, kind: impl FnOnce(&mut Bench, Output) -> KernelKind, shape: &[usize]) {
    let len = count(shape);
    let columns = *shape.last().expect("a product has axes");
    let (bias, state, raw, result) =
        (bench.normal(columns), bench.normal(len), bench.out(len, DType::F32), bench.out(len, DType::F32));
    let dense = Access { offset: 0, strides: dense_strides(shape), indirect: Vec::new() };
    let mut along = dense.clone();
    along.strides[..shape.len() - 1].fill(0);
    let load = |input, access: &Access| Instr::Load(Load { input, access: access.clone() });
    let instrs = vec![
        Instr::Product,
        load(0, &along),
        Instr::Binary(Binary::Add, 0, 1),
        Instr::Unary(Unary::Relu, 2),
        Instr::Position { axis: shape.len() - 1, offset: 1 },
        Instr::ToFloat(4),
        Instr::Binary(Binary::Multiply, 3, 5),
        load(1, &dense),
        Instr::Binary(Binary::Subtract, 7, 0),
    ];
    let store = |reg, output| Store { reg, output, access: dense.clone() };
    let stores = vec![store(6, result), store(8, state), store(0, raw)];
    let epilogue = Epilogue { shape: shape.to_vec(), inputs: vec![bias, state], body: Body { instrs }, stores };
    let kind = kind(bench, Output::Epilogue(Box::new(epilogue)));
    bench.kernel(kind);
}

#[test]
fn epilogues_of_matrix_products() {
    let mut bench = Bench::new(1e-6);
    for [m, n, k] in [[64, 64, 32], [65, 63, 17], [9, 132, 31], [1, 100, 50], [3, 5, 700], [10, 12, 9_001], [70, 1, 9]]
    {
        let kind = |bench: &mut Bench, out| {
            let (a, b) = (bench.normal(m * k), bench.normal(k * n));
            KernelKind::MatMul { m, n, k, transpose_a: true, transpose_b: false, a, b, out }
        };
        with_epilogue(&mut bench, kind, &[m, n]);
    }
    bench.check();
}

#[test]
fn epilogues_of_convolutions() {
    let mut bench = Bench::new(2e-6);
    for groups in [1, 2] {
        let geometry = ConvGeometry {
            batch: 3,
            channels: 6,
            input: [9, 8],
            filters: 10,
            kernel: [3, 2],
            output: [5, 8],
            stride: [2, 1],
            padding: [1, 1],
            dilation: [1, 1],
            groups,
        };
        let [input, weight, output] = [geometry.input_shape(), geometry.weight_shape(), geometry.output_shape()];
        let forward = |bench: &mut Bench, out| KernelKind::Conv2d {
            geometry,
            x: bench.normal(count(&geometry.input_shape())),
            weight: bench.normal(count(&geometry.weight_shape())),
            out,
        };
        with_epilogue(&mut bench, forward, &output);
        let input_grad = |bench: &mut Bench, out| KernelKind::Conv2dInputGrad {
            geometry,
            weight: bench.normal(count(&geometry.weight_shape())),
            grad: bench.normal(count(&geometry.output_shape())),
            out,
        };
        with_epilogue(&mut bench, input_grad, &input);
        let weight_grad = |bench: &mut Bench, out| KernelKind::Conv2dWeightGrad {
            geometry,
            x: bench.normal(count(&geometry.input_shape())),
            grad: bench.normal(count(&geometry.output_shape())),
            out,
        };
        with_epilogue(&mut bench, weight_grad, &weight);
    }
    bench.check();
}
