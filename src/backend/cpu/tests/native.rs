//! Machine code against the same ops run one by one: equal to the bit.

use super::super::Job;
use super::super::isa::Isa;
use super::super::memory::Words;
use super::super::native::OP_BY_OP;
use super::super::pointwise::Pointwise;
use super::*;
use crate::ir::{Binary, Unary};
use crate::plan::{Body, Store};

const BINARY: [Binary; 9] = [
    Binary::Add,
    Binary::Subtract,
    Binary::Multiply,
    Binary::Divide,
    Binary::Max,
    Binary::Min,
    Binary::Less,
    Binary::LessEqual,
    Binary::Equal,
];
const UNARY: [Unary; 9] = [
    Unary::Negate,
    Unary::Abs,
    Unary::Sqrt,
    Unary::Reciprocal,
    Unary::Floor,
    Unary::Relu,
    Unary::NonFinite,
    // No machine code: they cut runs.
    Unary::Exp,
    Unary::Sign,
];

/// A body of random ops over two tensors of floats and one of words, two numbers and what it has computed.
fn random_body(random: &mut Sequence, n_instrs: usize) -> Body {
    let mut instrs = vec![load(0, &[1]), load(1, &[1]), load(3, &[0]), load(4, &[0])];
    let mut floats: Vec<Reg> = vec![0, 1, 2, 3];
    let words = instrs.len() as Reg;
    instrs.extend([load(2, &[1]), Instr::Word(7)]);
    let mut whole: Vec<Reg> = vec![words, words + 1];
    while instrs.len() < n_instrs {
        let pick = |random: &mut Sequence, from: &[Reg]| from[below(random, from.len())];
        let (a, b) = (pick(random, &floats), pick(random, &floats));
        let (v, w) = (pick(random, &whole), pick(random, &whole));
        let next = instrs.len() as Reg;
        let function = BINARY[below(random, BINARY.len())];
        let is_comparison = matches!(function, Binary::Less | Binary::LessEqual | Binary::Equal);
        match below(random, 12) {
            0 | 1 => instrs.push(Instr::Unary(UNARY[below(random, UNARY.len())], a)),
            2 => instrs.push(Instr::Select(pick(random, &floats), a, b)),
            3 => instrs.push(Instr::RoundToHalf(a)),
            4 => instrs.push(Instr::ToFloat(v)),
            5 if function != Binary::Divide => {
                instrs.push(Instr::Binary(function, v, w));
                if !is_comparison {
                    whole.push(next);
                    continue;
                }
            }
            _ => instrs.push(Instr::Binary(function, a, b)),
        }
        floats.push(next);
    }
    Body { instrs }
}

/// Floats of every kind: zeros of both signs, infinities, NaN, subnormal and halfway ones among ordinary ones.
fn odd_numbers(random: &mut Sequence, len: usize) -> Vec<u32> {
    let odd = [0.0, -0.0, 1.0, f32::INFINITY, f32::NEG_INFINITY, f32::NAN, 1e-41, 65_519.9, 1.000_488_3, -2.5, 1e30];
    let ordinary = numbers(random, len);
    let mut one = |value: f32| if below(random, 8) == 0 { odd[below(random, odd.len())] } else { value * 4.0 };
    ordinary.into_iter().map(|value| one(value).to_bits()).collect()
}

fn words_of(values: &[u32]) -> Words {
    let mut words = Words::zeroed(values.len());
    words.values().copy_from_slice(values);
    words
}

#[test]
fn runs_of_ops_are_what_each_op_is() {
    let isas: Vec<Isa> = [Isa::Avx2, Isa::Avx512].into_iter().filter(|isa| isa.is_there()).collect();
    if isas.is_empty() {
        println!("there is no machine code for this processor: nothing to compare");
    }
    let mut random = Sequence::new(17, 0, 0);
    for round in 0..400 {
        let len = [1, 15, 16, 17, 700, 4_099][round % 6];
        let n_instrs = 10 + below(&mut random, 60);
        let body = random_body(&mut random, n_instrs);
        let types = body.types(&[DType::F32, DType::F32, DType::U32, DType::F32, DType::F32].map(|dtype| BufferRef {
            place: Place::Arena(0),
            len: 1,
            dtype,
        }));
        let (x, y) = (odd_numbers(&mut random, len), odd_numbers(&mut random, len));
        let whole: Vec<u32> = (0..len).map(|_| random.next_u64() as u32).collect();
        let scalars: Vec<Vec<u32>> = (0..2).map(|_| odd_numbers(&mut random, 1)).collect();
        // The last two floats, and the first again as the result of the last, in place.
        let results: Vec<Reg> =
            (0..types.len() as Reg).rev().filter(|reg| types[usize::from(*reg)] == DType::F32).collect();
        let run = |isa: Isa| {
            let mut inputs: Vec<Words> =
                [&x, &y, &whole, &scalars[0], &scalars[1]].map(|values| words_of(values)).into();
            let mut out = words_of(&vec![0; len]);
            let mut regions: Vec<_> = inputs.iter().map(Words::region).collect();
            regions[2].dtype = DType::U32;
            let output = BufferRef { place: Place::Arena(0), len, dtype: DType::F32 };
            let store = |reg: Reg| Store { reg, output, access: access(&[1]) };
            let stores = vec![(store(results[0]), regions[0]), (store(results[1]), out.region())];
            let job = Pointwise::new(&[len], &regions, &body, &stores, None, isa);
            let scratch = Words::zeroed(job.scratch_words());
            // SAFETY: scratch memory is as long as it must be, and all parts run here.
            (0..job.parts(0)).for_each(|part| unsafe { job.run_part(0, part, scratch.start()) });
            [inputs[0].values().to_vec(), out.values().to_vec()]
        };
        for &isa in &isas {
            let native = run(isa);
            OP_BY_OP.set(true);
            let one_by_one = run(isa);
            OP_BY_OP.set(false);
            for (found, expected) in native.iter().flatten().zip(one_by_one.iter().flatten()) {
                let both_nan = f32::from_bits(*found).is_nan() && f32::from_bits(*expected).is_nan();
                let same = both_nan || found == expected;
                assert!(same, "round {round} with {isa}: {found:#x} for {expected:#x} of {body:?}");
            }
        }
    }
}
