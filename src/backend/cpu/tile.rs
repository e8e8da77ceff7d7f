//! Runs bodies over tiles: each instruction does a few hundred elements that stay in the first-level cache.

use super::bind::Bound;
use super::math;
use crate::ir::random::uniform;
use crate::ir::{Binary, DType, Unary};
use crate::plan::{Access, Body, Instr};

/// Elements of a tile.
pub(super) const TILE: usize = 512;

/// An iteration space prepared for tiles: axes are merged where all accesses allow it.
#[derive(Debug)]
pub(super) struct Space {
    /// Sizes of the merged axes; at least one.
    pub shape: Vec<usize>,
    /// How many of them are kept by a reduction; all for a pointwise kernel.
    pub kept: usize,
}

impl Space {
    /// Positions of some axes.
    pub fn count(&self, axes: std::ops::Range<usize>) -> usize {
        self.shape[axes].iter().product()
    }
}

/// A body bound to memory.
#[derive(Debug)]
pub(super) struct Program {
    instrs: Vec<Step>,
    /// The tile buffer of each register.
    slots: Vec<u16>,
    /// Tile buffers needed.
    pub buffers: usize,
}

#[derive(Debug)]
enum Step {
    Load { from: Bound, access: Access },
    Constant(u32),
    Position { axis: usize, offset: u32 },
    Unary(Unary, u16),
    Binary { function: Binary, a: u16, b: u16, word: bool },
    Select(u16, u16, u16),
    ToWord(u16),
    ToFloat(u16),
    Random { stream: u32, operands: [u16; 4] },
}

/// Merges axes and rewrites the accesses for the merged space. `outputs` are the accesses of stores.
pub(super) fn merge(shape: &[usize], kept: usize, body: &Body, stores: &[Access]) -> (Space, Body, Vec<Access>) {
    let positions: Vec<usize> = body
        .instrs
        .iter()
        .filter_map(|instr| match instr {
            Instr::Position { axis, .. } => Some(*axis),
            _ => None,
        })
        .collect();
    let accesses: Vec<&Access> = body
        .instrs
        .iter()
        .filter_map(|instr| match instr {
            Instr::Load(load) => Some(&load.access),
            _ => None,
        })
        .chain(stores)
        .collect();
    // Groups of neighbouring axes that can be walked as one.
    let mut groups: Vec<Vec<usize>> = Vec::new();
    for (axis, &size) in shape.iter().enumerate() {
        let used = positions.contains(&axis);
        if size == 1 && !used {
            continue;
        }
        let joins = groups.last().is_some_and(|group| {
            let before = group[group.len() - 1];
            let same_side = (before < kept) == (axis < kept);
            same_side
                && !used
                && !positions.contains(&before)
                && accesses.iter().all(|access| access.strides[before] == access.strides[axis] * size)
        });
        match groups.last_mut() {
            Some(group) if joins => group.push(axis),
            _ => groups.push(vec![axis]),
        }
    }
    let merged_kept = groups.iter().filter(|group| group[0] < kept).count();
    let mut sizes: Vec<usize> = groups.iter().map(|group| group.iter().map(|&axis| shape[axis]).product()).collect();
    let rewrite = |access: &Access| {
        let strides = groups.iter().map(|group| access.strides[group[group.len() - 1]]).collect();
        Access { offset: access.offset, strides, indirect: access.indirect.clone() }
    };
    let mut rewritten = body.clone();
    for instr in &mut rewritten.instrs {
        match instr {
            Instr::Load(load) => load.access = rewrite(&load.access),
            Instr::Position { axis, .. } => {
                let found = groups.iter().position(|group| group[0] == *axis);
                *axis = found.unwrap_or_else(|| unreachable!("an axis with positions is kept"));
            }
            _ => {}
        }
    }
    let mut stores: Vec<Access> = stores.iter().map(rewrite).collect();
    // One axis at least, and one reduced axis at least where there were some.
    let lacks = sizes.is_empty() || (kept < shape.len() && merged_kept == sizes.len());
    if lacks {
        sizes.push(1);
        let one_more = |access: &mut Access| access.strides.resize(sizes.len(), 0);
        stores.iter_mut().for_each(one_more);
        for instr in &mut rewritten.instrs {
            if let Instr::Load(load) = instr {
                one_more(&mut load.access);
            }
        }
    }
    let kept_axes = if kept == shape.len() { sizes.len() } else { merged_kept };
    (Space { shape: sizes, kept: kept_axes }, rewritten, stores)
}

impl Program {
    /// Binds a body; `wanted` are the registers that are read at its end.
    pub fn new(body: &Body, types: &[DType], inputs: &[Bound], wanted: &[u16]) -> Program {
        let mut last = vec![0usize; body.instrs.len()];
        for (index, instr) in body.instrs.iter().enumerate() {
            last[index] = index;
            for operand in operands(instr) {
                last[usize::from(operand)] = index;
            }
        }
        for &reg in wanted {
            last[usize::from(reg)] = usize::MAX;
        }
        let mut free: Vec<u16> = Vec::new();
        let mut slots = vec![0u16; body.instrs.len()];
        let mut buffers = 0u16;
        for index in 0..body.instrs.len() {
            // A slot is freed only after the instruction that reads it last, so results never overwrite operands.
            slots[index] = free.pop().unwrap_or_else(|| {
                buffers += 1;
                buffers - 1
            });
            let mut dying: Vec<u16> = operands(&body.instrs[index]);
            dying.sort_unstable();
            dying.dedup();
            for operand in dying {
                if last[usize::from(operand)] == index {
                    free.push(slots[usize::from(operand)]);
                }
            }
            if last[index] == index {
                free.push(slots[index]);
            }
        }
        let instrs = body.instrs.iter().map(|instr| match instr {
            Instr::Load(load) => Step::Load { from: inputs[load.input], access: load.access.clone() },
            Instr::Float(value) => Step::Constant(value.to_bits()),
            Instr::Word(value) => Step::Constant(*value),
            Instr::Position { axis, offset } => Step::Position { axis: *axis, offset: *offset },
            Instr::Unary(function, x) => Step::Unary(*function, *x),
            Instr::Binary(function, a, b) => {
                Step::Binary { function: *function, a: *a, b: *b, word: types[usize::from(*a)] == DType::U32 }
            }
            Instr::Select(condition, a, b) => Step::Select(*condition, *a, *b),
            Instr::ToWord(x) => Step::ToWord(*x),
            Instr::ToFloat(x) => Step::ToFloat(*x),
            Instr::Random { stream, operands } => Step::Random { stream: *stream, operands: *operands },
        });
        Program { instrs: instrs.collect(), slots, buffers: usize::from(buffers) }
    }

    /// The tile buffer of a register.
    pub fn slot(&self, reg: u16) -> usize {
        usize::from(self.slots[usize::from(reg)])
    }

    /// Computes a tile of positions that lie side by side along the axes `axes` of the space, the last one fastest;
    /// `base` holds the position of the first along every axis, `n` is at most [`TILE`].
    ///
    /// # Safety
    /// The positions are inside the space, and no other task writes what the body reads.
    #[inline(always)]
    pub unsafe fn run(
        &self,
        space: &Space,
        axes: std::ops::Range<usize>,
        base: &[usize],
        n: usize,
        tiles: &mut [[u32; TILE]],
    ) {
        for (index, step) in self.instrs.iter().enumerate() {
            let out: *mut [u32; TILE] = &raw mut tiles[usize::from(self.slots[index])];
            let operand =
                |reg: u16| -> *const [u32; TILE] { &raw const tiles[usize::from(self.slots[usize::from(reg)])] };
            // SAFETY: slots of operands and of the result differ, since a slot is freed only after its last use.
            let out = unsafe { &mut *out };
            // SAFETY: as above.
            let get = |reg: u16| unsafe { &*operand(reg) };
            match step {
                Step::Load { from, access } => {
                    // SAFETY: the compiler keeps accesses inside their buffers; the caller excludes writers.
                    unsafe { load(from, access, space, axes.clone(), base, n, out, &get) }
                }
                Step::Constant(word) => out[..n].fill(*word),
                Step::Position { axis, offset } => positions(space, axes.clone(), base, n, *axis, *offset, out),
                Step::Unary(function, x) => unary(*function, get(*x), out, n),
                Step::Binary { function, a, b, word } => {
                    if *word {
                        binary_words(*function, get(*a), get(*b), out, n);
                    } else {
                        binary_floats(*function, get(*a), get(*b), out, n);
                    }
                }
                Step::Select(condition, a, b) => {
                    let (condition, a, b) = (get(*condition), get(*a), get(*b));
                    for i in 0..n {
                        // A float is 0 when all bits but its sign are 0.
                        out[i] = if condition[i] << 1 != 0 { a[i] } else { b[i] };
                    }
                }
                Step::ToWord(x) => {
                    let x = get(*x);
                    for i in 0..n {
                        out[i] = f32::from_bits(x[i]) as u32;
                    }
                }
                Step::ToFloat(x) => {
                    let x = get(*x);
                    for i in 0..n {
                        out[i] = (x[i] as f32).to_bits();
                    }
                }
                Step::Random { stream, operands } => {
                    let [low, high, step, at] = operands.map(get);
                    for i in 0..n {
                        out[i] = uniform([low[i], high[i]], *stream, step[i], at[i]).to_bits();
                    }
                }
            }
        }
    }

    /// Whether the loads of this program move along `axis` by single elements, more than they do along `other`.
    pub fn prefers(&self, axis: usize, other: usize) -> bool {
        let mut score = 0i32;
        for step in &self.instrs {
            if let Step::Load { access, .. } = step {
                score += i32::from(access.strides[axis] == 1) - i32::from(access.strides[other] == 1);
            }
        }
        score > 0
    }

    /// A rough count of simple operations for one position.
    pub fn cost(&self) -> usize {
        let of = |step: &Step| match step {
            Step::Random { .. } => 40,
            Step::Unary(
                Unary::Negate | Unary::Abs | Unary::Relu | Unary::Floor | Unary::NonFinite | Unary::Sign,
                _,
            ) => 1,
            Step::Unary(..) => 12,
            _ => 1,
        };
        self.instrs.iter().map(of).sum()
    }
}

fn operands(instr: &Instr) -> Vec<u16> {
    match instr {
        Instr::Load(load) => load.access.indirect.iter().map(|(reg, _)| *reg).collect(),
        Instr::Float(_) | Instr::Word(_) | Instr::Position { .. } => Vec::new(),
        Instr::Unary(_, x) | Instr::ToWord(x) | Instr::ToFloat(x) => vec![*x],
        Instr::Binary(_, a, b) => vec![*a, *b],
        Instr::Select(condition, a, b) => vec![*condition, *a, *b],
        Instr::Random { operands, .. } => operands.to_vec(),
    }
}

/// Calls `each(first, length, position)` for every run of positions along the last of the axes.
#[inline(always)]
fn runs(
    space: &Space,
    axes: std::ops::Range<usize>,
    base: &[usize],
    n: usize,
    mut each: impl FnMut(usize, usize, &[usize; MAX_AXES]),
) {
    let mut position = [0usize; MAX_AXES];
    position[..base.len()].copy_from_slice(base);
    let inner = axes.end - 1;
    let mut done = 0;
    loop {
        let length = (space.shape[inner] - position[inner]).min(n - done);
        each(done, length, &position);
        done += length;
        if done == n {
            return;
        }
        position[inner] = 0;
        let mut axis = inner;
        while axis > axes.start {
            axis -= 1;
            position[axis] += 1;
            if position[axis] < space.shape[axis] {
                break;
            }
            position[axis] = 0;
        }
    }
}

/// More axes than any kernel has.
pub(super) const MAX_AXES: usize = 12;

#[inline(always)]
fn positions(
    space: &Space,
    axes: std::ops::Range<usize>,
    base: &[usize],
    n: usize,
    axis: usize,
    offset: u32,
    out: &mut [u32; TILE],
) {
    if !axes.contains(&axis) {
        out[..n].fill(base[axis] as u32 + offset);
        return;
    }
    let inner = axes.end - 1;
    runs(space, axes, base, n, |first, length, position| {
        let start = position[axis] as u32 + offset;
        let part = &mut out[first..first + length];
        if axis == inner {
            for (i, word) in part.iter_mut().enumerate() {
                *word = start + i as u32;
            }
        } else {
            part.fill(start);
        }
    });
}

#[inline(always)]
#[allow(clippy::too_many_arguments, reason = "the inner loop of every kernel; a struct would only be taken apart")]
unsafe fn load<'t>(
    from: &Bound,
    access: &Access,
    space: &Space,
    axes: std::ops::Range<usize>,
    base: &[usize],
    n: usize,
    out: &mut [u32; TILE],
    get: &dyn Fn(u16) -> &'t [u32; TILE],
) {
    let inner = axes.end - 1;
    let stride = access.strides[inner];
    if access.indirect.is_empty() && !from.is_bytes() && axes.clone().all(|axis| access.strides[axis] == 0) {
        let at =
            access.offset + base.iter().zip(&access.strides).map(|(position, stride)| position * stride).sum::<usize>();
        // SAFETY: the index is inside the buffer.
        let word = unsafe { from.word(at) };
        out[..n].fill(word);
        return;
    }
    runs(space, axes, base, n, |first, length, position| {
        let start = access.offset + access.strides.iter().zip(position).map(|(stride, at)| stride * at).sum::<usize>();
        let part = &mut out[first..first + length];
        if access.indirect.is_empty() {
            // SAFETY: the compiler keeps accesses inside their buffers.
            unsafe {
                match stride {
                    0 => part.fill(from.word(start)),
                    1 if !from.is_bytes() => {
                        let floats = from.floats(start, length);
                        for (word, float) in part.iter_mut().zip(floats) {
                            *word = float.to_bits();
                        }
                    }
                    _ => {
                        for (i, word) in part.iter_mut().enumerate() {
                            *word = from.word(start + i * stride);
                        }
                    }
                }
            }
        } else if let [(reg, by)] = access.indirect[..] {
            let rows = &get(reg)[first..first + length];
            for (i, word) in part.iter_mut().enumerate() {
                // SAFETY: the compiler has clamped the register.
                *word = unsafe { from.word(start + i * stride + rows[i] as usize * by) };
            }
        } else {
            for (i, word) in part.iter_mut().enumerate() {
                let indirect: usize = access.indirect.iter().map(|&(reg, by)| get(reg)[first + i] as usize * by).sum();
                // SAFETY: the compiler has clamped the registers.
                *word = unsafe { from.word(start + i * stride + indirect) };
            }
        }
    });
}

#[inline(always)]
fn map(x: &[u32; TILE], out: &mut [u32; TILE], n: usize, function: impl Fn(f32) -> f32) {
    for (word, x) in out[..n].iter_mut().zip(&x[..n]) {
        *word = function(f32::from_bits(*x)).to_bits();
    }
}

#[inline(always)]
fn unary(function: Unary, x: &[u32; TILE], out: &mut [u32; TILE], n: usize) {
    match function {
        Unary::Negate => map(x, out, n, |x| -x),
        Unary::Abs => map(x, out, n, f32::abs),
        Unary::Sign => map(x, out, n, |x| {
            if x > 0.0 {
                1.0
            } else if x < 0.0 {
                -1.0
            } else {
                x
            }
        }),
        Unary::Exp => map(x, out, n, math::exp),
        Unary::Log => map(x, out, n, math::log),
        Unary::Sqrt => map(x, out, n, f32::sqrt),
        Unary::Reciprocal => map(x, out, n, |x| 1.0 / x),
        Unary::Tanh => map(x, out, n, math::tanh),
        Unary::Sigmoid => map(x, out, n, math::sigmoid),
        Unary::Softplus => map(x, out, n, math::softplus),
        Unary::Erf => map(x, out, n, math::erf),
        Unary::Sin => map(x, out, n, math::sin),
        Unary::Cos => map(x, out, n, math::cos),
        Unary::Floor => map(x, out, n, math::floor),
        Unary::Relu => map(x, out, n, |x| if x < 0.0 { 0.0 } else { x }),
        Unary::NonFinite => {
            for (word, x) in out[..n].iter_mut().zip(&x[..n]) {
                *word = if x & 0x7f80_0000 == 0x7f80_0000 { 1f32.to_bits() } else { 0 };
            }
        }
    }
}

#[inline(always)]
fn zip_floats(a: &[u32; TILE], b: &[u32; TILE], out: &mut [u32; TILE], n: usize, function: impl Fn(f32, f32) -> f32) {
    for ((word, a), b) in out[..n].iter_mut().zip(&a[..n]).zip(&b[..n]) {
        *word = function(f32::from_bits(*a), f32::from_bits(*b)).to_bits();
    }
}

#[inline(always)]
fn truth(value: bool) -> f32 {
    if value { 1.0 } else { 0.0 }
}

#[inline(always)]
fn binary_floats(function: Binary, a: &[u32; TILE], b: &[u32; TILE], out: &mut [u32; TILE], n: usize) {
    match function {
        Binary::Add => zip_floats(a, b, out, n, |a, b| a + b),
        Binary::Subtract => zip_floats(a, b, out, n, |a, b| a - b),
        Binary::Multiply => zip_floats(a, b, out, n, |a, b| a * b),
        Binary::Divide => zip_floats(a, b, out, n, |a, b| a / b),
        Binary::Max => zip_floats(a, b, out, n, |a, b| if a > b { a } else { b }),
        Binary::Min => zip_floats(a, b, out, n, |a, b| if a < b { a } else { b }),
        Binary::Less => zip_floats(a, b, out, n, |a, b| truth(a < b)),
        Binary::LessEqual => zip_floats(a, b, out, n, |a, b| truth(a <= b)),
        Binary::Equal => zip_floats(a, b, out, n, |a, b| truth(a == b)),
    }
}

#[inline(always)]
fn zip_words(a: &[u32; TILE], b: &[u32; TILE], out: &mut [u32; TILE], n: usize, function: impl Fn(u32, u32) -> u32) {
    for ((word, a), b) in out[..n].iter_mut().zip(&a[..n]).zip(&b[..n]) {
        *word = function(*a, *b);
    }
}

#[inline(always)]
fn binary_words(function: Binary, a: &[u32; TILE], b: &[u32; TILE], out: &mut [u32; TILE], n: usize) {
    let truth = |value: bool| truth(value).to_bits();
    match function {
        Binary::Add => zip_words(a, b, out, n, u32::wrapping_add),
        Binary::Subtract => zip_words(a, b, out, n, u32::wrapping_sub),
        Binary::Multiply => zip_words(a, b, out, n, u32::wrapping_mul),
        Binary::Divide => unreachable!("words are not divided"),
        Binary::Max => zip_words(a, b, out, n, std::cmp::max),
        Binary::Min => zip_words(a, b, out, n, std::cmp::min),
        Binary::Less => zip_words(a, b, out, n, |a, b| truth(a < b)),
        Binary::LessEqual => zip_words(a, b, out, n, |a, b| truth(a <= b)),
        Binary::Equal => zip_words(a, b, out, n, |a, b| truth(a == b)),
    }
}
