//! Products by cooperative matrices. No software adapter has them: their text is held to naga's rules, and run with plain
//! loops in the place of what it does with matrices.

use super::products::with_epilogue;
use super::tiles::all;
use super::*;
use crate::backend::gpu::dispatch::dispatches;
use crate::backend::gpu::grants::{Grants, Matrix};
use crate::backend::gpu::launch::Target;
use crate::backend::gpu::matrix_tile;
use crate::backend::gpu::pipelines::validate;
use crate::backend::gpu::tile::Tile;
use crate::ir::ConvGeometry;
use crate::ir::graph::count;

/// Products of halves with every way to read both operands, with sums that are short, long and cut, and all three of a
/// convolution.
fn bench() -> Bench {
    let mut bench = Bench::new(2e-6);
    for ([m, n, k], transpose_a, transpose_b) in
        [([130, 67, 50], false, false), ([70, 135, 531], true, true), ([40, 66, 1_300], false, true)]
    {
        let (a, b) = (bench.halves(m * k), bench.halves(k * n));
        let out = bench.out(m * n, DType::F32);
        bench.kernel(KernelKind::MatMul { m, n, k, transpose_a, transpose_b, a, b, out: out.into() });
    }
    let geometry = ConvGeometry {
        batch: 3,
        channels: 16,
        input: [9, 8],
        filters: 40,
        kernel: [3, 2],
        output: [5, 8],
        stride: [2, 1],
        padding: [1, 1],
        dilation: [1, 1],
        groups: 2,
    };
    let [input, filters, output] = [geometry.input_shape(), geometry.weight_shape(), geometry.output_shape()];
    let (x, weight, grad) = (bench.halves(count(&input)), bench.halves(count(&filters)), bench.halves(count(&output)));
    with_epilogue(&mut bench, |_, out| KernelKind::Conv2d { geometry, x, weight, out }, &output);
    let out = bench.out(count(&input), DType::F32).into();
    bench.kernel(KernelKind::Conv2dInputGrad { geometry, weight, grad, out });
    let out = bench.out(count(&filters), DType::F32).into();
    bench.kernel(KernelKind::Conv2dWeightGrad { geometry, x, grad, out });
    bench
}

#[test]
fn every_text_is_valid() {
    let bench = bench();
    // Metal; NVIDIA; AMD; as if few invocations were a subgroup.
    for (size, subgroup) in [(8, 32), (16, 32), (16, 64), (16, 16)] {
        let matrix = Matrix { size, subgroup };
        let grants = Grants { native_halves: true, subgroup: None, matrix: Some(matrix) };
        for tile in Tile::by_matrices(matrix) {
            assert!(tile.workgroup_bytes() <= matrix_tile::WORKGROUP_BYTES, "{tile:?}");
            let choices = all(&bench, tile);
            let target = Target { software: false, grants, choices, data_slots: Vec::new(), scratch: 0 };
            let (dispatches, _) = dispatches(&bench.plan(), &target).expect("the plan can be run");
            let by_matrices = |text: &&str| text.contains("enable wgpu_cooperative_matrix;");
            let texts = || dispatches.iter().map(|dispatch| &*dispatch.text);
            assert_eq!(texts().filter(by_matrices).count(), bench.kernels.len(), "each kernel is one by matrices");
            for text in texts() {
                validate("a product by matrices", text);
                #[cfg(any(windows, target_os = "linux", target_os = "android", target_os = "freebsd"))]
                translate(text);
            }
        }
    }
}

/// Vulkan's form of the text can be written; where there is Vulkan, wgpu brings what writes it.
#[cfg(any(windows, target_os = "linux", target_os = "android", target_os = "freebsd"))]
fn translate(text: &str) {
    use wgpu::naga::back::spv;
    use wgpu::naga::front::wgsl::parse_str;
    use wgpu::naga::valid::{Capabilities, ValidationFlags, Validator};
    let module = parse_str(text).expect("it is valid");
    let info = Validator::new(ValidationFlags::all(), Capabilities::all()).validate(&module).expect("it is valid");
    let options = spv::Options { lang_version: (1, 3), ..spv::Options::default() };
    let words = spv::write_vec(&module, &info, &options, None).expect("it can be translated");
    // `OpCooperativeMatrixMulAddKHR`, which what adds up the sums over slices does without.
    let multiplies = words.iter().any(|word| word & 0xffff == 4459);
    assert_eq!(multiplies, text.contains("coopMultiplyAdd"));
}

#[test]
fn plain_loops_in_the_place_of_matrices_give_the_products() {
    let bench = bench();
    let change = |(size, index): (usize, usize)| {
        // One subgroup, which computes all blocks in turn.
        let matrix = Matrix { size, subgroup: 256 };
        let choices = all(&bench, Tile::by_matrices(matrix)[index]);
        move |gpu: &mut Gpu| {
            gpu.software = false;
            gpu.rewrite = Some(if gpu.grants.native_halves { emulated } else { emulated_in_32_bits });
            gpu.grants.subgroup = None;
            gpu.grants.matrix = Some(matrix);
            gpu.choices = choices.clone();
        }
    };
    // With 32 bits for each number some others do not fit.
    let changes = [(16, 0), (16, 1), (8, 0)].map(change);
    let changes: Vec<&dyn Fn(&mut Gpu)> = changes.iter().map(|change| change as &dyn Fn(&mut Gpu)).collect();
    // The compiler of llvmpipe takes minutes for so many barriers.
    let is_quick = |adapter: &&Adapter| !adapter.name.contains("llvmpipe");
    bench.check_adapters(&test_adapters().iter().filter(is_quick).collect::<Vec<_>>(), &changes);
}

/// The text with an invocation for each element of a matrix of sums. Of the matrices that are multiplied it knows where
/// they begin, and the steps along both axes.
fn emulated(text: &str) -> String {
    if !text.contains("enable wgpu_cooperative_matrix;") {
        return text.to_owned();
    }
    let mut result = String::new();
    for line in text.lines() {
        if line.starts_with("enable wgpu_cooperative_matrix") || line.contains("@builtin(subgroup_id)") {
            continue;
        }
        if line.contains("@builtin(num_subgroups)") {
            continue;
        }
        result.push_str(&emulated_line(line));
        result.push('\n');
        if line.contains("let number =") {
            result.push_str("    let subgroup = 0u;\n    let subgroups = 1u;\n");
        }
    }
    result.push_str(
        "
fn multiplied(left: vec3<u32>, right: vec3<u32>, sum: f32, lane: u32) -> f32 {
    let row = lane / SIZE % SIZE;
    let column = lane % SIZE;
    var total = sum;
    // A length that the driver does not know.
    for (var i = 0u; i < min(SIZE, terms() * SIZE); i++) {
        let a = f32(tile_a[left.x + row * left.y + i * left.z]);
        total += a * f32(tile_b[right.x + i * right.y + column * right.z]);
    }
    return total;
}
",
    );
    result
}

fn emulated_line(line: &str) -> String {
    for (zero, plain) in [("coop_mat16x16<f32, C>()", "f32()"), ("coop_mat8x8<f32, C>()", "f32()")] {
        if line.contains(zero) {
            return line.replace(zero, plain);
        }
    }
    if let Some((before, from)) = line.split_once("coopLoad") {
        let (_, from) = from.split_once("[").expect("a load is from an array");
        let (place, rest) = from.split_once("], ").expect("a load has a place");
        let pitch = rest.strip_suffix(");").expect("a load has a pitch");
        // By rows, the second index of an element is that of neighbours in memory.
        let steps = if line.contains("coopLoadT") { format!("{pitch}, 1u") } else { format!("1u, {pitch}") };
        return format!("{before}vec3<u32>({place}, {steps});");
    }
    if let Some((before, rest)) = line.split_once("coopStoreT(") {
        let rest = rest.strip_suffix("], SIZE);").expect("a store has a place");
        let (result, place) = rest.split_once(", &results[").expect("a store is to an array");
        return format!("{before}if (lane < SIZE * SIZE) {{ results[{place} + lane] = {result}; }}");
    }
    match line.split_once("coopMultiplyAdd(") {
        Some((before, rest)) => format!("{before}multiplied({}", rest.replace(");", ", lane);")),
        None => line.to_owned(),
    }
}

/// As [`emulated`], without the type `f16`: numbers of 16 bits in 32.
fn emulated_in_32_bits(text: &str) -> String {
    emulated(text).replace("enable f16;\n", "").replace("f16", "f32")
}
