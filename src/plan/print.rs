//! A plan as text, for `emit --stage plan`.

use std::fmt::Write;
use std::ops::Range;

use super::{BufferRef, Instr, KernelKind, Output, Place, Plan};
use crate::ir::{DType, States};

/// The kernels of a plan, one line each, with the bodies of fused ones.
pub fn print(plan: &Plan, states: &States) -> String {
    let mut text = String::new();
    let megabytes = (plan.arena_words * 4) as f64 / (1 << 20) as f64;
    let _ =
        writeln!(text, "{} kernels, arena {megabytes:.2} MiB, step row {} words", plan.kernels.len(), plan.step.words);
    for (name, offset, words, _) in &plan.step.inputs {
        let _ = writeln!(text, "  step.{offset}: {name} [{words}]");
    }
    for chain in &plan.chains {
        let Range { start, end } = chain.kernels;
        let kib = chain.row_bytes as f64 / 1024.0;
        let _ = write!(text, "  kernels {start} to {} by {} rows of {kib:.1} KiB", end - 1, chain.rows);
        for (index, group) in chain.late.iter().enumerate() {
            let group = group.iter().map(usize::to_string).collect::<Vec<_>>().join(" ");
            let _ = write!(text, "{} {group}", if index == 0 { ", behind them" } else { ", then" });
        }
        text.push('\n');
    }
    for (index, kernel) in plan.kernels.iter().enumerate() {
        let show = |buffers: Vec<BufferRef>| {
            buffers.iter().map(|buffer| show_buffer(buffer, plan, states)).collect::<Vec<_>>().join(", ")
        };
        let (outputs, inputs) = (show(kernel.outputs()), show(kernel.inputs()));
        let _ = writeln!(text, "{index}: {} {outputs} = ({inputs})   # {}", kernel.family(), kernel.name);
        match &kernel.kind {
            KernelKind::Pointwise { shape, body, stores, .. } => {
                let _ = writeln!(text, "    over {shape:?}");
                print_body(&mut text, &body.instrs);
                for store in stores {
                    let _ = writeln!(text, "    store %{} at {:?}", store.reg, store.access.strides);
                }
            }
            KernelKind::Reduce { shape, kept, body, reductions, .. } => {
                let _ = writeln!(text, "    over {:?} reduce {:?}", &shape[..*kept], &shape[*kept..]);
                print_body(&mut text, &body.instrs);
                for reduction in reductions {
                    let _ = writeln!(text, "    {:?} %{}", reduction.kind, reduction.reg);
                }
            }
            _ => {
                if let Some(epilogue) = kernel.product_output().and_then(Output::epilogue) {
                    let _ = writeln!(text, "    epilogue over {:?}", epilogue.shape);
                    print_body(&mut text, &epilogue.body.instrs);
                    for store in &epilogue.stores {
                        let _ = writeln!(text, "    store %{} at {:?}", store.reg, store.access.strides);
                    }
                }
            }
        }
    }
    text
}

fn show_buffer(buffer: &BufferRef, plan: &Plan, states: &States) -> String {
    let place = match buffer.place {
        Place::Arena(offset) => format!("arena+{offset}"),
        Place::State(id) => states.info(id).name.clone(),
        Place::Data(id) => plan.data[id.0 as usize].name.clone(),
        Place::Step(offset) => format!("step.{offset}"),
    };
    let dtype = match buffer.dtype {
        DType::F32 => "f32",
        DType::F16 => "f16",
        DType::U32 => "u32",
        DType::U8 => "u8",
    };
    format!("{place}:{dtype}[{}]", buffer.len)
}

fn print_body(text: &mut String, instrs: &[Instr]) {
    for (reg, instr) in instrs.iter().enumerate() {
        let _ = match instr {
            Instr::Load(load) => {
                let access = &load.access;
                let indirect: String =
                    access.indirect.iter().map(|(reg, stride)| format!(" + %{reg}·{stride}")).collect();
                writeln!(text, "    %{reg} = input {}[{} + {:?}{indirect}]", load.input, access.offset, access.strides)
            }
            Instr::Float(value) => writeln!(text, "    %{reg} = {value:?}"),
            Instr::Word(value) => writeln!(text, "    %{reg} = {value}u"),
            Instr::Position { axis, offset } => writeln!(text, "    %{reg} = position {axis} + {offset}"),
            Instr::RoundToHalf(a) => writeln!(text, "    %{reg} = f16 %{a}"),
            Instr::Unary(function, a) => writeln!(text, "    %{reg} = {} %{a}", function.name()),
            Instr::Binary(function, a, b) => writeln!(text, "    %{reg} = {} %{a} %{b}", function.name()),
            Instr::Select(c, a, b) => writeln!(text, "    %{reg} = select %{c} %{a} %{b}"),
            Instr::ToWord(a) => writeln!(text, "    %{reg} = word %{a}"),
            Instr::ToFloat(a) => writeln!(text, "    %{reg} = float %{a}"),
            Instr::Product => writeln!(text, "    %{reg} = the product"),
            Instr::Fold { kind, x, width } => writeln!(text, "    %{reg} = {kind:?} of {width} %{x}"),
            Instr::Random { stream, operands } => writeln!(text, "    %{reg} = random {stream} {operands:?}"),
        };
    }
}
