//! Builds graphs: one method an operation, each checking shapes and giving the result's.

use super::graph::{DataInfo, Graph, Init, InputInfo, Node, StateId, StateInfo, StateKind, States, Value};
use super::op::{ConvGeometry, DType, Op, PoolGeometry, ReduceKind};
use super::scalar::{Binary, Unary};
use super::{DataId, InputId, Shape, Standardized};

/// Appends nodes to a graph.
///
/// Shapes that do not fit are mistakes of ours, since programs are checked before: methods panic.
#[derive(Debug, Default)]
pub struct Builder {
    /// The graph so far.
    pub graph: Graph,
    /// The states that this graph and its siblings share.
    pub states: States,
    /// The stage that new nodes are said to come from.
    pub layer: Option<u32>,
    /// The standardizations so far, whose gradients are known as a whole.
    pub standardized: Vec<Standardized>,
}

impl Builder {
    /// A builder over states that other graphs of the program have declared.
    pub fn new(states: States) -> Builder {
        Builder { states, ..Builder::default() }
    }

    /// Sizes of a value.
    pub fn shape(&self, value: Value) -> &[usize] {
        self.graph.shape(value)
    }

    /// Appends a node whose shape and type are known.
    pub fn push(&mut self, op: Op, operands: &[Value], shape: Shape, dtype: DType) -> Value {
        self.graph.nodes.push(Node { op, operands: operands.to_vec(), shape, dtype, layer: self.layer });
        Value((self.graph.nodes.len() - 1) as u32)
    }

    /// A value's name in messages.
    pub fn name(&mut self, value: Value, name: impl Into<String>) {
        self.graph.names.push((value, name.into()));
    }

    /// Every element is `number`.
    pub fn constant(&mut self, number: f64, shape: &[usize]) -> Value {
        self.push(Op::Constant(number), &[], shape.to_vec(), DType::F32)
    }

    /// Every element is `number`, as `u32`.
    pub fn constant_u32(&mut self, number: u32, shape: &[usize]) -> Value {
        self.push(Op::Constant(f64::from(number)), &[], shape.to_vec(), DType::U32)
    }

    /// A constant of the shape of `value`.
    pub fn like(&mut self, value: Value, number: f64) -> Value {
        let shape = self.shape(value).to_vec();
        self.constant(number, &shape)
    }

    /// Each element's index along an axis; `u32`.
    pub fn iota(&mut self, axis: usize, shape: &[usize]) -> Value {
        assert!(axis < shape.len());
        self.push(Op::Iota { axis }, &[], shape.to_vec(), DType::U32)
    }

    /// Declares a state (or finds it by its name) and reads it.
    pub fn state(&mut self, info: StateInfo) -> Value {
        let (shape, dtype) = (info.shape.clone(), info.dtype);
        let id = self.states.declare(info);
        self.read_state(id, shape, dtype)
    }

    /// Reads a declared state.
    pub fn read_state(&mut self, id: StateId, shape: Shape, dtype: DType) -> Value {
        let found = self.graph.values().find(|&value| self.graph.node(value).op == Op::State(id));
        found.unwrap_or_else(|| self.push(Op::State(id), &[], shape, dtype))
    }

    /// The state that a value reads.
    pub fn state_of(&self, value: Value) -> Option<StateId> {
        match self.graph.node(value).op {
            Op::State(id) => Some(id),
            _ => None,
        }
    }

    /// Sets a state at the end of the step.
    pub fn update(&mut self, id: StateId, value: Value) {
        assert_eq!(self.states.info(id).shape, self.shape(value), "update of `{}`", self.states.info(id).name);
        assert!(self.graph.updates.iter().all(|(other, _)| *other != id), "`{}` set twice", self.states.info(id).name);
        self.graph.updates.push((id, value));
    }

    /// A resident data set.
    pub fn data(&mut self, info: DataInfo) -> Value {
        let (shape, dtype) = (info.shape.clone(), info.dtype);
        if let Some(found) = self.graph.data.iter().position(|other| other.name == info.name) {
            let op = Op::Data(DataId(found as u32));
            if let Some(value) = self.graph.values().find(|&value| self.graph.node(value).op == op) {
                return value;
            }
            return self.push(op, &[], shape, dtype);
        }
        self.graph.data.push(info);
        self.push(Op::Data(DataId((self.graph.data.len() - 1) as u32)), &[], shape, dtype)
    }

    /// A value that the host gives for each step.
    pub fn input(&mut self, name: &str, shape: &[usize], dtype: DType) -> Value {
        if let Some(found) = self.graph.inputs.iter().position(|other| other.name == name) {
            assert_eq!(self.graph.inputs[found].shape, shape, "two shapes for the input `{name}`");
            let op = Op::Input(InputId(found as u32));
            let known = self.graph.values().find(|&value| self.graph.node(value).op == op);
            return known.unwrap_or_else(|| self.push(op, &[], shape.to_vec(), dtype));
        }
        self.graph.inputs.push(InputInfo { name: name.to_owned(), shape: shape.to_vec(), dtype });
        self.push(Op::Input(InputId((self.graph.inputs.len() - 1) as u32)), &[], shape.to_vec(), dtype)
    }

    /// `f(x)`
    pub fn unary(&mut self, function: Unary, x: Value) -> Value {
        let node = self.graph.node(x);
        assert_eq!(node.dtype, DType::F32, "{} of a non-float", function.name());
        let shape = node.shape.clone();
        self.push(Op::Unary(function), &[x], shape, DType::F32)
    }

    /// `f(a, b)`; a scalar operand is broadcast to the other's shape.
    pub fn binary(&mut self, function: Binary, a: Value, b: Value) -> Value {
        let (a, b) = self.same_shape(a, b);
        let (left, right) = (self.graph.node(a), self.graph.node(b));
        assert_eq!(left.dtype, right.dtype, "{} of two types", function.name());
        let dtype = if function.is_comparison() { DType::F32 } else { left.dtype };
        let shape = left.shape.clone();
        self.push(Op::Binary(function), &[a, b], shape, dtype)
    }

    fn same_shape(&mut self, a: Value, b: Value) -> (Value, Value) {
        let (left, right) = (self.shape(a).to_vec(), self.shape(b).to_vec());
        if left == right {
            (a, b)
        } else if left.is_empty() {
            (self.broadcast(a, &right), b)
        } else if right.is_empty() {
            (a, self.broadcast(b, &left))
        } else {
            panic!("shapes {left:?} and {right:?} differ")
        }
    }

    /// `a + b`
    pub fn add(&mut self, a: Value, b: Value) -> Value {
        self.binary(Binary::Add, a, b)
    }

    /// `a - b`
    pub fn sub(&mut self, a: Value, b: Value) -> Value {
        self.binary(Binary::Subtract, a, b)
    }

    /// `a · b`
    pub fn mul(&mut self, a: Value, b: Value) -> Value {
        self.binary(Binary::Multiply, a, b)
    }

    /// `a / b`
    pub fn div(&mut self, a: Value, b: Value) -> Value {
        self.binary(Binary::Divide, a, b)
    }

    /// `x · factor`
    pub fn scale(&mut self, x: Value, factor: f64) -> Value {
        let factor = self.like(x, factor);
        self.mul(x, factor)
    }

    /// `x + offset`
    pub fn offset(&mut self, x: Value, offset: f64) -> Value {
        let offset = self.like(x, offset);
        self.add(x, offset)
    }

    /// `1 - x`
    pub fn one_minus(&mut self, x: Value) -> Value {
        let one = self.like(x, 1.0);
        self.sub(one, x)
    }

    /// `a` where `condition` is not 0, else `b`; a scalar condition is broadcast.
    pub fn select(&mut self, condition: Value, a: Value, b: Value) -> Value {
        let (a, b) = self.same_shape(a, b);
        let (condition, a) = self.same_shape(condition, a);
        let node = self.graph.node(a);
        assert_eq!(node.dtype, self.graph.dtype(b));
        let (shape, dtype) = (node.shape.clone(), node.dtype);
        self.push(Op::Select, &[condition, a, b], shape, dtype)
    }

    /// `x` in another type.
    pub fn cast(&mut self, x: Value, dtype: DType) -> Value {
        if self.graph.dtype(x) == dtype {
            return x;
        }
        let shape = self.shape(x).to_vec();
        self.push(Op::Cast, &[x], shape, dtype)
    }

    /// Uniform numbers in `[0, 1)`, one for each index.
    pub fn random(&mut self, stream: u32, seed: [Value; 2], step: Value, index: Value) -> Value {
        let shape = self.shape(index).to_vec();
        self.push(Op::Random { stream }, &[seed[0], seed[1], step, index], shape, DType::F32)
    }

    /// The same elements under other sizes.
    pub fn reshape(&mut self, x: Value, shape: &[usize]) -> Value {
        let node = self.graph.node(x);
        if node.shape == shape {
            return x;
        }
        assert_eq!(super::graph::count(&node.shape), super::graph::count(shape), "{:?} as {shape:?}", node.shape);
        let dtype = node.dtype;
        self.push(Op::Reshape, &[x], shape.to_vec(), dtype)
    }

    /// Repeats axes of size 1 (or a scalar) up to `shape`.
    pub fn broadcast(&mut self, x: Value, shape: &[usize]) -> Value {
        if self.shape(x) == shape {
            return x;
        }
        let x = if self.shape(x).is_empty() { self.reshape(x, &vec![1; shape.len()]) } else { x };
        let node = self.graph.node(x);
        let fits = node.shape.len() == shape.len() && node.shape.iter().zip(shape).all(|(a, b)| a == b || *a == 1);
        assert!(fits, "{:?} broadcast to {shape:?}", node.shape);
        let dtype = node.dtype;
        self.push(Op::Broadcast, &[x], shape.to_vec(), dtype)
    }

    /// A vector along one axis of `shape`, repeated along the others.
    pub fn broadcast_axis(&mut self, vector: Value, axis: usize, shape: &[usize]) -> Value {
        let mut narrow = vec![1; shape.len()];
        narrow[axis] = shape[axis];
        let column = self.reshape(vector, &narrow);
        self.broadcast(column, shape)
    }

    /// Permutes axes.
    pub fn transpose(&mut self, x: Value, permutation: &[usize]) -> Value {
        let node = self.graph.node(x);
        let shape = permutation.iter().map(|&axis| node.shape[axis]).collect();
        let dtype = node.dtype;
        self.push(Op::Transpose(permutation.to_vec()), &[x], shape, dtype)
    }

    /// `x[start .. start + size]` along an axis.
    pub fn slice(&mut self, x: Value, axis: usize, start: usize, size: usize) -> Value {
        let node = self.graph.node(x);
        assert!(start + size <= node.shape[axis]);
        let (mut shape, dtype) = (node.shape.clone(), node.dtype);
        shape[axis] = size;
        self.push(Op::Slice { axis, start }, &[x], shape, dtype)
    }

    /// Zeros before and after along an axis, `size` in all.
    pub fn pad(&mut self, x: Value, axis: usize, before: usize, size: usize) -> Value {
        let node = self.graph.node(x);
        assert!(before + node.shape[axis] <= size);
        let (mut shape, dtype) = (node.shape.clone(), node.dtype);
        shape[axis] = size;
        self.push(Op::Pad { axis, before }, &[x], shape, dtype)
    }

    /// All after each other along an axis.
    pub fn concat(&mut self, parts: &[Value], axis: usize) -> Value {
        let first = self.graph.node(parts[0]);
        let (mut shape, dtype) = (first.shape.clone(), first.dtype);
        shape[axis] = parts.iter().map(|&part| self.shape(part)[axis]).sum();
        self.push(Op::Concat { axis }, parts, shape, dtype)
    }

    /// `data[rows]`
    pub fn gather_rows(&mut self, data: Value, rows: Value) -> Value {
        let node = self.graph.node(data);
        let dtype = if matches!(node.dtype, DType::U8 | DType::F16) { DType::F32 } else { node.dtype };
        let mut shape = self.shape(rows).to_vec();
        shape.extend(&node.shape[1..]);
        self.push(Op::GatherRows, &[data, rows], shape, dtype)
    }

    /// Pixels of images at given coordinates; see [`Op::SampleImage`].
    pub fn sample_image(&mut self, images: Value, rows: Value, y: Value, x: Value, bilinear: bool) -> Value {
        let (grid, channels) = (self.shape(y).to_vec(), self.shape(images)[1]);
        assert_eq!(grid, self.shape(x));
        let shape = vec![grid[0], channels, grid[1], grid[2]];
        self.push(Op::SampleImage { bilinear }, &[images, rows, y, x], shape, DType::F32)
    }

    /// Reduces axes, which stay with size 1.
    pub fn reduce(&mut self, kind: ReduceKind, x: Value, axes: &[usize]) -> Value {
        let node = self.graph.node(x);
        let mut shape = node.shape.clone();
        for &axis in axes {
            shape[axis] = 1;
        }
        let dtype = if kind == ReduceKind::ArgMax { DType::U32 } else { node.dtype };
        assert!(kind != ReduceKind::ArgMax || axes.len() == 1);
        assert!(axes.is_sorted());
        self.push(Op::Reduce { kind, axes: axes.to_vec() }, &[x], shape, dtype)
    }

    /// The sum over axes, which stay with size 1.
    pub fn sum(&mut self, x: Value, axes: &[usize]) -> Value {
        self.reduce(ReduceKind::Sum, x, axes)
    }

    /// The mean over axes, which stay with size 1.
    pub fn mean(&mut self, x: Value, axes: &[usize]) -> Value {
        let n: usize = axes.iter().map(|&axis| self.shape(x)[axis]).product();
        let sum = self.sum(x, axes);
        self.scale(sum, 1.0 / n as f64)
    }

    /// The sum of all elements, a scalar.
    pub fn sum_all(&mut self, x: Value) -> Value {
        let axes: Vec<usize> = (0..self.shape(x).len()).collect();
        let sum = if axes.is_empty() { x } else { self.sum(x, &axes) };
        self.reshape(sum, &[])
    }

    /// `x` added up over all devices that run the step together; see [`Op::Exchange`]. Declares the state of this name,
    /// through which it goes.
    pub fn exchange(&mut self, name: &str, x: Value) -> Value {
        let shape = self.shape(x).to_vec();
        let info = StateInfo {
            name: name.to_owned(),
            shape: shape.clone(),
            dtype: DType::F32,
            kind: StateKind::Exchange,
            init: Init::Fill(0.0),
            layer: self.layer,
        };
        let id = self.states.declare(info);
        self.push(Op::Exchange(id), &[x], shape, DType::F32)
    }

    /// The product of two matrices.
    pub fn matmul(&mut self, a: Value, b: Value, transpose_a: bool, transpose_b: bool) -> Value {
        let (left, right) = (self.shape(a), self.shape(b));
        assert!(left.len() == 2 && right.len() == 2);
        let (m, k) = if transpose_a { (left[1], left[0]) } else { (left[0], left[1]) };
        let (inner, n) = if transpose_b { (right[1], right[0]) } else { (right[0], right[1]) };
        assert_eq!(k, inner, "product of {left:?} and {right:?}");
        self.push(Op::MatMul { transpose_a, transpose_b }, &[a, b], vec![m, n], DType::F32)
    }

    /// A convolution of images with filters.
    pub fn conv2d(&mut self, x: Value, weight: Value, geometry: ConvGeometry) -> Value {
        assert_eq!(self.shape(x), geometry.input_shape());
        assert_eq!(self.shape(weight), geometry.weight_shape());
        self.push(Op::Conv2d(geometry), &[x, weight], geometry.output_shape(), DType::F32)
    }

    /// The largest of each window.
    pub fn max_pool(&mut self, x: Value, geometry: PoolGeometry) -> Value {
        let shape = self.pooled_shape(x, geometry);
        self.push(Op::MaxPool(geometry), &[x], shape, DType::F32)
    }

    /// The mean of each window.
    pub fn avg_pool(&mut self, x: Value, geometry: PoolGeometry) -> Value {
        let shape = self.pooled_shape(x, geometry);
        self.push(Op::AvgPool(geometry), &[x], shape, DType::F32)
    }

    fn pooled_shape(&self, x: Value, geometry: PoolGeometry) -> Shape {
        let shape = self.shape(x);
        assert_eq!([shape[2], shape[3]], geometry.input);
        assert_eq!(shape[0] * shape[1], geometry.planes);
        vec![shape[0], shape[1], geometry.output[0], geometry.output[1]]
    }
}
