//! Every kernel family on every software adapter against naive loops in `f64`.

mod convolutions;
mod matrices;
mod pointwise;
mod pools;
mod products;
mod reductions;
mod reference;
mod sessions;
mod texts;
mod tiles;

use std::sync::OnceLock;

use crate::backend::{DataBytes, Session, Setup};
use crate::ir::graph::Init;
use crate::ir::random::Sequence;
use crate::ir::{DType, StateId, StateInfo, StateKind, States};
use crate::plan::{BufferRef, Kernel, KernelKind, Place, Plan};

use super::adapters::{Adapter, adapters};
use super::device::Gpu;
use super::session::GpuSession;

/// The adapters that `NNOPTC_TEST_ADAPTERS` names, with commas between them; without it the software adapters of this
/// machine, of which `NNOPTC_REQUIRE_ADAPTERS=n` makes it an error to find fewer than `n`.
fn test_adapters() -> &'static [Adapter] {
    static FOUND: OnceLock<Vec<Adapter>> = OnceLock::new();
    FOUND.get_or_init(|| {
        if let Ok(names) = std::env::var("NNOPTC_TEST_ADAPTERS") {
            let named = |name| super::select(name).unwrap_or_else(|error| panic!("NNOPTC_TEST_ADAPTERS: {error}"));
            return names.split(',').map(named).collect();
        }
        let software = |adapter: &Adapter| {
            let name = adapter.name.to_lowercase();
            name.contains("llvmpipe") || name.contains("swiftshader")
        };
        let found: Vec<Adapter> = adapters().into_iter().filter(software).collect();
        if found.is_empty() {
            eprintln!("no software adapter was found: the GPU tests check nothing");
        }
        let required = std::env::var("NNOPTC_REQUIRE_ADAPTERS").ok().and_then(|text| text.parse().ok()).unwrap_or(0);
        assert!(found.len() >= required, "{} software adapters were found, {required} are required", found.len());
        found
    })
}

/// Kernels over states, run on every adapter and by the reference.
struct Bench {
    states: States,
    words: Vec<Vec<u32>>,
    kernels: Vec<Kernel>,
    /// The largest error allowed, relative to the largest value of the buffer.
    tolerance: f64,
    random: Sequence,
}

impl Bench {
    fn new(tolerance: f64) -> Bench {
        Bench {
            states: States::default(),
            words: Vec::new(),
            kernels: Vec::new(),
            tolerance,
            random: Sequence::new(17, 0, 0),
        }
    }

    fn buffer(&mut self, dtype: DType, words: Vec<u32>) -> BufferRef {
        let len = words.len();
        let id = self.states.declare(StateInfo {
            name: format!("s{}", self.words.len()),
            shape: vec![len],
            dtype,
            kind: StateKind::Buffer,
            init: Init::Fill(0.0),
            layer: None,
        });
        self.words.push(words);
        BufferRef { place: Place::State(id), len, dtype }
    }

    fn floats(&mut self, values: &[f32]) -> BufferRef {
        self.buffer(DType::F32, values.iter().map(|value| value.to_bits()).collect())
    }

    /// Normal numbers.
    fn normal(&mut self, len: usize) -> BufferRef {
        let values: Vec<f32> = (0..len).map(|_| self.random.next_normal() as f32).collect();
        self.floats(&values)
    }

    /// Normal numbers of 16 bits.
    fn halves(&mut self, len: usize) -> BufferRef {
        let number = |random: &mut Sequence| half::f16::from_f64(random.next_normal()).to_f32().to_bits();
        let words = (0..len).map(|_| number(&mut self.random)).collect();
        self.buffer(DType::F16, words)
    }

    /// A result; filled with a number that no kernel gives, so that an element that is not written is found.
    fn out(&mut self, len: usize, dtype: DType) -> BufferRef {
        self.buffer(dtype, vec![0x7fc0_dead; len])
    }

    fn below(&mut self, bound: usize) -> usize {
        self.random.next_below(bound as u64) as usize
    }

    fn kernel(&mut self, kind: KernelKind) {
        self.kernels.push(Kernel { kind, name: format!("kernel {}", self.kernels.len()) });
    }

    /// Runs all kernels as one step, with the loops for software and those for GPUs, without subgroups.
    fn check(&self) {
        self.check_on(&[&without_subgroups(true), &without_subgroups(false)]);
    }

    /// As [`Bench::check`], and with subgroups where the adapter has them.
    fn check_with_subgroups(&self) {
        let plain = [without_subgroups(true), without_subgroups(false)];
        self.check_on(&[&plain[0], &plain[1], &|gpu| gpu.software = true, &|gpu| gpu.software = false]);
    }

    /// Runs all kernels as one step on devices that grant all that they have, but for each of these changes.
    fn check_on(&self, changes: &[&dyn Fn(&mut Gpu)]) {
        self.check_adapters(&test_adapters().iter().collect::<Vec<_>>(), changes);
    }

    fn check_adapters(&self, adapters: &[&Adapter], changes: &[&dyn Fn(&mut Gpu)]) {
        let expected = self.expected();
        for adapter in adapters {
            for change in changes {
                let mut gpu = Gpu::open(adapter).expect("the adapter has a device");
                change(&mut gpu);
                let loops = if gpu.software { "software" } else { "GPUs" };
                let context =
                    format!("{} with the loops for {loops} and {:?}, {:?}", adapter.name, gpu.grants, gpu.choices);
                self.compare(&self.run(gpu), &expected, &context);
            }
        }
    }

    fn plan(&self) -> Plan {
        Plan { kernels: self.kernels.clone(), ..Plan::default() }
    }

    fn run(&self, gpu: Gpu) -> Vec<Vec<u32>> {
        let plans = [self.plan()];
        let setup = Setup { plans: &plans, states: &self.states, data: &[] };
        let mut session = GpuSession::new(&setup, gpu).expect("the kernels compile");
        for (id, words) in self.words.iter().enumerate() {
            session.write_state(StateId(id as u32), words).expect("a state is written");
        }
        session.run(0, &[]).expect("a step runs");
        let read = |id| session.read_state(StateId(id as u32)).expect("a state is read");
        (0..self.words.len()).map(read).collect()
    }

    /// For each output its buffer and elements.
    fn expected(&self) -> Vec<(usize, String, Vec<f64>)> {
        let mut memory: Vec<Vec<f64>> =
            self.words.iter().enumerate().map(|(id, words)| self.decode(id, words)).collect();
        let mut outputs = Vec::new();
        for kernel in &self.kernels {
            let results = reference::run(&kernel.kind, &|buffer: &BufferRef, index| memory[state(buffer)][index]);
            for (buffer, values) in results {
                outputs.push((state(&buffer), format!("{} {:?}", kernel.name, kernel.kind), values.clone()));
                memory[state(&buffer)] = values;
            }
        }
        outputs
    }

    fn decode(&self, id: usize, words: &[u32]) -> Vec<f64> {
        let is_float = matches!(self.states.infos()[id].dtype, DType::F32 | DType::F16);
        words.iter().map(|word| if is_float { f64::from(f32::from_bits(*word)) } else { f64::from(*word) }).collect()
    }

    fn compare(&self, found: &[Vec<u32>], expected: &[(usize, String, Vec<f64>)], context: &str) {
        for (id, what, values) in expected {
            let largest =
                values.iter().filter(|value| value.is_finite()).fold(0.0_f64, |most, value| most.max(value.abs()));
            let found = self.decode(*id, &found[*id]);
            for (index, (found, value)) in found.iter().zip(values).enumerate() {
                // Past the largest `f32`, infinity is right.
                let value =
                    if value.is_finite() && value.abs() < 3.402_823_6e38 { *value } else { f64::from(*value as f32) };
                let same = (found.is_nan() && value.is_nan()) || *found == value;
                let near = (found - value).abs() <= self.tolerance * largest;
                let what = what.chars().take(600).collect::<String>();
                assert!(same || near, "{context}: element {index} is {found}, expected {value}\n{what}");
            }
        }
    }
}

/// The loops for software or those for GPUs, without subgroups.
fn without_subgroups(software: bool) -> impl Fn(&mut Gpu) {
    move |gpu| {
        gpu.software = software;
        gpu.grants.subgroup = None;
    }
}

fn state(buffer: &BufferRef) -> usize {
    match buffer.place {
        Place::State(id) => id.index(),
        _ => unreachable!("the benches keep all buffers in states"),
    }
}

#[test]
fn adapters_pass_their_self_test() {
    for adapter in test_adapters() {
        // Unless others are named, these are drivers that compute on the CPU.
        assert!(adapter.software || std::env::var_os("NNOPTC_TEST_ADAPTERS").is_some(), "{adapter:?}");
        let checks = super::self_test(adapter).expect("the self-test runs");
        for check in checks {
            assert_eq!(check.problem, None, "{} of {}", check.name, adapter.name);
        }
    }
}

#[test]
fn adapters_are_found_by_name_and_index() {
    for adapter in test_adapters() {
        let part = adapter.name[..6].to_uppercase();
        assert_eq!(super::select(&part).expect("found by name").name[..6], adapter.name[..6]);
        assert_eq!(super::select(&adapter.index.to_string()).expect("found by index").name, adapter.name);
    }
    let error = super::select("no such thing").expect_err("nothing is called so");
    assert!(error.to_string().starts_with("no adapter for `devices = no such thing`"), "{error}");
}

/// One data set of bytes.
fn byte_set(name: &str, shape: &[usize], bytes: Vec<u8>) -> DataBytes {
    let info = crate::ir::DataInfo { name: name.to_owned(), shape: shape.to_vec(), dtype: DType::U8 };
    DataBytes { info, bytes: std::sync::Arc::new(bytes) }
}
