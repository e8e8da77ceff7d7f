//! Instructions of AVX-512.

use iced_x86::{Code, Instruction, MemoryOperand, Register};

use super::super::program::Op;
use super::writer::Writer;
use super::{LEN, Vectors};
use crate::ir::{Binary, Unary};

/// Vectors of sixteen.
pub struct Avx512;

/// Which elements are left at the end.
const REST: Register = Register::K1;
/// What a comparison found.
const FOUND: Register = Register::K2;
const ONE: u32 = 1.0_f32.to_bits();
const SIGN: u32 = 0x8000_0000;
const EXPONENT: u32 = 0x7F80_0000;

fn vector(number: u32) -> Register {
    Register::ZMM0 + number
}

/// `to = f(a, b)`
fn three(to: &mut Writer, code: Code, result: u32, a: u32, b: u32) {
    to.push(Instruction::with3(code, vector(result), vector(a), vector(b)));
}

impl Vectors for Avx512 {
    const LANES: usize = 16;
    const REGISTERS: u32 = 32;
    const FIXED: usize = 14;

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
            _ => Vec::new(),
        }
    }

    fn mask_rest(to: &mut Writer) {
        debug_assert_eq!(LEN, Register::RSI);
        to.push(Instruction::with2(Code::Mov_r32_imm32, Register::EAX, -1));
        to.push(Instruction::with3(Code::VEX_Bzhi_r32_rm32_r32, Register::EAX, Register::EAX, Register::ESI));
        to.push(Instruction::with2(Code::VEX_Kmovw_kr_r32, REST, Register::EAX));
    }

    fn load(to: &mut Writer, number: u32, from: MemoryOperand, masked: bool) {
        let mut load = Instruction::with2(Code::EVEX_Vmovups_zmm_k1z_zmmm512, vector(number), from);
        if let Ok(load) = &mut load
            && masked
        {
            load.set_op_mask(REST);
            load.set_zeroing_masking(true);
        }
        to.push(load);
    }

    fn store(to: &mut Writer, into: MemoryOperand, number: u32, masked: bool) {
        let mut store = Instruction::with2(Code::EVEX_Vmovups_zmmm512_k1z_zmm, into, vector(number));
        if let Ok(store) = &mut store
            && masked
        {
            store.set_op_mask(REST);
        }
        to.push(store);
    }

    fn spread_bits(to: &mut Writer, number: u32) {
        to.push(Instruction::with2(Code::EVEX_Vpbroadcastd_zmm_k1z_r32, vector(number), Register::EAX));
    }

    fn spread_number(to: &mut Writer, number: u32, from: MemoryOperand) {
        to.push(Instruction::with2(Code::EVEX_Vbroadcastss_zmm_k1z_xmmm32, vector(number), from));
    }

    fn op(to: &mut Writer, op: &Op, result: u32, operands: &[u32], bits: &dyn Fn(u32) -> u32) {
        match op {
            Op::Unary { function, .. } => unary(to, *function, result, operands[0], bits),
            Op::Float { function, .. } => float(to, *function, result, [operands[0], operands[1]], bits),
            Op::Whole { function, .. } => whole(to, *function, result, [operands[0], operands[1]], bits),
            Op::Select { .. } => {
                // Not equal, or not ordered.
                compare(to, operands[0], bits(0), 4);
                let (a, b) = (vector(operands[1]), vector(operands[2]));
                let blend = Code::EVEX_Vblendmps_zmm_k1z_zmm_zmmm512b32;
                let mut blend = Instruction::with3(blend, vector(result), b, a);
                if let Ok(blend) = &mut blend {
                    blend.set_op_mask(FOUND);
                }
                to.push(blend);
            }
            Op::ToFloat { .. } => {
                let convert = Code::EVEX_Vcvtudq2ps_zmm_k1z_zmmm512b32_er;
                to.push(Instruction::with2(convert, vector(result), vector(operands[0])));
            }
            Op::RoundToHalf { .. } => {
                let half = Register::YMM0 + result;
                let narrow = Code::EVEX_Vcvtps2ph_ymmm256_k1z_zmm_imm8_sae;
                to.push(Instruction::with3(narrow, half, vector(operands[0]), 0));
                to.push(Instruction::with2(Code::EVEX_Vcvtph2ps_zmm_k1z_ymmm256_sae, vector(result), half));
            }
            Op::Splat { .. } => {
                let copy = Code::EVEX_Vmovaps_zmm_k1z_zmmm512;
                to.push(Instruction::with2(copy, vector(result), vector(operands[0])));
            }
            _ => unreachable!("a block has simple ops only: {op:?}"),
        }
    }

    fn scale(to: &mut Writer, divide: bool, result: u32, a: u32, b: u32) {
        let code = match divide {
            true => Code::EVEX_Vdivps_zmm_k1z_zmm_zmmm512b32_er,
            false => Code::EVEX_Vmulps_zmm_k1z_zmm_zmmm512b32_er,
        };
        three(to, code, result, a, b);
    }
}

fn unary(to: &mut Writer, function: Unary, result: u32, x: u32, bits: &dyn Fn(u32) -> u32) {
    match function {
        Unary::Negate => three(to, Code::EVEX_Vpxord_zmm_k1z_zmm_zmmm512b32, result, x, bits(SIGN)),
        Unary::Abs => three(to, Code::EVEX_Vpandd_zmm_k1z_zmm_zmmm512b32, result, x, bits(!SIGN)),
        Unary::Sqrt => {
            to.push(Instruction::with2(Code::EVEX_Vsqrtps_zmm_k1z_zmmm512b32_er, vector(result), vector(x)));
        }
        Unary::Reciprocal => Avx512::scale(to, true, result, bits(ONE), x),
        Unary::Floor => {
            let floor = Code::EVEX_Vrndscaleps_zmm_k1z_zmmm512b32_imm8_sae;
            to.push(Instruction::with3(floor, vector(result), vector(x), 1));
        }
        // The greater of 0 and x; x if it is not a number, or is −0.
        Unary::Relu => three(to, Code::EVEX_Vmaxps_zmm_k1z_zmm_zmmm512b32_sae, result, bits(0), x),
        Unary::NonFinite => {
            let exponent = bits(EXPONENT);
            three(to, Code::EVEX_Vpandd_zmm_k1z_zmm_zmmm512b32, result, x, exponent);
            let equal = Code::EVEX_Vpcmpeqd_kr_k1_zmm_zmmm512b32;
            to.push(Instruction::with3(equal, FOUND, vector(result), vector(exponent)));
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
        Binary::Add => Code::EVEX_Vaddps_zmm_k1z_zmm_zmmm512b32_er,
        Binary::Subtract => Code::EVEX_Vsubps_zmm_k1z_zmm_zmmm512b32_er,
        Binary::Multiply => Code::EVEX_Vmulps_zmm_k1z_zmm_zmmm512b32_er,
        Binary::Divide => Code::EVEX_Vdivps_zmm_k1z_zmm_zmmm512b32_er,
        // `a > b ? a : b`, and `a < b ? a : b`.
        Binary::Max => Code::EVEX_Vmaxps_zmm_k1z_zmm_zmmm512b32_sae,
        Binary::Min => Code::EVEX_Vminps_zmm_k1z_zmm_zmmm512b32_sae,
        Binary::Less => return compared(0x11),
        Binary::LessEqual => return compared(0x12),
        Binary::Equal => return compared(0x00),
    };
    three(to, code, result, a, b);
}

fn whole(to: &mut Writer, function: Binary, result: u32, [a, b]: [u32; 2], bits: &dyn Fn(u32) -> u32) {
    let mut compared = |predicate: i32| {
        let code = Code::EVEX_Vpcmpud_kr_k1_zmm_zmmm512b32_imm8;
        to.push(Instruction::with4(code, FOUND, vector(a), vector(b), predicate));
        truth(to, result, bits);
    };
    let code = match function {
        Binary::Add => Code::EVEX_Vpaddd_zmm_k1z_zmm_zmmm512b32,
        Binary::Subtract => Code::EVEX_Vpsubd_zmm_k1z_zmm_zmmm512b32,
        Binary::Multiply => Code::EVEX_Vpmulld_zmm_k1z_zmm_zmmm512b32,
        Binary::Max => Code::EVEX_Vpmaxud_zmm_k1z_zmm_zmmm512b32,
        Binary::Min => Code::EVEX_Vpminud_zmm_k1z_zmm_zmmm512b32,
        Binary::Less => return compared(1),
        Binary::LessEqual => return compared(2),
        Binary::Equal => return compared(0),
        Binary::Divide => unreachable!("words are not divided"),
    };
    three(to, code, result, a, b);
}

/// Compares floats; the predicates are those of VCMPPS.
fn compare(to: &mut Writer, a: u32, b: u32, predicate: i32) {
    let code = Code::EVEX_Vcmpps_kr_k1_zmm_zmmm512b32_imm8_sae;
    to.push(Instruction::with4(code, FOUND, vector(a), vector(b), predicate));
}

/// 1 where the comparison holds, 0 elsewhere.
fn truth(to: &mut Writer, result: u32, bits: &dyn Fn(u32) -> u32) {
    let mut copy = Instruction::with2(Code::EVEX_Vmovaps_zmm_k1z_zmmm512, vector(result), vector(bits(ONE)));
    if let Ok(copy) = &mut copy {
        copy.set_op_mask(FOUND);
        copy.set_zeroing_masking(true);
    }
    to.push(copy);
}
