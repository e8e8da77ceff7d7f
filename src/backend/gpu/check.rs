//! A self-test for adapters: some drivers compute wrong numbers without a word.

use std::collections::HashMap;
use std::sync::{Mutex, OnceLock, PoisonError};

use wgpu::BufferUsages;

use crate::backend::{BackendError, Session, Setup};
use crate::ir::graph::Init;
use crate::ir::random::philox;
use crate::ir::{DType, StateId, StateInfo, StateKind, States};
use crate::plan::{Access, Body, BufferRef, Instr, Kernel, KernelKind, Load, Place, Plan, Reducer, Reduction, Store};

use super::adapters::Adapter;
use super::cache::Remembered;
use super::device::Gpu;
use super::grants::Grants;
use super::launch::product_of;
use super::pipelines::{self, Bindings};
use super::session::GpuSession;
use super::source::{ARENA, ARENA_HALVES, BINDINGS, PARAMS, STATE_HALVES, STATES};
use super::tile::Tile;
use super::tune::Choices;

/// One thing that was tried.
#[derive(Clone, Debug, PartialEq)]
pub struct Check {
    /// What it is about.
    pub name: &'static str,
    /// What was wrong, if anything.
    pub problem: Option<String>,
}

/// Tries what drivers are known to get wrong; the result is kept for the life of the process.
///
/// # Errors
/// When the adapter cannot be opened, or does not answer.
pub fn self_test(adapter: &Adapter) -> Result<Vec<Check>, BackendError> {
    once(adapter, run)
}

/// The result of [`self_test`], which earlier processes may have found if nothing was wrong in what all kernels need.
fn tested(adapter: &Adapter) -> Result<Vec<Check>, BackendError> {
    once(adapter, |adapter| {
        let memory = Remembered::of("checks", &format!("{} {PARTS:?} {PROBE}", adapter.key()), CHECKS_BYTES);
        if let Some(checks) = memory.as_ref().and_then(|memory| read(&memory.read()?)) {
            return Ok(checks);
        }
        let checks = run(adapter)?;
        if let Some(memory) = memory.filter(|_| first_problem(&checks, false).is_none()) {
            memory.write(&write(&checks));
        }
        Ok(checks)
    })
}

fn once(
    adapter: &Adapter,
    find: impl FnOnce(&Adapter) -> Result<Vec<Check>, BackendError>,
) -> Result<Vec<Check>, BackendError> {
    static DONE: OnceLock<Mutex<HashMap<String, Vec<Check>>>> = OnceLock::new();
    let done = DONE.get_or_init(Mutex::default);
    // Held during the test, so that it runs once.
    let mut done = done.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(checks) = done.get(&adapter.key()) {
        return Ok(checks.clone());
    }
    let checks = find(adapter)?;
    done.insert(adapter.key(), checks.clone());
    Ok(checks)
}

/// The text of the probe; another one makes another test.
const PROBE: &str = include_str!("../../../shaders/self_test.wgsl");
/// No result of the test is longer.
const CHECKS_BYTES: u64 = 64 << 10;

/// The names of the parts that some kernels do without: numbers of 16 bits by themselves, as halves of words, and what
/// writes those; what is only faster.
const NATIVE_HALVES: &str = "16-bit storage";
const PACKED_HALVES: &str = "16-bit storage in words";
const ATOMICS: &str = "atomics";
const PRODUCT: &str = "a product";
const SUBGROUPS: &str = "subgroups";
const MATRICES: &str = "cooperative matrices";
const PARTS: [&str; 11] = [
    "long loops",
    "infinity and NaN by their bits",
    "ReLU of NaN",
    "barriers",
    "random numbers",
    ATOMICS,
    PRODUCT,
    NATIVE_HALVES,
    PACKED_HALVES,
    SUBGROUPS,
    MATRICES,
];
/// Those that are only tried where the adapter says that it has what they need.
const OPTIONAL: [&str; 3] = [NATIVE_HALVES, SUBGROUPS, MATRICES];

/// Lines of a part and what was wrong.
fn write(checks: &[Check]) -> Vec<u8> {
    let line =
        |check: &Check| format!("{}\t{}\n", check.name, check.problem.as_deref().unwrap_or("").replace('\n', " "));
    checks.iter().map(line).collect::<String>().into_bytes()
}

/// What [`write`] wrote, if it has all parts that are always tried.
fn read(bytes: &[u8]) -> Option<Vec<Check>> {
    let check = |line: &str| {
        let (name, problem) = line.split_once('\t')?;
        let name = *PARTS.iter().find(|part| **part == name)?;
        Some(Check { name, problem: Some(problem.to_owned()).filter(|problem| !problem.is_empty()) })
    };
    let checks: Vec<Check> = std::str::from_utf8(bytes).ok()?.lines().map(check).collect::<Option<_>>()?;
    let has = |part: &&str| checks.iter().any(|check| check.name == *part);
    PARTS.iter().filter(|part| !OPTIONAL.contains(part)).all(has).then_some(checks)
}

fn is_right(checks: &[Check], part: &str) -> bool {
    checks.iter().any(|check| check.name == part && check.problem.is_none())
}

/// What the adapter has and computes rightly. Drivers that compute on the CPU gain nothing from subgroups.
pub(super) fn grants(adapter: &Adapter) -> Result<Grants, BackendError> {
    let checks = tested(adapter)?;
    let own = Grants::of(adapter);
    Ok(Grants {
        native_halves: is_right(&checks, NATIVE_HALVES),
        subgroup: own.subgroup.filter(|_| is_right(&checks, SUBGROUPS) && !adapter.software),
        matrix: own.matrix.filter(|_| is_right(&checks, MATRICES)),
    })
}

/// Whether numbers of 16 bits can be stored by themselves; else they are stored as halves of words.
pub fn has_native_halves(adapter: &Adapter) -> Result<bool, BackendError> {
    Ok(grants(adapter)?.native_halves)
}

/// The first part with a problem that matters to kernels that store numbers of 16 bits, or do not.
fn first_problem(checks: &[Check], halves: bool) -> Option<(&'static str, &str)> {
    let native = is_right(checks, NATIVE_HALVES);
    let matters = |check: &&Check| match check.name {
        NATIVE_HALVES | SUBGROUPS | MATRICES => false,
        ATOMICS | PACKED_HALVES => halves && !native,
        _ => true,
    };
    checks.iter().filter(matters).find_map(|check| check.problem.as_deref().map(|problem| (check.name, problem)))
}

/// Refuses an adapter that computes wrongly, in what is wanted of it.
pub(super) fn require(adapter: &Adapter, halves: bool) -> Result<(), BackendError> {
    match first_problem(&tested(adapter)?, halves) {
        None => Ok(()),
        Some((name, problem)) => Err(BackendError::Failed {
            device: adapter.name.clone(),
            reason: format!(
                "its driver computes wrongly ({name}: {problem}); update the driver or use `devices = cpu`"
            ),
        }),
    }
}

fn run(adapter: &Adapter) -> Result<Vec<Check>, BackendError> {
    let mut checks = probes(adapter)?;
    let gpu = open(adapter, Grants::default())?;
    checks.push(Check { name: PRODUCT, problem: product(PRODUCT, [70, 67, 33], DType::F32, false, |_| gpu)? });
    let own = Grants::of(adapter);
    let none = Grants::default();
    if own.native_halves {
        let gpu = open(adapter, Grants { native_halves: true, ..none })?;
        checks.push(Check { name: NATIVE_HALVES, problem: halves(NATIVE_HALVES, gpu)? });
    }
    checks.push(Check { name: PACKED_HALVES, problem: halves(PACKED_HALVES, open(adapter, none)?)? });
    if own.subgroup.is_some() {
        let gpu = open(adapter, Grants { subgroup: own.subgroup, ..none })?;
        checks.push(Check { name: SUBGROUPS, problem: found(reductions(gpu))? });
    }
    if own.matrix.is_some() {
        let grants = Grants { subgroup: None, ..own };
        checks.push(Check { name: MATRICES, problem: found(matrix_products(adapter, grants))? });
    }
    Ok(checks)
}

/// What is wrong with a part that kernels can do without: also that the driver refuses it.
fn found(result: Result<Option<String>, BackendError>) -> Result<Option<String>, BackendError> {
    match result {
        Err(BackendError::Failed { reason, .. } | BackendError::Lost { reason, .. }) => Ok(Some(reason)),
        other => other,
    }
}

/// A device whose kernels use no more than this.
fn open(adapter: &Adapter, grants: Grants) -> Result<Gpu, BackendError> {
    let mut gpu = Gpu::open(adapter)?;
    gpu.grants = grants;
    Ok(gpu)
}

const PROBE_WORDS: usize = 1060;
/// Workgroups of the probe: `GROUPS` of the shader.
const PROBE_GROUPS: u32 = 4;

/// Loops, numbers that are not finite, barriers, whole numbers, atomics: one small kernel.
fn probes(adapter: &Adapter) -> Result<Vec<Check>, BackendError> {
    let loops = [70_000_u32, 300, 60_000];
    let numbers = [1.0, f32::INFINITY, f32::NEG_INFINITY, f32::NAN, f32::MAX, 0.0];
    let mut words = vec![0_u32; PROBE_WORDS];
    words[..3].copy_from_slice(&loops);
    for (word, number) in words[4..].iter_mut().zip(numbers) {
        *word = number.to_bits();
    }
    // What stood in the halves before has to go.
    words[548..].fill(0xdead_beef);
    let answers = run_probe(adapter, &words)?;

    let trips = [loops[0] * 3 / 2, loops[1] * loops[1] * 3 / 2, loops[2] * 3 / 2];
    let finite = numbers.map(|number| u32::from(!number.is_finite()));
    let ring: Vec<u32> = (0..256).map(|lane| (lane + 64) % 256 + 64).collect();
    let random: Vec<u32> = (0..256).map(|lane| philox([lane, 1, 2, 3], [loops[0], loops[1]])[0]).collect();
    let invocations = 256 * PROBE_GROUPS;
    let tickets = (0..invocations).fold(0, |all, ticket: u32| all ^ (ticket * 40_503 + 1));
    let mut atomics = vec![256 * 257 / 2 * PROBE_GROUPS, invocations, invocations - 1, tickets];
    atomics.extend((0..invocations / 2).map(|word| (word * 2 * 63) | ((word * 2 + 1) * 63) << 16));
    let relu = f32::from_bits(answered("ReLU of NaN", answers[26..27].to_vec())[0]);
    let compare = |name, found: &[u32], expected: &[u32]| {
        let found = answered(name, found.to_vec());
        let wrong = found.iter().zip(expected).position(|(found, expected)| found != expected);
        let problem = wrong.map(|at| format!("found {} where {} is right", found[at], expected[at]));
        Check { name, problem }
    };
    Ok(vec![
        compare("long loops", &answers[16..19], &trips),
        compare("infinity and NaN by their bits", &answers[20..26], &finite),
        Check { name: "ReLU of NaN", problem: (!relu.is_nan()).then(|| format!("found {relu} where NaN is right")) },
        compare("barriers", &answers[32..288], &ring),
        compare("random numbers", &answers[288..544], &random),
        compare(ATOMICS, &answers[544..], &atomics),
    ])
}

/// What the adapter answered in a part of the test.
#[cfg_attr(not(debug_assertions), allow(unused_mut, unused_variables))]
fn answered(part: &str, mut words: Vec<u32>) -> Vec<u32> {
    #[cfg(debug_assertions)]
    super::fault::tamper(part, &mut words);
    words
}

fn run_probe(adapter: &Adapter, words: &[u32]) -> Result<Vec<u32>, BackendError> {
    let gpu = Gpu::open(adapter)?;
    let bindings = Bindings::new(&gpu, 16);
    let text =
        [include_str!("../../../shaders/lib/bits.wgsl"), include_str!("../../../shaders/lib/philox.wgsl"), PROBE]
            .concat();
    let pipelines = pipelines::compile(&gpu, &bindings, &[("self-test", &text)])?;
    let bytes = words.len() as u64 * 4;
    let usage = BufferUsages::STORAGE | BufferUsages::COPY_DST | BufferUsages::COPY_SRC;
    let buffer = gpu.buffer("the self-test", bytes, usage)?;
    let unused = gpu.buffer("the self-test", 1 << 10, usage | BufferUsages::UNIFORM)?;
    let states = gpu.buffer("the self-test", 16, usage)?;
    gpu.queue.write_buffer(&buffer, 0, bytemuck::cast_slice(words));
    let entries: Vec<wgpu::BindGroupEntry> = (PARAMS..BINDINGS)
        .map(|binding| {
            // A writable buffer has no binding of another kind.
            let buffer = match binding {
                ARENA | ARENA_HALVES => &buffer,
                STATES | STATE_HALVES => &states,
                _ => &unused,
            };
            wgpu::BindGroupEntry { binding, resource: buffer.as_entire_binding() }
        })
        .collect();
    let bind_group = gpu.device.create_bind_group(&wgpu::BindGroupDescriptor {
        label: Some("self-test"),
        layout: &bindings.group,
        entries: &entries,
    });
    let mut encoder = gpu.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
    let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
    pass.set_pipeline(&pipelines[0]);
    pass.set_bind_group(0, &bind_group, &[0, 0]);
    pass.dispatch_workgroups(PROBE_GROUPS, 1, 1);
    drop(pass);
    let submission = gpu.queue.submit([encoder.finish()]);
    gpu.wait_for(submission, "the self-test")?;
    Ok(bytemuck::pod_collect_to_vec(&gpu.read(&buffer, &[(0, bytes)])?))
}

/// Products by cooperative matrices, in both sizes of tile, of operands that lie in memory in both ways.
fn matrix_products(adapter: &Adapter, grants: Grants) -> Result<Option<String>, BackendError> {
    for tile in grants.matrix.into_iter().flat_map(Tile::by_matrices) {
        for is_transposed in [false, true] {
            let mut gpu = open(adapter, grants)?;
            let problem = product(MATRICES, [130, 67, 530], DType::F16, is_transposed, |key| {
                gpu.choices = Choices::from([(key, tile)]);
                gpu
            })?;
            if problem.is_some() {
                return Ok(problem);
            }
        }
    }
    Ok(None)
}

/// A product of odd sizes, of operands that are stored so and both transposed or not, against sums in `f64`, through a whole
/// session on the device that `device` gives for the product's key.
fn product(
    part: &str,
    [m, n, k]: [usize; 3],
    dtype: DType,
    is_transposed: bool,
    device: impl FnOnce(String) -> Gpu,
) -> Result<Option<String>, BackendError> {
    let mut states = States::default();
    let [a, b] = [("a", m * k), ("b", k * n)].map(|(name, len)| state(&mut states, name, len, dtype));
    let out = state(&mut states, "out", m * n, DType::F32);
    let (transpose_a, transpose_b) = (is_transposed, is_transposed);
    let kind = KernelKind::MatMul { m, n, k, transpose_a, transpose_b, a, b, out: out.into() };
    let gpu = device(product_of(&kind).map_or_else(String::new, |product| product.key()));
    let kernels = vec![Kernel { kind, name: "self-test".to_owned() }];
    let plan = Plan { kernels, packs_halves: true, ..Plan::default() };
    let mut session = GpuSession::new(&Setup { plans: &[plan], states: &states, data: &[] }, gpu)?;

    let factor = |index: usize, prime: usize| {
        let factor = (index * prime % 1_009) as f32 / 1_009.0 - 0.5;
        if dtype == DType::F16 { half::f16::from_f32(factor).to_f32() } else { factor }
    };
    let left: Vec<f32> = (0..m * k).map(|index| factor(index, 389)).collect();
    let right: Vec<f32> = (0..k * n).map(|index| factor(index, 613)).collect();
    session.write_state(StateId(0), bytemuck::cast_slice(&left))?;
    session.write_state(StateId(1), bytemuck::cast_slice(&right))?;
    session.run(0, &[])?;
    let found = answered(part, session.read_state(StateId(2))?);
    let mut worst = 0.0_f64;
    for row in 0..m {
        for column in 0..n {
            let place_a = |term: usize| if is_transposed { term * m + row } else { row * k + term };
            let place_b = |term: usize| if is_transposed { column * k + term } else { term * n + column };
            let terms = (0..k).map(|term| f64::from(left[place_a(term)]) * f64::from(right[place_b(term)]));
            let error = (f64::from(f32::from_bits(found[row * n + column])) - terms.sum::<f64>()).abs();
            // NaN counts as wrong.
            worst = if error <= worst { worst } else { error };
        }
    }
    // Some devices cut the sums of matrices off instead of rounding them.
    let most = if dtype == DType::F16 { 2e-4 } else { 1e-5 };
    Ok((worst.is_nan() || worst > most).then(|| format!("an element is off by {worst:.2e}")))
}

/// Sum, largest and place of the largest of rows of whole numbers, by the invocations of a workgroup, through a whole
/// session.
fn reductions(gpu: Gpu) -> Result<Option<String>, BackendError> {
    const ROWS: usize = 3;
    const LENGTH: usize = 1_000;
    let mut states = States::default();
    let numbers = state(&mut states, "numbers", ROWS * LENGTH, DType::F32);
    let [sums, most] = ["sums", "most"].map(|name| state(&mut states, name, ROWS, DType::F32));
    let places = state(&mut states, "places", ROWS, DType::U32);
    let access = Access { offset: 0, strides: vec![LENGTH, 1], indirect: Vec::new() };
    let reduction = |kind, output| Reduction { reg: 0, kind, output };
    let kind = KernelKind::Reduce {
        shape: vec![ROWS, LENGTH],
        kept: 1,
        inputs: vec![numbers],
        body: Body { instrs: vec![Instr::Load(Load { input: 0, access })] },
        reductions: vec![
            reduction(Reducer::Sum, sums),
            reduction(Reducer::Max, most),
            reduction(Reducer::ArgMax, places),
        ],
    };
    let plan = Plan { kernels: vec![Kernel { kind, name: "self-test".to_owned() }], ..Plan::default() };
    let mut session = GpuSession::new(&Setup { plans: &[plan], states: &states, data: &[] }, gpu)?;
    let values: Vec<u32> = (0..ROWS * LENGTH).map(|index| (index * 389 % 1_009) as u32).collect();
    let words: Vec<u32> = values.iter().map(|&value| (value as f32).to_bits()).collect();
    session.write_state(StateId(0), &words)?;
    session.run(0, &[])?;
    let found = answered(SUBGROUPS, session.read_states(&[StateId(1), StateId(2), StateId(3)])?);
    let rows = || values.chunks(LENGTH);
    let largest = |row: &[u32]| row.iter().copied().max().unwrap_or(0);
    let place = |row: &[u32]| row.iter().position(|value| *value == largest(row)).unwrap_or(0);
    let mut right: Vec<u32> = rows().map(|row| (row.iter().sum::<u32>() as f32).to_bits()).collect();
    right.extend(rows().map(|row| (largest(row) as f32).to_bits()));
    right.extend(rows().map(|row| place(row) as u32));
    let wrong = found.iter().zip(&right).position(|(found, right)| found != right);
    Ok(wrong.map(|at| format!("found {:#x} where {:#x} is right", found[at], right[at])))
}

/// Numbers that are stored in 16 bits and read again, through a whole session.
fn halves(part: &str, gpu: Gpu) -> Result<Option<String>, BackendError> {
    let numbers = [
        1.0,
        -0.0,
        0.1,
        -2049.0,
        2051.0,
        65_504.0,
        65_519.996,
        65_520.0,
        -1e30,
        6.104e-5,
        6.097e-5,
        5.9604645e-8,
        2.98e-8,
        2.981e-8,
        1e-10,
        1e-40,
    ];
    let numbers = [&numbers[..], &[f32::INFINITY, f32::NEG_INFINITY, f32::NAN]].concat();
    let len = numbers.len();
    let mut states = States::default();
    let [from, to] = ["from", "to"].map(|name| state(&mut states, name, len, DType::F32));
    let stored = state(&mut states, "stored", len, DType::F16);
    let between = BufferRef { place: Place::Arena(3), len, dtype: DType::F16 };
    let copy = |from: BufferRef, to: BufferRef| {
        let access = Access { offset: 0, strides: vec![1], indirect: Vec::new() };
        let body = Body { instrs: vec![Instr::Load(Load { input: 0, access: access.clone() })] };
        let stores = vec![Store { reg: 0, output: to, access }];
        let kind = KernelKind::Pointwise { shape: vec![len], inputs: vec![from], body, stores };
        Kernel { kind, name: "self-test".to_owned() }
    };
    let kernels = vec![copy(from, between), copy(between, stored), copy(stored, to)];
    let plan = Plan { kernels, arena_words: 3 + len.div_ceil(2), packs_halves: true, ..Plan::default() };
    let mut session = GpuSession::new(&Setup { plans: &[plan], states: &states, data: &[] }, gpu)?;
    session.write_state(StateId(0), bytemuck::cast_slice(&numbers))?;
    session.run(0, &[])?;
    let found = answered(part, session.read_state(StateId(1))?);
    let wrong = numbers.iter().zip(&found).find_map(|(number, &found)| {
        let (right, found) = (half::f16::from_f32(*number).to_f32(), f32::from_bits(found));
        let agrees = right.to_bits() == found.to_bits() || right.is_nan() && found.is_nan();
        (!agrees).then(|| format!("{number:e} became {found:e} where {right:e} is right"))
    });
    Ok(wrong)
}

/// A state of the test.
fn state(states: &mut States, name: &str, len: usize, dtype: DType) -> BufferRef {
    let id = states.declare(StateInfo {
        name: name.to_owned(),
        shape: vec![len],
        dtype,
        kind: StateKind::Buffer,
        init: Init::Fill(0.0),
        layer: None,
    });
    BufferRef { place: Place::State(id), len, dtype }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checks(wrong: &[&str]) -> Vec<Check> {
        let problem = |part: &str| wrong.contains(&part).then(|| "found 1 where 2 is right".to_owned());
        PARTS.iter().map(|&name| Check { name, problem: problem(name) }).collect()
    }

    #[test]
    fn each_part_matters_to_the_kernels_that_need_it() {
        for part in PARTS {
            let found = checks(&[part]);
            let always = !OPTIONAL.contains(&part) && !matches!(part, PACKED_HALVES | ATOMICS);
            assert_eq!(first_problem(&found, false).is_some(), always, "{part}");
            // By themselves they are right.
            assert_eq!(first_problem(&found, true).is_some(), always, "{part}");
            if !OPTIONAL.contains(&part) {
                let found = checks(&[NATIVE_HALVES, part]);
                assert_eq!(first_problem(&found, true), Some((part, "found 1 where 2 is right")));
            }
        }
        assert_eq!(first_problem(&checks(&[]), true), None);
    }

    #[test]
    fn results_are_read_as_they_were_written() {
        for found in
            [checks(&[]), checks(&[NATIVE_HALVES, ATOMICS]), checks(&[])[..7].to_vec(), checks(&[])[..9].to_vec()]
        {
            let whole = PARTS.iter().all(|part| OPTIONAL.contains(part) || found.iter().any(|it| it.name == *part));
            assert_eq!(read(&write(&found)), whole.then_some(found));
        }
        for wrong in ["", "long loops\t\n", "\u{1}", "barriers"] {
            assert_eq!(read(wrong.as_bytes()), None, "{wrong}");
        }
    }
}
