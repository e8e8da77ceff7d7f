//! From a kernel of the plan to what is launched on the device.

use std::collections::BTreeSet;

use crate::plan::{Kernel, KernelKind, Place, Plan};

use super::adapters::Adapter;
use super::check;
use super::dispatch::dispatches;
use super::grants::Grants;
use super::product::{self, Product};
use super::source::Library;
use super::tune::{self, Choice, Choices};
use super::{conv, pointwise, pool, reduce};

/// What the generated text depends on beside the kernel.
#[derive(Clone, Debug)]
pub(super) struct Target {
    /// The adapter is a CPU: no tiles in workgroup memory.
    pub software: bool,
    /// What kernels may use.
    pub grants: Grants,
    /// The tiles of products that do not have the usual one.
    pub choices: Choices,
    /// The data binding of each data set of the plan.
    pub data_slots: Vec<usize>,
    /// Where in the arena the space for intermediate results of a kernel begins, in words.
    pub scratch: usize,
}

/// A word of the parameters.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Param {
    /// Where this place begins in its binding, in words.
    Begin(Place),
    /// A number.
    Word(u32),
}

/// What a number of workgroups does: a dispatch, or a part of one.
#[derive(Clone, Debug, Default)]
pub(super) struct Launch {
    /// Declarations, each keyword at the begin of a line; `param_0` … are the parameters.
    pub head: String,
    /// Statements over `group`, below [`Launch::groups`], and `lane`, below `LANES`.
    pub body: String,
    /// The bindings of buffers that are used.
    pub bindings: BTreeSet<u32>,
    /// The shared pieces that are used.
    pub libraries: BTreeSet<Library>,
    /// The words of the parameters.
    pub params: Vec<Param>,
    /// Workgroup memory that is declared, beside that of the shared pieces.
    pub workgroup_bytes: usize,
    /// Workgroups.
    pub groups: u64,
    /// Rough count of arithmetic operations and memory accesses.
    pub work: u64,
    /// Its text is long and serves many kernels of a plan as it is, so it shares no dispatch with others.
    pub is_alone: bool,
    /// It has cooperative matrices, and the numbers `subgroup` and `subgroups`.
    pub by_matrices: bool,
}

impl Target {
    /// Invocations of every workgroup.
    pub fn lanes(&self) -> usize {
        if self.software { 64 } else { 256 }
    }

    /// Invocations of a subgroup, where a workgroup consists of whole ones.
    pub fn subgroup(&self) -> Option<u32> {
        self.grants.subgroup.filter(|size| self.lanes().is_multiple_of(*size as usize))
    }
}

/// The launches of one kernel, in order.
#[derive(Clone, Debug, Default)]
pub(super) struct Lowered {
    pub launches: Vec<Launch>,
    /// Words needed from [`Target::scratch`] on.
    pub scratch_words: usize,
}

impl Lowered {
    /// A kernel that is one launch.
    pub fn one(launch: Launch) -> Lowered {
        Lowered { launches: vec![launch], scratch_words: 0 }
    }
}

/// Loop iterations that an invocation may run, over all its loops: some drivers stop silently at 65,535.
pub(super) const MAX_TRIPS: usize = 60_000;

/// The launches of a kernel, or why it cannot be run.
pub(super) fn lower(kernel: &Kernel, target: &Target) -> Result<Lowered, String> {
    check_indices(kernel)?;
    match &kernel.kind {
        KernelKind::Pointwise { shape, inputs, body, stores } => {
            Ok(Lowered::one(pointwise::lower(target, shape, inputs, body, stores)))
        }
        KernelKind::Reduce { shape, kept, inputs, body, reductions } => {
            reduce::lower(target, shape, *kept, inputs, body, reductions)
        }
        KernelKind::MatMul { .. }
        | KernelKind::Conv2d { .. }
        | KernelKind::Conv2dInputGrad { .. }
        | KernelKind::Conv2dWeightGrad { .. } => {
            let product = product_of(&kernel.kind).unwrap_or_else(|| unreachable!("these are products"));
            product::lower(target, &product)
        }
        KernelKind::MaxPool { geometry, x, out } => pool::max_pool(target, geometry, *x, *out),
        KernelKind::MaxPoolGrad { geometry, x, grad, out } => pool::max_pool_grad(target, geometry, *x, *grad, *out),
        KernelKind::AvgPool { geometry, x, out } => pool::avg_pool(target, geometry, *x, *out),
        KernelKind::AvgPoolGrad { geometry, grad, out } => pool::avg_pool_grad(target, geometry, *grad, *out),
        KernelKind::Copy { from, to } => Ok(Lowered::one(pointwise::copy(target, *from, *to))),
    }
}

/// The kernel as a product, if it is one.
pub(super) fn product_of(kind: &KernelKind) -> Option<Product<'_>> {
    Some(match kind {
        KernelKind::MatMul { m, n, k, transpose_a, transpose_b, a, b, out } => {
            product::mat_mul([*m, *n, *k], *transpose_a, *transpose_b, *a, *b, out)
        }
        KernelKind::Conv2d { geometry, x, weight, out } => conv::forward(geometry, *x, *weight, out),
        KernelKind::Conv2dInputGrad { geometry, weight, grad, out } => conv::input_grad(geometry, *weight, *grad, out),
        KernelKind::Conv2dWeightGrad { geometry, x, grad, out } => conv::weight_grad(geometry, *x, *grad, out),
        KernelKind::Pointwise { .. }
        | KernelKind::Reduce { .. }
        | KernelKind::MaxPool { .. }
        | KernelKind::MaxPoolGrad { .. }
        | KernelKind::AvgPool { .. }
        | KernelKind::AvgPoolGrad { .. }
        | KernelKind::Copy { .. } => return None,
    })
}

/// Indices are 32-bit words, and a workgroup's worth past the end must not wrap.
fn check_indices(kernel: &Kernel) -> Result<(), String> {
    let positions: u128 = match &kernel.kind {
        KernelKind::Pointwise { shape, .. } | KernelKind::Reduce { shape, .. } => {
            shape.iter().map(|size| *size as u128).product()
        }
        KernelKind::MatMul { m, n, k, .. } => {
            let [m, n, k] = [*m as u128, *n as u128, *k as u128];
            (m * n).max(m * k).max(n * k)
        }
        KernelKind::Conv2d { geometry, .. }
        | KernelKind::Conv2dInputGrad { geometry, .. }
        | KernelKind::Conv2dWeightGrad { geometry, .. } => {
            [geometry.input_shape(), geometry.weight_shape(), geometry.output_shape()]
                .iter()
                .map(|shape| shape.iter().map(|size| *size as u128).product())
                .max()
                .unwrap_or(0)
        }
        KernelKind::MaxPool { geometry, .. }
        | KernelKind::MaxPoolGrad { geometry, .. }
        | KernelKind::AvgPool { geometry, .. }
        | KernelKind::AvgPoolGrad { geometry, .. } => {
            let area = |[height, width]: [usize; 2]| height as u128 * width as u128;
            geometry.planes as u128 * area(geometry.input).max(area(geometry.output))
        }
        KernelKind::Copy { from, .. } => from.len as u128,
    };
    let limit = u128::from(u32::MAX) - (1 << 25);
    if positions > limit {
        return Err(format!("`{}` runs over {positions} positions, at most {limit} can be counted", kernel.name));
    }
    Ok(())
}

/// The WGSL of each dispatch of a plan, with the kernels that it runs, for a GPU or for a driver that plays one on the
/// CPU, which stores numbers of 16 bits by themselves or as halves of words; needs no adapter.
///
/// # Errors
/// When a kernel cannot be run on any.
pub fn wgsl(plan: &Plan, software: bool, native_halves: bool) -> Result<Vec<(String, String)>, String> {
    let (dispatches, _) = dispatches(plan, &any_target(plan, software, native_halves))?;
    Ok(dispatches.into_iter().map(|dispatch| (dispatch.name, dispatch.text)).collect())
}

/// As [`wgsl`] for this adapter, with the tiles that products have there as far as they are chosen; nothing is measured.
///
/// # Errors
/// When the adapter cannot be opened to see what it does rightly, or a kernel cannot be run.
pub fn wgsl_on(plan: &Plan, adapter: &Adapter, choice: Choice) -> Result<Vec<(String, String)>, String> {
    // A driver on the CPU is only asked how it stores halves, and only if there are some.
    let grants = match adapter.software && !plan.has_halves() {
        true => Grants { native_halves: true, ..Grants::default() },
        false => check::grants(adapter).map_err(|error| error.to_string())?,
    };
    let choices = tune::remembered(adapter, grants, choice);
    let target = Target { grants, choices, ..any_target(plan, adapter.software, true) };
    let (dispatches, _) = dispatches(plan, &target)?;
    Ok(dispatches.into_iter().map(|dispatch| (dispatch.name, dispatch.text)).collect())
}

/// Words that a plan's kernels need behind its arena on a GPU, with the usual tiles of products: with others it may be up to
/// 4 MiB more. 0 for a plan that cannot be run.
pub fn scratch_words(plan: &Plan) -> usize {
    dispatches(plan, &any_target(plan, false, true)).map_or(0, |(_, words)| words)
}

/// An adapter where each data set has a binding of its own.
fn any_target(plan: &Plan, software: bool, native_halves: bool) -> Target {
    let data_slots = (0..plan.data.len()).map(|id| id.min(super::source::DATA_SLOTS - 1)).collect();
    let grants = Grants { native_halves, ..Grants::default() };
    Target { software, grants, choices: Choices::default(), data_slots, scratch: plan.arena_words }
}
