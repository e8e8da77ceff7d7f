//! Matrix products, convolutions, pools.

use super::super::{conv_turned, winograd};
use super::*;
use crate::ir::{Binary, ConvGeometry, PoolGeometry, Unary};
use crate::plan::{Body, Epilogue, Output, Store};

#[test]
fn matrices_are_multiplied() {
    let mut random = Sequence::new(21, 0, 0);
    let sizes = [
        [1, 1, 1],
        [1, 10, 300],
        [300, 1, 20],
        [32, 64, 30],
        [128, 10, 512],
        [130, 517, 33],
        [517, 129, 64],
        [64, 64, 700],
        [5, 3, 2000],
        [17, 19, 1],
        // Both operands are copied, several blocks of rows and pieces of sums, columns that are no whole vectors.
        [131, 205, 530],
        // Four vectors of columns, and one; a left operand that lies in the nearest cache.
        [64, 30, 32],
        [40, 62, 9],
        [23, 31, 70],
        [2, 64, 32],
        [65, 4, 20],
        [12, 7, 9],
    ];
    for [m, n, k] in sizes {
        let (a, b) = (numbers(&mut random, m * k), numbers(&mut random, k * n));
        for (transpose_a, transpose_b) in [(false, false), (true, false), (false, true), (true, true)] {
            let mut case = Case::default();
            let (a_ref, b_ref, out) = (case.floats(&a), case.floats(&b), case.result(m * n, DType::F32));
            case.kernel(KernelKind::MatMul { m, n, k, transpose_a, transpose_b, a: a_ref, b: b_ref, out: out.into() });
            let [a_row, a_column] = if transpose_a { [1, m] } else { [k, 1] };
            let [b_row, b_column] = if transpose_b { [1, k] } else { [n, 1] };
            let mut expected = vec![0.0; m * n];
            for row in 0..m {
                for column in 0..n {
                    expected[row * n + column] = (0..k)
                        .map(|at| {
                            f64::from(a[row * a_row + at * a_column]) * f64::from(b[at * b_row + column * b_column])
                        })
                        .sum();
                }
            }
            case.check_floats(out, &expected, 2e-5);
        }
    }
}

/// A program over the product and a bias, which stores its last register, and what it computes.
type Finishing = (Vec<Instr>, fn(f64, f64) -> f64);

/// Programs of which all, the beginning or nothing can be done while sums are in registers.
fn finishings() -> Vec<Finishing> {
    let bias = || load(0, &[0, 1]);
    let add = |a, b| Instr::Binary(Binary::Add, a, b);
    let relu = |x| Instr::Unary(Unary::Relu, x);
    vec![
        (vec![Instr::Product, bias(), add(0, 1), relu(2)], |sum, bias| (sum + bias).max(0.0)),
        (vec![bias(), Instr::Product, add(0, 1)], |sum, bias| sum + bias),
        (vec![Instr::Product, relu(0)], |sum, _| sum.max(0.0)),
        (
            vec![Instr::Product, bias(), add(0, 1), relu(2), Instr::Float(0.5), Instr::Binary(Binary::Multiply, 3, 4)],
            |sum, bias| (sum + bias).max(0.0) * 0.5,
        ),
        (vec![Instr::Product, bias(), add(0, 1), relu(2), Instr::Binary(Binary::Subtract, 3, 2)], |sum, bias| {
            (sum + bias).max(0.0) - (sum + bias)
        }),
        (vec![Instr::Product, bias(), add(0, 1), add(2, 0)], |sum, bias| sum + bias + sum),
        (vec![Instr::Product, Instr::Float(0.25), add(0, 1)], |sum, _| sum + 0.25),
    ]
}

#[test]
fn epilogues_see_whole_sums() {
    let mut random = Sequence::new(22, 0, 0);
    // More rows than are finished together, sums of several pieces, columns that are no whole vectors.
    for ([m, n, k], programs) in
        [([70, 37, 600], 7), ([131, 70, 300], 2), ([9, 300, 1100], 1), ([200, 256, 257], 1), ([66, 5, 64], 7)]
    {
        let (a, b) = (numbers(&mut random, m * k), numbers(&mut random, k * n));
        let bias = numbers(&mut random, n);
        for (transpose_a, transpose_b) in [(false, false), (true, false), (false, true), (true, true)] {
            let [a_row, a_column] = if transpose_a { [1, m] } else { [k, 1] };
            let [b_row, b_column] = if transpose_b { [1, k] } else { [n, 1] };
            let product = |row: usize, column: usize, at: usize| {
                f64::from(a[row * a_row + at * a_column]) * f64::from(b[at * b_row + column * b_column])
            };
            let sum = |place: &Vec<usize>| (0..k).map(|at| product(place[0], place[1], at)).sum::<f64>();
            let sums: Vec<f64> = positions(&[m, n]).iter().map(sum).collect();
            for (instrs, finish) in finishings().into_iter().take(programs) {
                let mut case = Case::default();
                let (a_ref, b_ref, bias_ref) = (case.floats(&a), case.floats(&b), case.floats(&bias));
                let y = case.result(m * n, DType::F32);
                let stores = vec![Store { reg: instrs.len() as Reg - 1, output: y, access: access(&[n, 1]) }];
                let epilogue = Epilogue { shape: vec![m, n], inputs: vec![bias_ref], body: Body { instrs }, stores };
                let out = Output::Epilogue(Box::new(epilogue));
                case.kernel(KernelKind::MatMul { m, n, k, transpose_a, transpose_b, a: a_ref, b: b_ref, out });
                let expected: Vec<f64> =
                    sums.iter().enumerate().map(|(at, sum)| finish(*sum, f64::from(bias[at % n]))).collect();
                case.check_floats(y, &expected, 2e-5);
            }
        }
    }
}

#[test]
fn numbers_that_are_none_get_through_relu() {
    // In whole vectors and in the rest, with lanes along columns and along the sums.
    for (n, k, transpose_b) in [(27, 3, false), (5, 400, true)] {
        let mut case = Case::default();
        let mut a = vec![-1.0; 3 * k];
        (a[k], a[2 * k]) = (f32::NAN, f32::INFINITY);
        let (a, b, y) = (case.floats(&a), case.floats(&vec![1.0; k * n]), case.result(3 * n, DType::F32));
        let body = Body { instrs: vec![Instr::Product, Instr::Unary(Unary::Relu, 0)] };
        let stores = vec![Store { reg: 1, output: y, access: access(&[n, 1]) }];
        let out = Output::Epilogue(Box::new(Epilogue { shape: vec![3, n], inputs: Vec::new(), body, stores }));
        case.kernel(KernelKind::MatMul { m: 3, n, k, transpose_a: false, transpose_b, a, b, out });
        let expected: Vec<f64> = [0.0, f64::NAN, f64::INFINITY].iter().flat_map(|row| vec![*row; n]).collect();
        for isa in isas() {
            let found: Vec<f64> = case.run_with(y, isa).into_iter().map(|bits| f32::from_bits(bits).into()).collect();
            let same = |(a, b): (&f64, &f64)| a.to_bits() == b.to_bits() || a.is_nan() && b.is_nan();
            assert!(found.iter().zip(&expected).all(same), "{isa}: {found:?}");
        }
    }
}

/// A geometry whose output covers the image with `after` zeros behind it.
fn geometry(
    [batch, channels, filters, groups]: [usize; 4],
    input: [usize; 2],
    kernel: [usize; 2],
    [stride, padding, dilation, after]: [[usize; 2]; 4],
) -> ConvGeometry {
    let output = [0, 1].map(|axis| {
        (input[axis] + padding[axis] + after[axis] - dilation[axis] * (kernel[axis] - 1) - 1) / stride[axis] + 1
    });
    ConvGeometry { batch, channels, input, filters, kernel, output, stride, padding, dilation, groups }
}

/// Calls `visit(x, weight, y)` with the indices of every product of a convolution.
fn for_products(g: &ConvGeometry, mut visit: impl FnMut(usize, usize, usize)) {
    let (channels, filters) = (g.channels / g.groups, g.filters / g.groups);
    let shape = [g.batch, g.filters, g.output[0], g.output[1], channels, g.kernel[0], g.kernel[1]];
    for position in positions(&shape) {
        let [n, o, oy, ox, c, ky, kx] = position[..] else { unreachable!("seven axes") };
        let y = (oy * g.stride[0] + ky * g.dilation[0]).checked_sub(g.padding[0]);
        let x = (ox * g.stride[1] + kx * g.dilation[1]).checked_sub(g.padding[1]);
        let (Some(y), Some(x)) = (y, x) else { continue };
        if y < g.input[0] && x < g.input[1] {
            let channel = o / filters * channels + c;
            visit(
                ((n * g.channels + channel) * g.input[0] + y) * g.input[1] + x,
                ((o * channels + c) * g.kernel[0] + ky) * g.kernel[1] + kx,
                ((n * g.filters + o) * g.output[0] + oy) * g.output[1] + ox,
            );
        }
    }
}

fn check_conv(random: &mut Sequence, g: ConvGeometry) {
    let x = numbers(random, count(&g.input_shape()));
    let weight = numbers(random, count(&g.weight_shape()));
    let grad = numbers(random, count(&g.output_shape()));
    let mut case = Case::default();
    let (x_ref, weight_ref, grad_ref) = (case.floats(&x), case.floats(&weight), case.floats(&grad));
    let [y_out, x_out, weight_out] = [grad.len(), x.len(), weight.len()].map(|len| case.result(len, DType::F32));
    case.kernel(KernelKind::Conv2d { geometry: g, x: x_ref, weight: weight_ref, out: y_out.into() });
    case.kernel(KernelKind::Conv2dInputGrad { geometry: g, weight: weight_ref, grad: grad_ref, out: x_out.into() });
    case.kernel(KernelKind::Conv2dWeightGrad { geometry: g, x: x_ref, grad: grad_ref, out: weight_out.into() });
    let (mut ys, mut xs, mut weights) = (vec![0.0; grad.len()], vec![0.0; x.len()], vec![0.0; weight.len()]);
    for_products(&g, |at_x, at_weight, at_y| {
        ys[at_y] += f64::from(x[at_x]) * f64::from(weight[at_weight]);
        xs[at_x] += f64::from(weight[at_weight]) * f64::from(grad[at_y]);
        weights[at_weight] += f64::from(x[at_x]) * f64::from(grad[at_y]);
    });
    case.check_floats(y_out, &ys, 2e-5);
    case.check_floats(x_out, &xs, 2e-5);
    case.check_floats(weight_out, &weights, 5e-5);
}

#[test]
fn images_are_convolved() {
    let mut random = Sequence::new(22, 0, 0);
    let same = [[1, 1], [1, 1], [1, 1], [1, 1]];
    let bare = [[1, 1], [0, 0], [1, 1], [0, 0]];
    for g in [
        geometry([1, 1, 1, 1], [1, 1], [1, 1], bare),
        geometry([3, 2, 5, 1], [7, 6], [3, 3], same),
        geometry([9, 3, 17, 1], [12, 11], [3, 3], same),
        geometry([5, 16, 33, 1], [9, 10], [1, 1], bare),
        geometry([5, 6, 4, 1], [9, 10], [1, 1], [[2, 2], [0, 0], [1, 1], [0, 0]]),
        geometry([4, 4, 6, 2], [9, 8], [3, 2], [[2, 1], [1, 0], [1, 2], [0, 1]]),
        geometry([2, 6, 9, 3], [11, 5], [3, 1], [[1, 3], [2, 0], [2, 1], [1, 2]]),
        geometry([2, 3, 4, 1], [5, 5], [5, 5], [[1, 1], [0, 0], [1, 1], [0, 0]]),
        geometry([2, 3, 4, 1], [4, 4], [3, 3], [[2, 2], [0, 0], [1, 1], [1, 1]]),
        geometry([3, 2, 3, 1], [2, 2], [5, 5], [[1, 1], [4, 4], [1, 1], [4, 4]]),
        geometry([17, 8, 8, 1], [8, 8], [3, 3], same),
        geometry([2, 4, 16, 1], [30, 32], [7, 7], [[2, 2], [3, 3], [1, 1], [3, 3]]),
    ] {
        check_conv(&mut random, g);
    }
}

#[test]
fn channels_are_convolved_alone() {
    let mut random = Sequence::new(23, 0, 0);
    for g in [
        geometry([3, 4, 4, 4], [9, 21], [3, 3], [[1, 1], [1, 1], [1, 1], [1, 1]]),
        geometry([2, 3, 6, 3], [8, 7], [3, 3], [[2, 2], [1, 1], [1, 1], [1, 0]]),
        geometry([2, 5, 5, 5], [12, 40], [5, 3], [[1, 1], [4, 2], [2, 2], [4, 2]]),
        geometry([7, 16, 16, 16], [16, 16], [3, 3], [[1, 1], [1, 1], [1, 1], [1, 1]]),
    ] {
        check_conv(&mut random, g);
    }
}

#[test]
fn random_convolutions_agree() {
    let mut random = Sequence::new(24, 0, 0);
    let mut done = 0;
    while done < 40 {
        let mut pick = |low: usize, high: usize| low + below(&mut random, high - low + 1);
        let groups = pick(1, 3);
        let sizes = [pick(1, 6), groups * pick(1, 18), groups * pick(1, 20), groups];
        let (input, kernel) = ([pick(1, 14), pick(1, 20)], [pick(1, 4), pick(1, 4)]);
        let rest =
            [[pick(1, 3), pick(1, 3)], [pick(0, 3), pick(0, 3)], [pick(1, 2), pick(1, 2)], [pick(0, 3), pick(0, 3)]];
        let fits = (0..2).all(|axis| input[axis] + rest[1][axis] + rest[3][axis] > rest[2][axis] * (kernel[axis] - 1));
        if fits {
            check_conv(&mut random, geometry(sizes, input, kernel, rest));
            done += 1;
        }
    }
}

#[test]
fn sums_of_rows_are_convolved() {
    let mut random = Sequence::new(26, 0, 0);
    let same = [[1, 1], [1, 1], [1, 1], [1, 1]];
    let bare = [[1, 1], [0, 0], [1, 1], [0, 0]];
    for g in [
        geometry([5, 8, 8, 1], [8, 8], [3, 3], same),
        geometry([40, 16, 16, 1], [4, 4], [3, 3], same),
        geometry([3, 13, 19, 1], [11, 21], [3, 3], same),
        geometry([3, 16, 40, 1], [26, 26], [3, 3], bare),
        geometry([2, 24, 32, 2], [12, 9], [3, 5], [[1, 1], [2, 4], [1, 1], [2, 1]]),
        geometry([2, 27, 24, 3], [10, 33], [3, 1], [[1, 1], [1, 0], [1, 1], [0, 2]]),
        geometry([1, 8, 9, 1], [70, 80], [3, 3], same),
        geometry([2, 9, 8, 1], [5, 3], [3, 2], [[1, 1], [2, 0], [1, 1], [2, 1]]),
        // Larger filters than images: parts are of filters.
        geometry([9, 40, 37, 1], [4, 4], [3, 3], same),
    ] {
        assert!(winograd::pays(&g), "{g:?}");
        check_conv(&mut random, g);
    }
}

#[test]
fn gradients_of_filters_are_summed_over_turned_images() {
    let mut random = Sequence::new(28, 0, 0);
    for g in [
        geometry([5, 16, 20, 1], [9, 9], [1, 1], [[1, 1], [0, 0], [1, 1], [0, 0]]),
        geometry([5, 17, 9, 1], [16, 16], [1, 1], [[2, 2], [0, 0], [1, 1], [0, 0]]),
        geometry([12, 6, 16, 1], [12, 12], [5, 5], [[1, 1], [0, 0], [1, 1], [0, 0]]),
        geometry([4, 32, 24, 1], [16, 16], [3, 3], [[2, 2], [1, 1], [1, 1], [1, 1]]),
        geometry([3, 40, 24, 2], [15, 14], [3, 3], [[2, 2], [1, 1], [2, 2], [1, 1]]),
        geometry([2, 16, 17, 1], [70, 50], [2, 3], [[1, 2], [3, 4], [1, 1], [3, 4]]),
        geometry([2, 24, 8, 1], [3, 2], [3, 3], [[3, 3], [2, 2], [2, 2], [3, 4]]),
        geometry([7, 70, 64, 1], [4, 4], [4, 4], [[2, 2], [1, 1], [1, 1], [1, 1]]),
    ] {
        assert!(conv_turned::pays(&g), "{g:?}");
        check_conv(&mut random, g);
    }
}

/// Cancelled factors cost digits: how many is what allows this kind of convolution at all.
#[test]
fn sums_of_rows_cost_less_than_two_bits() {
    let mut random = Sequence::new(27, 0, 0);
    for channels in [16, 64] {
        let g = geometry([2, channels, 16, 1], [16, 16], [3, 3], [[1, 1], [1, 1], [1, 1], [1, 1]]);
        assert!(winograd::pays(&g));
        let x = numbers(&mut random, count(&g.input_shape()));
        let weight = numbers(&mut random, count(&g.weight_shape()));
        let mut case = Case::default();
        let (x_ref, weight_ref) = (case.floats(&x), case.floats(&weight));
        let out = case.result(count(&g.output_shape()), DType::F32);
        case.kernel(KernelKind::Conv2d { geometry: g, x: x_ref, weight: weight_ref, out: out.into() });
        let mut exact = vec![0.0_f64; out.len];
        let mut plain = vec![0.0_f32; out.len];
        for_products(&g, |at_x, at_weight, at_y| {
            exact[at_y] += f64::from(x[at_x]) * f64::from(weight[at_weight]);
            plain[at_y] = x[at_x].mul_add(weight[at_weight], plain[at_y]);
        });
        let error = |values: &[f32]| {
            let squares = values.iter().zip(&exact).map(|(value, exact)| (f64::from(*value) - exact).powi(2));
            (squares.sum::<f64>() / exact.len() as f64).sqrt()
        };
        let (sums, plain) = (error(&case.run_floats(out)), error(&plain));
        assert!(sums < 4.0 * plain, "{channels} channels: {sums:e}, plain sums {plain:e}");
        assert!(sums > 0.0, "numbers are rounded");
    }
}

fn check_pool(random: &mut Sequence, g: PoolGeometry, special: bool) {
    let (inputs, outputs) = (g.input[0] * g.input[1], g.output[0] * g.output[1]);
    let mut x = numbers(random, g.planes * inputs);
    if special {
        // Many equal values, some of which are not finite.
        x.iter_mut().for_each(|x| *x = (*x * 2.0).round());
        x[inputs / 2] = f32::NAN;
        x[0] = f32::NEG_INFINITY;
    }
    let grad = numbers(random, g.planes * outputs);
    let mut case = Case::default();
    let (x_ref, grad_ref) = (case.floats(&x), case.floats(&grad));
    let [max, average] = [0; 2].map(|_| case.result(grad.len(), DType::F32));
    let [max_grad, average_grad] = [0; 2].map(|_| case.result(x.len(), DType::F32));
    case.kernel(KernelKind::MaxPool { geometry: g, x: x_ref, out: max });
    case.kernel(KernelKind::MaxPoolGrad { geometry: g, x: x_ref, grad: grad_ref, out: max_grad });
    case.kernel(KernelKind::AvgPool { geometry: g, x: x_ref, out: average });
    case.kernel(KernelKind::AvgPoolGrad { geometry: g, grad: grad_ref, out: average_grad });
    let mut maxima = vec![f64::NEG_INFINITY; grad.len()];
    let mut means = vec![0.0; grad.len()];
    let (mut max_grads, mut mean_grads) = (vec![0.0; x.len()], vec![0.0; x.len()]);
    let share = 1.0 / (g.kernel[0] * g.kernel[1]) as f64;
    for (at, position) in positions(&[g.planes, g.output[0], g.output[1]]).iter().enumerate() {
        let mut best: Option<usize> = None;
        for tap in positions(&g.kernel) {
            let [y, column] =
                [0, 1].map(|axis| (position[axis + 1] * g.stride[axis] + tap[axis]).checked_sub(g.padding[axis]));
            let (Some(y), Some(column)) = (y, column) else {
                continue;
            };
            if y < g.input[0] && column < g.input[1] {
                let from = position[0] * inputs + y * g.input[1] + column;
                means[at] += f64::from(x[from]) * share;
                mean_grads[from] += f64::from(grad[at]) * share;
                if best.is_none_or(|best| x[from] > x[best] || x[from].is_nan() && !x[best].is_nan()) {
                    best = Some(from);
                }
            }
        }
        if let Some(best) = best {
            maxima[at] = f64::from(x[best]);
            max_grads[best] += f64::from(grad[at]);
        }
    }
    case.check_floats(max, &maxima, 0.0);
    case.check_floats(max_grad, &max_grads, 1e-6);
    if !special {
        case.check_floats(average, &means, 1e-6);
    }
    case.check_floats(average_grad, &mean_grads, 1e-6);
}

#[test]
fn images_are_pooled() {
    let mut random = Sequence::new(25, 0, 0);
    for (planes, input, output, kernel, stride, padding) in [
        (3, [8, 8], [4, 4], [2, 2], [2, 2], [0, 0]),
        (5, [9, 67], [4, 33], [2, 2], [2, 2], [0, 0]),
        (70, [28, 28], [14, 14], [2, 2], [2, 2], [0, 0]),
        (4, [9, 9], [5, 5], [2, 2], [2, 2], [0, 0]),
        (6, [10, 13], [5, 7], [3, 3], [2, 2], [1, 1]),
        (2, [7, 7], [1, 1], [7, 7], [7, 7], [0, 0]),
        (3, [6, 5], [6, 5], [3, 3], [1, 1], [1, 1]),
        (1, [5, 12], [2, 3], [2, 3], [3, 4], [0, 1]),
    ] {
        let g = PoolGeometry { planes, input, output, kernel, stride, padding };
        check_pool(&mut random, g, false);
        check_pool(&mut random, g, true);
    }
}
