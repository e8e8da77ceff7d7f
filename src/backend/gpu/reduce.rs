//! Reductions, generated from their body: one invocation or one workgroup for each element that is kept, in one stage
//! or two.

use std::fmt::Write;

use crate::ir::DType;
use crate::ir::graph::count;
use crate::plan::{Access, Body, BufferRef, Instr, Load, Place, Reducer, Reduction};

use super::body;
use super::launch::{Launch, Lowered, MAX_TRIPS, Target};
use super::pointwise::work_of;
use super::source::{Library, Source};
use super::space::Space;

/// How the work is divided.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Division {
    /// An invocation for each kept element.
    Serial,
    /// So many workgroups for each kept element.
    Groups(usize),
}

/// The dispatches of a reduction.
pub(super) fn lower(
    target: &Target,
    shape: &[usize],
    kept: usize,
    inputs: &[BufferRef],
    body: &Body,
    reductions: &[Reduction],
) -> Result<Lowered, String> {
    let (kept_count, reduced_count) = (count(&shape[..kept]), count(&shape[kept..]));
    let places = reductions.iter().any(|reduction| reduction.kind == Reducer::ArgMax);
    let division = divide(target, kept_count, reduced_count, places)?;
    let Division::Groups(chunks @ 2..) = division else {
        return Ok(Lowered::one(stage(target, shape, kept, inputs, body, reductions, division)));
    };
    // The first stage leaves `chunks` partial results for each kept element.
    let partial = |index: usize, reduction: &Reduction| Reduction {
        output: BufferRef {
            place: Place::Arena(target.scratch + index * kept_count * chunks),
            len: kept_count * chunks,
            dtype: DType::F32,
        },
        ..reduction.clone()
    };
    let partials: Vec<Reduction> = reductions.iter().enumerate().map(|(index, r)| partial(index, r)).collect();
    let first = stage(target, shape, kept, inputs, body, &partials, division);
    let loads = (0..partials.len()).map(|input| {
        Instr::Load(Load { input, access: Access { offset: 0, strides: vec![chunks, 1], indirect: Vec::new() } })
    });
    let finals: Vec<Reduction> =
        reductions.iter().enumerate().map(|(index, r)| Reduction { reg: index as u16, ..r.clone() }).collect();
    let buffers: Vec<BufferRef> = partials.iter().map(|partial| partial.output).collect();
    let division = divide(target, kept_count, chunks, false)?;
    let second =
        stage(target, &[kept_count, chunks], 1, &buffers, &Body { instrs: loads.collect() }, &finals, division);
    Ok(Lowered { launches: vec![first, second], scratch_words: partials.len() * kept_count * chunks })
}

fn divide(target: &Target, kept: usize, reduced: usize, places: bool) -> Result<Division, String> {
    let serial = if target.software {
        reduced <= 64 || (kept >= 64 && reduced <= 1024)
    } else {
        reduced <= 32 || (kept >= 16_384 && reduced <= 512)
    };
    if serial {
        return Ok(Division::Serial);
    }
    // Enough workgroups to fill the device, each with enough to do, and none with too long a loop.
    let (wanted, least) = if target.software { (16, 16_384) } else { (512, 8_192) };
    let helpful = (wanted / kept.max(1)).min(reduced / least).clamp(1, 1024);
    let needed = reduced.div_ceil(target.lanes() * MAX_TRIPS);
    if needed > 1024 || (places && needed > 1) {
        return Err(format!("a reduction over {reduced} positions is too long"));
    }
    Ok(Division::Groups(if places { 1 } else { helpful.max(needed) }))
}

/// One dispatch.
fn stage(
    target: &Target,
    shape: &[usize],
    kept: usize,
    inputs: &[BufferRef],
    body: &Body,
    reductions: &[Reduction],
    division: Division,
) -> Launch {
    let space = Space::merged(shape, kept, body, &[]);
    let (kept_count, reduced_count) = (count(&shape[..kept]), count(&shape[kept..]));
    let mut source = Source::new(target);
    source.constant("KEPT", kept_count);
    // Not a constant: a driver that unrolls the loop compiles for long.
    source.parameter("reduced", reduced_count);
    body::declare_inputs(&mut source, inputs, &space.body);
    for (index, reduction) in reductions.iter().enumerate() {
        source.writer(&format!("o{index}"), &reduction.output);
        match reduction.kind {
            Reducer::Sum | Reducer::SquaredDeviation => {}
            Reducer::Max | Reducer::ArgMax => source.library(Library::Bits),
        }
    }
    let kept_axes = body::positions(&space.shape, 0..space.kept, "k", "    ");
    let reduced_axes = body::positions(&space.shape, space.kept..space.shape.len(), "r", "        ");
    let program = body::instructions(&mut source, inputs, &space.body, "        ");
    let (begin, steps, finish) = accumulators(reductions);
    let (groups, entry) = match division {
        Division::Serial => {
            let writes = writes(reductions, "k", "    ", false);
            let entry = format!(
                "fn run(group: u32, lane: u32) {{
    let k = group * LANES + lane;
    if (k < KEPT) {{
{kept_axes}{begin}    for (var r = 0u; r < reduced(); r++) {{
{reduced_axes}{program}{steps}    }}
{writes}    }}
}}
"
            );
            (kept_count.div_ceil(target.lanes()), entry)
        }
        Division::Groups(chunks) => {
            source.constant("CHUNKS", chunks);
            source.constant("CHUNK", reduced_count.div_ceil(chunks));
            source.library(Library::Tree);
            let writes = writes(reductions, "k * CHUNKS + chunk", "        ", true);
            let entry = format!(
                "fn run(group: u32, lane: u32) {{
    let k = group % KEPT;
    let chunk = group / KEPT;
{kept_axes}{begin}    let end = min(reduced(), (chunk + 1u) * CHUNK);
    for (var r = chunk * CHUNK + lane; r < end; r += LANES) {{
{reduced_axes}{program}{steps}    }}
{finish}    if (lane == 0u) {{
{writes}    }}
}}
"
            );
            (kept_count * chunks, entry)
        }
    };
    let work = (kept_count * reduced_count) as u64 * (work_of(&space.body, 0) + 2);
    source.finish(&entry, groups as u64, work)
}

/// The declarations of the accumulators, their step in the loop, and the reduction over the workgroup.
fn accumulators(reductions: &[Reduction]) -> (String, String, String) {
    let (mut begin, mut steps, mut finish) = (String::new(), String::new(), String::new());
    for (index, Reduction { reg, kind, .. }) in reductions.iter().enumerate() {
        let written = match kind {
            Reducer::Sum => writeln!(begin, "    var sum_{index} = 0.0;")
                .and(writeln!(steps, "        sum_{index} += r{reg};"))
                .and(writeln!(finish, "    let total_{index} = tree_sum(lane, sum_{index});")),
            Reducer::Max => writeln!(begin, "    var sum_{index} = from_bits(0xff800000u);")
                .and(writeln!(steps, "        sum_{index} = larger(sum_{index}, r{reg});"))
                .and(writeln!(finish, "    let total_{index} = tree_max(lane, sum_{index});")),
            Reducer::ArgMax => writeln!(begin, "    var key_{index} = 0u;\n    var sum_{index} = 0u;")
                .and(writeln!(
                    steps,
                    "        if (order_key(r{reg}) > key_{index}) {{\n            \
                     key_{index} = order_key(r{reg});\n            sum_{index} = r;\n        }}"
                ))
                .and(writeln!(finish, "    let total_{index} = tree_place(lane, key_{index}, sum_{index});")),
            Reducer::SquaredDeviation => unreachable!("squared deviations are planned only where they are asked for"),
        };
        written.expect("a string can be written to");
    }
    (begin, steps, finish)
}

fn writes(reductions: &[Reduction], element: &str, indent: &str, of_group: bool) -> String {
    let value = if of_group { "total" } else { "sum" };
    (0..reductions.len()).map(|index| format!("{indent}write_o{index}({element}, {value}_{index});\n")).collect()
}
