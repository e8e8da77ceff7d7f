//! Bodies: every function, every instruction, every way to walk over a buffer.

use super::*;
use crate::ir::graph::count;
use crate::ir::{Binary, Unary};
use crate::plan::{Access, Body, Instr, Load, Reducer, Reduction, Store};

/// Row-major strides.
fn dense(shape: &[usize]) -> Access {
    let strides = (0..shape.len()).map(|axis| count(&shape[axis + 1..])).collect();
    Access { offset: 0, strides, indirect: Vec::new() }
}

fn load(input: usize, access: Access) -> Instr {
    Instr::Load(Load { input, access })
}

/// A kernel over one axis that stores the last register.
fn along(bench: &mut Bench, len: usize, inputs: &[BufferRef], instrs: Vec<Instr>) -> BufferRef {
    let body = Body { instrs };
    let types = body.types(inputs);
    let output = bench.out(len, types[types.len() - 1]);
    let stores = vec![Store { reg: (types.len() - 1) as u16, output, access: dense(&[len]) }];
    bench.kernel(KernelKind::Pointwise { shape: vec![len], inputs: inputs.to_vec(), body, stores });
    output
}

/// Numbers of all sizes, and the special ones. No number is so small that an adapter may take it for 0.
fn many_numbers() -> Vec<f32> {
    let mut random = Sequence::new(5, 0, 0);
    let mut numbers =
        vec![0.0, -0.0, 1.0, -1.0, 0.5, 2.0, f32::INFINITY, f32::NEG_INFINITY, f32::NAN, f32::MAX, f32::MIN];
    numbers.extend([
        1.175_494_4e-38,
        88.7,
        88.8,
        -87.3,
        -104.5,
        0.624_999,
        0.625_001,
        4095.9,
        4096.1,
        1e9,
        3e38,
        1e-30,
    ]);
    for exponent in -30..30 {
        let sign = if exponent % 2 == 0 { 1.0 } else { -1.0 };
        numbers.push(sign * (2.0_f64.powi(exponent) * (1.0 + random.next_uniform())) as f32);
    }
    numbers.extend((0..2_000).map(|_| (random.next_uniform() * 40.0 - 20.0) as f32));
    numbers.extend((0..1_000).map(|_| (random.next_uniform() * 2.0 - 1.0) as f32));
    numbers.extend((0..1_000).map(|_| ((random.next_uniform() * 2.0 - 1.0) * 1e6) as f32));
    numbers
}

#[test]
fn every_unary_function_is_within_a_few_units_of_the_last_place() {
    let numbers = many_numbers();
    let mut bench = Bench::new(0.0);
    let input = bench.floats(&numbers);
    let outputs: Vec<_> = Unary::ALL
        .iter()
        .map(|function| {
            let instrs = vec![load(0, dense(&[numbers.len()])), Instr::Unary(*function, 0)];
            (function, along(&mut bench, numbers.len(), &[input], instrs))
        })
        .collect();
    for adapter in test_adapters() {
        let states = bench.run(Gpu::open(adapter).expect("the adapter has a device"));
        for (function, output) in &outputs {
            let mut worst = (0.0, 0.0_f32);
            for (number, word) in numbers.iter().zip(&states[state(output)]) {
                let found = f32::from_bits(*word);
                let exact = function.value(f64::from(*number));
                let context =
                    || format!("{}: {}({number:e}) = {found:e}, not {exact:e}", adapter.name, function.name());
                if exact.is_nan() {
                    assert!(found.is_nan(), "{}", context());
                    continue;
                }
                if !(exact as f32).is_finite() {
                    assert_eq!(found, exact as f32, "{}", context());
                    continue;
                }
                // Below the normal numbers, 0 is as good.
                if exact.abs() < 1.2e-38 {
                    assert!(found.abs() < 1.2e-38, "{}", context());
                    continue;
                }
                // Sine, cosine and logarithm are held to their largest value near their zeros.
                let scale = match function {
                    Unary::Sin | Unary::Cos => 1.0,
                    Unary::Log => exact.abs().max(0.1),
                    _ => exact.abs(),
                };
                let error = (f64::from(found) - exact).abs() / scale;
                assert!(error < 4e-7, "{} (error {error:.1e})", context());
                if error > worst.0 {
                    worst = (error, *number);
                }
            }
            eprintln!("{:40} {:12} {:.1e} at {:e}", adapter.name, function.name(), worst.0, worst.1);
        }
    }
}

#[test]
fn every_binary_function() {
    let mut bench = Bench::new(3e-7);
    let values = [0.0, -0.0, 1.0, -1.0, 2.5, -3.25, 1e10, 7.0, 0.1, f32::INFINITY];
    let (left, right): (Vec<f32>, Vec<f32>) = values.iter().flat_map(|a| values.iter().map(move |b| (*a, *b))).unzip();
    let words = [0_u32, 1, 2, 7, 65_536, 0x8000_0000, 0xffff_fffe, u32::MAX];
    let (a, b): (Vec<u32>, Vec<u32>) = words.iter().flat_map(|a| words.iter().map(move |b| (*a, *b))).unzip();
    let floats = [bench.floats(&left), bench.floats(&right)];
    let whole = [bench.buffer(DType::U32, a), bench.buffer(DType::U32, b)];
    for function in Binary::ALL {
        for inputs in [floats, whole] {
            if function == Binary::Divide && inputs == whole {
                continue;
            }
            let len = inputs[0].len;
            let instrs = vec![load(0, dense(&[len])), load(1, dense(&[len])), Instr::Binary(function, 0, 1)];
            along(&mut bench, len, &inputs, instrs);
        }
    }
    bench.check();
}

#[test]
fn conversions_choices_and_constants_are_exact() {
    let mut bench = Bench::new(0.0);
    let values = [
        0.0,
        -0.0,
        0.9,
        1.0,
        1.9,
        -3.0,
        f32::NAN,
        f32::INFINITY,
        f32::NEG_INFINITY,
        4e9,
        4.294_967_3e9,
        5e9,
        16_777_217.0,
    ];
    let floats = bench.floats(&values);
    let words = bench.buffer(DType::U32, vec![0, 1, 5, 16_777_216, 4_000_000_000]);
    let len = values.len();
    let first = || load(0, dense(&[len]));
    along(&mut bench, len, &[floats], vec![first(), Instr::ToWord(0)]);
    along(&mut bench, 5, &[words], vec![load(0, dense(&[5])), Instr::ToFloat(0)]);
    let choice = vec![first(), Instr::Float(-2.5), Instr::Float(f32::INFINITY), Instr::Select(0, 1, 2)];
    along(&mut bench, len, &[floats], choice);
    let choice = vec![first(), Instr::Word(7), Instr::Position { axis: 0, offset: 40 }, Instr::Select(0, 1, 2)];
    along(&mut bench, len, &[floats], choice);
    for constant in [0.0, -0.0, 1e-7, 0.1, -3.0, 1.0e30, f32::MAX, f32::MIN_POSITIVE, f32::NEG_INFINITY, f32::NAN] {
        along(&mut bench, 3, &[], vec![Instr::Float(constant)]);
    }
    bench.check();
}

#[test]
fn random_numbers_are_those_of_the_host() {
    let mut bench = Bench::new(0.0);
    let len = 1_000;
    let random = Instr::Random { stream: 3, operands: [0, 1, 2, 3] };
    let word = |value| Instr::Word(value);
    let position = Instr::Position { axis: 0, offset: 0xffff_ff00 };
    along(&mut bench, len, &[], vec![word(0xdead_beef), word(u32::MAX), word(12_345), position, random]);
    bench.check();
}

#[test]
fn walks_over_buffers() {
    let mut bench = Bench::new(1e-6);
    for shape in [vec![3, 5, 7], vec![1, 4, 1, 9], vec![64], vec![65, 3], vec![2, 1, 130], vec![], vec![70_001]] {
        let len = count(&shape);
        let x = bench.normal(len + 11);
        let y = bench.normal(shape.last().copied().unwrap_or(1));
        // Transposed, shifted, and broadcast along all axes but the last.
        let reversed: Vec<usize> = (0..shape.len()).map(|axis| count(&shape[..axis])).collect();
        let transposed = Access { offset: 0, strides: reversed, indirect: Vec::new() };
        let shifted = Access { offset: 11, ..dense(&shape) };
        let mut last = Access { strides: vec![0; shape.len()], ..Access::default() };
        if let Some(stride) = last.strides.last_mut() {
            *stride = 1;
        }
        let instrs = vec![
            load(0, transposed.clone()),
            load(0, shifted),
            load(1, last),
            Instr::Binary(Binary::Multiply, 0, 1),
            Instr::Binary(Binary::Add, 3, 2),
        ];
        let (first, second) = (bench.out(len, DType::F32), bench.out(len, DType::F32));
        let stores = vec![
            Store { reg: 4, output: first, access: dense(&shape) },
            Store { reg: 3, output: second, access: transposed },
        ];
        bench.kernel(KernelKind::Pointwise { shape, inputs: vec![x, y], body: Body { instrs }, stores });
    }
    bench.check();
}

#[test]
fn positions_and_gathers() {
    let mut bench = Bench::new(0.0);
    let table = bench.normal(10 * 6);
    let rows = bench.buffer(DType::U32, vec![9, 0, 3, 3, 7]);
    let shape = vec![5, 2, 3];
    let instrs = vec![
        load(1, Access { offset: 0, strides: vec![1, 0, 0], indirect: Vec::new() }),
        Instr::Position { axis: 2, offset: 0 },
        load(0, Access { offset: 0, strides: vec![0, 3, 0], indirect: vec![(0, 6), (1, 1)] }),
        Instr::Position { axis: 1, offset: 5 },
        Instr::ToFloat(3),
    ];
    for reg in [2, 4, 1] {
        let dtype = if reg == 1 { DType::U32 } else { DType::F32 };
        let output = bench.out(30, dtype);
        bench.kernel(KernelKind::Pointwise {
            shape: shape.clone(),
            inputs: vec![table, rows],
            body: Body { instrs: instrs.clone() },
            stores: vec![Store { reg, output, access: dense(&shape) }],
        });
    }
    bench.check();
}

#[test]
fn an_output_may_be_an_input() {
    let mut bench = Bench::new(1e-6);
    let x = bench.normal(1_003);
    let access = dense(&[1_003]);
    let instrs = vec![load(0, access.clone()), Instr::Float(0.9), Instr::Binary(Binary::Multiply, 0, 1)];
    for _ in 0..3 {
        bench.kernel(KernelKind::Pointwise {
            shape: vec![1_003],
            inputs: vec![x],
            body: Body { instrs: instrs.clone() },
            stores: vec![Store { reg: 2, output: x, access: access.clone() }],
        });
    }
    let expected: Vec<f64> =
        bench.decode(0, &bench.words[0]).iter().map(|value| value * 0.9_f32.powi(3) as f64).collect();
    for adapter in test_adapters() {
        bench.compare(
            &bench.run(Gpu::open(adapter).expect("the adapter has a device")),
            &[(0, "three times".to_owned(), expected.clone())],
            &adapter.name,
        );
    }
}

#[test]
fn a_copy_keeps_every_bit() {
    let mut bench = Bench::new(0.0);
    let words: Vec<u32> = vec![0x7fc0_1234, 0xff80_0001, 1, 0x8000_0001, 0x007f_ffff, 0, u32::MAX, 42];
    let from = bench.buffer(DType::U32, words.clone());
    let to = bench.out(words.len(), DType::U32);
    bench.kernel(KernelKind::Copy {
        from: BufferRef { dtype: DType::F32, ..from },
        to: BufferRef { dtype: DType::F32, ..to },
    });
    for adapter in test_adapters() {
        assert_eq!(bench.run(Gpu::open(adapter).expect("the adapter has a device"))[1], words, "{}", adapter.name);
    }
}

#[test]
fn random_spaces_and_bodies() {
    let mut bench = Bench::new(2e-6);
    for case in 0..60 {
        let rank = bench.below(5);
        let shape: Vec<usize> = (0..rank).map(|_| [1, 2, 3, 5, 8, 17][bench.below(6)]).collect();
        let mut inputs = Vec::new();
        let mut instrs = Vec::new();
        for input in 0..1 + bench.below(4) {
            // Dense, permuted, broadcast along some axes, or with gaps.
            let mut access = dense(&shape);
            for stride in &mut access.strides {
                *stride = if bench.below(3) == 0 { bench.below(4) } else { *stride };
            }
            if bench.below(3) == 0 {
                access.strides.reverse();
            }
            access.offset = bench.below(3);
            let last: usize = shape.iter().zip(&access.strides).map(|(size, stride)| (size - 1) * stride).sum();
            inputs.push(bench.normal(access.offset + last + 1));
            instrs.push(load(input, access));
        }
        if rank > 0 && bench.below(2) == 0 {
            instrs.push(Instr::Position { axis: bench.below(rank), offset: bench.below(3) as u32 });
            instrs.push(Instr::ToFloat(instrs.len() as u16 - 1));
        }
        let is_float = |instr: &Instr| !matches!(instr, Instr::Position { .. });
        for _ in 0..bench.below(8) {
            let floats: Vec<u16> = (0..instrs.len() as u16).filter(|r| is_float(&instrs[usize::from(*r)])).collect();
            let mut any = || floats[bench.below(floats.len())];
            let (a, b, c) = (any(), any(), any());
            let smooth = [Binary::Add, Binary::Subtract, Binary::Max, Binary::Min][bench.below(4)];
            instrs.push(match bench.below(4) {
                0 => Instr::Unary([Unary::Tanh, Unary::Sigmoid, Unary::Relu, Unary::Abs][bench.below(4)], a),
                1 => Instr::Select(a, b, c),
                _ => Instr::Binary(smooth, a, b),
            });
        }
        let reg = (instrs.len() - 1) as u16;
        let body = Body { instrs };
        if case % 2 == 0 {
            let output = bench.out(count(&shape), DType::F32);
            let stores = vec![Store { reg, output, access: dense(&shape) }];
            bench.kernel(KernelKind::Pointwise { shape, inputs, body, stores });
        } else {
            let kept = bench.below(rank + 1);
            let len = count(&shape[..kept]);
            let reductions = [Reducer::Sum, Reducer::Max]
                .map(|kind| Reduction { reg, kind, output: bench.out(len, DType::F32) })
                .to_vec();
            bench.kernel(KernelKind::Reduce { shape, kept, inputs, body, reductions });
        }
    }
    bench.check();
}
