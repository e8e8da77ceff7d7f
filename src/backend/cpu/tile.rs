//! Runs programs over tiles.

use std::cell::Cell;

use super::fold;
use super::isa::{Arithmetic, Isa, for_each_isa};
use super::math;
use super::memory::Region;
use super::native::has_reciprocal;
use super::philox;
use super::program::{Form, MAX_RANK, Op, Position, Program, Sink, Source};
use super::vector::{LINE, Vector, copy_row, prefetch};
use crate::ir::{Binary, DType, random};

/// A thread's registers for one program: where each one's value lies now.
pub struct Frame<'a> {
    program: &'a Program,
    isa: Isa,
    /// By register: its tile, its number, or the elements of a buffer.
    pointers: *mut *mut u32,
    /// The results of a product at the positions of the tile, if the program follows one.
    product: Cell<*const f32>,
}

impl<'a> Frame<'a> {
    /// Lays out the registers in scratch memory and computes what is the same everywhere.
    ///
    /// # Safety
    /// `scratch` has [`Program::scratch_words`] words, aligned to 64 bytes, that no one else uses while the frame
    /// lives, and the buffers of the program may be used as its kernel says.
    pub unsafe fn new(program: &'a Program, isa: Isa, scratch: *mut u32) -> Frame<'a> {
        let frame = Frame { program, isa, pointers: scratch.cast(), product: Cell::new(std::ptr::null()) };
        // SAFETY: all are inside `scratch_words`; the rest is the caller's promise.
        unsafe {
            for (reg, place) in program.places.iter().enumerate() {
                *frame.pointers.add(reg) = scratch.add(*place as usize);
            }
            for (reg, bits) in &program.literals {
                *frame.at(*reg) = *bits;
            }
            run_ops(isa, &program.constant, &frame, &[0; MAX_RANK], 1);
        }
        frame
    }

    /// Runs the program at `len` positions from `start` on, tile by tile. `product` are the results of the product that
    /// it follows, at these positions.
    ///
    /// # Safety
    /// As [`Frame::new`]; the positions are inside the iteration space and this thread's.
    pub unsafe fn run(&self, start: usize, len: usize, product: *const f32) {
        let inner = self.program.inner();
        let mut done = 0;
        while done < len {
            let at = start + done;
            let row = if self.program.by_rows { inner - at % inner } else { usize::MAX };
            let tile = self.program.tile.min(len - done).min(row);
            self.product.set(product.wrapping_add(done));
            // SAFETY: the caller's promise; tiles end at the ends of rows.
            unsafe { self.eval(at, tile) };
            done += tile;
        }
    }

    /// Computes all registers for `len` positions from `start` on, and stores what is to be stored.
    ///
    /// # Safety
    /// As [`Frame::new`]; the positions are inside the iteration space, at most a tile, and if the program goes by
    /// rows, inside one row.
    pub unsafe fn eval(&self, start: usize, len: usize) {
        let program = self.program;
        debug_assert!(len <= program.tile && start + len <= program.positions());
        let position = decode(&program.dims, start);
        // SAFETY: the caller's promise.
        unsafe {
            if !program.row.is_empty() {
                run_ops(self.isa, &program.row, self, &position, 1);
            }
            run_ops(self.isa, &program.varying, self, &position, len);
            for sink in program.sinks.iter().filter(|sink| !sink.direct) {
                store(sink, self, &position, len);
            }
        }
    }

    /// The value of a register in the tile computed last.
    ///
    /// # Safety
    /// The register is of floats and has a tile of at least `len`.
    pub unsafe fn floats(&self, reg: usize, len: usize) -> &[f32] {
        // SAFETY: the caller's promise.
        unsafe { std::slice::from_raw_parts(self.at(reg).cast(), len) }
    }

    fn at(&self, reg: usize) -> *mut u32 {
        debug_assert!(reg < self.program.n_regs);
        // SAFETY: there is a pointer for each register.
        unsafe { *self.pointers.add(reg) }
    }

    fn set(&self, reg: usize, pointer: *mut u32) {
        debug_assert!(reg < self.program.n_regs);
        // SAFETY: as above.
        unsafe { *self.pointers.add(reg) = pointer }
    }
}

/// The position with this number in row-major order.
fn decode(dims: &[usize], mut number: usize) -> Position {
    let mut position = [0; MAX_RANK];
    if number == 0 {
        // Divisions take long.
        return position;
    }
    for (axis, dim) in dims.iter().enumerate().skip(1).rev() {
        position[axis] = number % dim;
        number /= dim;
    }
    position[0] = number;
    position
}

/// The place along an axis. Read by itself: positions are written number by number, and reading one as a vector just
/// afterwards would wait for all stores before it, those of the last tile to memory among them.
#[inline(always)]
fn place_along(position: &Position, axis: usize) -> usize {
    // SAFETY: a reference to a number.
    unsafe { std::ptr::read_volatile(&position[axis]) }
}

fn dot(strides: &[usize], position: &Position) -> usize {
    strides.iter().enumerate().map(|(axis, stride)| stride * place_along(position, axis)).sum()
}

/// Calls `visit(done, run, position, base)` for each straight run of a tile: elements before it, its length, the
/// position where it begins and the sum of strides there.
#[inline(always)]
fn for_runs(
    dims: &[usize],
    strides: &[usize],
    start: &Position,
    len: usize,
    mut visit: impl FnMut(usize, usize, &Position, usize),
) {
    let last = dims.len() - 1;
    let mut position = [0; MAX_RANK];
    (0..dims.len()).for_each(|axis| position[axis] = place_along(start, axis));
    let mut base = dot(strides, start);
    let mut done = 0;
    loop {
        let run = (dims[last] - position[last]).min(len - done);
        visit(done, run, &position, base);
        done += run;
        if done == len {
            return;
        }
        base -= position[last] * strides[last];
        position[last] = 0;
        for axis in (0..last).rev() {
            position[axis] += 1;
            base += strides[axis];
            if position[axis] < dims[axis] {
                break;
            }
            base -= strides[axis] * dims[axis];
            position[axis] = 0;
        }
    }
}

for_each_isa! {
    /// Runs ops on `len` positions from `position` on.
    ///
    /// # Safety
    /// As [`Frame::eval`], and the processor has `isa`.
    unsafe fn run_ops(ops: &[Op], frame: &Frame<'_>, position: &Position, len: usize) = run_ops_body
}

/// # Safety
/// As [`run_ops`].
#[inline(always)]
unsafe fn run_ops_body<A: Arithmetic>(ops: &[Op], frame: &Frame<'_>, position: &Position, len: usize) {
    // SAFETY: every register has room for `len` elements (1 if it is not of this rate), and `Program` gives no op a
    // result that shares memory with its operands.
    unsafe {
        let floats = |reg: usize| std::slice::from_raw_parts(frame.at(reg).cast_const().cast::<f32>(), len);
        let words = |reg: usize| std::slice::from_raw_parts(frame.at(reg).cast_const(), len);
        let floats_mut = |reg: usize| std::slice::from_raw_parts_mut(frame.at(reg).cast::<f32>(), len);
        let words_mut = |reg: usize| std::slice::from_raw_parts_mut(frame.at(reg), len);
        let float = |reg: usize| *frame.at(reg).cast::<f32>();
        let word = |reg: usize| *frame.at(reg);
        for op in ops {
            match op {
                Op::Load { to, source } => {
                    load::<A::Vector>(&frame.program.sources[*source], frame, words_mut(*to), position);
                }
                Op::Alias { to, source } => {
                    let source = &frame.program.sources[*source];
                    let index = indirect(source, frame, 0, source.offset + dot(&source.strides, position), len, 1);
                    frame.set(*to, source.region.words().add(index));
                }
                Op::Direct { to, sink } => {
                    let sink = &frame.program.sinks[*sink];
                    frame.set(*to, sink.region.words().add(sink.offset + dot(&sink.strides, position)));
                }
                Op::Position { to, axis: None, offset } => words_mut(*to).fill(*offset),
                Op::Position { to, axis: Some(axis), offset } => {
                    count(frame.program, *axis, *offset, words_mut(*to), position);
                }
                Op::Unary { to, function, x } => math::unary::<A>(*function, floats_mut(*to), floats(*x)),
                Op::Float { to, function, form, a, b } => {
                    let to = floats_mut(*to);
                    match form {
                        Form::Tiles => float_op(*function, to, floats(*a), floats(*b), |x, i| x[i], |x, i| x[i]),
                        Form::ScalarTile => float_op(*function, to, float(*a), floats(*b), |x, _| x, |x, i| x[i]),
                        Form::TileScalar => {
                            let (function, b) = by_reciprocal(*function, float(*b));
                            float_op(function, to, floats(*a), b, |x, i| x[i], |x, _| x);
                        }
                        Form::Scalars => float_op(*function, to, float(*a), float(*b), |x, _| x, |x, _| x),
                    }
                }
                Op::Whole { to, function, form, a, b } => {
                    let to = words_mut(*to);
                    match form {
                        Form::Tiles => whole_op(*function, to, words(*a), words(*b), |x, i| x[i], |x, i| x[i]),
                        Form::ScalarTile => whole_op(*function, to, word(*a), words(*b), |x, _| x, |x, i| x[i]),
                        Form::TileScalar => whole_op(*function, to, words(*a), word(*b), |x, i| x[i], |x, _| x),
                        Form::Scalars => whole_op(*function, to, word(*a), word(*b), |x, _| x, |x, _| x),
                    }
                }
                Op::Select { to, condition, uniform: true, form, a, b } => {
                    let (chosen, is_tile) = if float(*condition) != 0.0 {
                        (*a, matches!(form, Form::Tiles | Form::TileScalar))
                    } else {
                        (*b, matches!(form, Form::Tiles | Form::ScalarTile))
                    };
                    if is_tile {
                        words_mut(*to).copy_from_slice(words(chosen));
                    } else {
                        words_mut(*to).fill(word(chosen));
                    }
                }
                Op::Select { to, condition, uniform: false, form, a, b } => {
                    let (to, condition) = (words_mut(*to), floats(*condition));
                    match form {
                        Form::Tiles => select(to, condition, words(*a), words(*b), |x, i| x[i], |x, i| x[i]),
                        Form::ScalarTile => select(to, condition, word(*a), words(*b), |x, _| x, |x, i| x[i]),
                        Form::TileScalar => select(to, condition, words(*a), word(*b), |x, i| x[i], |x, _| x),
                        Form::Scalars => select(to, condition, word(*a), word(*b), |x, _| x, |x, _| x),
                    }
                }
                Op::ToWord { to, x } => {
                    words_mut(*to).iter_mut().zip(floats(*x)).for_each(|(to, x)| *to = *x as u32);
                }
                Op::ToFloat { to, x } => {
                    floats_mut(*to).iter_mut().zip(words(*x)).for_each(|(to, x)| *to = *x as f32);
                }
                Op::RoundToHalf { to, x } => {
                    floats_mut(*to).iter_mut().zip(floats(*x)).for_each(|(to, x)| *to = math::round_to_half(*x));
                }
                Op::Random { to, stream, operands: [low, high, step, index], steps: [0, 0, 0, 1] } => {
                    let (seed, step) = ([word(*low), word(*high)], word(*step));
                    philox::uniform(frame.isa, seed, *stream, step, words(*index), floats_mut(*to));
                }
                Op::Random { to, stream, operands, steps } => {
                    for (at, to) in floats_mut(*to).iter_mut().enumerate() {
                        let [low, high, step, index] =
                            std::array::from_fn(|operand| *frame.at(operands[operand]).add(at * steps[operand]));
                        *to = random::uniform([low, high], *stream, step, index);
                    }
                }
                Op::Splat { to, x } => words_mut(*to).fill(word(*x)),
                Op::Fold { to, kind, x, width } => fold::spread(frame.isa, *kind, floats(*x), *width, words_mut(*to)),
                Op::Product { to } => frame.set(*to, frame.product.get().cast_mut().cast()),
                Op::Native { function, .. } => {
                    let native = frame.program.native.as_ref();
                    let native = native.unwrap_or_else(|| unreachable!("a program has the functions that it calls"));
                    native.run(*function, frame.pointers, len);
                }
            }
        }
    }
}

#[inline(always)]
fn zip<T: Copy, X: Copy, Y: Copy, R>(
    to: &mut [R],
    a: X,
    b: Y,
    of_a: impl Fn(X, usize) -> T,
    of_b: impl Fn(Y, usize) -> T,
    function: impl Fn(T, T) -> R,
) {
    for (at, to) in to.iter_mut().enumerate() {
        *to = function(of_a(a, at), of_b(b, at));
    }
}

/// Division by one number as multiplication by its reciprocal, which is rounded once more but takes a tenth of the time;
/// not where the reciprocal would lose digits at the ends of the range.
#[inline(always)]
fn by_reciprocal(function: Binary, b: f32) -> (Binary, f32) {
    if function == Binary::Divide && has_reciprocal(b) { (Binary::Multiply, 1.0 / b) } else { (function, b) }
}

#[inline(always)]
fn float_op<X: Copy, Y: Copy>(
    function: Binary,
    to: &mut [f32],
    a: X,
    b: Y,
    of_a: impl Fn(X, usize) -> f32,
    of_b: impl Fn(Y, usize) -> f32,
) {
    let truth = |holds| if holds { 1.0 } else { 0.0 };
    match function {
        Binary::Add => zip(to, a, b, of_a, of_b, |a, b| a + b),
        Binary::Subtract => zip(to, a, b, of_a, of_b, |a, b| a - b),
        Binary::Multiply => zip(to, a, b, of_a, of_b, |a, b| a * b),
        Binary::Divide => zip(to, a, b, of_a, of_b, |a, b| a / b),
        Binary::Max => zip(to, a, b, of_a, of_b, |a, b| if a > b { a } else { b }),
        Binary::Min => zip(to, a, b, of_a, of_b, |a, b| if a < b { a } else { b }),
        Binary::Less => zip(to, a, b, of_a, of_b, |a, b| truth(a < b)),
        Binary::LessEqual => zip(to, a, b, of_a, of_b, |a, b| truth(a <= b)),
        Binary::Equal => zip(to, a, b, of_a, of_b, |a, b| truth(a == b)),
    }
}

#[inline(always)]
fn whole_op<X: Copy, Y: Copy>(
    function: Binary,
    to: &mut [u32],
    a: X,
    b: Y,
    of_a: impl Fn(X, usize) -> u32,
    of_b: impl Fn(Y, usize) -> u32,
) {
    // Comparisons give a float.
    let truth = |holds| if holds { 1.0_f32.to_bits() } else { 0 };
    match function {
        Binary::Add => zip(to, a, b, of_a, of_b, u32::wrapping_add),
        Binary::Subtract => zip(to, a, b, of_a, of_b, u32::wrapping_sub),
        Binary::Multiply => zip(to, a, b, of_a, of_b, u32::wrapping_mul),
        Binary::Divide => unreachable!("words are not divided"),
        Binary::Max => zip(to, a, b, of_a, of_b, u32::max),
        Binary::Min => zip(to, a, b, of_a, of_b, u32::min),
        Binary::Less => zip(to, a, b, of_a, of_b, |a, b| truth(a < b)),
        Binary::LessEqual => zip(to, a, b, of_a, of_b, |a, b| truth(a <= b)),
        Binary::Equal => zip(to, a, b, of_a, of_b, |a, b| truth(a == b)),
    }
}

#[inline(always)]
fn select<X: Copy, Y: Copy>(
    to: &mut [u32],
    condition: &[f32],
    a: X,
    b: Y,
    of_a: impl Fn(X, usize) -> u32,
    of_b: impl Fn(Y, usize) -> u32,
) {
    for (at, (to, condition)) in to.iter_mut().zip(condition).enumerate() {
        let (a, b) = (of_a(a, at), of_b(b, at));
        *to = if *condition != 0.0 { a } else { b };
    }
}

/// Fills a tile with positions along an axis.
#[inline(always)]
fn count(program: &Program, axis: usize, offset: u32, to: &mut [u32], position: &Position) {
    let (len, dims) = (to.len(), &program.dims);
    if !program.tables.is_empty() {
        let strides = [usize::from(axis == 0), usize::from(axis == 1)];
        if let Some((_, table)) = program.tables.iter().find(|(own, _)| *own == strides) {
            let first = offset.wrapping_add((place_along(position, 0) * strides[0]) as u32);
            let table = &table[place_along(position, 1)..][..len];
            return to.iter_mut().zip(table).for_each(|(to, at)| *to = first.wrapping_add(*at));
        }
    }
    for_runs(dims, &[0; MAX_RANK][..dims.len()], position, len, |done, run, position, _| {
        let first = (position[axis] as u32).wrapping_add(offset);
        let to = &mut to[done..done + run];
        if axis == dims.len() - 1 {
            for (at, to) in to.iter_mut().enumerate() {
                *to = first.wrapping_add(at as u32);
            }
        } else {
            to.fill(first);
        }
    });
}

/// Adds the registers' part, as it is at element `at` of the tile, to an index; the run from there stays inside the
/// buffer whatever they hold.
///
/// # Safety
/// As [`run_ops`].
#[inline(always)]
unsafe fn indirect(source: &Source, frame: &Frame<'_>, at: usize, base: usize, run: usize, stride: usize) -> usize {
    if source.indirect.is_empty() {
        return base;
    }
    let mut index = base;
    for (reg, stride, step) in &source.indirect {
        // SAFETY: the register has a value for each element of the tile, or one if `step` is 0.
        index = index.wrapping_add(unsafe { *frame.at(*reg).add(at * step) } as usize * stride);
    }
    index.min(source.region.len - 1 - (run - 1) * stride)
}

/// An inner axis that is short enough for [`load_short_rows`].
const SHORT_ROW: usize = 32;

/// Copies elements whose places are in a table.
///
/// # Safety
/// As [`run_ops`].
#[inline(always)]
unsafe fn load_by_table(source: &Source, table: &[u32], frame: &Frame<'_>, to: &mut [u32], position: &Position) {
    let table = &table[place_along(position, 1)..];
    let base = source.offset + place_along(position, 0) * source.strides[0];
    let last = source.region.len - 1;
    // SAFETY: as `load`; registers have a value for each element of the tile, or one if their step is 0.
    unsafe {
        match &source.indirect[..] {
            [] => gather(&source.region, table, to, |_, at| base + at),
            [(reg, stride, step)] => {
                let own = frame.at(*reg).cast_const();
                let index = |element: usize| *own.add(element * step) as usize * stride;
                gather(&source.region, table, to, |element, at| (base + at).wrapping_add(index(element)).min(last));
            }
            indirect => gather(&source.region, table, to, |element, at| {
                let own =
                    |(reg, stride, step): &(usize, usize, usize)| *frame.at(*reg).add(element * step) as usize * stride;
                indirect.iter().fold(base + at, |index, it| index.wrapping_add(own(it))).min(last)
            }),
        }
    }
}

/// Copies the elements that `index` finds by their number and what is in the table.
///
/// # Safety
/// They are inside the region, which no one writes to.
#[inline(always)]
unsafe fn gather(region: &Region, table: &[u32], to: &mut [u32], index: impl Fn(usize, usize) -> usize) {
    let table = &table[..to.len()];
    // SAFETY: the caller's promise.
    unsafe {
        if region.dtype == DType::U8 {
            let from = region.start().cast_const();
            for (element, (to, at)) in to.iter_mut().zip(table).enumerate() {
                *to = f32::from(*from.add(index(element, *at as usize))).to_bits();
            }
        } else {
            let from = region.words().cast_const();
            for (element, (to, at)) in to.iter_mut().zip(table).enumerate() {
                *to = *from.add(index(element, *at as usize));
            }
        }
    }
}

/// Copies whole rows of a program with two axes, from row `first` on.
///
/// # Safety
/// As [`run_ops`].
#[inline(always)]
unsafe fn load_short_rows<V: Vector>(source: &Source, frame: &Frame<'_>, to: &mut [u32], first: usize, inner: usize) {
    let [along, stride] = [source.strides[0], source.strides[1]];
    if !source.indirect.is_empty() && source.region.dtype != DType::U8 && stride == 1 {
        // Rows in an order of their own, as shuffled samples are, are not foreseen by the processor: all are asked for
        // before the first is waited for.
        for row in 0..to.len() / inner {
            let base = source.offset + (first + row) * along;
            // SAFETY: as below.
            unsafe {
                let index = indirect(source, frame, row * inner, base, inner, stride);
                let from = source.region.words().cast_const().add(index);
                (0..inner).step_by(LINE).for_each(|at| prefetch(from.add(at)));
                prefetch(from.add(inner - 1));
            }
        }
    }
    for (row, to) in to.chunks_exact_mut(inner).enumerate() {
        let base = source.offset + (first + row) * along;
        // SAFETY: as `load`.
        unsafe {
            let index = indirect(source, frame, row * inner, base, inner, stride);
            if source.region.dtype == DType::U8 {
                let from = source.region.start().cast_const().add(index);
                to.iter_mut().enumerate().for_each(|(at, to)| *to = f32::from(*from.add(at * stride)).to_bits());
            } else {
                let from = source.region.words().cast_const().add(index);
                if stride == 1 {
                    let from = std::slice::from_raw_parts(from, inner);
                    copy_row::<V>(bytemuck::cast_slice(from), bytemuck::cast_slice_mut(to));
                } else {
                    to.iter_mut().enumerate().for_each(|(at, to)| *to = *from.add(at * stride));
                }
            }
        }
    }
}

/// Copies the elements that a load reads to a tile.
///
/// # Safety
/// As [`run_ops`].
#[inline(always)]
unsafe fn load<V: Vector>(source: &Source, frame: &Frame<'_>, to: &mut [u32], position: &Position) {
    let dims = &frame.program.dims;
    let len = to.len();
    if let Some(table) = source.table {
        // SAFETY: the caller's promise.
        return unsafe { load_by_table(source, &frame.program.tables[table].1, frame, to, position) };
    }
    if len == 1 && source.indirect.is_empty() && source.region.dtype != DType::U8 {
        let place = source.offset + dot(&source.strides, position);
        // SAFETY: the place is inside the buffer, as below.
        return to[0] = unsafe { *source.region.words().add(place) };
    }
    let stride = source.strides[dims.len() - 1];
    if let [_, inner] = dims[..]
        && inner <= SHORT_ROW
        && !source.scattered
        && place_along(position, 1) == 0
        && len.is_multiple_of(inner)
    {
        // SAFETY: the caller's promise.
        return unsafe { load_short_rows::<V>(source, frame, to, place_along(position, 0), inner) };
    }
    for_runs(dims, &source.strides, position, len, |done, run, _, base| {
        let to = &mut to[done..done + run];
        let base = base + source.offset;
        // SAFETY: `Program::compile` has checked that the affine part stays inside the buffer, and indirect ones
        // are clamped to it. `to` is a tile of the thread.
        unsafe {
            if source.scattered {
                for (at, to) in to.iter_mut().enumerate() {
                    let index = indirect(source, frame, done + at, base + at * stride, 1, 1);
                    *to = match source.region.dtype {
                        DType::U8 => f32::from(*source.region.start().add(index)).to_bits(),
                        DType::F32 | DType::F16 | DType::U32 => *source.region.words().add(index),
                    };
                }
                return;
            }
            let index = indirect(source, frame, done, base, run, stride);
            if source.region.dtype == DType::U8 {
                copy(source.region.start().cast_const().add(index), stride, to, |x| f32::from(x).to_bits());
            } else {
                copy(source.region.words().cast_const().add(index), stride, to, |x| x);
            }
        }
    });
}

/// Copies every `stride`-th element.
///
/// # Safety
/// They are inside an allocation that no one writes to, apart from `to`.
#[inline(always)]
unsafe fn copy<T: Copy>(from: *const T, stride: usize, to: &mut [u32], convert: impl Fn(T) -> u32) {
    // SAFETY: the caller's promise.
    unsafe {
        match stride {
            0 => to.fill(convert(*from)),
            1 => {
                let from = std::slice::from_raw_parts(from, to.len());
                to.iter_mut().zip(from).for_each(|(to, from)| *to = convert(*from));
            }
            _ => to.iter_mut().enumerate().for_each(|(at, to)| *to = convert(*from.add(at * stride))),
        }
    }
}

/// Writes a register to its buffer.
///
/// # Safety
/// As [`Frame::eval`].
unsafe fn store(sink: &Sink, frame: &Frame<'_>, position: &Position, len: usize) {
    let dims = &frame.program.dims;
    let stride = sink.strides[dims.len() - 1];
    let value = frame.at(sink.reg).cast_const();
    for_runs(dims, &sink.strides, position, len, |done, run, _, base| {
        // SAFETY: `Program::compile` has checked the buffer's bounds, and no one else uses these elements. A value
        // that lies in the same buffer is the very element that is written.
        unsafe {
            let to = sink.region.words().add(sink.offset + base);
            match (sink.scalar, stride) {
                (true, _) => (0..run).for_each(|at| *to.add(at * stride) = *value),
                (false, 1) => std::ptr::copy(value.add(done), to, run),
                (false, _) => (0..run).for_each(|at| *to.add(at * stride) = *value.add(done + at)),
            }
        }
    });
}
