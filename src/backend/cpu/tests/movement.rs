//! Pointwise kernels: arithmetic, broadcasts, transposes, gathers, random numbers, aliasing.

use super::*;
use crate::ir::{Binary, Unary, random};
use crate::plan::{Body, Store};

/// Runs a body over a shape and stores its last register densely.
fn run_body(case: &mut Case, shape: &[usize], inputs: &[BufferRef], instrs: Vec<Instr>, dtype: DType) -> Vec<u32> {
    let out = case.result(count(shape), dtype);
    let store = Store { reg: (instrs.len() - 1) as Reg, output: out, access: access(&dense(shape)) };
    case.kernel(KernelKind::Pointwise {
        shape: shape.to_vec(),
        inputs: inputs.to_vec(),
        body: Body { instrs },
        stores: vec![store],
    });
    case.run(out)
}

#[test]
fn operands_are_broadcast_and_permuted() {
    let mut random = Sequence::new(1, 0, 0);
    let shapes: [&[usize]; 12] = [
        &[],
        &[1],
        &[7],
        &[70_001],
        &[128, 10],
        &[37, 5, 3],
        &[3, 300],
        &[130, 517],
        &[2, 3, 4, 5],
        &[4, 6, 16, 16],
        &[2, 1, 1, 2],
        &[33, 3, 7, 1],
    ];
    for shape in shapes {
        for round in 0..6 {
            // Two operands, each with its own order of axes, some of which it lacks.
            let mut case = Case::default();
            let mut operands = Vec::new();
            for _ in 0..2 {
                let mut order: Vec<usize> = (0..shape.len()).collect();
                if round % 2 == 1 {
                    random.shuffle(&mut order);
                }
                let mut strides = vec![0; shape.len()];
                let mut len = 1;
                for axis in order.into_iter().rev() {
                    if round < 2 || below(&mut random, 3) > 0 {
                        strides[axis] = len;
                        len *= shape[axis];
                    }
                }
                let values = numbers(&mut random, len);
                operands.push((case.floats(&values), values, strides));
            }
            let instrs = vec![
                load(0, &operands[0].2),
                load(1, &operands[1].2),
                Instr::Unary(Unary::Exp, 0),
                Instr::Binary(Binary::Multiply, 2, 1),
                Instr::Binary(Binary::Less, 0, 1),
                Instr::Select(4, 3, 0),
            ];
            let inputs = [operands[0].0, operands[1].0];
            let found = run_body(&mut case, shape, &inputs, instrs, DType::F32);
            let found: Vec<f32> = found.into_iter().map(f32::from_bits).collect();
            let expected: Vec<f64> = (positions(shape).iter())
                .map(|position| {
                    let [a, b] = [0, 1].map(|idx| operands[idx].1[index(&operands[idx].2, position)]);
                    if a < b { f64::from(a).exp() * f64::from(b) } else { f64::from(a) }
                })
                .collect();
            check_close(&found, &expected, 1e-6);
        }
    }
}

#[test]
fn every_function_of_two_runs_on_floats_and_words() {
    let mut random = Sequence::new(2, 0, 0);
    let a: Vec<f32> = (0..777).map(|_| below(&mut random, 9) as f32 - 4.0).collect();
    let b: Vec<f32> = (0..777).map(|_| below(&mut random, 9) as f32 - 4.0).collect();
    for function in Binary::ALL {
        let mut case = Case::default();
        let inputs = [case.floats(&a), case.floats(&b)];
        for (strides, scalar) in [([1, 1], [false, false]), ([0, 1], [true, false]), ([1, 0], [false, true])] {
            let instrs = vec![load(0, &strides[..1]), load(1, &strides[1..]), Instr::Binary(function, 0, 1)];
            let found = run_body(&mut case, &[777], &inputs, instrs, DType::F32);
            for (at, found) in found.iter().enumerate() {
                let a = if scalar[0] { a[0] } else { a[at] };
                let b = if scalar[1] { b[0] } else { b[at] };
                let exact = function.value(f64::from(a), f64::from(b)) as f32;
                let found = f32::from_bits(*found);
                assert!(found == exact || found.is_nan() && exact.is_nan(), "{} of {a} and {b}", function.name());
            }
        }
        if function == Binary::Divide {
            continue;
        }
        let words = |values: &[f32]| values.iter().map(|value| (*value as i32) as u32).collect::<Vec<u32>>();
        let (a, b) = (words(&a), words(&b));
        let inputs = [case.words(&a), case.words(&b)];
        let dtype = if function.is_comparison() { DType::F32 } else { DType::U32 };
        let found = run_body(
            &mut case,
            &[777],
            &inputs,
            vec![load(0, &[1]), load(1, &[1]), Instr::Binary(function, 0, 1)],
            dtype,
        );
        for (found, (a, b)) in found.into_iter().zip(a.into_iter().zip(b)) {
            let exact = match function {
                Binary::Add => a.wrapping_add(b),
                Binary::Subtract => a.wrapping_sub(b),
                Binary::Multiply => a.wrapping_mul(b),
                Binary::Divide => unreachable!("skipped"),
                Binary::Max => a.max(b),
                Binary::Min => a.min(b),
                Binary::Less => f32::from(u8::from(a < b)).to_bits(),
                Binary::LessEqual => f32::from(u8::from(a <= b)).to_bits(),
                Binary::Equal => f32::from(u8::from(a == b)).to_bits(),
            };
            assert_eq!(found, exact, "{} of {a} and {b}", function.name());
        }
    }
}

#[test]
fn conversions_truncate_and_saturate() {
    let mut case = Case::default();
    let x = [1.9, -3.0, f32::NAN, 4e9, 7.0, 0.0];
    let input = case.floats(&x);
    let found = run_body(&mut case, &[6], &[input], vec![load(0, &[1]), Instr::ToWord(0)], DType::U32);
    assert_eq!(found, [1, 0, 0, 4_000_000_000, 7, 0]);
    let found =
        run_body(&mut case, &[6], &[input], vec![load(0, &[1]), Instr::ToWord(0), Instr::ToFloat(1)], DType::F32);
    assert_eq!(found, [1.0, 0.0, 0.0, 4e9, 7.0, 0.0].map(f32::to_bits));
}

#[test]
fn random_numbers_are_those_of_the_definition() {
    for shape in [vec![5], vec![3, 40], vec![20, 700], vec![90_000]] {
        let mut case = Case::default();
        let scalars = case.words(&[17, 99, 5]);
        let mut instrs: Vec<Instr> = (0..3)
            .map(|offset| Instr::Load(Load { input: 0, access: Access { offset, ..access(&vec![0; shape.len()]) } }))
            .collect();
        // The index: positions times strides, from 11 on.
        instrs.push(Instr::Word(11));
        for (axis, stride) in dense(&shape).into_iter().enumerate() {
            let last = (instrs.len() - 1) as Reg;
            instrs.push(Instr::Position { axis, offset: 0 });
            instrs.push(Instr::Word(stride as u32));
            instrs.push(Instr::Binary(Binary::Multiply, last + 1, last + 2));
            instrs.push(Instr::Binary(Binary::Add, last, last + 3));
        }
        let index = (instrs.len() - 1) as Reg;
        instrs.push(Instr::Random { stream: 3, operands: [0, 1, 2, index] });
        let found = run_body(&mut case, &shape, &[scalars], instrs.clone(), DType::F32);
        for (at, found) in found.iter().enumerate() {
            assert_eq!(f32::from_bits(*found), random::uniform([17, 99], 3, 5, 11 + at as u32));
        }
        // The step differs from element to element.
        instrs.pop();
        instrs.push(Instr::Random { stream: 3, operands: [0, 1, index, 2] });
        let found = run_body(&mut case, &shape, &[scalars], instrs, DType::F32);
        for (at, found) in found.iter().enumerate() {
            assert_eq!(f32::from_bits(*found), random::uniform([17, 99], 3, 11 + at as u32, 5));
        }
    }
}

#[test]
fn rows_of_bytes_are_gathered() {
    let mut random = Sequence::new(4, 0, 0);
    for (rows, width, batch) in [(50, 784, 32), (20, 30, 17), (9, 1, 100), (5, 256, 3)] {
        let bytes: Vec<u8> = (0..rows * width).map(|_| below(&mut random, 256) as u8).collect();
        let chosen: Vec<u32> = (0..batch).map(|_| below(&mut random, rows) as u32).collect();
        let mut case = Case::default();
        let inputs = [case.words(&chosen), case.bytes(&[rows, width], bytes.clone())];
        let gather = Access { offset: 0, strides: vec![0, 1], indirect: vec![(0, width)] };
        let instrs = vec![load(0, &[1, 0]), Instr::Load(Load { input: 1, access: gather })];
        let found = run_body(&mut case, &[batch, width], &inputs, instrs, DType::F32);
        for (at, found) in found.iter().enumerate() {
            let expected = f32::from(bytes[chosen[at / width] as usize * width + at % width]);
            assert_eq!(f32::from_bits(*found), expected);
        }
    }
}

#[test]
fn pixels_are_gathered_and_never_from_outside() {
    let mut random = Sequence::new(5, 0, 0);
    let (height, width, n) = (13, 17, 900);
    let image = numbers(&mut random, height * width);
    let ys: Vec<u32> = (0..n).map(|_| below(&mut random, height) as u32).collect();
    let mut xs: Vec<u32> = (0..n).map(|_| below(&mut random, width) as u32).collect();
    xs[5] = u32::MAX;
    let mut case = Case::default();
    let inputs = [case.words(&ys), case.words(&xs), case.floats(&image)];
    let gather = Access { offset: 0, strides: vec![0], indirect: vec![(0, width), (1, 1)] };
    let instrs = vec![load(0, &[1]), load(1, &[1]), Instr::Load(Load { input: 2, access: gather })];
    let found = run_body(&mut case, &[n], &inputs, instrs, DType::F32);
    for (at, found) in found.iter().enumerate() {
        let expected = (ys[at] as usize * width + xs[at] as usize).min(height * width - 1);
        assert_eq!(f32::from_bits(*found), image[expected]);
    }
}

/// As the loss of a classifier does: by the class, by the label, by both, and by where the element is.
#[test]
fn short_rows_are_read_by_positions_and_numbers() {
    let mut random = Sequence::new(7, 0, 0);
    // Tiles end in the middle of rows; beyond 16 there are no tables.
    for (rows, classes) in [(900, 1), (900, 2), (1_000, 3), (700, 10), (300, 16), (200, 17)] {
        let labels: Vec<u32> = (0..rows).map(|_| below(&mut random, classes) as u32).collect();
        let (weights, costs) = (numbers(&mut random, classes), numbers(&mut random, classes * classes));
        let bytes: Vec<u8> = (0..rows * classes).map(|_| below(&mut random, 256) as u8).collect();
        let mut case = Case::default();
        let inputs = [
            case.words(&labels),
            case.floats(&weights),
            case.floats(&costs),
            case.bytes(&[classes, rows], bytes.clone()),
        ];
        let by = |input, indirect: &[(Reg, usize)]| {
            Instr::Load(Load { input, access: Access { offset: 0, strides: vec![0, 0], indirect: indirect.to_vec() } })
        };
        let add = |a, b| Instr::Binary(Binary::Add, a, b);
        let instrs = vec![
            load(0, &[1, 0]),
            Instr::Position { axis: 1, offset: 0 },
            Instr::Position { axis: 0, offset: 3 },
            Instr::ToFloat(2),
            by(1, &[(0, 1)]),
            by(1, &[(1, 1)]),
            by(2, &[(0, classes), (1, 1)]),
            load(3, &[1, rows]),
            Instr::Binary(Binary::Equal, 0, 1),
            add(3, 4),
            add(9, 5),
            add(10, 6),
            add(11, 7),
            add(12, 8),
        ];
        let out = case.result(rows * classes, DType::F32);
        let stores = vec![Store { reg: 13, output: out, access: access(&[classes, 1]) }];
        let shape = vec![rows, classes];
        case.kernel(KernelKind::Pointwise { shape, inputs: inputs.to_vec(), body: Body { instrs }, stores });
        let expected = (0..rows * classes).map(|at| {
            let (row, class) = (at / classes, at % classes);
            let label = labels[row] as usize;
            let found = [weights[label], weights[class], costs[label * classes + class]].map(f64::from);
            let equal = if label == class { 1.0 } else { 0.0 };
            (row + 3) as f64 + found.iter().sum::<f64>() + f64::from(bytes[class * rows + row]) + equal
        });
        case.check_floats(out, &expected.collect::<Vec<f64>>(), 1e-6);
    }
}

#[test]
fn states_are_updated_in_place() {
    // Momentum: m ← 0.9 m + g, w ← w - r m, old w and g kept, m exchanged with another.
    let mut random = Sequence::new(6, 0, 0);
    for n in [1, 5, 1000, 40_000] {
        let (w, m, g) = (numbers(&mut random, n), numbers(&mut random, n), numbers(&mut random, n));
        let mut case = Case::default();
        let inputs = [case.floats(&w), case.floats(&m), case.floats(&g), case.floats(&[0.1])];
        let old = case.result(n, DType::F32);
        let instrs = vec![
            load(0, &[1]),
            load(1, &[1]),
            load(2, &[1]),
            load(3, &[0]),
            Instr::Float(0.9),
            Instr::Binary(Binary::Multiply, 1, 4),
            Instr::Binary(Binary::Add, 5, 2),
            Instr::Binary(Binary::Multiply, 6, 3),
            Instr::Binary(Binary::Subtract, 0, 7),
            Instr::Unary(Unary::Relu, 2),
        ];
        let store = |reg, output| Store { reg, output, access: access(&[1]) };
        let stores = vec![store(8, inputs[0]), store(6, inputs[1]), store(0, old), store(9, inputs[2])];
        case.kernel(KernelKind::Pointwise { shape: vec![n], inputs: inputs.to_vec(), body: Body { instrs }, stores });
        let m: Vec<f32> = m.iter().zip(&g).map(|(m, g)| m * 0.9 + g).collect();
        assert_eq!(case.run_floats(inputs[1]), m);
        assert_eq!(case.run_floats(old), w);
        assert_eq!(case.run_floats(inputs[0]), w.iter().zip(&m).map(|(w, m)| w - m * 0.1).collect::<Vec<f32>>());
        assert_eq!(case.run_floats(inputs[2]), g.iter().map(|g| g.max(0.0)).collect::<Vec<f32>>());
    }
}

#[test]
fn states_are_exchanged() {
    let mut random = Sequence::new(7, 0, 0);
    let (a, b) = (numbers(&mut random, 3000), numbers(&mut random, 3000));
    let mut case = Case::default();
    let inputs = [case.floats(&a), case.floats(&b)];
    let body = Body { instrs: vec![load(0, &[1]), load(1, &[1])] };
    let store = |reg, output| Store { reg, output, access: access(&[1]) };
    let stores = vec![store(1, inputs[0]), store(0, inputs[1])];
    case.kernel(KernelKind::Pointwise { shape: vec![3000], inputs: inputs.to_vec(), body, stores });
    assert_eq!(case.run_floats(inputs[0]), b);
    assert_eq!(case.run_floats(inputs[1]), a);
}

#[test]
fn stores_have_strides_and_numbers_are_stored() {
    let mut random = Sequence::new(8, 0, 0);
    for shape in [[3, 5], [40, 300], [300, 40]] {
        let x = numbers(&mut random, shape[0] * shape[1]);
        let mut case = Case::default();
        let input = case.floats(&x);
        let out = case.floats(&vec![-1.0; 2 * x.len() + 3]);
        let store = |reg, offset, strides: [usize; 2]| Store {
            reg,
            output: out,
            access: Access { offset, ..access(&strides) },
        };
        // The transpose, and after it twos in every place.
        let stores = vec![store(0, 3, [1, shape[0]]), store(1, 3 + x.len(), [shape[1], 1])];
        let body = Body { instrs: vec![load(0, &[shape[1], 1]), Instr::Float(2.0)] };
        case.kernel(KernelKind::Pointwise { shape: shape.to_vec(), inputs: vec![input], body, stores });
        let mut expected = vec![-1.0; 3];
        expected.extend((0..x.len()).map(|at| x[at % shape[0] * shape[1] + at / shape[0]]));
        expected.resize(2 * x.len() + 3, 2.0);
        assert_eq!(case.run_floats(out), expected);
    }
}

#[test]
fn buffers_are_copied() {
    let mut case = Case::default();
    let values: Vec<u32> = (0..5000).map(|at| at * 77).collect();
    let (from, to) = (case.words(&values), case.result(5000, DType::U32));
    case.kernel(KernelKind::Copy { from, to });
    assert_eq!(case.run(to), values);
}
