//! Writes the body of a fused kernel: follows a value back to buffers, turning movement into index arithmetic.

use std::hash::{Hash, Hasher};
use std::mem::discriminant;

use rustc_hash::FxHashMap;

use super::kernel::{Access, Body, Instr, Load, Reg};
use crate::ir::{Binary, DType, Graph, Op, Unary, Value};

/// Where along one axis of a value a position of the iteration space lies:
/// `offset + Σ position·coefficient + Σ register·stride`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Default)]
pub(super) struct Index {
    offset: usize,
    coefficients: Vec<usize>,
    registers: Vec<(Reg, usize)>,
}

impl Index {
    fn axis(axis: usize, rank: usize) -> Index {
        let mut coefficients = vec![0; rank];
        coefficients[axis] = 1;
        Index { offset: 0, coefficients, registers: Vec::new() }
    }

    fn zero(rank: usize) -> Index {
        Index { offset: 0, coefficients: vec![0; rank], registers: Vec::new() }
    }

    fn register(reg: Reg, rank: usize) -> Index {
        Index { registers: vec![(reg, 1)], ..Index::zero(rank) }
    }

    fn shifted(&self, by: usize) -> Index {
        Index { offset: self.offset + by, ..self.clone() }
    }
}

/// The index of a value whose axes are the iteration axes `axes`, in that order.
pub(super) fn identity(axes: &[usize], rank: usize) -> Vec<Index> {
    axes.iter().map(|&axis| Index::axis(axis, rank)).collect()
}

/// An instruction, equal to another when its numbers are to the bit: 0 and −0 differ, and a NaN is equal to itself.
struct Exact(Instr);

impl PartialEq for Exact {
    fn eq(&self, other: &Exact) -> bool {
        match (&self.0, &other.0) {
            (Instr::Float(a), Instr::Float(b)) => a.to_bits() == b.to_bits(),
            (a, b) => a == b,
        }
    }
}

impl Eq for Exact {}

impl Hash for Exact {
    fn hash<H: Hasher>(&self, state: &mut H) {
        discriminant(&self.0).hash(state);
        match &self.0 {
            Instr::Load(load) => load.hash(state),
            Instr::Float(number) => number.to_bits().hash(state),
            Instr::Word(word) => word.hash(state),
            Instr::Position { axis, offset } => (axis, offset).hash(state),
            Instr::Unary(function, x) => (function, x).hash(state),
            Instr::Binary(function, a, b) => (function, a, b).hash(state),
            Instr::Select(condition, a, b) => (condition, a, b).hash(state),
            Instr::ToWord(x) | Instr::ToFloat(x) | Instr::RoundToHalf(x) => x.hash(state),
            Instr::Random { stream, operands } => (stream, operands).hash(state),
            Instr::Fold { kind, x, width } => (*kind as u8, x, width).hash(state),
            Instr::Product => {}
        }
    }
}

/// A body under construction.
pub(super) struct Inliner<'a> {
    graph: &'a Graph,
    /// Whether a value has a buffer of its own, which is loaded instead of computed again.
    is_buffer: &'a dyn Fn(Value) -> bool,
    rank: usize,
    /// The body so far.
    pub body: Body,
    /// The values loaded, by input number.
    pub inputs: Vec<Value>,
    /// The indices at which each value has been computed, and the registers.
    memo: FxHashMap<Value, Vec<(Vec<Index>, Reg)>>,
    instrs: FxHashMap<Exact, Reg>,
}

impl<'a> Inliner<'a> {
    /// An empty body over an iteration space of `rank` axes.
    pub fn new(graph: &'a Graph, is_buffer: &'a dyn Fn(Value) -> bool, rank: usize) -> Inliner<'a> {
        let (body, inputs) = (Body::default(), Vec::new());
        Inliner { graph, is_buffer, rank, body, inputs, memo: FxHashMap::default(), instrs: FxHashMap::default() }
    }

    fn push(&mut self, instr: Instr) -> Reg {
        // Equal instructions are one: instructions have no effects.
        let next = self.body.instrs.len() as Reg;
        let reg = *self.instrs.entry(Exact(instr.clone())).or_insert(next);
        if reg == next {
            self.body.instrs.push(instr);
        }
        reg
    }

    /// The register that holds `value` computed here, even if it has a buffer.
    pub fn compute(&mut self, value: Value, index: &[Index]) -> Reg {
        if let Some(reg) = self.known(value, index) {
            return reg;
        }
        let reg = self.expand(value, index);
        self.memo.entry(value).or_default().push((index.to_vec(), reg));
        reg
    }

    /// The register that holds `value` at an index of its axes.
    pub fn emit(&mut self, value: Value, index: &[Index]) -> Reg {
        if let Some(reg) = self.known(value, index) {
            return reg;
        }
        let reg = if (self.is_buffer)(value) { self.load(value, index) } else { self.expand(value, index) };
        self.memo.entry(value).or_default().push((index.to_vec(), reg));
        reg
    }

    fn known(&self, value: Value, index: &[Index]) -> Option<Reg> {
        self.memo.get(&value)?.iter().find(|(other, _)| other == index).map(|(_, reg)| *reg)
    }

    fn load(&mut self, value: Value, index: &[Index]) -> Reg {
        let shape = self.graph.shape(value);
        let mut access = Access { offset: 0, strides: vec![0; self.rank], indirect: Vec::new() };
        let mut stride = 1;
        for (axis, position) in index.iter().enumerate().rev() {
            access.offset += position.offset * stride;
            for (total, coefficient) in access.strides.iter_mut().zip(&position.coefficients) {
                *total += coefficient * stride;
            }
            access.indirect.extend(position.registers.iter().map(|&(reg, by)| (reg, by * stride)));
            stride *= shape[axis];
        }
        let input = self.inputs.iter().position(|&other| other == value).unwrap_or_else(|| {
            self.inputs.push(value);
            self.inputs.len() - 1
        });
        self.push(Instr::Load(Load { input, access }))
    }

    fn expand(&mut self, value: Value, index: &[Index]) -> Reg {
        let graph = self.graph;
        let node = graph.node(value);
        let operands = &node.operands;
        match &node.op {
            Op::Constant(number) if node.dtype == DType::U32 => self.push(Instr::Word(*number as u32)),
            Op::Constant(number) => self.push(Instr::Float(*number as f32)),
            Op::Iota { axis } => self.position(&index[*axis]),
            Op::Unary(function) => {
                let x = self.emit(operands[0], index);
                self.push(Instr::Unary(*function, x))
            }
            Op::Binary(function) => {
                let a = self.emit(operands[0], index);
                let b = self.emit(operands[1], index);
                self.push(Instr::Binary(*function, a, b))
            }
            Op::Select => {
                let [condition, a, b] = [0, 1, 2].map(|operand| self.emit(operands[operand], index));
                self.push(Instr::Select(condition, a, b))
            }
            Op::Cast => {
                let x = self.emit(operands[0], index);
                match (graph.dtype(operands[0]), node.dtype) {
                    (DType::U32, DType::F32) => self.push(Instr::ToFloat(x)),
                    (DType::F32, DType::U32) => self.push(Instr::ToWord(x)),
                    (DType::F32, DType::F16) => self.push(Instr::RoundToHalf(x)),
                    _ => x,
                }
            }
            Op::Random { stream } => {
                let scalars = [0, 1, 2].map(|operand| self.emit(operands[operand], &[]));
                let position = self.emit(operands[3], index);
                let operands = [scalars[0], scalars[1], scalars[2], position];
                self.push(Instr::Random { stream: *stream, operands })
            }
            Op::Reshape => {
                let inner = self.reshaped(value, operands[0], index);
                self.emit(operands[0], &inner)
            }
            Op::Broadcast => {
                let shape = graph.shape(operands[0]);
                let inner: Vec<Index> = index
                    .iter()
                    .enumerate()
                    .map(|(axis, at)| if shape[axis] == 1 { Index::zero(self.rank) } else { at.clone() })
                    .collect();
                self.emit(operands[0], &inner)
            }
            Op::Transpose(permutation) => {
                let mut inner = index.to_vec();
                for (axis, &from) in permutation.iter().enumerate() {
                    inner[from] = index[axis].clone();
                }
                self.emit(operands[0], &inner)
            }
            Op::Slice { axis, start } => {
                let mut inner = index.to_vec();
                inner[*axis] = index[*axis].shifted(*start);
                self.emit(operands[0], &inner)
            }
            Op::Pad { axis, before } => self.padded(operands[0], *axis, *before, node.dtype, index),
            Op::GatherRows => {
                let rank = graph.shape(operands[1]).len();
                let row = self.row(operands[0], operands[1], &index[..rank]);
                let mut inner = vec![Index::register(row, self.rank)];
                inner.extend_from_slice(&index[rank..]);
                self.emit(operands[0], &inner)
            }
            Op::SampleImage { bilinear } => self.sample(operands, *bilinear, index),
            Op::State(_) | Op::Data(_) | Op::Input(_) => self.load(value, index),
            Op::Concat { .. }
            | Op::Reduce { .. }
            | Op::MatMul { .. }
            | Op::Conv2d(_)
            | Op::Conv2dInputGrad(_)
            | Op::Conv2dWeightGrad(_)
            | Op::MaxPool(_)
            | Op::MaxPoolGrad(_)
            | Op::AvgPool(_)
            | Op::AvgPoolGrad(_)
            | Op::Exchange(_) => unreachable!("`{}` always has a buffer", node.op.name()),
        }
    }

    /// The index of a reshape's operand, where the reshape only adds or drops axes of size 1.
    fn reshaped(&self, value: Value, operand: Value, index: &[Index]) -> Vec<Index> {
        let mut kept =
            index.iter().zip(self.graph.shape(value)).filter(|(_, size)| **size != 1).map(|(at, _)| at.clone());
        let inner = self.graph.shape(operand).iter().map(|&size| {
            if size == 1 { Index::zero(self.rank) } else { kept.next().unwrap_or_else(|| Index::zero(self.rank)) }
        });
        inner.collect()
    }

    /// An index as a register.
    fn position(&mut self, index: &Index) -> Reg {
        let terms: Vec<(usize, usize)> =
            index.coefficients.iter().copied().enumerate().filter(|(_, coefficient)| *coefficient != 0).collect();
        if let ([(axis, 1)], []) = (&terms[..], &index.registers[..]) {
            return self.push(Instr::Position { axis: *axis, offset: index.offset as u32 });
        }
        let mut sum = self.push(Instr::Word(index.offset as u32));
        for (axis, coefficient) in terms {
            let position = self.push(Instr::Position { axis, offset: 0 });
            sum = self.add_scaled(sum, position, coefficient);
        }
        for &(reg, stride) in &index.registers {
            sum = self.add_scaled(sum, reg, stride);
        }
        sum
    }

    fn add_scaled(&mut self, sum: Reg, reg: Reg, factor: usize) -> Reg {
        let factor = self.push(Instr::Word(factor as u32));
        let product = self.push(Instr::Binary(Binary::Multiply, reg, factor));
        self.push(Instr::Binary(Binary::Add, sum, product))
    }

    fn padded(&mut self, operand: Value, axis: usize, before: usize, dtype: DType, index: &[Index]) -> Reg {
        let size = self.graph.shape(operand)[axis];
        let at = self.position(&index[axis]);
        let first = self.push(Instr::Word(before as u32));
        let last = self.push(Instr::Word((before + size - 1) as u32));
        let clamped = self.push(Instr::Binary(Binary::Max, at, first));
        let clamped = self.push(Instr::Binary(Binary::Min, clamped, last));
        let inside = self.push(Instr::Binary(Binary::Equal, at, clamped));
        let within = self.push(Instr::Binary(Binary::Subtract, clamped, first));
        let mut inner = index.to_vec();
        inner[axis] = Index::register(within, self.rank);
        let element = self.emit(operand, &inner);
        let zero = self.push(if dtype == DType::U32 { Instr::Word(0) } else { Instr::Float(0.0) });
        self.push(Instr::Select(inside, element, zero))
    }

    /// A row number, clamped to the rows that there are.
    fn row(&mut self, data: Value, rows: Value, index: &[Index]) -> Reg {
        let row = self.emit(rows, index);
        let last = self.push(Instr::Word((self.graph.shape(data)[0] - 1) as u32));
        self.push(Instr::Binary(Binary::Min, row, last))
    }

    fn sample(&mut self, operands: &[Value], bilinear: bool, index: &[Index]) -> Reg {
        let [images, rows, y, x] = operands else { unreachable!("`sample_image` has four operands") };
        let row = self.row(*images, *rows, &index[..1]);
        let pixel = [index[0].clone(), index[2].clone(), index[3].clone()];
        let [y, x] = [*y, *x].map(|coordinate| self.emit(coordinate, &pixel));
        let size = &self.graph.shape(*images)[2..];
        let (height, width) = (size[0], size[1]);
        if !bilinear {
            let y = self.nearest(y);
            let x = self.nearest(x);
            let y = self.clamped(y, height);
            let x = self.clamped(x, width);
            return self.pixel(*images, row, &index[1], y, x);
        }
        let (top, down) = self.floor_and_rest(y);
        let (left, right) = self.floor_and_rest(x);
        let one = self.push(Instr::Float(1.0));
        let below = self.push(Instr::Binary(Binary::Add, top, one));
        let beside = self.push(Instr::Binary(Binary::Add, left, one));
        let rows = [top, below].map(|at| self.clamped(at, height));
        let columns = [left, beside].map(|at| self.clamped(at, width));
        let mut lines = [0; 2];
        for (line, &row_at) in rows.iter().enumerate() {
            let [a, b] = columns.map(|column| self.pixel(*images, row, &index[1], row_at, column));
            lines[line] = self.blend(a, b, right);
        }
        self.blend(lines[0], lines[1], down)
    }

    fn pixel(&mut self, images: Value, row: Reg, channel: &Index, y: Reg, x: Reg) -> Reg {
        let [row, y, x] = [row, y, x].map(|reg| Index::register(reg, self.rank));
        self.emit(images, &[row, channel.clone(), y, x])
    }

    /// `a + (b − a)·share`
    fn blend(&mut self, a: Reg, b: Reg, share: Reg) -> Reg {
        let difference = self.push(Instr::Binary(Binary::Subtract, b, a));
        let part = self.push(Instr::Binary(Binary::Multiply, difference, share));
        self.push(Instr::Binary(Binary::Add, a, part))
    }

    fn floor_and_rest(&mut self, x: Reg) -> (Reg, Reg) {
        let floor = self.push(Instr::Unary(Unary::Floor, x));
        let rest = self.push(Instr::Binary(Binary::Subtract, x, floor));
        (floor, rest)
    }

    /// The nearest whole number, half to even.
    fn nearest(&mut self, x: Reg) -> Reg {
        let (floor, rest) = self.floor_and_rest(x);
        let half = self.push(Instr::Float(0.5));
        let two = self.push(Instr::Float(2.0));
        let halved = self.push(Instr::Binary(Binary::Multiply, floor, half));
        let even = self.push(Instr::Unary(Unary::Floor, halved));
        let even = self.push(Instr::Binary(Binary::Multiply, even, two));
        let odd = self.push(Instr::Binary(Binary::Subtract, floor, even));
        let above = self.push(Instr::Binary(Binary::Less, half, rest));
        let tie = self.push(Instr::Binary(Binary::Equal, half, rest));
        let up = self.push(Instr::Select(tie, odd, above));
        self.push(Instr::Binary(Binary::Add, floor, up))
    }

    /// A whole coordinate as a word inside `0..size`.
    fn clamped(&mut self, at: Reg, size: usize) -> Reg {
        let zero = self.push(Instr::Float(0.0));
        let last = self.push(Instr::Float((size - 1) as f32));
        let at = self.push(Instr::Binary(Binary::Max, at, zero));
        let at = self.push(Instr::Binary(Binary::Min, at, last));
        self.push(Instr::ToWord(at))
    }
}
