//! Machine code for runs of ops, whose values stay in registers from one op to the next.
//!
//! A function gets the registers' addresses and a length: `code(pointers, len)`. It goes through the tiles a vector at a
//! time; the rest are loaded and stored under a mask. What is one number for the whole tile is read before the loop. Values
//! that find no register wait on the stack. Each op does with each element what `tile.rs` does, to the bit.

mod avx2;
mod avx512;
mod writer;

use std::collections::BTreeMap;

use iced_x86::{Code, Instruction, MemoryOperand, Register};

use self::avx2::Avx2;
use self::avx512::Avx512;
use self::writer::Writer;
use super::isa::Isa;
use super::program::Op;
use crate::ir::{Binary, Unary};

/// Where the registers' addresses, the length and the element are, as the System V convention passes them.
const POINTERS: Register = Register::RDI;
const LEN: Register = Register::RSI;
const AT: Register = Register::RCX;
/// The end of the whole vectors.
const WHOLE: Register = Register::RDX;
/// An address.
const ADDRESS: Register = Register::RAX;
/// Labels of the loop, of what follows it, and of the end.
const LOOP: u64 = 1;
const TAIL: u64 = 2;
const END: u64 = 3;

/// Instructions for vectors of one length. Registers are numbers; no instruction before the last one of an op writes the
/// result, which may lie where an operand did.
trait Vectors {
    /// Floats of a vector, and its bytes.
    const LANES: usize;
    const BYTES: usize = 4 * Self::LANES;
    /// Registers for values, and how many of them may hold what is read before the loop.
    const REGISTERS: u32;
    const FIXED: usize;

    /// The bits that an op needs in every lane of a register.
    fn bits_of(op: &Op) -> Vec<u32>;
    /// Makes the mask of the `LEN` elements that are left.
    fn mask_rest(to: &mut Writer);
    /// Reads a vector, of which the elements that are left if `masked`.
    fn load(to: &mut Writer, number: u32, from: MemoryOperand, masked: bool);
    /// Writes a vector, of which the elements that are left if `masked`.
    fn store(to: &mut Writer, into: MemoryOperand, number: u32, masked: bool);
    /// Repeats the bits in `EAX`.
    fn spread_bits(to: &mut Writer, number: u32);
    /// Repeats a number in memory.
    fn spread_number(to: &mut Writer, number: u32, from: MemoryOperand);
    /// `result = f(operands)`; `bits` tells the registers of what [`Vectors::bits_of`] wants.
    fn op(to: &mut Writer, op: &Op, result: u32, operands: &[u32], bits: &dyn Fn(u32) -> u32);
    /// `result = a·b`, or `a/b`.
    fn scale(to: &mut Writer, divide: bool, result: u32, a: u32, b: u32);
}

/// What lies in a register, or on the stack, before the loop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Fixed {
    /// These bits in every lane.
    Bits(u32),
    /// A number.
    Number(usize),
    /// One over a number.
    Reciprocal(usize),
}

/// What a register can hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Item {
    Fixed(Fixed),
    /// The value of a register of the program.
    Value(usize),
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
        | Op::Position { .. }
        | Op::ToWord { .. }
        | Op::Random { .. }
        | Op::Product { .. }
        | Op::Fold { .. }
        | Op::Native { .. } => false,
    }
}

/// The number that an op divides a tile by, if it does.
pub fn divisor(op: &Op, is_tile: &[bool]) -> Option<usize> {
    match op {
        Op::Float { function: Binary::Divide, a, b, .. } if is_tile[*a] && !is_tile[*b] => Some(*b),
        _ => None,
    }
}

/// Whether [`assemble`] writes code for these processors, and this one can run it.
pub fn is_there(isa: Isa) -> bool {
    match isa {
        Isa::Baseline | Isa::Neon => false,
        Isa::Avx2 => std::arch::is_x86_feature_detected!("f16c"),
        Isa::Avx512 => std::arch::is_x86_feature_detected!("bmi2"),
    }
}

/// The code of a block, which does not depend on where it lies.
///
/// # Panics
/// Unless [`is_there`].
pub fn assemble(block: &Block<'_>, isa: Isa) -> Vec<u8> {
    match isa {
        Isa::Baseline | Isa::Neon => unreachable!("there is no code for {isa}"),
        Isa::Avx2 => Assembler::<Avx2>::function(block),
        Isa::Avx512 => Assembler::<Avx512>::function(block),
    }
}

/// The registers that a simple op reads.
fn operands(op: &Op) -> Vec<usize> {
    let mut operands = Vec::new();
    super::program::for_operands(op, &[], |operand| operands.push(operand));
    operands
}

struct Assembler<'a, V> {
    block: &'a Block<'a>,
    /// The ops that read each register, in order.
    uses: BTreeMap<usize, Vec<usize>>,
    to: Writer,
    /// The vector register of each item that has one.
    place: BTreeMap<Item, u32>,
    /// Items whose registers are not taken from them.
    resident: Vec<Item>,
    /// The place on the stack of each item that has one.
    slots: BTreeMap<Item, usize>,
    /// How many places there are.
    n_slots: usize,
    /// Vector registers that hold nothing.
    free: Vec<u32>,
    vectors: std::marker::PhantomData<V>,
}

impl<V: Vectors> Assembler<'_, V> {
    fn function(block: &Block<'_>) -> Vec<u8> {
        let mut uses: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for (at, op) in block.ops.iter().enumerate() {
            operands(op).into_iter().for_each(|operand| uses.entry(operand).or_default().push(at));
        }
        let mut assembler = Assembler::<V> {
            block,
            uses,
            to: Writer::default(),
            place: BTreeMap::new(),
            resident: Vec::new(),
            slots: BTreeMap::new(),
            n_slots: 0,
            free: (0..V::REGISTERS).rev().collect(),
            vectors: std::marker::PhantomData,
        };
        assembler.read_fixed();
        let to = &mut assembler.to;
        to.push(Instruction::with2(Code::Xor_r32_rm32, Register::ECX, Register::ECX));
        to.push(Instruction::with2(Code::Mov_r64_rm64, WHOLE, LEN));
        to.push(Instruction::with2(Code::And_rm64_imm8, WHOLE, -(V::LANES as i32)));
        to.push(Instruction::with_branch(Code::Je_rel32_64, TAIL));
        to.label(LOOP);
        assembler.body(false);
        let to = &mut assembler.to;
        to.push(Instruction::with2(Code::Add_rm64_imm8, AT, V::LANES as i32));
        to.push(Instruction::with2(Code::Cmp_r64_rm64, AT, WHOLE));
        to.push(Instruction::with_branch(Code::Jb_rel32_64, LOOP));
        to.label(TAIL);
        to.push(Instruction::with2(Code::Cmp_r64_rm64, AT, LEN));
        to.push(Instruction::with_branch(Code::Jae_rel32_64, END));
        to.push(Instruction::with2(Code::Sub_r64_rm64, LEN, AT));
        V::mask_rest(to);
        assembler.body(true);
        let to = &mut assembler.to;
        to.label(END);
        to.push(Ok(Instruction::with(Code::VEX_Vzeroupper)));
        let room = assembler.n_slots * V::BYTES;
        assembler.to.finish(room)
    }

    /// Reads what is the same for all elements, the most used to registers, the rest to the stack.
    fn read_fixed(&mut self) {
        let mut counts: BTreeMap<Fixed, usize> = BTreeMap::new();
        for op in self.block.ops {
            self.fixed_of(op).into_iter().for_each(|fixed| *counts.entry(fixed).or_default() += 1);
        }
        let mut by_use: Vec<Fixed> = counts.keys().copied().collect();
        by_use.sort_by_key(|fixed| std::cmp::Reverse(counts[fixed]));
        let resident = &by_use[..by_use.len().min(V::FIXED)];
        // `Bits` come first, so that a reciprocal finds its one.
        for fixed in counts.keys() {
            let item = Item::Fixed(*fixed);
            let number = self.free.pop().unwrap_or_else(|| unreachable!("few registers are resident"));
            match *fixed {
                Fixed::Bits(bits) => {
                    self.to.push(Instruction::with2(Code::Mov_r32_imm32, Register::EAX, bits));
                    V::spread_bits(&mut self.to, number);
                }
                Fixed::Number(reg) => self.read_number(reg, number),
                Fixed::Reciprocal(reg) => {
                    self.read_number(reg, number);
                    let one = self.register(Item::Fixed(Fixed::Bits(1.0_f32.to_bits())), &[], 0, false);
                    V::scale(&mut self.to, true, number, one, number);
                }
            }
            if resident.contains(fixed) {
                self.place.insert(item, number);
                self.resident.push(item);
            } else {
                self.save(item, number);
                self.free.push(number);
            }
        }
    }

    /// What an op wants to be read before the loop.
    fn fixed_of(&self, op: &Op) -> Vec<Fixed> {
        let mut wanted: Vec<Fixed> = V::bits_of(op).into_iter().map(Fixed::Bits).collect();
        let divisor = self.divisor(op);
        if let Some(divisor) = divisor {
            wanted.extend([Fixed::Bits(1.0_f32.to_bits()), Fixed::Reciprocal(divisor)]);
        }
        let numbers = operands(op).into_iter().filter(|reg| !self.block.is_tile[*reg] && Some(*reg) != divisor);
        wanted.extend(numbers.map(Fixed::Number));
        wanted
    }

    /// The number that a division by its reciprocal divides by.
    fn divisor(&self, op: &Op) -> Option<usize> {
        divisor(op, self.block.is_tile).filter(|_| self.block.by_reciprocal)
    }

    fn read_number(&mut self, reg: usize, number: u32) {
        self.address(reg);
        V::spread_number(&mut self.to, number, MemoryOperand::with_base(ADDRESS));
    }

    /// Reads where a register's value lies.
    fn address(&mut self, reg: usize) {
        let from = MemoryOperand::with_base_displ(POINTERS, 8 * reg as i64);
        self.to.push(Instruction::with2(Code::Mov_r64_rm64, ADDRESS, from));
    }

    /// Writes an item to the stack.
    fn save(&mut self, item: Item, number: u32) {
        let slot = *self.slots.entry(item).or_insert_with(|| {
            self.n_slots += 1;
            self.n_slots - 1
        });
        V::store(&mut self.to, stack(slot * V::BYTES), number, false);
    }

    /// All ops for the vector at [`AT`].
    fn body(&mut self, masked: bool) {
        let resident: Vec<u32> = self.resident.iter().map(|item| self.place[item]).collect();
        self.place.retain(|item, _| self.resident.contains(item));
        self.free = (0..V::REGISTERS).rev().filter(|number| !resident.contains(number)).collect();
        // What the loop has saved is no longer there.
        self.slots.retain(|item, _| matches!(item, Item::Fixed(_)));
        for (at, op) in self.block.ops.iter().enumerate() {
            self.op(at, op, masked);
        }
    }

    /// The next op from `at` on that reads an item.
    fn next_use(&self, item: Item, at: usize) -> usize {
        match item {
            Item::Fixed(_) => at + 1,
            Item::Value(reg) => {
                let uses = self.uses.get(&reg).map_or(&[][..], Vec::as_slice);
                uses.get(uses.partition_point(|user| *user < at)).copied().unwrap_or(usize::MAX)
            }
        }
    }

    /// A register that holds nothing, if need be after what it held was saved; those of `pinned` keep what they hold.
    fn take(&mut self, pinned: &[Item], at: usize) -> u32 {
        if let Some(number) = self.free.pop() {
            return number;
        }
        let movable = self.place.keys().filter(|item| !self.resident.contains(item) && !pinned.contains(item));
        let item = *(movable.max_by_key(|item| self.next_use(**item, at)))
            .unwrap_or_else(|| unreachable!("an op has fewer operands than there are registers"));
        let number = self.place[&item];
        if let Item::Value(reg) = item {
            // What lies in a tile is read again from there: nothing writes to a tile before its last use.
            let computed = self.block.ops[..at].iter().any(|op| super::program::target(op) == reg);
            if computed && !self.slots.contains_key(&item) {
                self.save(item, number);
            }
        }
        self.place.remove(&item);
        number
    }

    /// The register of an item, which is read if it is not in one.
    fn register(&mut self, item: Item, pinned: &[Item], at: usize, masked: bool) -> u32 {
        if let Some(number) = self.place.get(&item) {
            return *number;
        }
        let number = self.take(pinned, at);
        if let Some(slot) = self.slots.get(&item) {
            V::load(&mut self.to, number, stack(slot * V::BYTES), false);
        } else if let Item::Value(reg) = item {
            self.address(reg);
            V::load(&mut self.to, number, MemoryOperand::with_base_index_scale(ADDRESS, AT, 4), masked);
        } else {
            unreachable!("{item:?} is read before the loop");
        }
        self.place.insert(item, number);
        number
    }

    fn op(&mut self, at: usize, op: &Op, masked: bool) {
        let divisor = self.divisor(op);
        let item = |reg: usize| match self.block.is_tile[reg] {
            _ if Some(reg) == divisor => Item::Fixed(Fixed::Reciprocal(reg)),
            true => Item::Value(reg),
            false => Item::Fixed(Fixed::Number(reg)),
        };
        let values: Vec<Item> = operands(op).into_iter().map(item).collect();
        let wanted = V::bits_of(op);
        let mut pinned = values.clone();
        pinned.extend(wanted.iter().map(|bits| Item::Fixed(Fixed::Bits(*bits))));
        let mut read = |item: Item| self.register(item, &pinned, at, masked);
        let numbers: Vec<u32> = values.iter().map(|item| read(*item)).collect();
        let bits: Vec<u32> = wanted.iter().map(|bits| read(Item::Fixed(Fixed::Bits(*bits)))).collect();
        // Values end here; the result may lie where one did.
        for item in &values {
            if let Item::Value(_) = item
                && self.next_use(*item, at + 1) == usize::MAX
                && let Some(number) = self.place.remove(item)
            {
                self.free.push(number);
            }
        }
        let result = self.take(&pinned, at);
        if divisor.is_some() {
            V::scale(&mut self.to, false, result, numbers[0], numbers[1]);
        } else {
            let bits_at = |of: u32| {
                let at = wanted.iter().position(|bits| *bits == of);
                bits[at.unwrap_or_else(|| unreachable!("`bits_of` names all: {of:#x} of {op:?}"))]
            };
            V::op(&mut self.to, op, result, &numbers, &bits_at);
        }
        let target = super::program::target(op);
        if self.block.outputs.contains(&target) {
            self.address(target);
            V::store(&mut self.to, MemoryOperand::with_base_index_scale(ADDRESS, AT, 4), result, masked);
        }
        if self.uses.contains_key(&target) {
            self.place.insert(Item::Value(target), result);
        } else {
            self.free.push(result);
        }
    }
}

/// A place on the stack.
fn stack(byte: usize) -> MemoryOperand {
    MemoryOperand::with_base_displ(Register::RSP, byte as i64)
}
