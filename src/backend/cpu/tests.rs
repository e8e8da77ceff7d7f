//! Every kernel family against plain loops in f64, with each instruction set that the processor has and 1, 2 and 3
//! threads.

mod joined;
mod movement;
mod native;
mod products;
mod reductions;

use std::sync::Arc;

use super::isa::Isa;
use super::{open, open_with};
use crate::backend::{DataBytes, Setup};
use crate::ir::graph::{Init, count};
use crate::ir::random::Sequence;
use crate::ir::{DType, DataId, DataInfo, StateId, StateInfo, StateKind, States};
use crate::plan::{Access, BufferRef, Chain, Instr, Kernel, KernelKind, Load, Place, Plan, Reg};

/// Kernels over states.
#[derive(Default)]
struct Case {
    states: States,
    words: Vec<Vec<u32>>,
    data: Vec<DataBytes>,
    kernels: Vec<Kernel>,
    chains: Vec<Chain>,
}

impl Case {
    fn state(&mut self, words: Vec<u32>, dtype: DType) -> BufferRef {
        let info = StateInfo {
            name: format!("state.{}", self.words.len()),
            shape: vec![words.len()],
            dtype,
            kind: StateKind::Weight,
            init: Init::Fill(0.0),
            layer: None,
        };
        let len = words.len();
        let id = self.states.declare(info);
        self.words.push(words);
        BufferRef { place: Place::State(id), len, dtype }
    }

    fn floats(&mut self, values: &[f32]) -> BufferRef {
        self.state(values.iter().map(|value| value.to_bits()).collect(), DType::F32)
    }

    fn words(&mut self, values: &[u32]) -> BufferRef {
        self.state(values.to_vec(), DType::U32)
    }

    fn bytes(&mut self, shape: &[usize], bytes: Vec<u8>) -> BufferRef {
        let len = bytes.len();
        assert_eq!(len, count(shape));
        let info = DataInfo { name: format!("data.{}", self.data.len()), shape: shape.to_vec(), dtype: DType::U8 };
        self.data.push(DataBytes { info, bytes: Arc::new(bytes) });
        BufferRef { place: Place::Data(DataId(self.data.len() as u32 - 1)), len, dtype: DType::U8 }
    }

    /// A result, which begins as garbage.
    fn result(&mut self, len: usize, dtype: DType) -> BufferRef {
        self.state(vec![0x7FC0_1234; len], dtype)
    }

    fn kernel(&mut self, kind: KernelKind) {
        self.kernels.push(Kernel { kind, name: String::from("test") });
    }

    fn plan(&self) -> Plan {
        Plan {
            kernels: self.kernels.clone(),
            chains: self.chains.clone(),
            data: self.data.iter().map(|data| data.info.clone()).collect(),
            ..Plan::default()
        }
    }

    /// Runs all kernels with an instruction set and 1, 2 and 3 threads, and gives the words of a state, which must agree.
    fn run_with(&self, wanted: BufferRef, isa: Isa) -> Vec<u32> {
        let Place::State(wanted) = wanted.place else { unreachable!("results are states") };
        let plan = self.plan();
        let run = |threads| {
            let setup = Setup { plans: std::slice::from_ref(&plan), states: &self.states, data: &self.data };
            let mut session = open_with(&setup, Some(threads), isa).unwrap();
            for (id, words) in self.words.iter().enumerate() {
                session.write_state(StateId(id as u32), words).unwrap();
            }
            session.run(0, &[]).unwrap();
            session.wait().unwrap();
            session.read_state(wanted).unwrap()
        };
        let first = run(1);
        assert_eq!(first, run(2), "2 threads, {isa}");
        assert_eq!(first, run(3), "3 threads, {isa}");
        first
    }

    /// The words of a state after all kernels, with the best instruction set.
    fn run(&self, wanted: BufferRef) -> Vec<u32> {
        self.run_with(wanted, Isa::detect())
    }

    /// Compares the floats of a state after all kernels, with every instruction set.
    #[track_caller]
    fn check_floats(&self, wanted: BufferRef, expected: &[f64], tolerance: f64) {
        for isa in isas() {
            let found: Vec<f32> = self.run_with(wanted, isa).into_iter().map(f32::from_bits).collect();
            println!("{isa}");
            check_close(&found, expected, tolerance);
        }
    }

    /// The floats of a state after all kernels, with the best instruction set.
    fn run_floats(&self, wanted: BufferRef) -> Vec<f32> {
        self.run(wanted).into_iter().map(f32::from_bits).collect()
    }
}

/// The instruction sets that this processor has.
fn isas() -> impl Iterator<Item = Isa> {
    [Isa::Baseline, Isa::Avx2, Isa::Avx512, Isa::Neon].into_iter().filter(|isa| isa.is_there())
}

/// Small numbers of both signs.
fn numbers(random: &mut Sequence, len: usize) -> Vec<f32> {
    (0..len).map(|_| (random.next_uniform() * 2.0 - 1.0) as f32).collect()
}

fn below(random: &mut Sequence, bound: usize) -> usize {
    random.next_below(bound as u64) as usize
}

/// Row-major strides.
fn dense(shape: &[usize]) -> Vec<usize> {
    (0..shape.len()).map(|axis| shape[axis + 1..].iter().product()).collect()
}

fn access(strides: &[usize]) -> Access {
    Access { strides: strides.to_vec(), ..Access::default() }
}

fn load(input: usize, strides: &[usize]) -> Instr {
    Instr::Load(Load { input, access: access(strides) })
}

/// All positions of a shape in order.
fn positions(shape: &[usize]) -> Vec<Vec<usize>> {
    let strides = dense(shape);
    (0..count(shape)).map(|at| strides.iter().zip(shape).map(|(stride, dim)| at / stride % dim).collect()).collect()
}

fn index(strides: &[usize], position: &[usize]) -> usize {
    strides.iter().zip(position).map(|(stride, at)| stride * at).sum()
}

#[track_caller]
fn check_close(found: &[f32], expected: &[f64], tolerance: f64) {
    assert_eq!(found.len(), expected.len());
    for (at, (found, expected)) in found.iter().zip(expected).enumerate() {
        let near = (f64::from(*found) - expected).abs() <= tolerance * expected.abs().max(1.0);
        assert!(near || found.is_nan() && expected.is_nan(), "element {at} is {found}, not {expected}");
    }
}

#[test]
fn devices_are_named() {
    let session =
        |threads| open(&Setup { plans: &[], states: &States::default(), data: &[] }, Some(threads)).unwrap().device();
    assert!(session(1).starts_with("CPU, 1 thread, "));
    assert!(session(2).starts_with("CPU, 2 threads, "));
}

#[test]
fn rows_of_inputs_reach_the_steps() {
    let mut case = Case::default();
    let sum = case.floats(&[0.0; 3]);
    let row = BufferRef { place: Place::Step(1), len: 1, dtype: DType::F32 };
    let body =
        crate::plan::Body { instrs: vec![load(0, &[0]), load(1, &[1]), Instr::Binary(crate::ir::Binary::Add, 0, 1)] };
    let store = crate::plan::Store { reg: 2 as Reg, output: sum, access: access(&[1]) };
    case.kernel(KernelKind::Pointwise { shape: vec![3], inputs: vec![row, sum], body, stores: vec![store] });
    let plan = Plan {
        kernels: case.kernels.clone(),
        step: crate::plan::StepLayout { words: 2, ..Default::default() },
        ..Plan::default()
    };
    let mut session = open(&Setup { plans: &[plan], states: &case.states, data: &[] }, Some(2)).unwrap();
    let rows: Vec<u32> = [9.0_f32, 1.0, 9.0, 2.0, 9.0, 4.0].map(f32::to_bits).to_vec();
    session.run(0, &rows).unwrap();
    assert_eq!(session.read_state(StateId(0)).unwrap(), [7.0_f32.to_bits(); 3]);
}

#[test]
#[should_panic(expected = "a load stays inside its buffer")]
fn an_access_outside_is_found_when_opening() {
    let mut case = Case::default();
    let x = case.floats(&[0.0; 5]);
    let y = case.result(6, DType::F32);
    let body = crate::plan::Body { instrs: vec![load(0, &[1])] };
    let store = crate::plan::Store { reg: 0, output: y, access: access(&[1]) };
    case.kernel(KernelKind::Pointwise { shape: vec![6], inputs: vec![x], body, stores: vec![store] });
    case.run(y);
}
