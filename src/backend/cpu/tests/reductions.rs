//! Reductions over every choice of axes.

use super::*;
use crate::ir::Binary;
use crate::plan::{Body, Reducer, Reduction};

/// Reduces `x·y + 1` of two random operands over the axes from `kept` on, with axes stored in the order given.
fn check_reduce(random: &mut Sequence, shape: &[usize], kept: usize, order: &[usize]) {
    let mut strides = vec![0; shape.len()];
    let mut len = 1;
    for axis in order.iter().rev() {
        strides[*axis] = len;
        len *= shape[*axis];
    }
    let (x, y) = (numbers(random, len), numbers(random, shape.iter().rev().take(1).product()));
    let mut case = Case::default();
    let inputs = [case.floats(&x), case.floats(&y)];
    let mut y_strides = vec![0; shape.len()];
    if let Some(last) = y_strides.last_mut() {
        *last = 1;
    }
    let instrs = vec![
        load(0, &strides),
        load(1, &y_strides),
        Instr::Binary(Binary::Multiply, 0, 1),
        Instr::Float(1.0),
        Instr::Binary(Binary::Add, 2, 3),
    ];
    let n_kept = count(&shape[..kept]);
    let outputs = [case.result(n_kept, DType::F32), case.result(n_kept, DType::F32), case.result(n_kept, DType::F32)];
    let reductions = vec![
        Reduction { reg: 4, kind: Reducer::Sum, output: outputs[0] },
        Reduction { reg: 0, kind: Reducer::Max, output: outputs[1] },
        Reduction { reg: 3, kind: Reducer::Sum, output: outputs[2] },
    ];
    let (inputs, body) = (inputs.to_vec(), Body { instrs });
    case.kernel(KernelKind::Reduce { shape: shape.to_vec(), kept, inputs, body, reductions });
    let (mut sums, mut largest) = (vec![0.0; n_kept], vec![f64::NEG_INFINITY; n_kept]);
    let width = count(&shape[kept..]);
    for (at, position) in positions(shape).iter().enumerate() {
        let (x, y) = (f64::from(x[index(&strides, position)]), f64::from(y[index(&y_strides, position)]));
        sums[at / width] += x * y + 1.0;
        largest[at / width] = largest[at / width].max(x);
    }
    case.check_floats(outputs[0], &sums, 1e-5);
    case.check_floats(outputs[1], &largest, 0.0);
    case.check_floats(outputs[2], &vec![width as f64; n_kept], 0.0);
}

#[test]
fn inner_and_outer_axes_are_reduced() {
    let mut random = Sequence::new(11, 0, 0);
    let shapes: [&[usize]; 14] = [
        &[],
        &[1],
        &[9],
        &[100_003],
        &[128, 10],
        &[10, 128],
        &[3, 5000],
        &[5000, 3],
        &[129, 515],
        &[2, 3, 4, 5],
        &[7, 1, 6, 300],
        &[16, 8, 5, 5],
        &[2, 600, 2],
        &[300, 2, 300],
    ];
    for shape in shapes {
        for kept in 0..=shape.len() {
            let mut order: Vec<usize> = (0..shape.len()).collect();
            check_reduce(&mut random, shape, kept, &order);
            order.rotate_left(kept);
            check_reduce(&mut random, shape, kept, &order);
            random.shuffle(&mut order);
            check_reduce(&mut random, shape, kept, &order);
        }
    }
}

#[test]
fn channels_of_images_are_reduced() {
    let mut random = Sequence::new(12, 0, 0);
    for [n, c, h, w] in [[8, 16, 8, 8], [4, 3, 28, 28], [32, 64, 1, 1], [5, 7, 32, 33]] {
        // Kept: the channels; reduced: images, rows, columns.
        check_reduce(&mut random, &[c, n, h, w], 1, &[1, 0, 2, 3]);
        // Kept: images, rows, columns; reduced: the channels.
        check_reduce(&mut random, &[n, h, w, c], 3, &[0, 3, 1, 2]);
    }
}

fn arg_max(x: &[f32], shape: &[usize], strides: &[usize]) -> Vec<u32> {
    let mut case = Case::default();
    let input = case.floats(x);
    let n_kept = count(&shape[..shape.len() - 1]);
    let output = case.result(n_kept, DType::U32);
    case.kernel(KernelKind::Reduce {
        shape: shape.to_vec(),
        kept: shape.len() - 1,
        inputs: vec![input],
        body: Body { instrs: vec![load(0, strides)] },
        reductions: vec![Reduction { reg: 0, kind: Reducer::ArgMax, output }],
    });
    case.run(output)
}

#[test]
fn the_first_largest_is_found() {
    let mut random = Sequence::new(13, 0, 0);
    for (rows, width) in [(1, 1), (128, 10), (7, 1000), (33, 2), (2, 5000), (300, 9), (600, 70)] {
        let x: Vec<f32> = (0..rows * width).map(|_| below(&mut random, 5) as f32 - 6.0).collect();
        let expected: Vec<u32> = (x.chunks(width))
            .map(|row| (0..width).fold(0, |best, at| if row[at] > row[best] { at } else { best }) as u32)
            .collect();
        assert_eq!(arg_max(&x, &[rows, width], &[width, 1]), expected);
        let transposed: Vec<f32> = (0..x.len()).map(|at| x[at % rows * width + at / rows]).collect();
        assert_eq!(arg_max(&transposed, &[rows, width], &[1, rows]), expected);
    }
    assert_eq!(arg_max(&[f32::NEG_INFINITY; 6], &[2, 3], &[3, 1]), [0, 0]);
    assert_eq!(arg_max(&[1.0, f32::NAN, 3.0, f32::NAN, 5.0, 5.0], &[2, 3], &[3, 1]), [1, 0]);
}

#[test]
fn the_largest_with_nan_is_nan() {
    for n in [3, 9, 70, 3000, 100_000] {
        let mut x = vec![1.0; n];
        x[n / 2] = f32::NAN;
        let mut case = Case::default();
        let (input, output) = (case.floats(&x), case.result(1, DType::F32));
        case.kernel(KernelKind::Reduce {
            shape: vec![n],
            kept: 0,
            inputs: vec![input],
            body: Body { instrs: vec![load(0, &[1])] },
            reductions: vec![Reduction { reg: 0, kind: Reducer::Max, output }],
        });
        assert!(case.run_floats(output)[0].is_nan());
    }
}
