//! What becomes of the results of products and convolutions, part by part while they are in a cache.

use super::Job;
use super::isa::Isa;
use super::memory::{Region, Words};
use super::product::Finish;
use super::program::{Space, operands_of};
use super::switch::{Switch, without_unused};
use super::tile::Frame;
use crate::ir::{Binary, DType, Unary};
use crate::plan::{self, Body, BufferRef, Instr, Load, Store};

/// Work of a part of a late epilogue, in tenths of a nanosecond.
const PART_COST: usize = 80_000;
/// Most parts of a late epilogue.
const MAX_PARTS: usize = 32;

/// A program over the results of a product.
pub struct Epilogue {
    program: Switch,
    isa: Isa,
}

/// Where results go.
pub enum Output {
    /// To a buffer, as they are.
    Buffer(Region),
    /// To a program.
    Epilogue(Box<Epilogue>),
}

impl Epilogue {
    /// Compiles an epilogue over the shape of the result.
    pub fn new(shape: &[usize], inputs: &[Region], body: &Body, stores: &[(Store, Region)], isa: Isa) -> Epilogue {
        let space = Space { shape, order: (0..shape.len()).collect(), groups: vec![0; shape.len()] };
        Epilogue { program: Switch::compile(&space, inputs, body, stores, isa), isa }
    }

    /// Elements of the result.
    pub fn positions(&self) -> usize {
        self.program.usual().positions()
    }

    /// Words of scratch memory that [`Epilogue::frame`] takes.
    pub fn scratch_words(&self) -> usize {
        self.program.scratch_words().next_multiple_of(16)
    }

    /// Makes ready to run it; see [`Frame::run`].
    ///
    /// # Safety
    /// As [`Frame::new`].
    pub unsafe fn frame(&self, scratch: *mut u32) -> Frame<'_> {
        // SAFETY: the caller's promise.
        unsafe { Frame::new(self.program.choose(), self.isa, scratch) }
    }

    /// How many parts it is cut into when it runs after the whole product, and their positions.
    pub fn parts(&self) -> (usize, usize) {
        let positions = self.positions();
        let parts = (positions * self.program.usual().cost / PART_COST).clamp(1, MAX_PARTS);
        let part = positions.div_ceil(parts).next_multiple_of(64);
        (positions.div_ceil(part), part)
    }

    /// Runs a part of it on the whole product's results.
    ///
    /// # Safety
    /// As [`Job::run_part`], with [`Epilogue::scratch_words`].
    pub unsafe fn run_part(&self, part: usize, product: *const f32, scratch: *mut u32) {
        let start = part * self.parts().1;
        let len = self.parts().1.min(self.positions() - start);
        // SAFETY: the caller's promise; parts have no position in common.
        unsafe { self.frame(scratch).run(start, len, product.add(start)) };
    }
}

/// What a product does with its sums, while they are in registers, before an epilogue or instead of it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Beginning {
    /// The buffer of what is added to each row, and where it begins there.
    row: Option<(Region, usize)>,
    relu: bool,
}

impl Beginning {
    /// For the columns from one on.
    pub fn at_column(self, column: usize) -> Finish {
        let row = self.row.map(|(region, first)| region.floats().cast_const().wrapping_add(first + column));
        Finish { row, relu: self.relu }
    }
}

/// What of an epilogue over `[rows, columns]` a product does with its sums, and what is left for a program: a bias and
/// `relu` come first in most.
pub fn in_registers(epilogue: &plan::Epilogue, bind: &dyn Fn(&BufferRef) -> Region) -> (Beginning, plan::Output) {
    let plan::Epilogue { shape, inputs, body, stores } = epilogue;
    let mut beginning = Beginning::default();
    // The only reader of a register.
    let reader = |reg: usize| {
        let is_operand = |at: &usize| operands_of(&body.instrs[*at]).contains(&reg);
        let mut readers = (0..body.instrs.len()).filter(is_operand);
        let first = readers.next()?;
        let is_only = readers.next().is_none() && stores.iter().all(|store| usize::from(store.reg) != reg);
        is_only.then_some(first)
    };
    // One number for each column, which stays as it is.
    let row = |reg: usize| {
        let Instr::Load(Load { input, access }) = &body.instrs[reg] else { return None };
        let buffer = inputs[*input];
        let stays = stores.iter().all(|store| store.output.place != buffer.place);
        let is_row = access.strides == [0, 1] && access.indirect.is_empty();
        let is_inside = access.offset + shape[1] <= buffer.len;
        (is_row && is_inside && stays && buffer.dtype == DType::F32).then(|| (bind(&buffer), access.offset))
    };
    let Some(mut value) = body.instrs.iter().position(|instr| *instr == Instr::Product) else {
        return (beginning, plan::Output::Epilogue(Box::new(epilogue.clone())));
    };
    if let Some(next) = reader(value)
        && let Instr::Binary(Binary::Add, a, b) = &body.instrs[next]
        && let other = usize::from(if usize::from(*a) == value { *b } else { *a })
        && other != value
        && let Some(row) = row(other)
    {
        (beginning.row, value) = (Some(row), next);
    }
    if let Some(next) = reader(value)
        && matches!(body.instrs[next], Instr::Unary(Unary::Relu, _))
    {
        (beginning.relu, value) = (true, next);
    }
    let mut body = body.clone();
    body.instrs[value] = Instr::Product;
    let (body, regs) = without_unused(&body, stores.iter().map(|store| store.reg));
    let stores: Vec<Store> = stores.iter().zip(regs).map(|(store, reg)| Store { reg, ..store.clone() }).collect();
    if let ([Instr::Product], [Store { output, access, .. }]) = (&body.instrs[..], &stores[..])
        && access.offset == 0
        && access.strides == [shape[1], 1]
        && (output.len, output.dtype) == (shape.iter().product(), DType::F32)
    {
        return (beginning, plan::Output::Buffer(*output));
    }
    let (shape, inputs) = (shape.clone(), inputs.clone());
    (beginning, plan::Output::Epilogue(Box::new(plan::Epilogue { shape, inputs, body, stores })))
}

impl Output {
    /// Words of scratch memory that the epilogue takes.
    pub fn scratch_words(&self) -> usize {
        match self {
            Output::Buffer(_) => 0,
            Output::Epilogue(epilogue) => epilogue.scratch_words(),
        }
    }

    /// Panics unless there are exactly `len` results.
    pub fn expect_floats(&self, len: usize, what: &str) {
        match self {
            Output::Buffer(region) => region.expect_floats(len, what),
            Output::Epilogue(epilogue) => assert_eq!(epilogue.positions(), len, "{what} has its epilogue's positions"),
        }
    }
}

/// A kernel whose epilogue runs after all of its results are in memory of its own.
pub struct Late {
    kernel: Box<dyn Job>,
    epilogue: Box<Epilogue>,
    results: Words,
}

impl Late {
    /// A kernel that has `len` results, with what becomes of them; `build` gives the one that writes them to a buffer.
    pub fn build(output: Output, len: usize, build: impl FnOnce(Region) -> Box<dyn Job>) -> Box<dyn Job> {
        output.expect_floats(len, "a result");
        match output {
            Output::Buffer(out) => build(out),
            Output::Epilogue(epilogue) => {
                let results = Words::zeroed(len);
                Box::new(Late { kernel: build(results.region()), epilogue, results })
            }
        }
    }
}

impl Job for Late {
    fn phases(&self) -> usize {
        self.kernel.phases() + 1
    }

    fn parts(&self, phase: usize) -> usize {
        if phase < self.kernel.phases() { self.kernel.parts(phase) } else { self.epilogue.parts().0 }
    }

    fn scratch_words(&self) -> usize {
        self.kernel.scratch_words().max(self.epilogue.scratch_words())
    }

    unsafe fn run_part(&self, phase: usize, part: usize, scratch: *mut u32) {
        // SAFETY: the caller's promise.
        unsafe {
            if phase < self.kernel.phases() {
                self.kernel.run_part(phase, part, scratch);
            } else {
                self.epilogue.run_part(part, self.results.start().cast(), scratch);
            }
        }
    }
}
