//! The generated WGSL without any adapter: naga accepts it, and kernels of one kind share it.

use super::*;
use crate::backend::gpu::dispatch::{Dispatch, dispatches};
use crate::backend::gpu::grants::Grants;
use crate::backend::gpu::launch::{Target, lower};
use crate::backend::gpu::pipelines::validate;
use crate::backend::gpu::tune::Choices;
use crate::ir::{Binary, ConvGeometry, DataId, DataInfo, PoolGeometry, Unary};
use crate::plan::{Access, Body, Instr, Load, Reducer, Reduction, Store};

/// Numbers of 16 bits by themselves, and nothing else.
const HALVES: Grants = Grants { native_halves: true, subgroup: None, matrix: None };

fn at(offset: usize, len: usize) -> BufferRef {
    BufferRef { place: Place::Arena(offset), len, dtype: DType::F32 }
}

/// A plan with every family, every function and every kind of place.
fn every_family() -> Plan {
    let access = |strides: &[usize]| Access { offset: 3, strides: strides.to_vec(), indirect: Vec::new() };
    let load = |input| Instr::Load(Load { input, access: access(&[100, 1]) });
    let mut instrs = vec![load(0), load(1), load(2), load(3)];
    instrs.extend(Unary::ALL.map(|function| Instr::Unary(function, 0)));
    instrs.extend(Binary::ALL.map(|function| Instr::Binary(function, 0, 3)));
    instrs.push(Instr::Position { axis: 1, offset: 2 });
    let word = (instrs.len() - 1) as u16;
    instrs.push(Instr::Random { stream: 1, operands: [word; 4] });
    instrs.extend([Instr::ToWord(0), Instr::ToFloat(word), Instr::Float(f32::NAN), Instr::Select(0, 1, 3)]);
    instrs.extend(Binary::ALL.into_iter().filter(|f| *f != Binary::Divide).map(|f| Instr::Binary(f, word, word)));
    let body = Body { instrs };
    let inputs = vec![
        at(0, 10_000),
        BufferRef { place: Place::Data(DataId(0)), len: 10_000, dtype: DType::U8 },
        BufferRef { place: Place::Step(0), len: 10_000, dtype: DType::U32 },
        BufferRef { place: Place::State(StateId(0)), len: 10_000, dtype: DType::F32 },
    ];
    let (a, b, out) = (at(0, 10_000), at(10_000, 10_000), at(20_000, 10_000));
    let geometry = ConvGeometry {
        batch: 2,
        channels: 16,
        input: [8, 8],
        filters: 16,
        kernel: [3, 3],
        output: [8, 8],
        stride: [1, 1],
        padding: [1, 1],
        dilation: [1, 1],
        groups: 2,
    };
    let pool =
        PoolGeometry { planes: 4, input: [8, 8], output: [4, 4], kernel: [2, 2], stride: [2, 2], padding: [0, 0] };
    let store = Store { reg: word + 1, output: out, access: access(&[100, 1]) };
    let reductions = |kinds: &[Reducer]| {
        let output = |kind| if kind == Reducer::ArgMax { BufferRef { dtype: DType::U32, ..out } } else { out };
        kinds.iter().map(|kind| Reduction { reg: 5, kind: *kind, output: output(*kind) }).collect()
    };
    let reduce = |shape: &[usize], kinds: &[Reducer]| KernelKind::Reduce {
        shape: shape.to_vec(),
        kept: 1,
        inputs: inputs.clone(),
        body: body.clone(),
        reductions: reductions(kinds),
    };
    let mat_mul =
        |m, n, k| KernelKind::MatMul { m, n, k, transpose_a: true, transpose_b: false, a, b, out: out.into() };
    let kinds = vec![
        KernelKind::Pointwise { shape: vec![20, 90], inputs: inputs.clone(), body: body.clone(), stores: vec![store] },
        reduce(&[20, 9], &[Reducer::Sum, Reducer::Max, Reducer::ArgMax]),
        reduce(&[2, 5_000], &[Reducer::Sum, Reducer::Max, Reducer::ArgMax]),
        reduce(&[1, 1_000_000], &[Reducer::Sum, Reducer::Max]),
        mat_mul(70, 70, 70),
        mat_mul(100, 100, 100),
        mat_mul(2, 70, 70),
        mat_mul(2, 70, 7_000),
        mat_mul(20, 20, 70_000),
        KernelKind::Conv2d { geometry, x: a, weight: b, out: out.into() },
        KernelKind::Conv2dInputGrad { geometry, weight: b, grad: a, out: out.into() },
        KernelKind::Conv2dWeightGrad { geometry, x: a, grad: b, out: out.into() },
        KernelKind::MaxPool { geometry: pool, x: a, out },
        KernelKind::MaxPoolGrad { geometry: pool, x: a, grad: b, out },
        KernelKind::AvgPool { geometry: pool, x: a, out },
        KernelKind::AvgPoolGrad { geometry: pool, grad: b, out },
        KernelKind::Copy { from: a, to: out },
    ];
    let name = |index: usize| format!("kernel {index}");
    Plan {
        kernels: kinds.into_iter().enumerate().map(|(index, kind)| Kernel { kind, name: name(index) }).collect(),
        arena_words: 30_000,
        data: vec![DataInfo { name: "train".to_owned(), shape: vec![100, 100], dtype: DType::U8 }],
        ..Plan::default()
    }
}

#[test]
fn every_family_is_valid() {
    let plan = every_family();
    for software in [true, false] {
        let target = Target {
            software,
            grants: HALVES,
            choices: Choices::default(),
            data_slots: vec![0],
            scratch: plan.arena_words,
        };
        let (dispatches, _) = dispatches(&plan, &target).expect("the plan can be run");
        for dispatch in dispatches {
            validate(&dispatch.name, &dispatch.text);
        }
        for kernel in &plan.kernels {
            for launch in lower(kernel, &target).expect("the kernel can be run").launches {
                validate(&kernel.name, &Dispatch::one(&kernel.name, &launch, &target).text);
            }
        }
    }
}

/// Software drivers compute a comparison with 0 as it stands, so that only a GPU would show another ReLU.
#[test]
fn relu_is_the_one_that_the_self_test_looks_at() {
    let target =
        Target { software: false, grants: HALVES, choices: Choices::default(), data_slots: Vec::new(), scratch: 0 };
    let access = Access { offset: 0, strides: vec![1], indirect: Vec::new() };
    let load = Instr::Load(Load { input: 0, access: access.clone() });
    let kind = KernelKind::Pointwise {
        shape: vec![100],
        inputs: vec![at(0, 100)],
        body: Body { instrs: vec![load, Instr::Unary(Unary::Relu, 0)] },
        stores: vec![Store { reg: 1, output: at(112, 100), access }],
    };
    let kernels = vec![Kernel { kind, name: "relu".to_owned() }];
    let plan = Plan { kernels, arena_words: 212, ..Plan::default() };
    let (dispatches, _) = dispatches(&plan, &target).expect("the plan can be run");
    let text = &dispatches[0].text;
    assert!(text.contains("= relu(r0)") && text.contains(include_str!("../../../../shaders/lib/bits.wgsl")), "{text}");
    assert!(include_str!("../../../../shaders/self_test.wgsl").contains("relu(bitcast<f32>(words[7]))"));
}

#[test]
fn matrix_products_of_all_sizes_share_their_text() {
    let plan = every_family();
    let target = Target {
        software: false,
        grants: HALVES,
        choices: Choices::default(),
        data_slots: vec![0],
        scratch: plan.arena_words,
    };
    let text = |index: usize| {
        let lowered = lower(&plan.kernels[index], &target).expect("the kernel can be run");
        Dispatch::one("a product", &lowered.launches[0], &target).text
    };
    assert_eq!(text(4), text(5));
}

#[test]
fn a_window_too_large_for_one_invocation_is_refused() {
    let geometry =
        PoolGeometry { planes: 1, input: [300; 2], output: [1; 2], kernel: [300; 2], stride: [1; 2], padding: [0; 2] };
    let kind = KernelKind::AvgPool { geometry, x: at(0, 90_000), out: at(90_000, 1) };
    let target =
        Target { software: false, grants: HALVES, choices: Choices::default(), data_slots: Vec::new(), scratch: 0 };
    let error = lower(&Kernel { kind, name: "pool".to_owned() }, &target).err();
    assert_eq!(error.as_deref(), Some("a pooling window of 300 x 300 has more than 60000 elements"));
}
