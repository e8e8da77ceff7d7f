//! Puts the WGSL of one launch together: bindings, constants, access to buffers, shared pieces, entry point.

use std::collections::BTreeSet;
use std::fmt::Write;

use crate::ir::DType;
use crate::plan::{BufferRef, Place};

use super::launch::{Launch, Param, Target};

/// Where the statements of an entry begin; before it stand its declarations.
const RUN: &str = "fn run(group: u32, lane: u32) {\n";

/// Pieces of `shaders/lib/`, in the order in which they are put together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Library {
    Bits,
    Half,
    Math,
    Philox,
    Trigonometry,
    Tree,
}

impl Library {
    /// Its WGSL.
    pub fn text(self, target: &Target) -> String {
        let text = match self {
            Library::Bits => include_str!("../../../shaders/lib/bits.wgsl"),
            Library::Half => include_str!("../../../shaders/lib/half.wgsl"),
            Library::Math => include_str!("../../../shaders/lib/math.wgsl"),
            Library::Philox => include_str!("../../../shaders/lib/philox.wgsl"),
            Library::Trigonometry => include_str!("../../../shaders/lib/trigonometry.wgsl"),
            Library::Tree => match target.subgroup() {
                None => include_str!("../../../shaders/lib/tree.wgsl"),
                Some(size) => {
                    let text = include_str!("../../../shaders/lib/tree_subgroup.wgsl");
                    return format!("// Invocations of a subgroup.\nconst SUBGROUP = {size}u;\n\n{text}");
                }
            },
        };
        text.to_owned()
    }
}

/// Number of the binding that holds the parameters of a launch.
pub(super) const PARAMS: u32 = 0;
/// Number of the binding that holds the arena.
pub(super) const ARENA: u32 = 1;
/// Number of the binding that holds all states.
pub(super) const STATES: u32 = 2;
/// Number of the binding that holds the row of the step.
pub(super) const STEP: u32 = 3;
/// Number of the first binding that holds data sets.
pub(super) const DATA: u32 = 4;
/// How many bindings hold data sets: with arena, states, step and both kinds of halves the 8 storage buffers that every
/// adapter grants.
pub(super) const DATA_SLOTS: usize = 3;
/// Number of the binding through which numbers of 16 bits in the arena are read and written: the arena once more, as
/// `f16` where the adapter has that type, else as words that are written half by half.
pub(super) const ARENA_HALVES: u32 = DATA + DATA_SLOTS as u32;
/// Number of the binding through which states of 16 bits are read and written, as those of the arena.
pub(super) const STATE_HALVES: u32 = ARENA_HALVES + 1;
/// How many bindings there are.
pub(super) const BINDINGS: u32 = STATE_HALVES + 1;

/// The text of a launch as it grows.
pub(super) struct Source<'a> {
    target: &'a Target,
    bindings: BTreeSet<u32>,
    params: Vec<Param>,
    libraries: BTreeSet<Library>,
    workgroup_bytes: usize,
    head: String,
}

impl<'a> Source<'a> {
    /// Nothing yet.
    pub fn new(target: &'a Target) -> Source<'a> {
        Source {
            target,
            bindings: BTreeSet::new(),
            params: Vec::new(),
            libraries: BTreeSet::new(),
            workgroup_bytes: 0,
            head: String::new(),
        }
    }

    /// Declares a whole number.
    pub fn constant(&mut self, name: &str, value: usize) {
        writeln!(self.head, "const {name} = {value}u;").expect("a string can be written to");
    }

    /// Declares the function `NAME()`, a whole number known to the compiler of the driver.
    pub fn size(&mut self, name: &str, value: usize) {
        self.declare(&format!("fn {name}() -> u32 {{\n    return {value}u;\n}}\n"));
    }

    /// Declares the function `NAME()`, a whole number among the parameters: kernels that differ only in such numbers
    /// share a pipeline, and the driver does not unroll loops by them.
    pub fn parameter(&mut self, name: &str, value: usize) {
        self.params.push(Param::Word(value as u32));
        let word = format!("param_{}", self.params.len() - 1);
        self.declare(&format!("fn {name}() -> u32 {{\n    return {word};\n}}\n"));
    }

    /// Brings in a shared piece and those that it needs.
    pub fn library(&mut self, library: Library) {
        self.libraries.insert(library);
        match library {
            Library::Bits | Library::Half | Library::Philox => {}
            Library::Math | Library::Tree => self.library(Library::Bits),
            Library::Trigonometry => {
                self.library(Library::Bits);
                self.library(Library::Philox);
            }
        }
    }

    /// Adds declarations.
    pub fn declare(&mut self, text: &str) {
        self.head.push_str(text);
        self.head.push('\n');
    }

    /// Declares `read_NAME(i)`, an element of a buffer: `u32`, or `f32` also for bytes and halves.
    pub fn reader(&mut self, name: &str, buffer: &BufferRef) {
        if buffer.dtype == DType::F16 {
            let value = match buffer.place {
                // Nobody writes these, so that words will do.
                Place::Data(_) => {
                    let word = self.word(buffer.place);
                    self.half_of(&format!("{word} + (i >> 1u)]"))
                }
                Place::Arena(_) | Place::State(_) | Place::Step(_) => {
                    let (halves, begin) = self.halves(buffer.place);
                    if self.target.grants.native_halves {
                        format!("f32({halves}[2u * {begin} + i])")
                    } else {
                        self.half_of(&format!("atomicLoad(&{halves}[{begin} + (i >> 1u)])"))
                    }
                }
            };
            self.declare(&format!("fn read_{name}(i: u32) -> f32 {{\n    return {value};\n}}\n"));
            return;
        }
        let word = self.word(buffer.place);
        let text = match buffer.dtype {
            DType::F16 => unreachable!("read above"),
            DType::F32 => {
                format!("fn read_{name}(i: u32) -> f32 {{\n    return bitcast<f32>({word} + i]);\n}}\n")
            }
            DType::U32 => format!("fn read_{name}(i: u32) -> u32 {{\n    return {word} + i];\n}}\n"),
            DType::U8 => format!(
                "fn read_{name}(i: u32) -> f32 {{\n    \
                 return f32(({word} + (i >> 2u)] >> ((i & 3u) * 8u)) & 0xffu);\n}}\n"
            ),
        };
        self.declare(&text);
    }

    /// As [`Source::reader`], of a type `f16`, for a buffer of such numbers.
    pub fn half_reader(&mut self, name: &str, buffer: &BufferRef) {
        if !self.target.grants.native_halves || matches!(buffer.place, Place::Data(_) | Place::Step(_)) {
            self.reader(&format!("wide_{name}"), buffer);
            self.declare(&format!("fn read_{name}(i: u32) -> f16 {{\n    return f16(read_wide_{name}(i));\n}}\n"));
            return;
        }
        let (halves, begin) = self.halves(buffer.place);
        self.declare(&format!("fn read_{name}(i: u32) -> f16 {{\n    return {halves}[2u * {begin} + i];\n}}\n"));
    }

    /// Declares `write_NAME(i, value)`.
    pub fn writer(&mut self, name: &str, buffer: &BufferRef) {
        if buffer.dtype == DType::F16 {
            let (halves, begin) = self.halves(buffer.place);
            self.library(Library::Half);
            let store = if self.target.grants.native_halves {
                format!("    {halves}[2u * {begin} + i] = f16(round_to_half(value));\n")
            } else {
                // Another invocation writes the other half of the word, maybe now.
                format!(
                    "    let shift = (i & 1u) * 16u;\n    \
                     atomicAnd(&{halves}[{begin} + (i >> 1u)], 0xffff0000u >> shift);\n    \
                     atomicOr(&{halves}[{begin} + (i >> 1u)], half_bits(value) << shift);\n"
                )
            };
            self.declare(&format!("fn write_{name}(i: u32, value: f32) {{\n{store}}}\n"));
            return;
        }
        let word = self.word(buffer.place);
        let text = match buffer.dtype {
            DType::F16 => unreachable!("written above"),
            DType::F32 => {
                format!("fn write_{name}(i: u32, value: f32) {{\n    {word} + i] = bitcast<u32>(value);\n}}\n")
            }
            DType::U32 => format!("fn write_{name}(i: u32, value: u32) {{\n    {word} + i] = value;\n}}\n"),
            DType::U8 => unreachable!("bytes occur only in data sets, which no kernel writes"),
        };
        self.declare(&text);
    }

    /// `arena[param_0`, the begin of an index expression into the buffer at a place.
    fn word(&mut self, place: Place) -> String {
        let (binding, name) = match place {
            Place::Arena(_) => (ARENA, "arena".to_owned()),
            Place::State(_) => (STATES, "states".to_owned()),
            Place::Step(_) => (STEP, "step_row".to_owned()),
            Place::Data(id) => {
                let slot = self.target.data_slots[id.0 as usize];
                (DATA + slot as u32, format!("data_{slot}"))
            }
        };
        self.bindings.insert(binding);
        format!("{name}[{}", self.begin(place))
    }

    /// The binding of halves that a place is in, and `param_0`, the word where the buffer begins.
    fn halves(&mut self, place: Place) -> (&'static str, String) {
        let binding = match place {
            Place::Arena(_) => ARENA_HALVES,
            Place::State(_) => STATE_HALVES,
            Place::Step(_) | Place::Data(_) => unreachable!("kernels store nothing at {place:?}"),
        };
        self.bindings.insert(binding);
        (halves_name(binding), self.begin(place))
    }

    /// The number `i` of 16 bits in a word.
    fn half_of(&mut self, word: &str) -> String {
        self.library(Library::Half);
        format!("from_half(({word} >> ((i & 1u) * 16u)) & 0xffffu)")
    }

    /// The parameter that says where a buffer begins.
    fn begin(&mut self, place: Place) -> String {
        let known = self.params.iter().position(|known| *known == Param::Begin(place));
        let index = known.unwrap_or_else(|| {
            self.params.push(Param::Begin(place));
            self.params.len() - 1
        });
        format!("param_{index}")
    }

    /// Counts workgroup memory that the entry declares.
    pub fn reserve(&mut self, workgroup_bytes: usize) {
        self.workgroup_bytes += workgroup_bytes;
    }

    /// The launch of `entry`: declarations, then `fn run(group: u32, lane: u32)`, whose statements are run by at least
    /// so many workgroups of `LANES` invocations. They must not return; barriers are reached by all invocations.
    pub fn finish(mut self, entry: &str, groups: u64, work: u64) -> Launch {
        let (declarations, statements) =
            entry.split_once(RUN).unwrap_or_else(|| unreachable!("an entry has the function `run`"));
        let body = statements.trim_end().strip_suffix('}').unwrap_or_else(|| unreachable!("`run` ends the entry"));
        self.head.push_str(declarations);
        Launch {
            head: self.head,
            body: body.to_owned(),
            bindings: self.bindings,
            libraries: self.libraries,
            params: self.params,
            workgroup_bytes: self.workgroup_bytes,
            groups,
            work,
            is_alone: false,
            by_matrices: false,
        }
    }
}

/// The names that a text declares for the whole module.
pub(super) fn declarations(text: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for line in text.lines() {
        let rest = ["fn ", "const ", "var<workgroup> ", "alias "].iter().find_map(|keyword| line.strip_prefix(keyword));
        let name = rest.and_then(|rest| rest.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').next());
        names.extend(name.map(str::to_owned));
    }
    names
}

/// The name of a binding of numbers of 16 bits.
fn halves_name(binding: u32) -> &'static str {
    if binding == STATE_HALVES { "state_halves" } else { "arena_halves" }
}

/// The declarations of bindings.
pub(super) fn binding_lines(bindings: &BTreeSet<u32>, native_halves: bool) -> Vec<String> {
    let mut lines = vec![format!("@group(0) @binding({PARAMS}) var<uniform> params: Params;\n")];
    lines.extend(bindings.iter().map(|&binding| {
        let declaration = match binding {
            ARENA => "var<storage, read_write> arena".to_owned(),
            STATES => "var<storage, read_write> states".to_owned(),
            STEP => "var<storage, read> step_row".to_owned(),
            ARENA_HALVES | STATE_HALVES => format!("var<storage, read_write> {}", halves_name(binding)),
            data => format!("var<storage, read> data_{}", data - DATA),
        };
        let element = match (binding, native_halves) {
            (ARENA_HALVES | STATE_HALVES, true) => "f16",
            (ARENA_HALVES | STATE_HALVES, false) => "atomic<u32>",
            _ => "u32",
        };
        format!("@group(0) @binding({binding}) {declaration}: array<{element}>;\n")
    }));
    lines
}

/// The expression of a parameter.
pub(super) fn param_expression(index: usize) -> String {
    format!("params.words[{}].{}", index / 4, ["x", "y", "z", "w"][index % 4])
}
