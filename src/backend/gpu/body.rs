//! WGSL of a body: one `let` for each instruction.

use std::fmt::Write;
use std::ops::Range;

use crate::ir::{Binary, DType, Unary};
use crate::plan::{Access, Body, BufferRef, Instr, Reg, Store};

use super::source::{Library, Source};

/// Declares `read_I(i)` for each input that the body loads.
pub(super) fn declare_inputs(source: &mut Source, inputs: &[BufferRef], body: &Body) {
    for (index, input) in inputs.iter().enumerate() {
        let loads = |instr: &Instr| matches!(instr, Instr::Load(load) if load.input == index);
        if body.instrs.iter().any(loads) {
            source.reader(&index.to_string(), input);
        }
    }
}

/// `let p0 = …` for these axes from the position in row-major order along them.
pub(super) fn positions(shape: &[usize], axes: Range<usize>, position: &str, indent: &str) -> String {
    let mut text = String::new();
    let mut inner = 1;
    for axis in axes.clone().rev() {
        let quotient = if inner == 1 { position.to_owned() } else { format!("{position} / {inner}u") };
        let value = if axis == axes.start { quotient } else { format!("({quotient}) % {}u", shape[axis]) };
        writeln!(text, "{indent}let p{axis} = {value};").expect("a string can be written to");
        inner *= shape[axis];
    }
    text
}

/// The instructions, register `n` as `rn`; positions are `p0 …`.
pub(super) fn instructions(source: &mut Source, inputs: &[BufferRef], body: &Body, indent: &str) -> String {
    let types = body.types(inputs);
    let mut text = String::new();
    for (register, instr) in body.instrs.iter().enumerate() {
        let value = instruction(source, instr, &types);
        writeln!(text, "{indent}let r{register} = {value};").expect("a string can be written to");
    }
    text
}

/// The stores: `write_oI(index, register)`.
pub(super) fn stores(source: &mut Source, stores: &[Store], indent: &str) -> String {
    let mut text = String::new();
    for (index, store) in stores.iter().enumerate() {
        source.writer(&format!("o{index}"), &store.output);
        writeln!(text, "{indent}write_o{index}({}, r{});", element(&store.access), store.reg)
            .expect("a string can be written to");
    }
    text
}

/// The index expression of an access.
fn element(access: &Access) -> String {
    let mut terms = Vec::new();
    let axes = access.strides.iter().enumerate().map(|(axis, stride)| (format!("p{axis}"), *stride));
    let registers = access.indirect.iter().map(|(register, stride)| (format!("r{register}"), *stride));
    for (name, stride) in axes.chain(registers) {
        match stride {
            0 => {}
            1 => terms.push(name),
            _ => terms.push(format!("{name} * {stride}u")),
        }
    }
    if access.offset > 0 || terms.is_empty() {
        terms.push(format!("{}u", access.offset));
    }
    terms.join(" + ")
}

fn instruction(source: &mut Source, instr: &Instr, types: &[DType]) -> String {
    let is_word = |register: Reg| types[usize::from(register)] == DType::U32;
    match instr {
        Instr::Load(load) => format!("read_{}({})", load.input, element(&load.access)),
        Instr::Float(value) => number(source, *value),
        Instr::Word(value) => format!("{value}u"),
        Instr::Position { axis, offset: 0 } => format!("p{axis}"),
        Instr::Position { axis, offset } => format!("p{axis} + {offset}u"),
        Instr::Unary(function, x) => unary(source, *function, &format!("r{x}")),
        Instr::Binary(function, a, b) => binary(*function, &format!("r{a}"), &format!("r{b}"), is_word(*a)),
        // Equality is false for NaN, which counts as "not 0".
        Instr::Select(condition, a, b) => format!("select(r{a}, r{b}, r{condition} == 0.0)"),
        // The largest number below 2³², so that the conversion itself is always defined.
        Instr::ToWord(x) => format!(
            "select(select(0u, u32(clamp(r{x}, 0.0, 4294967040.0)), r{x} > 0.0), 0xffffffffu, r{x} >= 4294967296.0)"
        ),
        Instr::ToFloat(x) => format!("f32(r{x})"),
        Instr::RoundToHalf(x) => {
            source.library(Library::Half);
            format!("round_to_half(r{x})")
        }
        Instr::Product => "product".to_owned(),
        Instr::Fold { .. } => unreachable!("only the executor for processors joins kernels"),
        Instr::Random { stream, operands: [low, high, step, index] } => {
            source.library(Library::Philox);
            format!("uniform_number(r{low}, r{high}, {stream}u, r{step}, r{index})")
        }
    }
}

fn unary(source: &mut Source, function: Unary, x: &str) -> String {
    let mut call = |library: Library, name: &str| {
        source.library(library);
        format!("{name}({x})")
    };
    match function {
        Unary::Negate => format!("-{x}"),
        Unary::Abs => format!("abs({x})"),
        Unary::Sign => format!("select(select({x}, -1.0, {x} < 0.0), 1.0, {x} > 0.0)"),
        Unary::Exp => call(Library::Math, "exp_f32"),
        Unary::Log => call(Library::Math, "log_f32"),
        Unary::Sqrt => format!("sqrt({x})"),
        Unary::Reciprocal => format!("1.0 / {x}"),
        Unary::Tanh => call(Library::Math, "tanh_f32"),
        Unary::Sigmoid => call(Library::Math, "sigmoid_f32"),
        Unary::Softplus => call(Library::Math, "softplus_f32"),
        Unary::Erf => call(Library::Math, "erf_f32"),
        Unary::Sin => call(Library::Trigonometry, "sin_f32"),
        Unary::Cos => call(Library::Trigonometry, "cos_f32"),
        Unary::Floor => format!("floor({x})"),
        Unary::Relu => call(Library::Bits, "relu"),
        Unary::NonFinite => format!("select(0.0, 1.0, {})", call(Library::Bits, "non_finite")),
    }
}

fn binary(function: Binary, a: &str, b: &str, words: bool) -> String {
    match function {
        Binary::Add => format!("{a} + {b}"),
        Binary::Subtract => format!("{a} - {b}"),
        Binary::Multiply => format!("{a} * {b}"),
        Binary::Divide if words => unreachable!("words are never divided"),
        Binary::Divide => format!("{a} / {b}"),
        Binary::Max => format!("max({a}, {b})"),
        Binary::Min => format!("min({a}, {b})"),
        Binary::Less => format!("select(0.0, 1.0, {a} < {b})"),
        Binary::LessEqual => format!("select(0.0, 1.0, {a} <= {b})"),
        Binary::Equal => format!("select(0.0, 1.0, {a} == {b})"),
    }
}

/// A literal where WGSL has one that every compiler reads alike, else the bits.
fn number(source: &mut Source, value: f32) -> String {
    if value.is_normal() || value.to_bits() == 0 {
        return format!("{value:?}f");
    }
    source.library(Library::Bits);
    format!("from_bits({:#010x}u)", value.to_bits())
}
