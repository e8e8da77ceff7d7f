//! The interface between the compiler and its executors: kernel families over buffers.

use std::ops::Range;

use crate::ir::{Binary, ConvGeometry, DType, DataId, PoolGeometry, ReduceKind, Shape, StateId, Unary};

/// Where a buffer lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Place {
    /// In the arena of the plan, at this offset in 4-byte words; without content between steps.
    Arena(usize),
    /// A state, shared by all plans of a session.
    State(StateId),
    /// A resident data set.
    Data(DataId),
    /// The row that the host gives for each step, at this offset in 4-byte words.
    Step(usize),
}

/// A dense buffer of `len` elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct BufferRef {
    /// Where it lives.
    pub place: Place,
    /// How many elements it has.
    pub len: usize,
    /// Their type. `U8` occurs only in data sets; it reads as `f32`, and so does `F16`.
    pub dtype: DType,
}

/// A register of a [`Body`]: the index of the instruction that sets it.
pub type Reg = u16;

/// How an element index follows from the position in the iteration space.
///
/// `index = offset + Σ position[axis]·strides[axis] + Σ register·stride`. Strides count elements of the buffer.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Default)]
pub struct Access {
    /// The constant part.
    pub offset: usize,
    /// One stride for each axis of the iteration space; 0 where the element does not depend on the axis.
    pub strides: Vec<usize>,
    /// Registers of type `u32` that take part, with their strides. The compiler has clamped them, so that the
    /// index is always inside the buffer.
    pub indirect: Vec<(Reg, usize)>,
}

/// Reads one element of a buffer for each position.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Load {
    /// Index into [`KernelKind::Pointwise::inputs`] or [`KernelKind::Reduce::inputs`].
    pub input: usize,
    /// Which element.
    pub access: Access,
}

/// One instruction of a body; sets the register of its own index. Registers hold `f32` or `u32`.
#[derive(Clone, Debug, PartialEq)]
pub enum Instr {
    /// An element of an input; `u8` becomes `f32`.
    Load(Load),
    /// A number.
    Float(f32),
    /// A whole number.
    Word(u32),
    /// The position along an axis of the iteration space, plus an offset; `u32`.
    Position {
        /// The axis.
        axis: usize,
        /// What is added.
        offset: u32,
    },
    /// `f(x)` of floats.
    Unary(Unary, Reg),
    /// `f(a, b)` of two floats or two words (comparisons give a float; words know only add, subtract (wrapping),
    /// multiply (wrapping), max, min and the comparisons).
    Binary(Binary, Reg, Reg),
    /// `condition ≠ 0 ? a : b`; the condition is a float.
    Select(Reg, Reg, Reg),
    /// Float to word, truncating; negative and NaN give 0.
    ToWord(Reg),
    /// Word to float.
    ToFloat(Reg),
    /// Float to the nearest number that 16 bits hold, half to even; from 65,520 on to infinity.
    RoundToHalf(Reg),
    /// [`crate::ir::random::uniform`] of `seed_low, seed_high, step, index` registers; a float.
    Random {
        /// The stream.
        stream: u32,
        /// The registers of both seed words, the step and the index.
        operands: [Reg; 4],
    },
    /// The element of the product's result at the position; only in an [`Epilogue`].
    Product,
    /// A register reduced over `width` positions that follow each other, at each of them; only in bodies that an executor
    /// makes of several kernels.
    Fold {
        /// What is computed; a float, or the position of the largest.
        kind: Reducer,
        /// The register; a float.
        x: Reg,
        /// How many positions.
        width: usize,
    },
}

impl Instr {
    /// Visits the registers that it reads.
    pub fn for_operands(&mut self, mut visit: impl FnMut(&mut Reg)) {
        match self {
            Instr::Load(load) => load.access.indirect.iter_mut().for_each(|(reg, _)| visit(reg)),
            Instr::Float(_) | Instr::Word(_) | Instr::Position { .. } | Instr::Product => {}
            Instr::Unary(_, x) | Instr::ToWord(x) | Instr::ToFloat(x) | Instr::RoundToHalf(x) => visit(x),
            Instr::Fold { x, .. } => visit(x),
            Instr::Binary(_, a, b) => [a, b].into_iter().for_each(visit),
            Instr::Select(condition, a, b) => [condition, a, b].into_iter().for_each(visit),
            Instr::Random { operands, .. } => operands.iter_mut().for_each(visit),
        }
    }
}

/// A straight program run for each position of an iteration space.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Body {
    /// Instructions in order; operands are registers of earlier ones.
    pub instrs: Vec<Instr>,
}

impl Body {
    /// Type of each register.
    pub fn types(&self, inputs: &[BufferRef]) -> Vec<DType> {
        let mut types: Vec<DType> = Vec::with_capacity(self.instrs.len());
        for instr in &self.instrs {
            types.push(match instr {
                Instr::Load(load) if inputs[load.input].dtype == DType::U32 => DType::U32,
                Instr::Fold { kind: Reducer::ArgMax, .. } => DType::U32,
                Instr::Load(_)
                | Instr::Float(_)
                | Instr::Unary(..)
                | Instr::ToFloat(_)
                | Instr::RoundToHalf(_)
                | Instr::Random { .. }
                | Instr::Fold { .. }
                | Instr::Product => DType::F32,
                Instr::Word(_) | Instr::Position { .. } | Instr::ToWord(_) => DType::U32,
                Instr::Binary(function, a, _) if !function.is_comparison() => types[usize::from(*a)],
                Instr::Binary(..) => DType::F32,
                Instr::Select(_, a, _) => types[usize::from(*a)],
            });
        }
        types
    }
}

/// Writes a register to a buffer at each position; different positions write different elements.
#[derive(Clone, Debug, PartialEq)]
pub struct Store {
    /// The register.
    pub reg: Reg,
    /// The buffer.
    pub output: BufferRef,
    /// Which element; never indirect.
    pub access: Access,
}

/// What a [`Reduction`] computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reducer {
    /// [`ReduceKind::Sum`]
    Sum,
    /// [`ReduceKind::Max`]
    Max,
    /// [`ReduceKind::ArgMax`]
    ArgMax,
    /// `Σ(x − mean(x))²`, the mean over the same elements: what the graph computes by two sums, the second of which waits
    /// for the first. Only where [`super::Fusion::deviations`] asks for it.
    SquaredDeviation,
}

impl From<ReduceKind> for Reducer {
    fn from(kind: ReduceKind) -> Reducer {
        match kind {
            ReduceKind::Sum => Reducer::Sum,
            ReduceKind::Max => Reducer::Max,
            ReduceKind::ArgMax => Reducer::ArgMax,
        }
    }
}

/// A register reduced over the inner part of the iteration space.
#[derive(Clone, Debug, PartialEq)]
pub struct Reduction {
    /// The register; a float.
    pub reg: Reg,
    /// What is computed.
    pub kind: Reducer,
    /// One element for each position of the kept axes, in their order, dense.
    pub output: BufferRef,
}

/// What becomes of the result of a product or a convolution.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// It is written as it is.
    Buffer(BufferRef),
    /// It is given to a program that computes what is written.
    Epilogue(Box<Epilogue>),
}

/// A program run once for each element of the result of a product or a convolution, when all terms of its sum have
/// been added: bias, activation, dropout, residual, the derivative of an activation, the update of a weight.
///
/// The executor runs it on each part of the result while that part is in registers or a cache. The result itself has
/// no buffer, unless a store writes the register of [`Instr::Product`]. Positions may be visited in any order, each
/// exactly once.
///
/// A store may write to a buffer of `inputs` (a weight and the optimizer's states are updated in place) if every load
/// of that buffer reads, at each position, the very element that the store writes there. No store writes to an operand
/// of the product, and no load reads what another position writes, so parts of the result need no order.
#[derive(Clone, Debug, PartialEq)]
pub struct Epilogue {
    /// The iteration space: the shape of the result, as the operation of the graph has it (`[m, n]`, or the shape of
    /// the images, outputs or filters of a convolution).
    pub shape: Shape,
    /// Buffers that the loads name.
    pub inputs: Vec<BufferRef>,
    /// The program; [`Instr::Product`] is the element of the result.
    pub body: Body,
    /// What is written, at least one.
    pub stores: Vec<Store>,
}

impl Output {
    /// The buffer of a result that is written as it is.
    ///
    /// # Panics
    /// When there is an epilogue: plans have them only if the executor's [`super::Fusion`] asks for them.
    pub fn buffer(&self) -> &BufferRef {
        match self {
            Output::Buffer(buffer) => buffer,
            Output::Epilogue(_) => unreachable!("epilogues are planned only for executors that run them"),
        }
    }

    /// The epilogue, if there is one.
    pub fn epilogue(&self) -> Option<&Epilogue> {
        match self {
            Output::Buffer(_) => None,
            Output::Epilogue(epilogue) => Some(epilogue),
        }
    }

    /// The buffers that are written.
    fn written(&self) -> Vec<BufferRef> {
        match self {
            Output::Buffer(buffer) => vec![*buffer],
            Output::Epilogue(epilogue) => epilogue.stores.iter().map(|store| store.output).collect(),
        }
    }

    /// The buffers that are read beside the operands.
    fn read(&self) -> &[BufferRef] {
        self.epilogue().map_or(&[], |epilogue| &epilogue.inputs)
    }
}

impl From<BufferRef> for Output {
    fn from(buffer: BufferRef) -> Output {
        Output::Buffer(buffer)
    }
}

/// What a kernel does.
#[derive(Clone, Debug, PartialEq)]
pub enum KernelKind {
    /// Runs `body` at every position of `shape`. An output may be the same buffer as an input if every load of it
    /// reads, at each position, the very element that the store writes there.
    Pointwise {
        /// The iteration space.
        shape: Shape,
        /// Buffers that the loads name.
        inputs: Vec<BufferRef>,
        /// The program.
        body: Body,
        /// What is written.
        stores: Vec<Store>,
    },
    /// Runs `body` at every position of `shape` and reduces over the axes from `kept` on: the first `kept` axes
    /// are the kept ones, the rest are reduced. (Accesses carry any permutation of axes.)
    Reduce {
        /// The iteration space: kept axes, then reduced axes.
        shape: Shape,
        /// How many axes are kept.
        kept: usize,
        /// Buffers that the loads name.
        inputs: Vec<BufferRef>,
        /// The program.
        body: Body,
        /// What is computed.
        reductions: Vec<Reduction>,
    },
    /// `out [m, n] = a · b`; see [`crate::ir::Op::MatMul`] for how operands are stored.
    MatMul {
        /// Rows of the result.
        m: usize,
        /// Columns of the result.
        n: usize,
        /// Length of the sums.
        k: usize,
        /// `a` is stored `[k, m]`.
        transpose_a: bool,
        /// `b` is stored `[n, k]`.
        transpose_b: bool,
        /// The left operand.
        a: BufferRef,
        /// The right operand.
        b: BufferRef,
        /// The result.
        out: Output,
    },
    /// `out = conv(x, weight)`
    Conv2d {
        /// The sizes.
        geometry: ConvGeometry,
        /// Images.
        x: BufferRef,
        /// Filters.
        weight: BufferRef,
        /// The result.
        out: Output,
    },
    /// The gradient of the images.
    Conv2dInputGrad {
        /// The sizes.
        geometry: ConvGeometry,
        /// Filters.
        weight: BufferRef,
        /// The gradient of the convolution's result.
        grad: BufferRef,
        /// The gradient of the images.
        out: Output,
    },
    /// The gradient of the filters.
    Conv2dWeightGrad {
        /// The sizes.
        geometry: ConvGeometry,
        /// Images.
        x: BufferRef,
        /// The gradient of the convolution's result.
        grad: BufferRef,
        /// The gradient of the filters.
        out: Output,
    },
    /// The largest of each window.
    MaxPool {
        /// The sizes.
        geometry: PoolGeometry,
        /// Images.
        x: BufferRef,
        /// The result.
        out: BufferRef,
    },
    /// The gradient of the images of a max pool.
    MaxPoolGrad {
        /// The sizes.
        geometry: PoolGeometry,
        /// Images.
        x: BufferRef,
        /// The gradient of the pool's result.
        grad: BufferRef,
        /// The gradient of the images.
        out: BufferRef,
    },
    /// The mean of each window.
    AvgPool {
        /// The sizes.
        geometry: PoolGeometry,
        /// Images.
        x: BufferRef,
        /// The result.
        out: BufferRef,
    },
    /// The gradient of the images of an average pool.
    AvgPoolGrad {
        /// The sizes.
        geometry: PoolGeometry,
        /// The gradient of the pool's result.
        grad: BufferRef,
        /// The gradient of the images.
        out: BufferRef,
    },
    /// Copies a buffer; same length, same type.
    Copy {
        /// From.
        from: BufferRef,
        /// To.
        to: BufferRef,
    },
}

/// One launch.
#[derive(Clone, Debug, PartialEq)]
pub struct Kernel {
    /// What it does.
    pub kind: KernelKind,
    /// What it computes, for listings and messages: `relu·add (model.2)`.
    pub name: String,
}

/// Where each input lies in the row that the host gives for each step.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StepLayout {
    /// Name, offset in words, length in words and type of each input.
    pub inputs: Vec<(String, usize, usize, DType)>,
    /// Words of a row.
    pub words: usize,
}

/// Kernels that follow each other and can run a few rows of the batch at a time, all of them for some rows before the
/// next rows, so that what one writes is read from a cache by the next.
///
/// For rows `a..b`, each kernel reads, of what the chain writes, only those rows, and writes only them; sums over the
/// batch are complete when all rows are done, and so are what epilogues of weights' gradients set. Buffers that the
/// chain touches share no memory with each other.
///
/// In a chain of products, some kernels run as a whole when all rows are done, though others that run by rows follow them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chain {
    /// Which kernels.
    pub kernels: Range<usize>,
    /// Rows of the batch.
    pub rows: usize,
    /// Bytes that the kernels touch for each row.
    pub row_bytes: usize,
    /// Those of the kernels that run as a whole when all rows are done, one group after the other; the kernels of a group
    /// do not depend on each other.
    pub late: Vec<Vec<usize>>,
}

/// A step ready to run: kernels in order over one arena.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// Kernels in order.
    pub kernels: Vec<Kernel>,
    /// Those of them that can run by rows, in order; only if [`super::Fusion::chains`] asks for it.
    pub chains: Vec<Chain>,
    /// Kernels that leave in a state what devices exchange before the next one runs: their numbers, ascending, and the
    /// states. A device alone goes on as if nothing had happened.
    pub exchanges: Vec<(usize, StateId)>,
    /// Words of the arena.
    pub arena_words: usize,
    /// Whether a word holds two numbers of 16 bits, else one.
    pub packs_halves: bool,
    /// The step's inputs.
    pub step: StepLayout,
    /// The data sets that it reads, by [`DataId`]; named as in [`crate::ir::DataInfo`].
    pub data: Vec<crate::ir::DataInfo>,
}

impl Plan {
    /// Whether it reads or stores numbers of 16 bits.
    pub fn has_halves(&self) -> bool {
        let is_half = |buffer: &BufferRef| buffer.dtype == DType::F16;
        self.kernels.iter().any(|kernel| kernel.inputs().iter().chain(&kernel.outputs()).any(is_half))
    }

    /// For each of so many states, the number of kernels after which it is written no more; 0 for those that are not.
    pub fn last_writes(&self, states: usize) -> Vec<usize> {
        let mut last = vec![0; states];
        for (index, kernel) in self.kernels.iter().enumerate() {
            for buffer in kernel.outputs() {
                if let Place::State(id) = buffer.place {
                    last[id.index()] = index + 1;
                }
            }
        }
        last
    }

    /// Bytes that a buffer takes.
    pub fn bytes_of(&self, buffer: &BufferRef) -> usize {
        match buffer.dtype {
            DType::F16 if !self.packs_halves => buffer.len * 4,
            dtype => buffer.len * dtype.size(),
        }
    }
}

impl Kernel {
    /// The buffers that it reads.
    pub fn inputs(&self) -> Vec<BufferRef> {
        match &self.kind {
            KernelKind::Pointwise { inputs, .. } | KernelKind::Reduce { inputs, .. } => inputs.clone(),
            KernelKind::MatMul { a, b, out, .. } => [&[*a, *b], out.read()].concat(),
            KernelKind::Conv2d { x, weight, out, .. } => [&[*x, *weight], out.read()].concat(),
            KernelKind::Conv2dInputGrad { weight, grad, out, .. } => [&[*weight, *grad], out.read()].concat(),
            KernelKind::Conv2dWeightGrad { x, grad, out, .. } => [&[*x, *grad], out.read()].concat(),
            KernelKind::MaxPoolGrad { x, grad, .. } => vec![*x, *grad],
            KernelKind::MaxPool { x, .. } | KernelKind::AvgPool { x, .. } => vec![*x],
            KernelKind::AvgPoolGrad { grad, .. } => vec![*grad],
            KernelKind::Copy { from, .. } => vec![*from],
        }
    }

    /// The buffers that it writes.
    pub fn outputs(&self) -> Vec<BufferRef> {
        match &self.kind {
            KernelKind::Pointwise { stores, .. } => stores.iter().map(|store| store.output).collect(),
            KernelKind::Reduce { reductions, .. } => reductions.iter().map(|reduction| reduction.output).collect(),
            KernelKind::MatMul { out, .. }
            | KernelKind::Conv2d { out, .. }
            | KernelKind::Conv2dInputGrad { out, .. }
            | KernelKind::Conv2dWeightGrad { out, .. } => out.written(),
            KernelKind::MaxPool { out, .. }
            | KernelKind::MaxPoolGrad { out, .. }
            | KernelKind::AvgPool { out, .. }
            | KernelKind::AvgPoolGrad { out, .. } => vec![*out],
            KernelKind::Copy { to, .. } => vec![*to],
        }
    }

    /// What becomes of the result, if this is a product or a convolution.
    pub fn product_output(&self) -> Option<&Output> {
        match &self.kind {
            KernelKind::MatMul { out, .. }
            | KernelKind::Conv2d { out, .. }
            | KernelKind::Conv2dInputGrad { out, .. }
            | KernelKind::Conv2dWeightGrad { out, .. } => Some(out),
            KernelKind::Pointwise { .. }
            | KernelKind::Reduce { .. }
            | KernelKind::MaxPool { .. }
            | KernelKind::MaxPoolGrad { .. }
            | KernelKind::AvgPool { .. }
            | KernelKind::AvgPoolGrad { .. }
            | KernelKind::Copy { .. } => None,
        }
    }

    /// The family's name for listings.
    pub fn family(&self) -> &'static str {
        match self.kind {
            KernelKind::Pointwise { .. } => "pointwise",
            KernelKind::Reduce { .. } => "reduce",
            KernelKind::MatMul { .. } => "matmul",
            KernelKind::Conv2d { .. } => "conv2d",
            KernelKind::Conv2dInputGrad { .. } => "conv2d_input_grad",
            KernelKind::Conv2dWeightGrad { .. } => "conv2d_weight_grad",
            KernelKind::MaxPool { .. } => "max_pool",
            KernelKind::MaxPoolGrad { .. } => "max_pool_grad",
            KernelKind::AvgPool { .. } => "avg_pool",
            KernelKind::AvgPoolGrad { .. } => "avg_pool_grad",
            KernelKind::Copy { .. } => "copy",
        }
    }

    /// Floating-point operations of products and convolutions, two for each multiply-add; 0 for the rest.
    pub fn flops(&self) -> u64 {
        match &self.kind {
            KernelKind::MatMul { m, n, k, .. } => 2 * (m * n * k) as u64,
            KernelKind::Conv2d { geometry: g, .. }
            | KernelKind::Conv2dInputGrad { geometry: g, .. }
            | KernelKind::Conv2dWeightGrad { geometry: g, .. } => {
                let taps = g.channels / g.groups * g.kernel[0] * g.kernel[1];
                2 * (g.batch * g.filters * g.output[0] * g.output[1] * taps) as u64
            }
            _ => 0,
        }
    }
}
