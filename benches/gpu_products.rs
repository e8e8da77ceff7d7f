//! Times of square products of matrices on an adapter, in `f32` and with operands of 16 bits.
//!
//! `cargo bench --bench gpu_products -- --device NAME [--json] [SIZE …]`; with `--json`, a line is an object.

use std::time::{Duration, Instant};

use nnoptc::backend::{BackendError, Setup, gpu};
use nnoptc::ir::graph::Init;
use nnoptc::ir::random::philox;
use nnoptc::ir::{DType, StateId, StateInfo, StateKind, States};
use nnoptc::plan::{Access, Body, BufferRef, Instr, Kernel, KernelKind, Load, Place, Plan, Store};

const SIZES: [usize; 4] = [1024, 2048, 4096, 8192];
/// A figure is the median of runs of so long in all, and of so many at least.
const LONG_ENOUGH: Duration = Duration::from_millis(500);
const RUNS: usize = 5;

fn main() {
    let mut arguments = std::env::args().skip(1).filter(|argument| argument != "--bench");
    let (mut device, mut json, mut sizes) = (None, false, Vec::new());
    while let Some(argument) = arguments.next() {
        match &*argument {
            "--device" => device = arguments.next(),
            "--json" => json = true,
            size => sizes.push(size.parse().unwrap_or_else(|_| panic!("a size is a number, found `{size}`"))),
        }
    }
    let Some(device) = device else {
        // `cargo test --benches` runs this as well.
        println!("name an adapter with `--device NAME`; `nnoptc devices` lists them");
        return;
    };
    let adapter = gpu::select(&device).unwrap_or_else(|error| panic!("{error}"));
    for size in if sizes.is_empty() { SIZES.to_vec() } else { sizes } {
        for dtype in [DType::F32, DType::F16] {
            let name = if dtype == DType::F16 { "f16" } else { "f32" };
            match time(&adapter, size, dtype) {
                Ok(took) => {
                    let (seconds, operations) = (took.as_secs_f64(), 2 * size.pow(3));
                    if json {
                        println!(
                            r#"{{"size": {size}, "type": "{name}", "operations": {operations}, "seconds": {seconds}}}"#
                        );
                    } else {
                        println!("{size}³ {name}: {:.1} GFLOP/s", operations as f64 / seconds * 1e-9);
                    }
                }
                Err(error) => eprintln!("{size}³ {name} is left out: {error}"),
            }
        }
    }
}

/// How long one product takes, of many that are given to the device together.
fn time(adapter: &gpu::Adapter, size: usize, dtype: DType) -> Result<Duration, BackendError> {
    let len = size * size;
    let mut states = States::default();
    let [from, a, b, out] = ["from", "a", "b", "out"].map(|name| {
        let id = states.declare(StateInfo {
            name: name.to_owned(),
            // Halves lie in the arena instead.
            shape: vec![if dtype == DType::F16 && matches!(name, "a" | "b") { 0 } else { len }],
            dtype: DType::F32,
            kind: StateKind::Buffer,
            init: Init::Fill(0.0),
            layer: None,
        });
        BufferRef { place: Place::State(id), len, dtype: DType::F32 }
    });
    let half_words = len.div_ceil(2);
    let [a, b] = match dtype {
        DType::F16 => [0, half_words].map(|word| BufferRef { place: Place::Arena(word), len, dtype }),
        _ => [a, b],
    };
    let kernel = |kind| Kernel { kind, name: "product".to_owned() };
    let copies = [a, b].map(|to| {
        let access = Access { offset: 0, strides: vec![1], indirect: Vec::new() };
        let body = Body { instrs: vec![Instr::Load(Load { input: 0, access: access.clone() })] };
        let stores = vec![Store { reg: 0, output: to, access }];
        kernel(KernelKind::Pointwise { shape: vec![len], inputs: vec![from], body, stores })
    });
    let product =
        KernelKind::MatMul { m: size, n: size, k: size, transpose_a: false, transpose_b: false, a, b, out: out.into() };
    let arena_words = if dtype == DType::F16 { 2 * half_words } else { 0 };
    let plan = |kernels| Plan { kernels, arena_words, packs_halves: true, ..Plan::default() };
    let plans = [plan(copies.to_vec()), plan(vec![kernel(product)])];
    let mut session = gpu::open(&Setup { plans: &plans, states: &states, data: &[] }, adapter, gpu::Choice::Measured)?;
    // Zeros would be multiplied with less power, and so at a higher clock.
    let numbers: Vec<u32> =
        (0..len as u32).map(|index| (philox([index, 0, 0, 0], [7, 7])[0] as f32 / 2e9 - 1.0).to_bits()).collect();
    session.write_state(StateId(0), &numbers)?;
    session.run(0, &[])?;
    session.run(1, &[])?;
    session.wait()?;
    let mut run = |steps: u32| -> Result<Duration, BackendError> {
        let start = Instant::now();
        (0..steps).try_for_each(|_| session.run(1, &[]))?;
        session.wait()?;
        Ok(start.elapsed() / steps)
    };
    let once = run(1)?;
    let steps = (LONG_ENOUGH.as_secs_f64() / RUNS as f64 / once.as_secs_f64().max(1e-6)).clamp(1.0, 256.0) as u32;
    let mut times = (0..RUNS).map(|_| run(steps)).collect::<Result<Vec<_>, _>>()?;
    times.sort();
    Ok(times[RUNS / 2])
}
