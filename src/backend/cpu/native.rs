//! Runs of simple ops as one function of machine code, on processors for which we write it: those with AVX-512 or AVX2.
//!
//! Elsewhere, and where the system gives no memory to run code from, `tile.rs` does the same op by op; results are equal
//! to the bit.

use super::isa::Isa;
use super::program::{Op, Program};

#[cfg(target_arch = "x86_64")]
use super::assemble::{self, Block, assemble};
#[cfg(target_arch = "x86_64")]
use super::program::{for_operands, target};

/// The functions of a program.
#[derive(Debug)]
pub struct Native {
    #[cfg(target_arch = "x86_64")]
    code: memmap2::Mmap,
    functions: Vec<Function>,
}

/// Where a function begins.
#[derive(Debug)]
struct Function {
    usual: usize,
    /// The one that divides where the usual one multiplies by reciprocals, and the divisors.
    divides: Option<(usize, Vec<usize>)>,
}

/// Whether `1/x` keeps its digits, so that multiplying by it may stand for division by `x`.
pub fn has_reciprocal(x: f32) -> bool {
    (1e-30..1e30).contains(&x.abs())
}

/// Whether there is machine code for this op.
#[cfg(target_arch = "x86_64")]
pub fn is_simple(op: &Op, isa: Isa) -> bool {
    assemble::is_there(isa) && assemble::is_simple(op)
}

/// Whether there is machine code for this op.
#[cfg(not(target_arch = "x86_64"))]
pub fn is_simple(_: &Op, _: Isa) -> bool {
    false
}

/// Makes functions of the runs of simple ops in a program. `is_tile` tells for each register whether it is a tile.
#[cfg(target_arch = "x86_64")]
pub fn fuse(program: &mut Program, is_tile: &[bool], isa: Isa) {
    if !assemble::is_there(isa) || is_forbidden() {
        return;
    }
    let steps = schedule(std::mem::take(&mut program.varying), program, isa);
    let mut code = Vec::new();
    let mut functions = Vec::new();
    let mut ops = Vec::new();
    for (at, step) in steps.iter().enumerate() {
        let Step::Run(run) = step else {
            ops.extend(step.ops().iter().cloned());
            continue;
        };
        let is_needed = |reg: usize| {
            let elsewhere = steps.iter().enumerate().filter(|(other, _)| *other != at).flat_map(|(_, step)| step.ops());
            let mut used = program.sinks.iter().any(|sink| sink.reg == reg) || program.reduced.contains(&reg);
            elsewhere.for_each(|op| for_operands(op, &program.sources, |operand| used |= operand == reg));
            used
        };
        let outputs: Vec<usize> = run.iter().map(target).filter(|reg| is_needed(*reg)).collect();
        let mut emit = |by_reciprocal| {
            let assembled = assemble(&Block { ops: run, is_tile, outputs: &outputs, by_reciprocal }, isa);
            let start = code.len();
            code.extend(assembled);
            code.resize(code.len().next_multiple_of(64), 0xCC);
            start
        };
        let divisors: Vec<usize> = run.iter().filter_map(|op| assemble::divisor(op, is_tile)).collect();
        let usual = emit(true);
        let divides = if divisors.is_empty() { None } else { Some((emit(false), divisors)) };
        functions.push(Function { usual, divides });
        let mut inputs = Vec::new();
        run.iter().for_each(|op| for_operands(op, &[], |operand| inputs.push(operand)));
        inputs.sort_unstable();
        inputs.dedup();
        inputs.retain(|reg| run.iter().all(|op| target(op) != *reg));
        ops.push(Op::Native { function: functions.len() - 1, inputs, outputs });
    }
    if functions.is_empty() {
        program.varying = steps.into_iter().flat_map(Step::into_ops).collect();
        return;
    }
    match executable(&code) {
        Ok(code) => {
            program.varying = ops;
            program.native = Some(Native { code, functions });
        }
        // Systems may forbid it.
        Err(_) => program.varying = steps.into_iter().flat_map(Step::into_ops).collect(),
    }
}

#[cfg(test)]
thread_local! {
    /// Whether this thread compiles programs without machine code, to compare with.
    pub static OP_BY_OP: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
}

/// Whether programs are to have no machine code.
#[cfg(all(test, target_arch = "x86_64"))]
fn is_forbidden() -> bool {
    OP_BY_OP.get()
}

/// Whether programs are to have no machine code.
#[cfg(all(not(test), target_arch = "x86_64"))]
fn is_forbidden() -> bool {
    false
}

/// Makes functions of the runs of simple ops in a program.
#[cfg(not(target_arch = "x86_64"))]
pub fn fuse(_: &mut Program, _: &[bool], _: Isa) {}

/// Ops in a new order.
#[cfg(target_arch = "x86_64")]
enum Step {
    One([Op; 1]),
    Run(Vec<Op>),
}

#[cfg(target_arch = "x86_64")]
impl Step {
    fn ops(&self) -> &[Op] {
        match self {
            Step::One(op) => op,
            Step::Run(ops) => ops,
        }
    }

    fn into_ops(self) -> Vec<Op> {
        match self {
            Step::One([op]) => vec![op],
            Step::Run(ops) => ops,
        }
    }
}

/// Longest run; beyond it registers are short more often than not.
#[cfg(target_arch = "x86_64")]
const LONGEST: usize = 48;

/// Brings simple ops together: others move before a run unless they read its results, or write where it may still read.
#[cfg(target_arch = "x86_64")]
fn schedule(ops: Vec<Op>, program: &Program, isa: Isa) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut run: Vec<Op> = Vec::new();
    let mut direct = vec![false; program.n_regs];
    let close = |run: &mut Vec<Op>, steps: &mut Vec<Step>| match run.len() {
        0 => {}
        1 => steps.extend(run.pop().map(|op| Step::One([op]))),
        _ => steps.push(Step::Run(std::mem::take(run))),
    };
    for op in ops {
        if is_simple(&op, isa) {
            if run.len() == LONGEST {
                close(&mut run, &mut steps);
            }
            run.push(op);
            continue;
        }
        if let Op::Direct { to, .. } = &op {
            direct[*to] = true;
        } else {
            let mut waits = direct[target(&op)];
            for_operands(&op, &program.sources, |operand| waits |= run.iter().any(|op| target(op) == operand));
            if waits {
                close(&mut run, &mut steps);
            }
        }
        steps.push(Step::One([op]));
    }
    close(&mut run, &mut steps);
    steps
}

/// Memory to run code from.
#[cfg(target_arch = "x86_64")]
fn executable(code: &[u8]) -> std::io::Result<memmap2::Mmap> {
    let mut memory = memmap2::MmapMut::map_anon(code.len())?;
    memory.copy_from_slice(code);
    memory.make_exec()
}

impl Native {
    /// Runs a function on `len` elements.
    ///
    /// # Safety
    /// As [`super::tile::Frame::eval`]: there is a pointer for each register, its inputs have values, and its outputs have
    /// room for `len` elements.
    #[inline(always)]
    pub unsafe fn run(&self, function: usize, pointers: *const *mut u32, len: usize) {
        let function = &self.functions[function];
        let mut start = function.usual;
        if let Some((divides, divisors)) = &function.divides {
            // SAFETY: the caller's promise.
            let divisor = |reg: &usize| unsafe { *(*pointers.add(*reg)).cast::<f32>() };
            if !divisors.iter().all(|reg| has_reciprocal(divisor(reg))) {
                start = *divides;
            }
        }
        #[cfg(target_arch = "x86_64")]
        // SAFETY: there is a function at `start`, which follows this convention; the rest is the caller's promise.
        unsafe {
            type Code = unsafe extern "sysv64" fn(*const *mut u32, usize);
            let code: Code = std::mem::transmute(self.code.as_ptr().add(start));
            code(pointers, len);
        }
        #[cfg(not(target_arch = "x86_64"))]
        unreachable!("there is no function at {start} for {len} elements of {pointers:?}");
    }
}
