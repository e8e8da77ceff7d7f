//! Programs that are chosen by a number in memory, which their body would look up for every element.
//!
//! Updates of states keep the old value once a step has gone wrong: `select(guard, old, new)`. The guard is the same
//! everywhere, so each of its cases has a program of its own, without selections.

use super::isa::Isa;
use super::memory::Region;
use super::program::{Program, Space, operands_of};
use crate::ir::DType;
use crate::plan::{Body, Instr, Load, Reg, Store};

/// A number in memory that decides.
struct Condition {
    region: Region,
    offset: usize,
}

/// The programs of a body.
pub struct Switch {
    condition: Option<Condition>,
    /// The program, if the number is 0.
    zero: Program,
    /// The program otherwise.
    other: Option<Program>,
}

impl Switch {
    /// Compiles a body; see [`Program::compile`].
    pub fn compile(space: &Space, inputs: &[Region], body: &Body, stores: &[(Store, Region)], isa: Isa) -> Switch {
        let found = find(inputs, body).filter(|(_, condition)| {
            // A kernel that sets the number must not choose by it in the middle.
            !stores.iter().any(|(_, region)| region.overlaps(&condition.region))
        });
        let Some((reg, condition)) = found else {
            return Switch {
                condition: None,
                zero: Program::compile(space, inputs, body, stores, &[], isa),
                other: None,
            };
        };
        let compile = |chooses_first: bool| {
            let (body, stores) = decided(body, stores, reg, chooses_first);
            Program::compile(space, inputs, &body, &stores, &[], isa)
        };
        Switch { condition: Some(condition), zero: compile(false), other: Some(compile(true)) }
    }

    /// The program that the number chooses now.
    ///
    /// # Safety
    /// No one writes the number meanwhile.
    pub unsafe fn choose(&self) -> &Program {
        match (&self.condition, &self.other) {
            (Some(condition), Some(other)) => {
                // SAFETY: `find` has seen that the element is in the buffer; the rest is the caller's promise.
                let is_zero = unsafe {
                    let at = condition.region.words().add(condition.offset);
                    match condition.region.dtype {
                        DType::F32 | DType::F16 => *at.cast::<f32>() == 0.0,
                        DType::U32 | DType::U8 => *at == 0,
                    }
                };
                if is_zero { &self.zero } else { other }
            }
            _ => &self.zero,
        }
    }

    /// The program whose cost and shape decide how work is cut: the usual one.
    pub fn usual(&self) -> &Program {
        &self.zero
    }

    /// Words that a thread needs to run any of them.
    pub fn scratch_words(&self) -> usize {
        let other = self.other.as_ref().map_or(0, Program::scratch_words);
        self.zero.scratch_words().max(other)
    }
}

/// The first register that decides a selection and is one number in memory.
fn find(inputs: &[Region], body: &Body) -> Option<(Reg, Condition)> {
    let number = |load: &Load| {
        let region = inputs[load.input];
        let fixed = load.access.indirect.is_empty() && load.access.strides.iter().all(|stride| *stride == 0);
        (fixed && region.dtype != DType::U8).then_some(Condition { region, offset: load.access.offset })
    };
    body.instrs.iter().find_map(|instr| {
        let Instr::Select(reg, ..) = instr else { return None };
        let condition = match &body.instrs[usize::from(*reg)] {
            Instr::Load(load) => number(load),
            Instr::ToFloat(word) => match &body.instrs[usize::from(*word)] {
                Instr::Load(load) => number(load),
                _ => None,
            },
            _ => None,
        };
        condition.map(|condition| (*reg, condition))
    })
}

/// The body with all selections by `condition` decided, without what then has no use.
fn decided(
    body: &Body,
    stores: &[(Store, Region)],
    condition: Reg,
    chooses_first: bool,
) -> (Body, Vec<(Store, Region)>) {
    // What stands for each register: a selection is what it chooses.
    let mut stands: Vec<Reg> = (0..body.instrs.len() as Reg).collect();
    for (reg, instr) in body.instrs.iter().enumerate() {
        if let Instr::Select(by, a, b) = instr
            && *by == condition
        {
            stands[reg] = stands[usize::from(if chooses_first { *a } else { *b })];
        }
    }
    let mut body = body.clone();
    for instr in &mut body.instrs {
        instr.for_operands(|operand| *operand = stands[usize::from(*operand)]);
    }
    let (body, regs) = without_unused(&body, stores.iter().map(|(store, _)| stands[usize::from(store.reg)]));
    let moved = |((store, region), reg): (&(Store, Region), Reg)| (Store { reg, ..store.clone() }, *region);
    (body, stores.iter().zip(regs).map(moved).collect())
}

/// A body without instructions that none of so many registers need, and what these are called then.
pub fn without_unused(body: &Body, wanted: impl Iterator<Item = Reg> + Clone) -> (Body, Vec<Reg>) {
    let mut used = vec![false; body.instrs.len()];
    wanted.clone().for_each(|reg| used[usize::from(reg)] = true);
    for reg in (0..body.instrs.len()).rev() {
        if used[reg] {
            operands_of(&body.instrs[reg]).into_iter().for_each(|operand| used[operand] = true);
        }
    }
    let mut place = vec![0; body.instrs.len()];
    let mut instrs = Vec::new();
    for (reg, instr) in body.instrs.iter().enumerate().filter(|(reg, _)| used[*reg]) {
        let mut instr = instr.clone();
        instr.for_operands(|operand| *operand = place[usize::from(*operand)]);
        place[reg] = instrs.len() as Reg;
        instrs.push(instr);
    }
    (Body { instrs }, wanted.map(|reg| place[usize::from(reg)]).collect())
}
