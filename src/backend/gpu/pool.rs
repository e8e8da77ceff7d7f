//! Pooling; the loops are in `shaders/*pool*.wgsl`.

use crate::ir::{DType, PoolGeometry};
use crate::plan::{BufferRef, Place};

use super::launch::{Launch, Lowered, MAX_TRIPS, Target};
use super::source::{Library, Source};

/// The largest of each window.
pub(super) fn max_pool(
    target: &Target,
    geometry: &PoolGeometry,
    x: BufferRef,
    out: BufferRef,
) -> Result<Lowered, String> {
    let keep = "fn keep_largest(i: u32, value: f32, place: u32) {\n    write_out(i, value);\n}\n";
    largest(target, geometry, x, out, keep).map(Lowered::one)
}

/// The gradient of a max pool: first where each window's largest lies, then the sum over the windows of each pixel.
pub(super) fn max_pool_grad(
    target: &Target,
    geometry: &PoolGeometry,
    x: BufferRef,
    grad: BufferRef,
    out: BufferRef,
) -> Result<Lowered, String> {
    let places = BufferRef { place: Place::Arena(target.scratch), len: grad.len, dtype: DType::U32 };
    let keep = "fn keep_largest(i: u32, value: f32, place: u32) {\n    write_out(i, place);\n}\n";
    let first = largest(target, geometry, x, places, keep)?;
    let mut source = geometry_of(target, geometry, count_in(geometry));
    source.reader("grad", &grad);
    source.reader("places", &places);
    source.writer("out", &out);
    source.declare(
        "fn share(window: u32, place: u32) -> f32 {
    return select(0.0, read_grad(window), read_places(window) == place);
}
",
    );
    Ok(Lowered { launches: vec![first, spread(target, source, geometry)], scratch_words: grad.len })
}

/// The mean of each window.
pub(super) fn avg_pool(
    target: &Target,
    geometry: &PoolGeometry,
    x: BufferRef,
    out: BufferRef,
) -> Result<Lowered, String> {
    check_window(geometry)?;
    let mut source = geometry_of(target, geometry, count_out(geometry));
    source.reader("x", &x);
    source.writer("out", &out);
    let entry = include_str!("../../../shaders/avg_pool.wgsl");
    Ok(Lowered::one(source.finish(entry, count_out(geometry).div_ceil(target.lanes()) as u64, window_work(geometry))))
}

/// The gradient of an average pool.
pub(super) fn avg_pool_grad(
    target: &Target,
    geometry: &PoolGeometry,
    grad: BufferRef,
    out: BufferRef,
) -> Result<Lowered, String> {
    check_window(geometry)?;
    let mut source = geometry_of(target, geometry, count_in(geometry));
    source.reader("grad", &grad);
    source.writer("out", &out);
    source.declare(
        "fn share(window: u32, place: u32) -> f32 {
    return read_grad(window) / f32(TAPS);
}
",
    );
    Ok(Lowered::one(spread(target, source, geometry)))
}

fn largest(
    target: &Target,
    geometry: &PoolGeometry,
    x: BufferRef,
    out: BufferRef,
    keep: &str,
) -> Result<Launch, String> {
    check_window(geometry)?;
    let mut source = geometry_of(target, geometry, count_out(geometry));
    source.library(Library::Bits);
    source.reader("x", &x);
    source.writer("out", &out);
    source.declare(keep);
    let entry = include_str!("../../../shaders/max_pool.wgsl");
    Ok(source.finish(entry, count_out(geometry).div_ceil(target.lanes()) as u64, window_work(geometry)))
}

fn spread(target: &Target, source: Source, geometry: &PoolGeometry) -> Launch {
    let entry = include_str!("../../../shaders/pool_grad.wgsl");
    source.finish(entry, count_in(geometry).div_ceil(target.lanes()) as u64, window_work(geometry))
}

fn check_window(geometry: &PoolGeometry) -> Result<(), String> {
    let [height, width] = geometry.kernel;
    if height * width > MAX_TRIPS {
        return Err(format!("a pooling window of {height} x {width} has more than {MAX_TRIPS} elements"));
    }
    Ok(())
}

fn count_in(geometry: &PoolGeometry) -> usize {
    geometry.planes * geometry.input[0] * geometry.input[1]
}

fn count_out(geometry: &PoolGeometry) -> usize {
    geometry.planes * geometry.output[0] * geometry.output[1]
}

fn window_work(geometry: &PoolGeometry) -> u64 {
    (count_out(geometry) * geometry.kernel[0] * geometry.kernel[1]) as u64 * 12
}

fn geometry_of<'a>(target: &'a Target, geometry: &PoolGeometry, count: usize) -> Source<'a> {
    let mut source = Source::new(target);
    for (name, value) in [
        ("COUNT", count),
        ("IN_HEIGHT", geometry.input[0]),
        ("IN_WIDTH", geometry.input[1]),
        ("IN_AREA", geometry.input[0] * geometry.input[1]),
        ("OUT_HEIGHT", geometry.output[0]),
        ("OUT_WIDTH", geometry.output[1]),
        ("OUT_AREA", geometry.output[0] * geometry.output[1]),
        ("KERNEL_HEIGHT", geometry.kernel[0]),
        ("KERNEL_WIDTH", geometry.kernel[1]),
        ("TAPS", geometry.kernel[0] * geometry.kernel[1]),
        ("STRIDE_Y", geometry.stride[0]),
        ("STRIDE_X", geometry.stride[1]),
        ("PADDING_Y", geometry.padding[0]),
        ("PADDING_X", geometry.padding[1]),
    ] {
        source.constant(name, value);
    }
    source
}
