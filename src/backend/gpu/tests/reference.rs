//! What each kernel family computes, as naive loops in `f64`.

use crate::ir::graph::count;
use crate::ir::random::uniform;
use crate::ir::{Binary, ConvGeometry, DType, PoolGeometry, Unary};
use crate::plan::{Access, Body, BufferRef, Epilogue, Instr, KernelKind, Output, Reducer, Store};

/// An element of a buffer; words are whole numbers.
type Read<'a> = &'a dyn Fn(&BufferRef, usize) -> f64;

/// All outputs of a kernel.
pub(super) fn run(kind: &KernelKind, read: Read) -> Vec<(BufferRef, Vec<f64>)> {
    match kind {
        KernelKind::Pointwise { shape, inputs, body, stores } => pointwise(shape, inputs, body, stores, &[], read),
        KernelKind::Reduce { shape, kept, inputs, body, reductions } => {
            let mut outputs: Vec<_> =
                reductions.iter().map(|reduction| (reduction.output, vec![0.0; reduction.output.len])).collect();
            for (k, outer) in positions(&shape[..*kept]).enumerate() {
                let rows: Vec<Vec<f64>> = positions(&shape[*kept..])
                    .map(|inner| execute(body, inputs, &[outer.clone(), inner].concat(), None, read))
                    .collect();
                for (reduction, (_, values)) in reductions.iter().zip(&mut outputs) {
                    let column = rows.iter().map(|row| row[usize::from(reduction.reg)]);
                    values[k] = match reduction.kind {
                        Reducer::Sum => column.sum(),
                        Reducer::Max => largest(column).1,
                        Reducer::ArgMax => largest(column).0 as f64,
                        Reducer::SquaredDeviation => unreachable!("not planned for adapters"),
                    };
                }
            }
            outputs
        }
        KernelKind::MatMul { m, n, k, transpose_a, transpose_b, a, b, out } => {
            let left = |row: usize, term: usize| read(a, if *transpose_a { term * m + row } else { row * k + term });
            let right =
                |term: usize, column: usize| read(b, if *transpose_b { column * k + term } else { term * n + column });
            let value = |index: usize| (0..*k).map(|term| left(index / n, term) * right(term, index % n)).sum();
            finished(out, (0..m * n).map(value).collect(), read)
        }
        KernelKind::Conv2d { geometry, x, weight, out } => {
            let mut values = vec![0.0; count(&geometry.output_shape())];
            taps(geometry, |image, kernel, result| values[result] += read(x, image) * read(weight, kernel));
            finished(out, values, read)
        }
        KernelKind::Conv2dInputGrad { geometry, weight, grad, out } => {
            let mut values = vec![0.0; count(&geometry.input_shape())];
            taps(geometry, |image, kernel, result| values[image] += read(weight, kernel) * read(grad, result));
            finished(out, values, read)
        }
        KernelKind::Conv2dWeightGrad { geometry, x, grad, out } => {
            let mut values = vec![0.0; count(&geometry.weight_shape())];
            taps(geometry, |image, kernel, result| values[kernel] += read(x, image) * read(grad, result));
            finished(out, values, read)
        }
        KernelKind::MaxPool { geometry, x, out } => {
            let value = |window| largest(pixels(geometry, window).map(|pixel| read(x, pixel))).1;
            vec![(*out, (0..out.len).map(value).collect())]
        }
        KernelKind::MaxPoolGrad { geometry, x, grad, out } => {
            let mut values = vec![0.0; out.len];
            for window in 0..grad.len {
                let members: Vec<usize> = pixels(geometry, window).collect();
                let (first, _) = largest(members.iter().map(|pixel| read(x, *pixel)));
                values[members[first]] += read(grad, window);
            }
            vec![(*out, values)]
        }
        KernelKind::AvgPool { geometry, x, out } => {
            let size = (geometry.kernel[0] * geometry.kernel[1]) as f64;
            let value = |window| pixels(geometry, window).map(|pixel| read(x, pixel)).sum::<f64>() / size;
            vec![(*out, (0..out.len).map(value).collect())]
        }
        KernelKind::AvgPoolGrad { geometry, grad, out } => {
            let size = (geometry.kernel[0] * geometry.kernel[1]) as f64;
            let mut values = vec![0.0; out.len];
            for window in 0..grad.len {
                for pixel in pixels(geometry, window) {
                    values[pixel] += read(grad, window) / size;
                }
            }
            vec![(*out, values)]
        }
        KernelKind::Copy { from, to } => vec![(*to, (0..to.len).map(|index| read(from, index)).collect())],
    }
}

/// Stores of a body at every position; `products` holds the elements of [`Instr::Product`].
fn pointwise(
    shape: &[usize],
    inputs: &[BufferRef],
    body: &Body,
    stores: &[Store],
    products: &[f64],
    read: Read,
) -> Vec<(BufferRef, Vec<f64>)> {
    let mut outputs: Vec<_> = stores
        .iter()
        .map(|store| (store.output, (0..store.output.len).map(|index| read(&store.output, index)).collect::<Vec<_>>()))
        .collect();
    for (number, position) in positions(shape).enumerate() {
        let registers = execute(body, inputs, &position, products.get(number).copied(), read);
        for (store, (_, values)) in stores.iter().zip(&mut outputs) {
            values[element(&store.access, &position, &registers)] = registers[usize::from(store.reg)];
        }
    }
    outputs
}

/// What becomes of a product.
fn finished(out: &Output, values: Vec<f64>, read: Read) -> Vec<(BufferRef, Vec<f64>)> {
    match out {
        Output::Buffer(buffer) => vec![(*buffer, values)],
        Output::Epilogue(epilogue) => {
            let Epilogue { shape, inputs, body, stores } = &**epilogue;
            pointwise(shape, inputs, body, stores, &values, read)
        }
    }
}

fn positions(shape: &[usize]) -> impl Iterator<Item = Vec<usize>> + use<> {
    let shape = shape.to_vec();
    (0..count(&shape)).map(move |mut index| {
        let mut position = vec![0; shape.len()];
        for axis in (0..shape.len()).rev() {
            position[axis] = index % shape[axis];
            index /= shape[axis];
        }
        position
    })
}

fn element(access: &Access, position: &[usize], registers: &[f64]) -> usize {
    let axes: usize = position.iter().zip(&access.strides).map(|(position, stride)| position * stride).sum();
    let indirect: usize =
        access.indirect.iter().map(|(register, stride)| registers[usize::from(*register)] as usize * stride).sum();
    access.offset + axes + indirect
}

fn execute(body: &Body, inputs: &[BufferRef], position: &[usize], product: Option<f64>, read: Read) -> Vec<f64> {
    let types = body.types(inputs);
    let mut registers: Vec<f64> = Vec::new();
    for instr in &body.instrs {
        let get = |register: &u16| registers[usize::from(*register)];
        let value = match instr {
            Instr::Load(load) => read(&inputs[load.input], element(&load.access, position, &registers)),
            Instr::Float(value) => f64::from(*value),
            Instr::Word(value) => f64::from(*value),
            Instr::Position { axis, offset } => (position[*axis] as u32).wrapping_add(*offset).into(),
            Instr::Unary(Unary::Sqrt, x) => get(x).sqrt(),
            Instr::Unary(function, x) => function.value(get(x)),
            Instr::Binary(function, a, b) if types[usize::from(*a)] == DType::U32 => {
                let (x, y) = (get(a) as u32, get(b) as u32);
                match function {
                    Binary::Add => x.wrapping_add(y).into(),
                    Binary::Subtract => x.wrapping_sub(y).into(),
                    Binary::Multiply => x.wrapping_mul(y).into(),
                    _ => function.value(get(a), get(b)),
                }
            }
            Instr::Binary(function, a, b) => function.value(get(a), get(b)),
            Instr::Select(condition, a, b) => {
                if get(condition) != 0.0 {
                    get(a)
                } else {
                    get(b)
                }
            }
            Instr::ToWord(x) => f64::from(get(x) as u32),
            Instr::ToFloat(x) => f64::from(get(x) as f32),
            Instr::RoundToHalf(x) => f64::from(half::f16::from_f64(get(x))),
            Instr::Product => product.expect("only an epilogue reads the product"),
            Instr::Fold { .. } => unreachable!("only the executor for processors joins kernels"),
            Instr::Random { stream, operands: [low, high, step, index] } => {
                let seed = [get(low) as u32, get(high) as u32];
                uniform(seed, *stream, get(step) as u32, get(index) as u32).into()
            }
        };
        registers.push(value);
    }
    registers
}

/// Position and value of the first largest; NaN is larger than all.
fn largest(values: impl Iterator<Item = f64>) -> (usize, f64) {
    let mut best = None;
    for (index, value) in values.enumerate() {
        let better = match best {
            None => true,
            Some((_, most)) => value > most || (value.is_nan() && !f64::is_nan(most)),
        };
        if better {
            best = Some((index, value));
        }
    }
    best.expect("there is a value")
}

/// Every product of a convolution: indices of the pixel, of the tap and of the result.
fn taps(geometry: &ConvGeometry, mut visit: impl FnMut(usize, usize, usize)) {
    let ConvGeometry { batch, channels, input, filters, kernel, output, stride, padding, dilation, groups } = *geometry;
    let (part_channels, part_filters) = (channels / groups, filters / groups);
    for position in positions(&[batch, filters, output[0], output[1], part_channels, kernel[0], kernel[1]]) {
        let [n, o, i, j, c, u, v] = position[..] else { unreachable!("seven axes") };
        let y = (i * stride[0] + u * dilation[0]) as isize - padding[0] as isize;
        let x = (j * stride[1] + v * dilation[1]) as isize - padding[1] as isize;
        if y < 0 || x < 0 || y >= input[0] as isize || x >= input[1] as isize {
            continue;
        }
        let channel = o / part_filters * part_channels + c;
        let pixel = ((n * channels + channel) * input[0] + y as usize) * input[1] + x as usize;
        let tap = ((o * part_channels + c) * kernel[0] + u) * kernel[1] + v;
        visit(pixel, tap, ((n * filters + o) * output[0] + i) * output[1] + j);
    }
}

/// The pixels of a window, without the border.
fn pixels(geometry: &PoolGeometry, window: usize) -> impl Iterator<Item = usize> {
    let PoolGeometry { input, output, kernel, stride, padding, .. } = *geometry;
    let (plane, i, j) = (window / (output[0] * output[1]), window / output[1] % output[0], window % output[1]);
    positions(&kernel).filter_map(move |tap| {
        let y = (i * stride[0] + tap[0]).checked_sub(padding[0])?;
        let x = (j * stride[1] + tap[1]).checked_sub(padding[1])?;
        (y < input[0] && x < input[1]).then_some((plane * input[0] + y) * input[1] + x)
    })
}
