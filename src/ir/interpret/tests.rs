//! Hand-computed numbers for each operation.

use super::*;
use crate::ir::{Builder, ConvGeometry, DataInfo, PoolGeometry, StateInfo, StateKind, States, Unary, verify::verify};

/// Inputs for a graph of one operation: a float for each pair of sizes and elements.
struct Case {
    builder: Builder,
    environment: Environment,
}

impl Case {
    fn new() -> Case {
        Case { builder: Builder::new(States::default()), environment: Environment::default() }
    }

    fn input(&mut self, shape: &[usize], data: &[f64]) -> Value {
        self.typed(shape, data, DType::F32)
    }

    fn words(&mut self, shape: &[usize], data: &[u32]) -> Value {
        let data: Vec<f64> = data.iter().copied().map(f64::from).collect();
        self.typed(shape, &data, DType::U32)
    }

    fn typed(&mut self, shape: &[usize], data: &[f64], dtype: DType) -> Value {
        let name = format!("input{}", self.environment.inputs.len());
        self.environment.inputs.push(Tensor::new(shape, data.to_vec()));
        self.builder.input(&name, shape, dtype)
    }

    fn value(&self, value: Value) -> Tensor {
        verify(&self.builder.graph, &self.builder.states).unwrap();
        interpret(&self.builder.graph, &self.environment)[value.index()].clone()
    }

    #[track_caller]
    fn check(&self, value: Value, shape: &[usize], expected: &[f64]) {
        let found = self.value(value);
        assert_eq!(found.shape, shape);
        let near = |a: &f64, b: &f64| a == b || (a - b).abs() < 1e-12 || (a.is_nan() && b.is_nan());
        assert!(found.data.iter().zip(expected).all(|(a, b)| near(a, b)), "{:?} is not {expected:?}", found.data);
    }
}

fn ascending(len: usize) -> Vec<f64> {
    (1..=len).map(|number| number as f64).collect()
}

#[test]
fn sources() {
    let mut case = Case::new();
    let constant = case.builder.constant(1.5, &[2]);
    let iota = case.builder.iota(0, &[2, 2]);
    case.environment.data.push(Tensor::new(&[2, 1], vec![255.0, 7.0]));
    case.builder.data(DataInfo { name: "bytes".into(), shape: vec![2, 1], dtype: DType::U8 });
    let init = crate::ir::graph::Init::Fill(0.0);
    let info =
        StateInfo { name: "s".into(), shape: vec![], dtype: DType::F32, kind: StateKind::Metric, init, layer: None };
    case.environment.states.push(Tensor::scalar(3.0));
    let state = case.builder.state(info);
    case.check(constant, &[2], &[1.5, 1.5]);
    case.check(iota, &[2, 2], &[0.0, 0.0, 1.0, 1.0]);
    case.check(state, &[], &[3.0]);
    let next = case.builder.offset(state, 1.0);
    case.builder.update(StateId(0), next);
    assert_eq!(step(&case.builder.graph, &case.environment), [(StateId(0), Tensor::scalar(4.0))]);
}

#[test]
fn elementwise_operations() {
    let mut case = Case::new();
    let a = case.input(&[3], &[1.0, -2.0, 0.0]);
    let b = case.input(&[3], &[4.0, -2.0, 5.0]);
    let negate = case.builder.unary(Unary::Negate, a);
    let sub = case.builder.sub(a, b);
    let less = case.builder.binary(Binary::Less, a, b);
    let select = case.builder.select(a, b, negate);
    case.check(negate, &[3], &[-1.0, 2.0, 0.0]);
    case.check(sub, &[3], &[-3.0, 0.0, -5.0]);
    case.check(less, &[3], &[1.0, 0.0, 1.0]);
    case.check(select, &[3], &[4.0, -2.0, 0.0]);
}

#[test]
fn words_wrap_and_casts_truncate() {
    let mut case = Case::new();
    let a = case.words(&[2], &[0, u32::MAX]);
    let b = case.words(&[2], &[1, u32::MAX]);
    let x = case.input(&[5], &[2.9, -2.9, f64::NAN, 1e20, 0.0]);
    let add = case.builder.add(a, b);
    let sub = case.builder.sub(a, b);
    let mul = case.builder.mul(a, b);
    let equal = case.builder.binary(Binary::Equal, a, b);
    let sum = case.builder.sum(b, &[0]);
    let cast = case.builder.cast(x, DType::U32);
    let back = case.builder.cast(b, DType::F32);
    case.check(add, &[2], &[1.0, 4_294_967_294.0]);
    case.check(sub, &[2], &[4_294_967_295.0, 0.0]);
    case.check(mul, &[2], &[0.0, 1.0]);
    case.check(equal, &[2], &[0.0, 1.0]);
    case.check(sum, &[1], &[0.0]);
    case.check(cast, &[5], &[2.0, 0.0, 0.0, 4_294_967_295.0, 0.0]);
    case.check(back, &[2], &[1.0, 4_294_967_295.0]);
}

#[test]
fn random_is_philox() {
    let mut case = Case::new();
    let [low, high, step] = [7, 8, 9].map(|number| case.words(&[], &[number]));
    let index = case.words(&[2], &[0, 5]);
    let uniform = case.builder.random(3, [low, high], step, index);
    let expected = [0, 5].map(|index| f64::from(random::uniform([7, 8], 3, 9, index)));
    case.check(uniform, &[2], &expected);
}

#[test]
fn movement() {
    let mut case = Case::new();
    let x = case.input(&[2, 3], &ascending(6));
    let column = case.input(&[2, 1], &[7.0, 8.0]);
    let b = &mut case.builder;
    let reshape = b.reshape(x, &[3, 2]);
    let broadcast = b.broadcast(column, &[2, 2]);
    let transpose = b.transpose(x, &[1, 0]);
    let slice = b.slice(x, 1, 1, 2);
    let pad = b.pad(column, 1, 1, 3);
    let concat = b.concat(&[x, column], 1);
    case.check(reshape, &[3, 2], &ascending(6));
    case.check(broadcast, &[2, 2], &[7.0, 7.0, 8.0, 8.0]);
    case.check(transpose, &[3, 2], &[1.0, 4.0, 2.0, 5.0, 3.0, 6.0]);
    case.check(slice, &[2, 2], &[2.0, 3.0, 5.0, 6.0]);
    case.check(pad, &[2, 3], &[0.0, 7.0, 0.0, 0.0, 8.0, 0.0]);
    case.check(concat, &[2, 4], &[1.0, 2.0, 3.0, 7.0, 4.0, 5.0, 6.0, 8.0]);
}

#[test]
fn transpose_of_three_axes() {
    let mut case = Case::new();
    let x = case.input(&[1, 2, 3], &ascending(6));
    let transpose = case.builder.transpose(x, &[2, 0, 1]);
    case.check(transpose, &[3, 1, 2], &[1.0, 4.0, 2.0, 5.0, 3.0, 6.0]);
}

#[test]
fn gather_clamps_rows() {
    let mut case = Case::new();
    case.environment.data.push(Tensor::new(&[3, 2], vec![0.0, 255.0, 2.0, 3.0, 4.0, 5.0]));
    let data = case.builder.data(DataInfo { name: "bytes".into(), shape: vec![3, 2], dtype: DType::U8 });
    let rows = case.words(&[3], &[1, 9, 0]);
    let gather = case.builder.gather_rows(data, rows);
    case.check(gather, &[3, 2], &[2.0, 3.0, 4.0, 5.0, 0.0, 255.0]);
    assert_eq!(case.builder.graph.dtype(gather), DType::F32);
}

#[test]
fn images_are_sampled() {
    let mut case = Case::new();
    let images = case.input(&[2, 1, 2, 2], &[0.0, 0.0, 0.0, 0.0, 1.0, 2.0, 3.0, 4.0]);
    let rows = case.words(&[1], &[1]);
    let y = case.input(&[1, 1, 4], &[0.0, 0.5, 0.25, 9.0]);
    let x = case.input(&[1, 1, 4], &[1.0, 0.5, 0.0, -3.0]);
    let bilinear = case.builder.sample_image(images, rows, y, x, true);
    let nearest = case.builder.sample_image(images, rows, y, x, false);
    case.check(bilinear, &[1, 1, 1, 4], &[2.0, 2.5, 1.5, 3.0]);
    case.check(nearest, &[1, 1, 1, 4], &[2.0, 1.0, 1.0, 3.0]);
}

#[test]
fn reductions() {
    let mut case = Case::new();
    let x = case.input(&[2, 3], &[1.0, 5.0, 5.0, -2.0, -7.0, -2.0]);
    let sum = case.builder.sum(x, &[0]);
    let all = case.builder.sum_all(x);
    let max = case.builder.reduce(ReduceKind::Max, x, &[1]);
    let arg_max = case.builder.reduce(ReduceKind::ArgMax, x, &[1]);
    case.check(sum, &[1, 3], &[-1.0, -2.0, 3.0]);
    case.check(all, &[], &[0.0]);
    case.check(max, &[2, 1], &[5.0, -2.0]);
    case.check(arg_max, &[2, 1], &[1.0, 0.0]);
}

#[test]
fn products() {
    let mut case = Case::new();
    let a = case.input(&[2, 3], &ascending(6));
    let b = case.input(&[3, 2], &ascending(6));
    let plain = case.builder.matmul(a, b, false, false);
    let transposed_a = case.builder.matmul(b, b, true, false);
    let transposed_b = case.builder.matmul(a, a, false, true);
    let both = case.builder.matmul(a, b, true, true);
    case.check(plain, &[2, 2], &[22.0, 28.0, 49.0, 64.0]);
    case.check(transposed_a, &[2, 2], &[35.0, 44.0, 44.0, 56.0]);
    case.check(transposed_b, &[2, 2], &[14.0, 32.0, 32.0, 77.0]);
    case.check(both, &[3, 3], &[9.0, 19.0, 29.0, 12.0, 26.0, 40.0, 15.0, 33.0, 51.0]);
}

const PLAIN: ConvGeometry = ConvGeometry {
    batch: 1,
    channels: 1,
    input: [3, 3],
    filters: 1,
    kernel: [2, 2],
    output: [2, 2],
    stride: [1, 1],
    padding: [0, 0],
    dilation: [1, 1],
    groups: 1,
};

#[track_caller]
fn check_conv(geometry: ConvGeometry, weight: &[f64], expected: &[f64]) {
    let mut case = Case::new();
    let x = case.input(&geometry.input_shape(), &ascending(count(&geometry.input_shape())));
    let weight = case.input(&geometry.weight_shape(), weight);
    let conv = case.builder.conv2d(x, weight, geometry);
    case.check(conv, &geometry.output_shape(), expected);
}

#[test]
fn convolutions() {
    let weight = [1.0, 10.0, 100.0, 1000.0];
    check_conv(PLAIN, &weight, &[5421.0, 6532.0, 8754.0, 9865.0]);
    let strided = ConvGeometry { stride: [2, 2], padding: [1, 1], ..PLAIN };
    check_conv(strided, &weight, &[1000.0, 3200.0, 7040.0, 9865.0]);
    let dilated = ConvGeometry { dilation: [2, 2], output: [1, 1], ..PLAIN };
    check_conv(dilated, &weight, &[9731.0]);
    let grouped = ConvGeometry { channels: 2, filters: 2, groups: 2, kernel: [1, 1], output: [3, 3], ..PLAIN };
    let expected: Vec<f64> = (1..=9).map(|n| 2.0 * f64::from(n)).chain((10..=18).map(|n| 3.0 * f64::from(n))).collect();
    check_conv(grouped, &[2.0, 3.0], &expected);
}

#[test]
fn gradients_of_convolutions() {
    let geometry = ConvGeometry { stride: [2, 2], padding: [1, 1], ..PLAIN };
    let mut case = Case::new();
    let x = case.input(&[1, 1, 3, 3], &ascending(9));
    let weight = case.input(&[1, 1, 2, 2], &[1.0, 10.0, 100.0, 1000.0]);
    let grad = case.input(&[1, 1, 2, 2], &[1.0, 2.0, 3.0, 4.0]);
    let b = &mut case.builder;
    let of_x = b.push(Op::Conv2dInputGrad(geometry), &[weight, grad], vec![1, 1, 3, 3], DType::F32);
    let of_weight = b.push(Op::Conv2dWeightGrad(geometry), &[x, grad], vec![1, 1, 2, 2], DType::F32);
    case.check(of_x, &[1, 1, 3, 3], &[1000.0, 200.0, 2000.0, 30.0, 4.0, 40.0, 3000.0, 400.0, 4000.0]);
    // Tap (i, j) of pixel (r, c) is on element (2r + i - 1, 2c + j - 1).
    let taps = [5.0 * 4.0, 4.0 * 3.0 + 6.0 * 4.0, 2.0 * 2.0 + 8.0 * 4.0, 1.0 + 3.0 * 2.0 + 7.0 * 3.0 + 9.0 * 4.0];
    case.check(of_weight, &[1, 1, 2, 2], &taps);
}

#[test]
fn pools_with_padding() {
    let geometry =
        PoolGeometry { planes: 1, input: [3, 3], output: [2, 2], kernel: [2, 2], stride: [2, 2], padding: [1, 1] };
    let mut case = Case::new();
    let x = case.input(&[1, 1, 3, 3], &[-1.0, 2.0, 2.0, 4.0, 7.0, 7.0, f64::NAN, 7.0, 5.0]);
    let y = case.input(&[1, 1, 3, 3], &ascending(9));
    let grad = case.input(&[1, 1, 2, 2], &[1.0, 2.0, 3.0, 4.0]);
    let max = case.builder.max_pool(x, geometry);
    let avg = case.builder.avg_pool(y, geometry);
    let shape = vec![1, 1, 3, 3];
    let max_grad = case.builder.push(Op::MaxPoolGrad(geometry), &[x, grad], shape.clone(), DType::F32);
    let avg_grad = case.builder.push(Op::AvgPoolGrad(geometry), &[grad], shape, DType::F32);
    case.check(max, &[1, 1, 2, 2], &[-1.0, 2.0, f64::NAN, 7.0]);
    case.check(avg, &[1, 1, 2, 2], &[0.25, 1.25, 2.75, 7.0]);
    case.check(max_grad, &[1, 1, 3, 3], &[1.0, 2.0, 0.0, 0.0, 4.0, 0.0, 3.0, 0.0, 0.0]);
    case.check(avg_grad, &[1, 1, 3, 3], &[0.25, 0.5, 0.5, 0.75, 1.0, 1.0, 0.75, 1.0, 1.0]);
}

#[test]
fn the_first_non_finite_value_is_found() {
    let mut case = Case::new();
    let zero = case.input(&[], &[0.0]);
    let infinity = case.builder.constant(f64::INFINITY, &[]);
    let log = case.builder.unary(Unary::Log, zero);
    let values = interpret(&case.builder.graph, &case.environment);
    assert_eq!(first_non_finite(&case.builder.graph, &values), Some(log));
    assert!(infinity < log);
}
