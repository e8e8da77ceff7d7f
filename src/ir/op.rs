//! The operations of the graph.

use super::graph::{DataId, InputId, StateId};
use super::scalar::{Binary, Unary};

/// The type of one element.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DType {
    /// IEEE 754 binary32.
    F32,
    /// IEEE 754 binary16, as a way to store numbers: what is computed from it is `F32`. Only [`Op::Cast`] makes it; it
    /// is moved and pooled, and products read it.
    F16,
    /// Indices, labels, random bits.
    U32,
    /// Bytes of stored images; occurs only as the type of [`Op::Data`].
    U8,
}

impl DType {
    /// Bytes of one element.
    pub fn size(self) -> usize {
        match self {
            DType::F32 | DType::U32 => 4,
            DType::F16 => 2,
            DType::U8 => 1,
        }
    }
}

/// What a reduction computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ReduceKind {
    /// The sum.
    Sum,
    /// The largest value; NaN where there is one, since NaN counts as larger than all numbers. Without gradient.
    Max,
    /// The position of the largest value along the one reduced axis, the first of equals; `u32`. NaN counts as larger
    /// than all numbers, so that the first NaN wins. Without gradient.
    ArgMax,
}

/// Sizes of a 2-D convolution; images are `[N, C, H, W]`, weights `[O, C/groups, KH, KW]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ConvGeometry {
    /// Images.
    pub batch: usize,
    /// Channels in.
    pub channels: usize,
    /// Rows and columns in.
    pub input: [usize; 2],
    /// Channels out.
    pub filters: usize,
    /// Rows and columns of the kernel.
    pub kernel: [usize; 2],
    /// Rows and columns out.
    pub output: [usize; 2],
    /// Step of the window.
    pub stride: [usize; 2],
    /// Zeros before the first row and column; those after follow from `output`.
    pub padding: [usize; 2],
    /// Distance between taps.
    pub dilation: [usize; 2],
    /// Groups of channels that do not see each other.
    pub groups: usize,
}

impl ConvGeometry {
    /// `[N, C, H, W]`
    pub fn input_shape(&self) -> Vec<usize> {
        vec![self.batch, self.channels, self.input[0], self.input[1]]
    }

    /// `[O, C/groups, KH, KW]`
    pub fn weight_shape(&self) -> Vec<usize> {
        vec![self.filters, self.channels / self.groups, self.kernel[0], self.kernel[1]]
    }

    /// `[N, O, OH, OW]`
    pub fn output_shape(&self) -> Vec<usize> {
        vec![self.batch, self.filters, self.output[0], self.output[1]]
    }
}

/// Sizes of a 2-D pooling window over `[N, C, H, W]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PoolGeometry {
    /// `N · C`: planes are pooled independently.
    pub planes: usize,
    /// Rows and columns in.
    pub input: [usize; 2],
    /// Rows and columns out.
    pub output: [usize; 2],
    /// Rows and columns of the window.
    pub kernel: [usize; 2],
    /// Step of the window.
    pub stride: [usize; 2],
    /// Border before the first row and column: ignored by max, counted as zeros by average.
    pub padding: [usize; 2],
}

/// One operation. Operands are named in each comment in their order; `same` means all of one shape.
///
/// Only [`Op::Broadcast`] broadcasts; element-wise operations take operands of equal shape.
#[derive(Clone, Debug, PartialEq)]
pub enum Op {
    // Sources, without operands.
    /// Every element is this number (cast to the node's type).
    Constant(f64),
    /// Every element is its own index along one axis; `u32`.
    Iota {
        /// The axis.
        axis: usize,
    },
    /// The state at the start of the step.
    State(StateId),
    /// A resident data set.
    Data(DataId),
    /// What the host gives for each step: learning rate, step number, indices of the batch …
    Input(InputId),

    // Element-wise.
    /// `f(x)`
    Unary(Unary),
    /// `f(a, b)`, same. Comparisons give 1.0 or 0.0, and 0.0 where an operand is NaN; `u32` has all functions but
    /// [`Binary::Divide`] and wraps.
    Binary(Binary),
    /// `condition, a, b`, same: `a` where the condition is not 0, else `b`.
    Select,
    /// `x` in the node's type; `f32` to `u32` truncates towards zero, negative to 0; `f32` to `f16` rounds to the nearest,
    /// half to even, and from 65,520 on to infinity.
    Cast,
    /// `seed_low, seed_high, step` (scalars, `u32`), `index` (`u32`, gives the shape): a uniform
    /// number in `[0, 1)` from [`super::random`], independent of all others with another stream,
    /// step or index.
    Random {
        /// The stream; unique for each use in a program.
        stream: u32,
    },

    // Movement.
    /// `x` with other sizes and the same elements in the same order.
    Reshape,
    /// `x`, same rank: axes of size 1 are repeated to the node's shape.
    Broadcast,
    /// `x` with axes permuted: axis `i` of the result is axis `permutation[i]` of `x`.
    Transpose(Vec<usize>),
    /// `x[start .. start + size]` along one axis.
    Slice {
        /// The axis.
        axis: usize,
        /// The first index taken.
        start: usize,
    },
    /// `x` with `before` zeros before it along one axis, and zeros after it up to the node's shape.
    Pad {
        /// The axis.
        axis: usize,
        /// Zeros before.
        before: usize,
    },
    /// All operands after each other along one axis.
    Concat {
        /// The axis.
        axis: usize,
    },
    /// `data [n, …]`, `rows u32`: `data[rows]`, shape `rows.shape ++ data.shape[1..]`; type `f32` when the
    /// data is `u8`. Rows past the end are clamped. Has no gradient for `rows`; for `data` it is not
    /// defined here.
    GatherRows,
    /// `images [n, C, H, W]`, `rows u32 [B]`, `y f32 [B, OH, OW]`, `x f32 [B, OH, OW]`:
    /// `out[b, c, i, j] = images[rows[b], c, y[b, i, j], x[b, i, j]]`, shape `[B, C, OH, OW]`, `f32`.
    /// Coordinates are clamped to the image; callers mask what lies outside. Without gradient.
    SampleImage {
        /// Linear interpolation between the four neighbours (else the nearest, half to even).
        bilinear: bool,
    },

    // Reductions.
    /// `x` reduced over these axes, which stay with size 1.
    Reduce {
        /// What.
        kind: ReduceKind,
        /// Which axes, ascending.
        axes: Vec<usize>,
    },

    // Products; operands are `f32` or `f16`, sums and results `f32`.
    /// `a [M, K]` (or `[K, M]` if `transpose_a`) times `b [K, N]` (or `[N, K]`).
    MatMul {
        /// `a` is stored `[K, M]`.
        transpose_a: bool,
        /// `b` is stored `[N, K]`.
        transpose_b: bool,
    },
    /// `x [N, C, H, W]`, `weight [O, C/g, KH, KW]` → `[N, O, OH, OW]`.
    Conv2d(ConvGeometry),
    /// `weight`, `grad [N, O, OH, OW]` → gradient of `x`.
    Conv2dInputGrad(ConvGeometry),
    /// `x`, `grad [N, O, OH, OW]` → gradient of `weight`.
    Conv2dWeightGrad(ConvGeometry),

    // Pooling; the results are of the operand's type, to which sums are rounded.
    /// `x [N, C, H, W]` → the largest of each window; NaN where there is one.
    MaxPool(PoolGeometry),
    /// `x`, `grad` of the output → gradient of `x`; goes to the first largest of each window, a NaN
    /// counting as larger than all numbers.
    MaxPoolGrad(PoolGeometry),
    /// `x` → the mean of each window, padding counted (PyTorch's `count_include_pad`).
    AvgPool(PoolGeometry),
    /// `grad` of the output → gradient of `x`.
    AvgPoolGrad(PoolGeometry),

    // Several devices.
    /// `x` added up over all devices that run this step together; `x` itself where one runs it alone. The result lies in
    /// the state, which is that of no other exchange. All devices come to the exchanges of a graph in the order of its
    /// nodes.
    Exchange(StateId),
}

impl Op {
    /// A short name for listings.
    pub fn name(&self) -> &'static str {
        match self {
            Op::Constant(_) => "constant",
            Op::Iota { .. } => "iota",
            Op::State(_) => "state",
            Op::Data(_) => "data",
            Op::Input(_) => "input",
            Op::Unary(function) => function.name(),
            Op::Binary(function) => function.name(),
            Op::Select => "select",
            Op::Cast => "cast",
            Op::Random { .. } => "random",
            Op::Reshape => "reshape",
            Op::Broadcast => "broadcast",
            Op::Transpose(_) => "transpose",
            Op::Slice { .. } => "slice",
            Op::Pad { .. } => "pad",
            Op::Concat { .. } => "concat",
            Op::GatherRows => "gather_rows",
            Op::SampleImage { .. } => "sample_image",
            Op::Reduce { kind: ReduceKind::Sum, .. } => "reduce_sum",
            Op::Reduce { kind: ReduceKind::Max, .. } => "reduce_max",
            Op::Reduce { kind: ReduceKind::ArgMax, .. } => "arg_max",
            Op::MatMul { .. } => "matmul",
            Op::Conv2d(_) => "conv2d",
            Op::Conv2dInputGrad(_) => "conv2d_input_grad",
            Op::Conv2dWeightGrad(_) => "conv2d_weight_grad",
            Op::MaxPool(_) => "max_pool",
            Op::MaxPoolGrad(_) => "max_pool_grad",
            Op::AvgPool(_) => "avg_pool",
            Op::AvgPoolGrad(_) => "avg_pool_grad",
            Op::Exchange(_) => "exchange",
        }
    }
}
