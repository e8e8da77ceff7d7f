//! Pointwise kernels, generated from their body, and copies.

use crate::ir::DType;
use crate::ir::graph::count;
use crate::plan::{Body, BufferRef, Store};

use super::body;
use super::launch::{Launch, Target};
use super::source::Source;
use super::space::Space;

/// One invocation for each position.
pub(super) fn lower(target: &Target, shape: &[usize], inputs: &[BufferRef], body: &Body, stores: &[Store]) -> Launch {
    let space = Space::merged(shape, shape.len(), body, stores);
    let positions = count(shape);
    let mut source = Source::new(target);
    source.constant("COUNT", positions);
    body::declare_inputs(&mut source, inputs, &space.body);
    let axes = body::positions(&space.shape, 0..space.shape.len(), "i", "        ");
    let program = body::instructions(&mut source, inputs, &space.body, "        ");
    let writes = body::stores(&mut source, &space.stores, "        ");
    let entry = format!(
        "fn run(group: u32, lane: u32) {{
    let i = group * LANES + lane;
    if (i < COUNT) {{
{axes}{program}{writes}    }}
}}
"
    );
    let work = positions as u64 * work_of(&space.body, stores.len());
    source.finish(&entry, positions.div_ceil(target.lanes()) as u64, work)
}

/// Rough operations of one run of a body.
pub(super) fn work_of(body: &Body, stores: usize) -> u64 {
    use crate::plan::Instr;
    let cost = |instr: &Instr| match instr {
        Instr::Random { .. } => 100,
        Instr::Unary(..) => 10,
        Instr::Load(_) => 4,
        _ => 1,
    };
    body.instrs.iter().map(cost).sum::<u64>() + 4 * stores as u64
}

/// One invocation for each word.
pub(super) fn copy(target: &Target, from: BufferRef, to: BufferRef) -> Launch {
    let mut source = Source::new(target);
    let words = (from.len * from.dtype.size()).div_ceil(4);
    source.constant("COUNT", words);
    source.reader("from", &BufferRef { dtype: DType::U32, ..from });
    source.writer("to", &BufferRef { dtype: DType::U32, ..to });
    let entry = include_str!("../../../shaders/copy.wgsl");
    source.finish(entry, words.div_ceil(target.lanes()) as u64, words as u64 * 8)
}
