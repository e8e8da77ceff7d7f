//! Machine code of AVX-512 for runs of ops, whose values stay in registers from one op to the next.
//!
//! A function gets the registers' addresses and a length: `code(pointers, len)`. It goes through the tiles sixteen
//! elements at a time; the rest are loaded and stored under a mask. What is one number for the whole tile is read before
//! the loop. Each op does with each element what `tile.rs` does, to the bit.

use std::collections::BTreeMap;

use iced_x86::{BlockEncoder, BlockEncoderOptions, Code, Instruction, InstructionBlock, MemoryOperand, Register};

use super::program::Op;
use crate::ir::{Binary, Unary};

/// Most numbers that are read before the loop; other values share what is left of the 32 registers.
const MAX_FIXED: usize = 14;
/// Where the registers' addresses, the length and the element are, as the System V convention passes them.
const POINTERS: Register = Register::RDI;
const LEN: Register = Register::RSI;
const AT: Register = Register::RCX;
/// The end of the whole vectors.
const WHOLE: Register = Register::RDX;
/// An address.
const ADDRESS: Register = Register::RAX;
/// Which elements are left at the end.
const REST: Register = Register::K1;
/// What a comparison found.
const FOUND: Register = Register::K2;
/// Addresses that stand for labels until the code is laid out.
const LOOP: u64 = 1;
const TAIL: u64 = 2;
const END: u64 = 3;
/// That of the first instruction; each needs one of its own.
const FIRST_UNNAMED: u64 = 16;

/// What lies in a register before the loop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Fixed {
    /// These bits in every lane.
    Bits(u32),
    /// A number.
    Number(usize),
    /// One over a number.
    Reciprocal(usize),
}

/// A run of ops to be one function.
pub struct Block<'a> {
    /// The ops, in order.
    pub ops: &'a [Op],
    /// By register: whether it is a tile and not one number.
    pub is_tile: &'a [bool],
    /// Results that others need.
    pub outputs: &'a [usize],
    /// Whether division by one number is multiplication by its reciprocal.
    pub by_reciprocal: bool,
}

/// Whether an op can be part of a block.
pub fn is_simple(op: &Op) -> bool {
    match op {
        Op::Unary { function, .. } => match function {
            Unary::Negate
            | Unary::Abs
            | Unary::Sqrt
            | Unary::Reciprocal
            | Unary::Floor
            | Unary::Relu
            | Unary::NonFinite => true,
            Unary::Sign
            | Unary::Exp
            | Unary::Log
            | Unary::Tanh
            | Unary::Sigmoid
            | Unary::Softplus
            | Unary::Erf
            | Unary::Sin
            | Unary::Cos => false,
        },
        Op::Float { .. }
        | Op::Whole { .. }
        | Op::Select { .. }
        | Op::ToFloat { .. }
        | Op::RoundToHalf { .. }
        | Op::Splat { .. } => true,
        Op::Load { .. }
        | Op::Alias { .. }
        | Op::Direct { .. }
        | Op::Constant { .. }
        | Op::Position { .. }
        | Op::ToWord { .. }
        | Op::Random { .. }
        | Op::Product { .. }
        | Op::Native { .. } => false,
    }
}

/// The code of a block, which does not depend on where it lies; none if it needs more registers than there are.
pub fn assemble(block: &Block<'_>) -> Option<Vec<u8>> {
    let mut assembler = Assembler {
        block,
        last_use: last_uses(block.ops),
        code: Vec::new(),
        fixed: BTreeMap::new(),
        free: Vec::new(),
        place: BTreeMap::new(),
        label: None,
    };
    assembler.function()?;
    let code = InstructionBlock::new(&assembler.code, 0);
    let encoded = BlockEncoder::encode(64, code, BlockEncoderOptions::NONE);
    Some(encoded.unwrap_or_else(|error| unreachable!("every instruction has a code: {error}")).code_buffer)
}

/// The last op that reads each register.
fn last_uses(ops: &[Op]) -> BTreeMap<usize, usize> {
    let mut last_use = BTreeMap::new();
    for (at, op) in ops.iter().enumerate() {
        for_values(op, |operand| _ = last_use.insert(operand, at));
    }
    last_use
}

/// The registers that a simple op reads.
fn for_values(op: &Op, visit: impl FnMut(usize)) {
    super::program::for_operands(op, &[], visit);
}

struct Assembler<'a> {
    block: &'a Block<'a>,
    last_use: BTreeMap<usize, usize>,
    code: Vec<Instruction>,
    /// The vector register of each number.
    fixed: BTreeMap<Fixed, u32>,
    /// Vector registers that hold nothing.
    free: Vec<u32>,
    /// The vector register of each value in the loop.
    place: BTreeMap<usize, u32>,
    /// The label of the next instruction.
    label: Option<u64>,
}

fn vector(number: u32) -> Register {
    Register::ZMM0 + number
}

fn half_vector(number: u32) -> Register {
    Register::YMM0 + number
}

impl Assembler<'_> {
    fn push(&mut self, instruction: Result<Instruction, iced_x86::IcedError>) {
        let mut instruction = instruction.unwrap_or_else(|error| unreachable!("operands fit their code: {error}"));
        instruction.set_ip(self.label.take().unwrap_or(FIRST_UNNAMED + self.code.len() as u64));
        self.code.push(instruction);
    }

    fn function(&mut self) -> Option<()> {
        let mut wanted = Vec::new();
        for op in self.block.ops {
            self.fixed_of(op, &mut wanted);
        }
        wanted.sort_unstable();
        wanted.dedup();
        if wanted.len() > MAX_FIXED {
            return None;
        }
        // `Bits` come first, so that a reciprocal finds its one.
        for (number, fixed) in (0..).zip(wanted) {
            self.read_fixed(fixed, number);
            self.fixed.insert(fixed, number);
        }
        self.push(Instruction::with2(Code::Xor_r32_rm32, Register::ECX, Register::ECX));
        self.push(Instruction::with2(Code::Mov_r64_rm64, WHOLE, LEN));
        self.push(Instruction::with2(Code::And_rm64_imm8, WHOLE, -16));
        self.push(Instruction::with_branch(Code::Je_rel32_64, TAIL));
        self.label = Some(LOOP);
        self.body(false)?;
        self.push(Instruction::with2(Code::Add_rm64_imm8, AT, 16));
        self.push(Instruction::with2(Code::Cmp_r64_rm64, AT, WHOLE));
        self.push(Instruction::with_branch(Code::Jb_rel32_64, LOOP));
        self.label = Some(TAIL);
        self.push(Instruction::with2(Code::Cmp_r64_rm64, AT, LEN));
        self.push(Instruction::with_branch(Code::Jae_rel32_64, END));
        self.push(Instruction::with2(Code::Sub_r64_rm64, LEN, AT));
        self.push(Instruction::with2(Code::Mov_r32_imm32, Register::EAX, -1));
        self.push(Instruction::with3(Code::VEX_Bzhi_r32_rm32_r32, Register::EAX, Register::EAX, Register::ESI));
        self.push(Instruction::with2(Code::VEX_Kmovw_kr_r32, REST, Register::EAX));
        self.body(true)?;
        self.label = Some(END);
        self.push(Ok(Instruction::with(Code::VEX_Vzeroupper)));
        self.push(Ok(Instruction::with(Code::Retnq)));
        Some(())
    }

    /// What an op wants in a register before the loop.
    fn fixed_of(&self, op: &Op, wanted: &mut Vec<Fixed>) {
        let one = Fixed::Bits(1.0_f32.to_bits());
        match op {
            Op::Unary { function, .. } => match function {
                Unary::Negate => wanted.push(Fixed::Bits(0x8000_0000)),
                Unary::Abs => wanted.push(Fixed::Bits(0x7FFF_FFFF)),
                Unary::Reciprocal => wanted.push(one),
                Unary::Relu => wanted.push(Fixed::Bits(0)),
                Unary::NonFinite => wanted.extend([one, Fixed::Bits(0x7F80_0000)]),
                _ => {}
            },
            Op::Float { function, .. } | Op::Whole { function, .. } => match function {
                Binary::Less | Binary::LessEqual | Binary::Equal => wanted.push(one),
                _ => {}
            },
            Op::Select { .. } => wanted.push(Fixed::Bits(0)),
            _ => {}
        }
        if let Some(divisor) = self.divisor(op) {
            wanted.extend([one, Fixed::Reciprocal(divisor)]);
            return for_values(op, |operand| {
                if operand != divisor && !self.block.is_tile[operand] {
                    wanted.push(Fixed::Number(operand));
                }
            });
        }
        for_values(op, |operand| {
            if !self.block.is_tile[operand] {
                wanted.push(Fixed::Number(operand));
            }
        });
    }

    /// The number that a division by its reciprocal divides by.
    fn divisor(&self, op: &Op) -> Option<usize> {
        divisor(op, self.block.is_tile).filter(|_| self.block.by_reciprocal)
    }

    fn read_fixed(&mut self, fixed: Fixed, number: u32) {
        match fixed {
            Fixed::Bits(bits) => {
                self.push(Instruction::with2(Code::Mov_r32_imm32, Register::EAX, bits));
                self.push(Instruction::with2(Code::EVEX_Vpbroadcastd_zmm_k1z_r32, vector(number), Register::EAX));
            }
            Fixed::Number(reg) => self.read_number(reg, number),
            Fixed::Reciprocal(reg) => {
                self.read_number(reg, number);
                let one = self.fixed[&Fixed::Bits(1.0_f32.to_bits())];
                self.three(Code::EVEX_Vdivps_zmm_k1z_zmm_zmmm512b32_er, number, one, number);
            }
        }
    }

    fn read_number(&mut self, reg: usize, number: u32) {
        self.address(reg);
        let from = MemoryOperand::with_base(ADDRESS);
        self.push(Instruction::with2(Code::EVEX_Vbroadcastss_zmm_k1z_xmmm32, vector(number), from));
    }

    /// Reads where a register's value lies.
    fn address(&mut self, reg: usize) {
        let from = MemoryOperand::with_base_displ(POINTERS, 8 * reg as i64);
        self.push(Instruction::with2(Code::Mov_r64_rm64, ADDRESS, from));
    }

    /// `to = f(a, b)`
    fn three(&mut self, code: Code, to: u32, a: u32, b: u32) {
        self.push(Instruction::with3(code, vector(to), vector(a), vector(b)));
    }

    /// All ops for the vector at [`AT`].
    fn body(&mut self, masked: bool) -> Option<()> {
        self.free = (self.fixed.len() as u32..32).rev().collect();
        self.place.clear();
        for (at, op) in self.block.ops.iter().enumerate() {
            self.op(at, op, masked)?;
        }
        Some(())
    }

    /// The vector register of an operand, which is loaded if it is not in one.
    fn value(&mut self, reg: usize, masked: bool) -> Option<u32> {
        if !self.block.is_tile[reg] {
            return Some(self.fixed[&Fixed::Number(reg)]);
        }
        if let Some(number) = self.place.get(&reg) {
            return Some(*number);
        }
        let number = self.free.pop()?;
        self.address(reg);
        let from = MemoryOperand::with_base_index_scale(ADDRESS, AT, 4);
        let mut load = Instruction::with2(Code::EVEX_Vmovups_zmm_k1z_zmmm512, vector(number), from);
        if let Ok(load) = &mut load
            && masked
        {
            load.set_op_mask(REST);
            load.set_zeroing_masking(true);
        }
        self.push(load);
        self.place.insert(reg, number);
        Some(number)
    }

    /// Frees the registers of values whose last use is here.
    fn release(&mut self, at: usize, op: &Op) {
        let mut ended = Vec::new();
        for_values(op, |operand| ended.push(operand));
        for operand in ended {
            if self.last_use.get(&operand) == Some(&at)
                && let Some(number) = self.place.remove(&operand)
            {
                self.free.push(number);
            }
        }
    }

    fn op(&mut self, at: usize, op: &Op, masked: bool) -> Option<()> {
        let target = super::program::target(op);
        // Operands first, then the result, which may lie where an operand did: no instruction before the last one of
        // an op writes the result while an operand is still to be read.
        let number = match op {
            Op::Unary { function, x, .. } => {
                let x = self.value(*x, masked)?;
                self.release(at, op);
                let to = self.free.pop()?;
                self.unary(*function, to, x);
                to
            }
            Op::Float { function, a, b, .. } => {
                let divisor = self.divisor(op);
                let a = self.value(*a, masked)?;
                let b = match divisor {
                    Some(divisor) => self.fixed[&Fixed::Reciprocal(divisor)],
                    None => self.value(*b, masked)?,
                };
                self.release(at, op);
                let to = self.free.pop()?;
                self.float(if divisor.is_some() { Binary::Multiply } else { *function }, to, a, b);
                to
            }
            Op::Whole { function, a, b, .. } => {
                let (a, b) = (self.value(*a, masked)?, self.value(*b, masked)?);
                self.release(at, op);
                let to = self.free.pop()?;
                self.whole(*function, to, a, b);
                to
            }
            Op::Select { condition, a, b, .. } => {
                let condition = self.value(*condition, masked)?;
                let (a, b) = (self.value(*a, masked)?, self.value(*b, masked)?);
                self.release(at, op);
                let to = self.free.pop()?;
                // Not equal, or not ordered.
                self.compare(condition, self.fixed[&Fixed::Bits(0)], 4);
                let mut blend =
                    Instruction::with3(Code::EVEX_Vblendmps_zmm_k1z_zmm_zmmm512b32, vector(to), vector(b), vector(a));
                if let Ok(blend) = &mut blend {
                    blend.set_op_mask(FOUND);
                }
                self.push(blend);
                to
            }
            Op::ToFloat { x, .. } => {
                let x = self.value(*x, masked)?;
                self.release(at, op);
                let to = self.free.pop()?;
                self.push(Instruction::with2(Code::EVEX_Vcvtudq2ps_zmm_k1z_zmmm512b32_er, vector(to), vector(x)));
                to
            }
            Op::RoundToHalf { x, .. } => {
                let x = self.value(*x, masked)?;
                self.release(at, op);
                let to = self.free.pop()?;
                let narrow = Code::EVEX_Vcvtps2ph_ymmm256_k1z_zmm_imm8_sae;
                self.push(Instruction::with3(narrow, half_vector(to), vector(x), 0));
                self.push(Instruction::with2(Code::EVEX_Vcvtph2ps_zmm_k1z_ymmm256_sae, vector(to), half_vector(to)));
                to
            }
            Op::Splat { x, .. } => {
                let x = self.value(*x, masked)?;
                let to = self.free.pop()?;
                self.push(Instruction::with2(Code::EVEX_Vmovaps_zmm_k1z_zmmm512, vector(to), vector(x)));
                to
            }
            _ => unreachable!("a block has simple ops only: {op:?}"),
        };
        if self.block.outputs.contains(&target) {
            self.address(target);
            let to = MemoryOperand::with_base_index_scale(ADDRESS, AT, 4);
            let mut store = Instruction::with2(Code::EVEX_Vmovups_zmmm512_k1z_zmm, to, vector(number));
            if let Ok(store) = &mut store
                && masked
            {
                store.set_op_mask(REST);
            }
            self.push(store);
        }
        if self.last_use.contains_key(&target) {
            self.place.insert(target, number);
        } else {
            self.free.push(number);
        }
        Some(())
    }

    fn unary(&mut self, function: Unary, to: u32, x: u32) {
        let bits = |bits: u32| Fixed::Bits(bits);
        let one = bits(1.0_f32.to_bits());
        match function {
            Unary::Negate => {
                self.three(Code::EVEX_Vpxord_zmm_k1z_zmm_zmmm512b32, to, x, self.fixed[&bits(0x8000_0000)])
            }
            Unary::Abs => self.three(Code::EVEX_Vpandd_zmm_k1z_zmm_zmmm512b32, to, x, self.fixed[&bits(0x7FFF_FFFF)]),
            Unary::Sqrt => {
                self.push(Instruction::with2(Code::EVEX_Vsqrtps_zmm_k1z_zmmm512b32_er, vector(to), vector(x)));
            }
            Unary::Reciprocal => self.three(Code::EVEX_Vdivps_zmm_k1z_zmm_zmmm512b32_er, to, self.fixed[&one], x),
            Unary::Floor => {
                let floor = Code::EVEX_Vrndscaleps_zmm_k1z_zmmm512b32_imm8_sae;
                self.push(Instruction::with3(floor, vector(to), vector(x), 1));
            }
            // The greater of 0 and x; x if it is not a number, or is −0.
            Unary::Relu => self.three(Code::EVEX_Vmaxps_zmm_k1z_zmm_zmmm512b32_sae, to, self.fixed[&bits(0)], x),
            Unary::NonFinite => {
                let exponent = self.fixed[&bits(0x7F80_0000)];
                self.three(Code::EVEX_Vpandd_zmm_k1z_zmm_zmmm512b32, to, x, exponent);
                let equal = Code::EVEX_Vpcmpeqd_kr_k1_zmm_zmmm512b32;
                self.push(Instruction::with3(equal, FOUND, vector(to), vector(exponent)));
                self.truth(to);
            }
            _ => unreachable!("{function:?} is not simple"),
        }
    }

    fn float(&mut self, function: Binary, to: u32, a: u32, b: u32) {
        let code = match function {
            Binary::Add => Code::EVEX_Vaddps_zmm_k1z_zmm_zmmm512b32_er,
            Binary::Subtract => Code::EVEX_Vsubps_zmm_k1z_zmm_zmmm512b32_er,
            Binary::Multiply => Code::EVEX_Vmulps_zmm_k1z_zmm_zmmm512b32_er,
            Binary::Divide => Code::EVEX_Vdivps_zmm_k1z_zmm_zmmm512b32_er,
            // `a > b ? a : b`, and `a < b ? a : b`.
            Binary::Max => Code::EVEX_Vmaxps_zmm_k1z_zmm_zmmm512b32_sae,
            Binary::Min => Code::EVEX_Vminps_zmm_k1z_zmm_zmmm512b32_sae,
            Binary::Less => return self.compared(to, a, b, 0x11),
            Binary::LessEqual => return self.compared(to, a, b, 0x12),
            Binary::Equal => return self.compared(to, a, b, 0x00),
        };
        self.three(code, to, a, b);
    }

    fn whole(&mut self, function: Binary, to: u32, a: u32, b: u32) {
        let compare = |assembler: &mut Self, predicate: i32| {
            let code = Code::EVEX_Vpcmpud_kr_k1_zmm_zmmm512b32_imm8;
            assembler.push(Instruction::with4(code, FOUND, vector(a), vector(b), predicate));
            assembler.truth(to);
        };
        let code = match function {
            Binary::Add => Code::EVEX_Vpaddd_zmm_k1z_zmm_zmmm512b32,
            Binary::Subtract => Code::EVEX_Vpsubd_zmm_k1z_zmm_zmmm512b32,
            Binary::Multiply => Code::EVEX_Vpmulld_zmm_k1z_zmm_zmmm512b32,
            Binary::Max => Code::EVEX_Vpmaxud_zmm_k1z_zmm_zmmm512b32,
            Binary::Min => Code::EVEX_Vpminud_zmm_k1z_zmm_zmmm512b32,
            Binary::Less => return compare(self, 1),
            Binary::LessEqual => return compare(self, 2),
            Binary::Equal => return compare(self, 0),
            Binary::Divide => unreachable!("words are not divided"),
        };
        self.three(code, to, a, b);
    }

    /// Compares floats; the predicates are those of VCMPPS.
    fn compare(&mut self, a: u32, b: u32, predicate: i32) {
        let code = Code::EVEX_Vcmpps_kr_k1_zmm_zmmm512b32_imm8_sae;
        self.push(Instruction::with4(code, FOUND, vector(a), vector(b), predicate));
    }

    fn compared(&mut self, to: u32, a: u32, b: u32, predicate: i32) {
        self.compare(a, b, predicate);
        self.truth(to);
    }

    /// 1 where the comparison holds, 0 elsewhere.
    fn truth(&mut self, to: u32) {
        let one = self.fixed[&Fixed::Bits(1.0_f32.to_bits())];
        let mut copy = Instruction::with2(Code::EVEX_Vmovaps_zmm_k1z_zmmm512, vector(to), vector(one));
        if let Ok(copy) = &mut copy {
            copy.set_op_mask(FOUND);
            copy.set_zeroing_masking(true);
        }
        self.push(copy);
    }
}

/// The number that an op divides a tile by, if it does.
pub fn divisor(op: &Op, is_tile: &[bool]) -> Option<usize> {
    match op {
        Op::Float { function: Binary::Divide, a, b, .. } if is_tile[*a] && !is_tile[*b] => Some(*b),
        _ => None,
    }
}
