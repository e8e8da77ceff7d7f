//! Reductions of all shapes, in every division of the work.

use super::*;
use crate::backend::gpu::check;
use crate::backend::gpu::grants::Grants;
use crate::backend::gpu::launch::Target;
use crate::backend::gpu::source::Library;
use crate::backend::gpu::tune::Choices;
use crate::ir::Unary;
use crate::ir::graph::count;
use crate::plan::{Access, Body, Instr, Load, Reducer, Reduction};

/// Sum, sum of absolute values, maximum, and, along one axis, the place of the maximum.
fn reduce(bench: &mut Bench, sizes: &[usize], kept_axes: &[usize], input: BufferRef) {
    let reduced: Vec<usize> = (0..sizes.len()).filter(|axis| !kept_axes.contains(axis)).collect();
    let order: Vec<usize> = kept_axes.iter().chain(&reduced).copied().collect();
    let strides = order.iter().map(|axis| count(&sizes[axis + 1..])).collect();
    let load = Load { input: 0, access: Access { offset: 0, strides, indirect: Vec::new() } };
    let body = Body { instrs: vec![Instr::Load(load), Instr::Unary(Unary::Abs, 0)] };
    let len = kept_axes.iter().map(|axis| sizes[*axis]).product();
    let mut reductions = vec![
        Reduction { reg: 0, kind: Reducer::Max, output: bench.out(len, DType::F32) },
        Reduction { reg: 1, kind: Reducer::Sum, output: bench.out(len, DType::F32) },
    ];
    if reduced.len() == 1 {
        reductions.push(Reduction { reg: 0, kind: Reducer::ArgMax, output: bench.out(len, DType::U32) });
    }
    bench.kernel(KernelKind::Reduce {
        shape: order.iter().map(|axis| sizes[*axis]).collect(),
        kept: kept_axes.len(),
        inputs: vec![input],
        body,
        reductions,
    });
}

#[test]
fn over_any_axes() {
    let mut bench = Bench::new(1e-6);
    let cases: [(&[usize], &[usize]); 14] = [
        (&[7, 33], &[0]),
        (&[7, 33], &[1]),
        (&[7, 333], &[0]),
        (&[777, 3], &[1]),
        (&[300, 70], &[1]),
        (&[300, 70], &[0]),
        (&[4, 5, 6, 7], &[1]),
        (&[4, 5, 60, 7], &[0, 2]),
        (&[3, 1, 129, 2], &[0, 1]),
        (&[1000], &[]),
        (&[1], &[]),
        (&[5, 1], &[0]),
        (&[16_500, 40], &[0]),
        (&[200, 2_000], &[1]),
    ];
    for (sizes, kept) in cases {
        let input = bench.normal(count(sizes));
        reduce(&mut bench, sizes, kept, input);
    }
    bench.check();
}

#[test]
fn by_subgroups() {
    let mut bench = Bench::new(1e-6);
    let cases: [(&[usize], &[usize]); 5] =
        [(&[7, 333], &[0]), (&[77, 3], &[1]), (&[3, 1, 129, 2], &[0, 1]), (&[1000], &[]), (&[20, 2_000], &[1])];
    for (sizes, kept) in cases {
        let input = bench.normal(count(sizes));
        reduce(&mut bench, sizes, kept, input);
    }
    bench.check_with_subgroups();
}

#[test]
fn in_two_stages() {
    let mut bench = Bench::new(1e-6);
    for (sizes, kept) in [(vec![100_003], vec![]), (vec![3, 50_021], vec![0]), (vec![40_000, 3], vec![1])] {
        let input = bench.normal(count(&sizes));
        let strides = |axis: usize| count(&sizes[axis + 1..]);
        let order: Vec<usize> = (0..sizes.len())
            .filter(|axis| kept.contains(axis))
            .chain((0..sizes.len()).filter(|axis| !kept.contains(axis)))
            .collect();
        let load = Load {
            input: 0,
            access: Access {
                offset: 0,
                strides: order.iter().map(|axis| strides(*axis)).collect(),
                indirect: Vec::new(),
            },
        };
        let body = Body { instrs: vec![Instr::Load(load), Instr::Unary(Unary::Exp, 0)] };
        let len = kept.iter().map(|axis: &usize| sizes[*axis]).product();
        let reductions = vec![
            Reduction { reg: 1, kind: Reducer::Sum, output: bench.out(len, DType::F32) },
            Reduction { reg: 0, kind: Reducer::Max, output: bench.out(len, DType::F32) },
        ];
        let shape = order.iter().map(|axis| sizes[*axis]).collect();
        bench.kernel(KernelKind::Reduce { shape, kept: kept.len(), inputs: vec![input], body, reductions });
    }
    bench.check_with_subgroups();
}

#[test]
fn nan_is_the_largest_and_the_first_of_equals_wins() {
    let mut bench = Bench::new(0.0);
    let (nan, infinity) = (f32::NAN, f32::INFINITY);
    let rows: [[f32; 5]; 8] = [
        [1.0, 3.0, 3.0, 2.0, 3.0],
        [-0.0, 0.0, -1.0, 0.0, -0.0],
        [-infinity; 5],
        [1.0, nan, infinity, nan, 2.0],
        [infinity, 1.0, infinity, 0.0, 0.0],
        [-5.0, -4.0, -3.0, -4.0, -3.0],
        [nan; 5],
        [1e-30, -1e-30, 2e-30, 0.0, -2e-30],
    ];
    let short = bench.floats(&rows.concat());
    reduce(&mut bench, &[8, 5], &[0], short);
    // The same far apart, so that a workgroup shares each row.
    let long: Vec<f32> = rows
        .iter()
        .flat_map(|row| (0..1_500).map(|at| if at % 300 == 17 { row[at / 300] } else { -infinity }))
        .collect();
    let long = bench.floats(&long);
    reduce(&mut bench, &[8, 1_500], &[0], long);
    // The sums of infinities are not the point here.
    for kernel in &mut bench.kernels {
        if let KernelKind::Reduce { reductions, .. } = &mut kernel.kind {
            reductions.retain(|reduction| reduction.kind != Reducer::Sum);
        }
    }
    bench.check_with_subgroups();
}

#[test]
fn the_order_of_sums_is_one() {
    let mut bench = Bench::new(1e-6);
    let input = bench.normal(20 * 2_000);
    reduce(&mut bench, &[20, 2_000], &[0], input);
    for adapter in test_adapters() {
        for software in [true, false] {
            let run = || {
                let mut gpu = Gpu::open(adapter).expect("the adapter has a device");
                gpu.software = software;
                bench.run(gpu)
            };
            assert_eq!(run(), run(), "{}", adapter.name);
        }
    }
}

#[test]
fn subgroups_are_used_where_they_have_one_size() {
    for adapter in test_adapters() {
        let grants = Grants::of(adapter);
        let size = adapter.subgroups.filter(|[least, most]| least == most).map(|[size, _]| size);
        assert_eq!(grants.subgroup, size, "{}", adapter.name);
        let target = Target { software: true, grants, choices: Choices::default(), data_slots: Vec::new(), scratch: 0 };
        let text = Library::Tree.text(&target);
        let found = text.lines().find_map(|line| line.strip_prefix("const SUBGROUP = ")?.strip_suffix("u;"));
        assert_eq!(found.and_then(|size| size.parse().ok()), size, "{}", adapter.name);
        // A session of a driver on the CPU does without.
        if adapter.software {
            assert_eq!(check::grants(adapter).expect("the self-test runs").subgroup, None);
        }
    }
}
