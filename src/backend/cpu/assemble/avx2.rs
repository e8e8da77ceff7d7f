//! Instructions of AVX2, FMA and F16C. Masks are vectors, and words have no unsigned comparisons or conversions.

use iced_x86::{Code, Instruction, MemoryOperand, Register};

use super::super::program::Op;
use super::writer::Writer;
use super::{LEN, Vectors};
use crate::ir::{Binary, Unary};

/// Vectors of eight.
pub struct Avx2;

/// What an op has found before its result is written.
const BETWEEN: Register = Register::YMM14;
/// Which elements are left at the end.
const REST: Register = Register::YMM15;
const ONE: u32 = 1.0_f32.to_bits();
const SIGN: u32 = 0x8000_0000;
const EXPONENT: u32 = 0x7F80_0000;
/// What the upper half of a word counts.
const UPPER: u32 = 65_536.0_f32.to_bits();

fn vector(number: u32) -> Register {
    Register::YMM0 + number
}

/// `to = f(a, b)`
fn three(to: &mut Writer, code: Code, result: u32, a: u32, b: u32) {
    to.push(Instruction::with3(code, vector(result), vector(a), vector(b)));
}

/// Leaves `f(a, b)` in [`BETWEEN`].
fn between(to: &mut Writer, code: Code, a: Register, b: u32) {
    to.push(Instruction::with3(code, BETWEEN, a, vector(b)));
}

impl Vectors for Avx2 {
    const LANES: usize = 8;
    const REGISTERS: u32 = 14;
    const FIXED: usize = 6;

    fn bits_of(op: &Op) -> Vec<u32> {
        match op {
            Op::Unary { function, .. } => match function {
                Unary::Negate => vec![SIGN],
                Unary::Abs => vec![!SIGN],
                Unary::Reciprocal => vec![ONE],
                Unary::Relu => vec![0],
                Unary::NonFinite => vec![ONE, EXPONENT],
                _ => Vec::new(),
            },
            Op::Float { function, .. } | Op::Whole { function, .. } => match function {
                Binary::Less | Binary::LessEqual | Binary::Equal => vec![ONE],
                _ => Vec::new(),
            },
            Op::Select { .. } => vec![0],
            Op::ToFloat { .. } => vec![0, UPPER],
            _ => Vec::new(),
        }
    }

    fn mask_rest(to: &mut Writer) {
        debug_assert_eq!(LEN, Register::RSI);
        // Elements 0 to 7 are left where their number is less.
        to.push(Instruction::with2(Code::Mov_r64_imm64, Register::RAX, 0x0706_0504_0302_0100_u64));
        to.push(Instruction::with2(Code::VEX_Vmovq_xmm_rm64, Register::XMM15, Register::RAX));
        to.push(Instruction::with2(Code::VEX_Vpmovzxbd_ymm_xmmm64, REST, Register::XMM15));
        to.push(Instruction::with2(Code::VEX_Vmovd_xmm_rm32, Register::XMM14, Register::ESI));
        to.push(Instruction::with2(Code::VEX_Vpbroadcastd_ymm_xmmm32, BETWEEN, Register::XMM14));
        to.push(Instruction::with3(Code::VEX_Vpcmpgtd_ymm_ymm_ymmm256, REST, BETWEEN, REST));
    }

    fn load(to: &mut Writer, number: u32, from: MemoryOperand, masked: bool) {
        to.push(match masked {
            true => Instruction::with3(Code::VEX_Vmaskmovps_ymm_ymm_m256, vector(number), REST, from),
            false => Instruction::with2(Code::VEX_Vmovups_ymm_ymmm256, vector(number), from),
        });
    }

    fn store(to: &mut Writer, into: MemoryOperand, number: u32, masked: bool) {
        to.push(match masked {
            true => Instruction::with3(Code::VEX_Vmaskmovps_m256_ymm_ymm, into, REST, vector(number)),
            false => Instruction::with2(Code::VEX_Vmovups_ymmm256_ymm, into, vector(number)),
        });
    }

    fn spread_bits(to: &mut Writer, number: u32) {
        let low = Register::XMM0 + number;
        to.push(Instruction::with2(Code::VEX_Vmovd_xmm_rm32, low, Register::EAX));
        to.push(Instruction::with2(Code::VEX_Vpbroadcastd_ymm_xmmm32, vector(number), low));
    }

    fn spread_number(to: &mut Writer, number: u32, from: MemoryOperand) {
        to.push(Instruction::with2(Code::VEX_Vbroadcastss_ymm_m32, vector(number), from));
    }

    fn op(to: &mut Writer, op: &Op, result: u32, operands: &[u32], bits: &dyn Fn(u32) -> u32) {
        match op {
            Op::Unary { function, .. } => unary(to, *function, result, operands[0], bits),
            Op::Float { function, .. } => float(to, *function, result, [operands[0], operands[1]], bits),
            Op::Whole { function, .. } => whole(to, *function, result, [operands[0], operands[1]], bits),
            Op::Select { .. } => {
                // Not equal, or not ordered.
                compare(to, operands[0], bits(0), 4);
                let blend = Code::VEX_Vblendvps_ymm_ymm_ymmm256_ymm;
                let (a, b) = (vector(operands[1]), vector(operands[2]));
                to.push(Instruction::with4(blend, vector(result), b, a, BETWEEN));
            }
            Op::ToFloat { .. } => {
                // Each half is exact, so that their sum is rounded once.
                let (x, convert) = (vector(operands[0]), Code::VEX_Vcvtdq2ps_ymm_ymmm256);
                to.push(Instruction::with3(Code::VEX_Vpsrld_ymm_ymm_imm8, BETWEEN, x, 16));
                to.push(Instruction::with2(convert, BETWEEN, BETWEEN));
                let lower = Code::VEX_Vpblendw_ymm_ymm_ymmm256_imm8;
                to.push(Instruction::with4(lower, vector(result), x, vector(bits(0)), 0xAA));
                to.push(Instruction::with2(convert, vector(result), vector(result)));
                let add = Code::VEX_Vfmadd231ps_ymm_ymm_ymmm256;
                to.push(Instruction::with3(add, vector(result), BETWEEN, vector(bits(UPPER))));
            }
            Op::RoundToHalf { .. } => {
                let half = Register::XMM0 + result;
                let narrow = Code::VEX_Vcvtps2ph_xmmm128_ymm_imm8;
                to.push(Instruction::with3(narrow, half, vector(operands[0]), 0));
                to.push(Instruction::with2(Code::VEX_Vcvtph2ps_ymm_xmmm128, vector(result), half));
            }
            Op::Splat { .. } => {
                to.push(Instruction::with2(Code::VEX_Vmovaps_ymm_ymmm256, vector(result), vector(operands[0])));
            }
            _ => unreachable!("a block has simple ops only: {op:?}"),
        }
    }

    fn scale(to: &mut Writer, divide: bool, result: u32, a: u32, b: u32) {
        let code = if divide { Code::VEX_Vdivps_ymm_ymm_ymmm256 } else { Code::VEX_Vmulps_ymm_ymm_ymmm256 };
        three(to, code, result, a, b);
    }
}

fn unary(to: &mut Writer, function: Unary, result: u32, x: u32, bits: &dyn Fn(u32) -> u32) {
    match function {
        Unary::Negate => three(to, Code::VEX_Vxorps_ymm_ymm_ymmm256, result, x, bits(SIGN)),
        Unary::Abs => three(to, Code::VEX_Vandps_ymm_ymm_ymmm256, result, x, bits(!SIGN)),
        Unary::Sqrt => to.push(Instruction::with2(Code::VEX_Vsqrtps_ymm_ymmm256, vector(result), vector(x))),
        Unary::Reciprocal => Avx2::scale(to, true, result, bits(ONE), x),
        Unary::Floor => {
            to.push(Instruction::with3(Code::VEX_Vroundps_ymm_ymmm256_imm8, vector(result), vector(x), 1));
        }
        // The greater of 0 and x; x if it is not a number, or is −0.
        Unary::Relu => three(to, Code::VEX_Vmaxps_ymm_ymm_ymmm256, result, bits(0), x),
        Unary::NonFinite => {
            between(to, Code::VEX_Vandps_ymm_ymm_ymmm256, vector(x), bits(EXPONENT));
            between(to, Code::VEX_Vpcmpeqd_ymm_ymm_ymmm256, BETWEEN, bits(EXPONENT));
            truth(to, result, bits);
        }
        _ => unreachable!("{function:?} is not simple"),
    }
}

fn float(to: &mut Writer, function: Binary, result: u32, [a, b]: [u32; 2], bits: &dyn Fn(u32) -> u32) {
    let mut compared = |predicate: i32| {
        compare(to, a, b, predicate);
        truth(to, result, bits);
    };
    let code = match function {
        Binary::Add => Code::VEX_Vaddps_ymm_ymm_ymmm256,
        Binary::Subtract => Code::VEX_Vsubps_ymm_ymm_ymmm256,
        Binary::Multiply => Code::VEX_Vmulps_ymm_ymm_ymmm256,
        Binary::Divide => Code::VEX_Vdivps_ymm_ymm_ymmm256,
        // `a > b ? a : b`, and `a < b ? a : b`.
        Binary::Max => Code::VEX_Vmaxps_ymm_ymm_ymmm256,
        Binary::Min => Code::VEX_Vminps_ymm_ymm_ymmm256,
        Binary::Less => return compared(0x11),
        Binary::LessEqual => return compared(0x12),
        Binary::Equal => return compared(0x00),
    };
    three(to, code, result, a, b);
}

fn whole(to: &mut Writer, function: Binary, result: u32, [a, b]: [u32; 2], bits: &dyn Fn(u32) -> u32) {
    let (greater, less) = (Code::VEX_Vpmaxud_ymm_ymm_ymmm256, Code::VEX_Vpminud_ymm_ymm_ymmm256);
    let equal = Code::VEX_Vpcmpeqd_ymm_ymm_ymmm256;
    let code = match function {
        Binary::Add => Code::VEX_Vpaddd_ymm_ymm_ymmm256,
        Binary::Subtract => Code::VEX_Vpsubd_ymm_ymm_ymmm256,
        Binary::Multiply => Code::VEX_Vpmulld_ymm_ymm_ymmm256,
        Binary::Max => greater,
        Binary::Min => less,
        Binary::Less => {
            // Not where `a` is the greater of both.
            between(to, greater, vector(a), b);
            between(to, equal, BETWEEN, a);
            let not = Code::VEX_Vandnps_ymm_ymm_ymmm256;
            return to.push(Instruction::with3(not, vector(result), BETWEEN, vector(bits(ONE))));
        }
        Binary::LessEqual => {
            between(to, less, vector(a), b);
            between(to, equal, BETWEEN, a);
            return truth(to, result, bits);
        }
        Binary::Equal => {
            between(to, equal, vector(a), b);
            return truth(to, result, bits);
        }
        Binary::Divide => unreachable!("words are not divided"),
    };
    three(to, code, result, a, b);
}

/// Compares floats; the predicates are those of VCMPPS.
fn compare(to: &mut Writer, a: u32, b: u32, predicate: i32) {
    to.push(Instruction::with4(Code::VEX_Vcmpps_ymm_ymm_ymmm256_imm8, BETWEEN, vector(a), vector(b), predicate));
}

/// 1 where the comparison holds, 0 elsewhere.
fn truth(to: &mut Writer, result: u32, bits: &dyn Fn(u32) -> u32) {
    to.push(Instruction::with3(Code::VEX_Vandps_ymm_ymm_ymmm256, vector(result), BETWEEN, vector(bits(ONE))));
}
