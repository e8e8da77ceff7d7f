//! Every tile that products may be computed with, and how one is chosen.

use std::cell::Cell;

use super::products::{mat_mul, with_epilogue};
use super::*;
use crate::backend::gpu::cache::Remembered;
use crate::backend::gpu::grants::{Grants, Matrix};
use crate::backend::gpu::launch::product_of;
use crate::backend::gpu::tile::Tile;
use crate::backend::gpu::tune::{Choice, Choices, choices, products, settle};
use crate::ir::ConvGeometry;
use crate::ir::graph::count;

/// Products with every way to read both operands, with sums that are short, long and cut, of sizes that fill no tile.
fn bench() -> Bench {
    let mut bench = Bench::new(2e-6);
    mat_mul(&mut bench, [130, 37, 50], false, false);
    mat_mul(&mut bench, [70, 135, 531], true, true);
    mat_mul(&mut bench, [33, 65, 1_300], false, true);
    let geometry = ConvGeometry {
        batch: 3,
        channels: 6,
        input: [9, 8],
        filters: 40,
        kernel: [3, 2],
        output: [5, 8],
        stride: [2, 1],
        padding: [1, 1],
        dilation: [1, 1],
        groups: 2,
    };
    let shape = geometry.output_shape();
    let conv = |bench: &mut Bench, out| KernelKind::Conv2d {
        geometry,
        x: bench.normal(count(&geometry.input_shape())),
        weight: bench.normal(count(&geometry.weight_shape())),
        out,
    };
    with_epilogue(&mut bench, conv, &shape);
    bench
}

/// One tile for all products.
pub(super) fn all(bench: &Bench, tile: Tile) -> Choices {
    let keys = bench.kernels.iter().filter_map(|kernel| Some(product_of(&kernel.kind)?.key()));
    keys.map(|key| (key, tile)).collect()
}

#[test]
fn every_tile_gives_the_products() {
    let bench = bench();
    let change = |tile| {
        let choices = all(&bench, tile);
        move |gpu: &mut Gpu| {
            without_subgroups(false)(gpu);
            gpu.choices = choices.clone();
        }
    };
    let changes = Tile::BY_REGISTERS.map(change);
    let changes: Vec<&dyn Fn(&mut Gpu)> = changes.iter().map(|change| change as &dyn Fn(&mut Gpu)).collect();
    bench.check_on(&changes);
}

#[test]
fn a_choice_is_measured_once_and_kept() {
    let mut bench = Bench::new(2e-6);
    mat_mul(&mut bench, [40, 130, 64], false, false);
    mat_mul(&mut bench, [40, 130, 64], false, false);
    mat_mul(&mut bench, [64, 64, 40], true, false);
    let products = products(&[bench.plan()], Grants::default());
    assert_eq!(products.all.len(), 2, "equal products are measured once");
    for adapter in test_adapters() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("products");
        let file = Remembered::at(path.clone(), 1 << 20);
        let opened = Cell::new(0);
        let open = || {
            opened.set(opened.get() + 1);
            let mut gpu = Gpu::open(adapter)?;
            // As if it were a real one.
            without_subgroups(false)(&mut gpu);
            Ok(gpu)
        };
        let choose = || {
            let mut known = Choices::default();
            settle(&mut known, Some(&file), &products, &open).expect("the trials run");
            known
        };
        let chosen = choose();
        assert_eq!((chosen.len(), opened.get()), (2, 1));
        let written = std::fs::read(&path).expect("the choices are written");
        // The second start reads them.
        assert_eq!((choose(), opened.get()), (chosen.clone(), 1));
        // A file that is not whole is measured and written anew, as one whose words mean nothing.
        for damage in [&written[..written.len() - 3], b"nothing", &[]] {
            let before = opened.get();
            std::fs::write(&path, damage).expect("the file is there");
            let again = choose();
            assert_eq!(opened.get(), before + 1);
            assert_eq!((choose(), opened.get()), (again, before + 1));
        }
        let before = opened.get();
        file.write(b"mat_mul 1\t7x7\n");
        choose();
        assert_eq!(opened.get(), before + 1);
        // What is known in the process holds, whatever stands in the file; only what is new is measured.
        let mut known = chosen.clone();
        settle(&mut known, None, &products, &open).expect("nothing runs");
        assert_eq!((&known, opened.get()), (&chosen, before + 1));
        let (first, _) = known.pop_first().expect("there are two");
        settle(&mut known, None, &products, &open).expect("a trial runs");
        assert_eq!(opened.get(), before + 2);
        assert!(known.contains_key(&first));
        // And what is chosen computes right.
        let mut gpu = open().expect("the adapter has a device");
        gpu.choices = known;
        bench.compare(&bench.run(gpu), &bench.expected(), &adapter.name);
    }
}

#[test]
fn nothing_is_measured_where_the_choice_is_fixed_or_drivers_are_on_the_cpu() {
    let mut bench = Bench::new(0.0);
    mat_mul(&mut bench, [40, 130, 64], false, false);
    for adapter in test_adapters() {
        let chosen = |choice| choices(adapter, Grants::default(), &[bench.plan()], choice).expect("nothing runs");
        assert_eq!(chosen(Choice::Fixed), Choices::default());
        if adapter.software {
            assert_eq!(chosen(Choice::Measured), Choices::default());
        }
    }
}

#[test]
fn the_usual_tile_follows_from_sizes_types_and_what_is_granted() {
    let matrix = Matrix { size: 16, subgroup: 32 };
    let granted = Grants { native_halves: true, subgroup: Some(32), matrix: Some(matrix) };
    let cases = [
        ([20, 30], "32x32", "32x32"),
        ([20, 5_000], "32x128", "32x128"),
        ([128, 10], "128x32", "128x32"),
        ([128, 512], "64x64", "64x64x32 by matrices"),
        ([64, 131_072], "64x128", "64x128x32 by matrices"),
        ([4_096, 4_096], "128x128", "128x128x32 by matrices"),
    ];
    for ([m, n], plain, by_matrices) in cases {
        let usual = |dtype, grants| {
            let buffer = |word, len| BufferRef { place: Place::Arena(word), len, dtype };
            let (a, b) = (buffer(0, m * 64), buffer(m * 64, 64 * n));
            let out = BufferRef { dtype: DType::F32, ..buffer((m + n) * 64, m * n) };
            let kind =
                KernelKind::MatMul { m, n, k: 64, transpose_a: false, transpose_b: false, a, b, out: out.into() };
            let product = product_of(&kind).expect("it is one");
            let candidates = Tile::candidates(&product, grants);
            let names: std::collections::BTreeSet<String> = candidates.iter().map(Tile::name).collect();
            assert_eq!(names.len(), candidates.len(), "each is tried once");
            candidates[0].name()
        };
        assert_eq!(usual(DType::F32, granted), plain);
        assert_eq!(usual(DType::F16, Grants::default()), plain);
        assert_eq!(usual(DType::F16, granted), by_matrices);
    }
}
