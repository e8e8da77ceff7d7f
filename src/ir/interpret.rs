//! The definition of each operation: slow, obvious, in f64. Executors are compared with it.

mod window;

#[cfg(test)]
mod tests;

use super::graph::{DataId, Graph, InputId, Node, StateId, Value, count};
use super::op::{DType, Op, ReduceKind};
use super::scalar::Binary;
use super::{Shape, random};

/// Sizes and elements, the last axis running fastest.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    /// Its sizes.
    pub shape: Shape,
    /// Its elements; whole numbers where the type is `u32` or `u8`.
    pub data: Vec<f64>,
}

impl Tensor {
    /// A tensor of these elements.
    ///
    /// # Panics
    /// When there are not as many as the shape says.
    pub fn new(shape: &[usize], data: Vec<f64>) -> Tensor {
        assert_eq!(count(shape), data.len(), "elements of {shape:?}");
        Tensor { shape: shape.to_vec(), data }
    }

    /// A tensor without axes.
    pub fn scalar(number: f64) -> Tensor {
        Tensor { shape: vec![], data: vec![number] }
    }

    /// A tensor whose elements follow from their positions.
    pub fn from_fn(shape: &[usize], mut element: impl FnMut(&[usize]) -> f64) -> Tensor {
        let mut position = vec![0; shape.len()];
        let data = (0..count(shape))
            .map(|_| {
                let number = element(&position);
                for axis in (0..shape.len()).rev() {
                    position[axis] += 1;
                    if position[axis] < shape[axis] {
                        break;
                    }
                    position[axis] = 0;
                }
                number
            })
            .collect();
        Tensor { shape: shape.to_vec(), data }
    }

    /// The element at a position.
    pub fn at(&self, position: &[usize]) -> f64 {
        self.data[offset(&self.shape, position)]
    }
}

/// Where the element at a position lies in a tensor of this shape.
fn offset(shape: &[usize], position: &[usize]) -> usize {
    shape.iter().zip(position).fold(0, |offset, (size, index)| offset * size + index)
}

/// What a graph reads, each by its id.
#[derive(Clone, Debug, Default)]
pub struct Environment {
    /// States, by [`StateId`].
    pub states: Vec<Tensor>,
    /// Data sets, by [`DataId`]; bytes as 0 to 255.
    pub data: Vec<Tensor>,
    /// What the host gives for the step, by [`InputId`].
    pub inputs: Vec<Tensor>,
}

/// The value of each node, in the order of the nodes.
pub fn interpret(graph: &Graph, environment: &Environment) -> Vec<Tensor> {
    let mut values: Vec<Tensor> = Vec::with_capacity(graph.nodes.len());
    for node in &graph.nodes {
        let operands: Vec<&Tensor> = node.operands.iter().map(|operand| &values[operand.index()]).collect();
        let mut value = evaluate(graph, node, &operands, environment);
        // Sums within a pool are rounded as well.
        if node.dtype == DType::F16 {
            value.data.iter_mut().for_each(|number| *number = cast(*number, DType::F16));
        }
        assert_eq!(value.shape, node.shape, "result of `{}`", node.op.name());
        values.push(value);
    }
    values
}

/// The states that a step sets, with their values after it.
pub fn step(graph: &Graph, environment: &Environment) -> Vec<(StateId, Tensor)> {
    let values = interpret(graph, environment);
    graph.updates.iter().map(|&(state, value)| (state, values[value.index()].clone())).collect()
}

/// The first value that holds an infinity or a NaN; constants are meant to, so they do not count.
pub fn first_non_finite(graph: &Graph, values: &[Tensor]) -> Option<Value> {
    graph.values().find(|&value| {
        let meant = matches!(graph.node(value).op, Op::Constant(_));
        !meant && values[value.index()].data.iter().any(|number| !number.is_finite())
    })
}

/// `f(a, b)` for elements of a type; whole numbers wrap.
pub(crate) fn binary_value(function: Binary, dtype: DType, a: f64, b: f64) -> f64 {
    if dtype != DType::U32 {
        return function.value(a, b);
    }
    let (left, right) = (a as u32, b as u32);
    match function {
        Binary::Add => f64::from(left.wrapping_add(right)),
        Binary::Subtract => f64::from(left.wrapping_sub(right)),
        Binary::Multiply => f64::from(left.wrapping_mul(right)),
        Binary::Divide => unreachable!("a verified graph does not divide whole numbers"),
        Binary::Max | Binary::Min | Binary::Less | Binary::LessEqual | Binary::Equal => function.value(a, b),
    }
}

/// A number as an element of a type: whole numbers are truncated towards zero, NaN and below 0 become 0.
pub(crate) fn cast(number: f64, dtype: DType) -> f64 {
    match dtype {
        DType::F32 => number,
        DType::F16 => f64::from(half::f16::from_f64(number)),
        DType::U32 | DType::U8 => f64::from(number as u32),
    }
}

/// Whether a number takes the place of the largest so far; NaN counts as larger than all numbers.
fn larger(candidate: f64, best: f64) -> bool {
    !best.is_nan() && (candidate.is_nan() || candidate > best)
}

fn evaluate(graph: &Graph, node: &Node, operands: &[&Tensor], environment: &Environment) -> Tensor {
    let shape = &node.shape;
    match &node.op {
        Op::Constant(number) => Tensor::from_fn(shape, |_| cast(*number, node.dtype)),
        Op::Iota { axis } => Tensor::from_fn(shape, |position| position[*axis] as f64),
        Op::State(StateId(id)) => environment.states[*id as usize].clone(),
        Op::Data(DataId(id)) => environment.data[*id as usize].clone(),
        Op::Input(InputId(id)) => environment.inputs[*id as usize].clone(),
        Op::Unary(function) => elementwise(operands, |x| function.value(x[0])),
        Op::Binary(function) => {
            let dtype = graph.dtype(node.operands[0]);
            elementwise(operands, |x| binary_value(*function, dtype, x[0], x[1]))
        }
        Op::Select => elementwise(operands, |x| if x[0] != 0.0 { x[1] } else { x[2] }),
        Op::Cast => elementwise(operands, |x| cast(x[0], node.dtype)),
        Op::Random { stream } => {
            let [seed_low, seed_high, step] = [0, 1, 2].map(|operand| operands[operand].data[0] as u32);
            let uniform = |x: &[f64]| random::uniform([seed_low, seed_high], *stream, step, x[0] as u32);
            elementwise(&operands[3..], |x| f64::from(uniform(x)))
        }
        Op::Reshape => Tensor::new(shape, operands[0].data.clone()),
        Op::Broadcast => broadcast(operands[0], shape),
        Op::Transpose(permutation) => transpose(operands[0], permutation, shape),
        Op::Slice { axis, start } => {
            Tensor::from_fn(shape, |position| operands[0].at(&shifted(position, *axis, position[*axis] + start)))
        }
        Op::Pad { axis, before } => Tensor::from_fn(shape, |position| match position[*axis].checked_sub(*before) {
            Some(index) if index < operands[0].shape[*axis] => operands[0].at(&shifted(position, *axis, index)),
            _ => 0.0,
        }),
        Op::Concat { axis } => concat(operands, *axis, shape),
        Op::GatherRows => gather_rows(operands[0], operands[1], shape),
        Op::SampleImage { bilinear } => {
            sample_image([operands[0], operands[1], operands[2], operands[3]], *bilinear, shape)
        }
        Op::Reduce { kind, axes } => reduce(*kind, operands[0], axes, node),
        Op::MatMul { transpose_a, transpose_b } => matmul(operands[0], operands[1], *transpose_a, *transpose_b, shape),
        Op::Conv2d(geometry) => window::conv2d(geometry, operands[0], operands[1]),
        Op::Conv2dInputGrad(geometry) => window::conv2d_input_grad(geometry, operands[0], operands[1]),
        Op::Conv2dWeightGrad(geometry) => window::conv2d_weight_grad(geometry, operands[0], operands[1]),
        Op::MaxPool(geometry) => window::max_pool(geometry, operands[0], shape),
        Op::MaxPoolGrad(geometry) => window::max_pool_grad(geometry, operands[0], operands[1], shape),
        Op::AvgPool(geometry) => window::avg_pool(geometry, operands[0], shape),
        Op::AvgPoolGrad(geometry) => window::avg_pool_grad(geometry, operands[0], shape),
        // The interpreter is alone.
        Op::Exchange(_) => operands[0].clone(),
    }
}

fn elementwise(operands: &[&Tensor], function: impl Fn(&[f64]) -> f64) -> Tensor {
    let mut elements = vec![0.0; operands.len()];
    let element = |index| {
        for (element, operand) in elements.iter_mut().zip(operands) {
            *element = operand.data[index];
        }
        function(&elements)
    };
    Tensor::new(&operands[0].shape, (0..operands[0].data.len()).map(element).collect())
}

/// The position with another index along one axis.
fn shifted(position: &[usize], axis: usize, index: usize) -> Vec<usize> {
    let mut shifted = position.to_vec();
    shifted[axis] = index;
    shifted
}

fn broadcast(x: &Tensor, shape: &[usize]) -> Tensor {
    Tensor::from_fn(shape, |position| {
        let narrow: Vec<usize> =
            position.iter().zip(&x.shape).map(|(&index, &size)| if size == 1 { 0 } else { index }).collect();
        x.at(&narrow)
    })
}

fn transpose(x: &Tensor, permutation: &[usize], shape: &[usize]) -> Tensor {
    let mut source = vec![0; permutation.len()];
    Tensor::from_fn(shape, |position| {
        for (&axis, &index) in permutation.iter().zip(position) {
            source[axis] = index;
        }
        x.at(&source)
    })
}

fn concat(parts: &[&Tensor], axis: usize, shape: &[usize]) -> Tensor {
    Tensor::from_fn(shape, |position| {
        let mut index = position[axis];
        for part in parts {
            if index < part.shape[axis] {
                return part.at(&shifted(position, axis, index));
            }
            index -= part.shape[axis];
        }
        unreachable!("the parts of a verified concat cover its axis")
    })
}

fn gather_rows(data: &Tensor, rows: &Tensor, shape: &[usize]) -> Tensor {
    let row_len = count(&data.shape[1..]);
    let mut gathered = Vec::with_capacity(count(shape));
    for &row in &rows.data {
        let row = (row as usize).min(data.shape[0] - 1);
        gathered.extend_from_slice(&data.data[row * row_len..(row + 1) * row_len]);
    }
    Tensor::new(shape, gathered)
}

fn sample_image([images, rows, y, x]: [&Tensor; 4], bilinear: bool, shape: &[usize]) -> Tensor {
    let [n, height, width] = [images.shape[0], images.shape[2], images.shape[3]];
    Tensor::from_fn(shape, |position| {
        let [b, c, i, j] = [position[0], position[1], position[2], position[3]];
        let row = (rows.data[b] as usize).min(n - 1);
        let y = y.at(&[b, i, j]).clamp(0.0, (height - 1) as f64);
        let x = x.at(&[b, i, j]).clamp(0.0, (width - 1) as f64);
        if !bilinear {
            return images.at(&[row, c, y.round_ties_even() as usize, x.round_ties_even() as usize]);
        }
        let (top, left) = (y.floor() as usize, x.floor() as usize);
        let (bottom, right) = ((top + 1).min(height - 1), (left + 1).min(width - 1));
        let (down, across) = (y - top as f64, x - left as f64);
        let mix = |from: f64, to: f64, share: f64| from * (1.0 - share) + to * share;
        let upper = mix(images.at(&[row, c, top, left]), images.at(&[row, c, top, right]), across);
        let lower = mix(images.at(&[row, c, bottom, left]), images.at(&[row, c, bottom, right]), across);
        mix(upper, lower, down)
    })
}

fn reduce(kind: ReduceKind, x: &Tensor, axes: &[usize], node: &Node) -> Tensor {
    let reduced: Vec<usize> = axes.iter().map(|&axis| x.shape[axis]).collect();
    Tensor::from_fn(&node.shape, |position| {
        let mut source = position.to_vec();
        let (mut sum, mut largest, mut first) = (0.0, f64::NEG_INFINITY, 0);
        Tensor::from_fn(&reduced, |inner| {
            for (&axis, &index) in axes.iter().zip(inner) {
                source[axis] = index;
            }
            let number = x.at(&source);
            sum += number;
            if larger(number, largest) {
                (largest, first) = (number, offset(&reduced, inner));
            }
            number
        });
        match kind {
            // A sum of whole numbers wraps; in f64 it is exact before that.
            ReduceKind::Sum if node.dtype == DType::U32 => sum.rem_euclid(4_294_967_296.0),
            ReduceKind::Sum => sum,
            ReduceKind::Max => largest,
            ReduceKind::ArgMax => first as f64,
        }
    })
}

fn matmul(a: &Tensor, b: &Tensor, transpose_a: bool, transpose_b: bool, shape: &[usize]) -> Tensor {
    let inner = a.shape[usize::from(!transpose_a)];
    Tensor::from_fn(shape, |position| {
        let (row, column) = (position[0], position[1]);
        let left = |k| if transpose_a { a.at(&[k, row]) } else { a.at(&[row, k]) };
        let right = |k| if transpose_b { b.at(&[column, k]) } else { b.at(&[k, column]) };
        (0..inner).map(|k| left(k) * right(k)).sum()
    })
}
