//! Puts the WGSL of one launch together: bindings, constants, access to buffers, shared pieces, entry point.

use std::collections::BTreeSet;
use std::fmt::Write;

use crate::ir::DType;
use crate::plan::{BufferRef, Place};

use super::launch::{Launch, Param, Target};

/// Pieces of `shaders/lib/`, in the order in which they are put together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Library {
    Bits,
    Math,
    Philox,
    Trigonometry,
    Tree,
}

impl Library {
    fn text(self) -> &'static str {
        match self {
            Library::Bits => include_str!("../../../shaders/lib/bits.wgsl"),
            Library::Math => include_str!("../../../shaders/lib/math.wgsl"),
            Library::Philox => include_str!("../../../shaders/lib/philox.wgsl"),
            Library::Trigonometry => include_str!("../../../shaders/lib/trigonometry.wgsl"),
            Library::Tree => include_str!("../../../shaders/lib/tree.wgsl"),
        }
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
/// How many bindings hold data sets: with arena, states and step the 8 storage buffers that every adapter grants.
pub(super) const DATA_SLOTS: usize = 5;

/// The text of a launch as it grows.
pub(super) struct Source<'a> {
    target: &'a Target,
    bindings: BTreeSet<u32>,
    params: Vec<Param>,
    libraries: BTreeSet<Library>,
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
            head: String::new(),
        }
    }

    /// Declares a whole number.
    pub fn constant(&mut self, name: &str, value: usize) {
        writeln!(self.head, "const {name} = {value}u;").expect("a string can be written to");
    }

    /// Declares a yes or no.
    pub fn flag(&mut self, name: &str, value: bool) {
        writeln!(self.head, "const {name} = {value};").expect("a string can be written to");
    }

    /// Declares the function `NAME()`, a whole number known to the compiler of the driver.
    pub fn size(&mut self, name: &str, value: usize) {
        self.declare(&format!("fn {name}() -> u32 {{\n    return {value}u;\n}}\n"));
    }

    /// Declares the function `NAME()`, a whole number among the parameters: kernels that differ only in such numbers
    /// share a pipeline, and the driver does not unroll loops by them.
    pub fn parameter(&mut self, name: &str, value: usize) {
        self.params.push(Param::Word(value as u32));
        let word = param(self.params.len() - 1);
        self.declare(&format!("fn {name}() -> u32 {{\n    return {word};\n}}\n"));
    }

    /// Brings in a shared piece and those that it needs.
    pub fn library(&mut self, library: Library) {
        self.libraries.insert(library);
        match library {
            Library::Bits | Library::Philox => {}
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

    /// Declares `read_NAME(i)`, an element of a buffer: `u32`, or `f32` also for bytes.
    pub fn reader(&mut self, name: &str, buffer: &BufferRef) {
        let word = self.word(buffer.place);
        let text = match buffer.dtype {
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

    /// Declares `write_NAME(i, value)`.
    pub fn writer(&mut self, name: &str, buffer: &BufferRef) {
        let word = self.word(buffer.place);
        let text = match buffer.dtype {
            DType::F32 => {
                format!("fn write_{name}(i: u32, value: f32) {{\n    {word} + i] = bitcast<u32>(value);\n}}\n")
            }
            DType::U32 => format!("fn write_{name}(i: u32, value: u32) {{\n    {word} + i] = value;\n}}\n"),
            DType::U8 => unreachable!("bytes occur only in data sets, which no kernel writes"),
        };
        self.declare(&text);
    }

    /// `arena[params.words[0].x`, the begin of an index expression into the buffer at a place.
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
        let known = self.params.iter().position(|known| *known == Param::Begin(place));
        let index = known.unwrap_or_else(|| {
            self.params.push(Param::Begin(place));
            self.params.len() - 1
        });
        format!("{name}[{}", param(index))
    }

    /// The launch: all declarations, then `entry`, run by at least so many workgroups.
    pub fn finish(self, entry: &str, groups: u64, work: u64) -> Launch {
        let mut text = String::new();
        let quads = self.params.len().div_ceil(4);
        if quads > 0 {
            text.push_str("// Where buffers begin, in words; sizes.\n");
            writeln!(text, "struct Params {{\n    words: array<vec4<u32>, {quads}>,\n}}\n").expect("as above");
            writeln!(text, "@group(0) @binding({PARAMS}) var<uniform> params: Params;").expect("as above");
        }
        for binding in self.bindings {
            let declaration = match binding {
                ARENA => "var<storage, read_write> arena".to_owned(),
                STATES => "var<storage, read_write> states".to_owned(),
                STEP => "var<storage, read> step_row".to_owned(),
                data => format!("var<storage, read> data_{}", data - DATA),
            };
            writeln!(text, "@group(0) @binding({binding}) {declaration}: array<u32>;").expect("as above");
        }
        text.push('\n');
        text.push_str(&self.head);
        text.push('\n');
        for library in self.libraries {
            text.push_str(library.text());
            text.push('\n');
        }
        text.push_str(entry);
        Launch { text, params: self.params, groups: grid(groups), work }
    }
}

/// The expression of a parameter.
fn param(index: usize) -> String {
    format!("params.words[{}].{}", index / 4, ["x", "y", "z", "w"][index % 4])
}

/// Workgroups along x and y for at least so many; a dimension allows 65,535.
fn grid(groups: u64) -> [u32; 2] {
    let y = groups.div_ceil(65_535).max(1);
    let x = groups.div_ceil(y).max(1);
    [x as u32, y as u32]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grid_covers_all_groups_within_the_limit() {
        for groups in [0, 1, 65_535, 65_536, 70_001, 131_071, 4_000_000_000] {
            let [x, y] = grid(groups);
            assert!(x <= 65_535 && y <= 65_535, "{groups}");
            assert!(u64::from(x) * u64::from(y) >= groups, "{groups}");
        }
    }
}
