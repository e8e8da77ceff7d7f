//! From a body to a program over tiles: collapsed axes, hoisted uniform work, registers in a first-level cache.

use super::isa::Isa;
use super::memory::Region;
use super::native::{self, Native};
use crate::ir::{Binary, DType, Unary};
use crate::plan::{Access, Body, BufferRef, Instr, Place, Reducer, Reg, Store};

/// Most axes of an iteration space after collapsing.
pub const MAX_RANK: usize = 10;
/// An inner axis this long is run row by row, so that every load is a straight run.
const ROW: usize = 256;
/// Rows so short that a table of their elements' places is faster.
const TABLE_ROW: usize = 16;
/// Bytes of the first-level cache that the tiles of a program may take.
const TILE_BYTES: usize = 24 * 1024;

/// A position in the iteration space.
pub type Position = [usize; MAX_RANK];

/// Which operands of a function are one number for the whole tile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// None.
    Tiles,
    /// The first.
    ScalarTile,
    /// The second.
    TileScalar,
    /// Both.
    Scalars,
}

/// One step of a program; registers are numbered as in the body.
#[derive(Clone, Debug)]
pub enum Op {
    /// Copies elements of a source to the register's tile.
    Load { to: usize, source: usize },
    /// Points the register at the elements where they lie.
    Alias { to: usize, source: usize },
    /// Points the register at the place where its value will be stored.
    Direct { to: usize, sink: usize },
    /// The position along an axis.
    Position { to: usize, axis: Option<usize>, offset: u32 },
    /// `f(x)`
    Unary { to: usize, function: Unary, x: usize },
    /// `f(a, b)` of floats.
    Float { to: usize, function: Binary, form: Form, a: usize, b: usize },
    /// `f(a, b)` of words.
    Whole { to: usize, function: Binary, form: Form, a: usize, b: usize },
    /// `condition ≠ 0 ? a : b`; `uniform` tells whether the condition is one number.
    Select { to: usize, condition: usize, uniform: bool, form: Form, a: usize, b: usize },
    /// Float to word.
    ToWord { to: usize, x: usize },
    /// Word to float.
    ToFloat { to: usize, x: usize },
    /// Float to the nearest that 16 bits hold.
    RoundToHalf { to: usize, x: usize },
    /// Uniform numbers; `steps` are 1 where the operand is a tile.
    Random { to: usize, stream: u32, operands: [usize; 4], steps: [usize; 4] },
    /// Repeats a number over a tile.
    Splat { to: usize, x: usize },
    /// Points the register at the results of the product that the program follows.
    Product { to: usize },
    /// Reduces each run of `width` elements, and repeats the result over it.
    Fold { to: usize, kind: Reducer, x: usize, width: usize },
    /// Runs a function of machine code, which stands for several ops.
    #[cfg_attr(not(target_arch = "x86_64"), expect(dead_code, reason = "no other processor has machine code"))]
    Native { function: usize, inputs: Vec<usize>, outputs: Vec<usize> },
}

/// Where a load reads, with strides for the program's own axes.
#[derive(Clone, Debug)]
pub struct Source {
    /// The buffer.
    pub region: Region,
    /// The constant part of the index.
    pub offset: usize,
    /// For each axis.
    pub strides: Vec<usize>,
    /// Registers that take part: number, stride, and 1 where it is a tile.
    pub indirect: Vec<(usize, usize, usize)>,
    /// Whether a register that takes part differs along the inner axis.
    pub scattered: bool,
    /// The number of its table, if it is read by one.
    pub table: Option<usize>,
}

impl Source {
    /// Whether each position reads what the sink writes there.
    fn is_at(&self, sink: &Sink) -> bool {
        self.region.start() == sink.region.start()
            && self.offset == sink.offset
            && self.strides == sink.strides
            && self.indirect.is_empty()
    }
}

/// Where a store writes.
#[derive(Clone, Debug)]
pub struct Sink {
    /// The register.
    pub reg: usize,
    /// Whether it is one number for the whole tile.
    pub scalar: bool,
    /// The buffer.
    pub region: Region,
    /// The constant part of the index.
    pub offset: usize,
    /// For each axis.
    pub strides: Vec<usize>,
    /// Whether the register's tile is the buffer itself.
    pub direct: bool,
}

/// A body made ready for tiles.
#[derive(Debug, Default)]
pub struct Program {
    /// The axes that are left.
    pub dims: Vec<usize>,
    /// Whether tiles must not go past the end of a row of the inner axis.
    pub by_rows: bool,
    /// The longest tile.
    pub tile: usize,
    /// Run once: what is the same everywhere.
    pub constant: Vec<Op>,
    /// Run once a tile: what is the same along the inner axis. Only if `by_rows`.
    pub row: Vec<Op>,
    /// Run for each element.
    pub varying: Vec<Op>,
    /// What loads read.
    pub sources: Vec<Source>,
    /// What is written.
    pub sinks: Vec<Sink>,
    /// Register of each reduced value, by the order given.
    pub reduced: Vec<usize>,
    /// Of spaces with short rows: strides, and where elements lie by these, from the beginning of a row on.
    pub tables: Vec<([usize; 2], Vec<u32>)>,
    /// How many registers there are.
    pub n_regs: usize,
    /// The tile of each register that has one.
    tile_of: Vec<Option<usize>>,
    /// Where each register's value lies in scratch memory, unless it is elsewhere.
    pub places: Vec<u32>,
    /// Registers of numbers known beforehand, and their bits.
    pub literals: Vec<(usize, u32)>,
    /// How many tiles there are.
    pub n_tiles: usize,
    /// About how long an element takes, in tenths of a nanosecond.
    pub cost: usize,
    /// Functions of machine code.
    pub native: Option<Native>,
}

/// How often a register is computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Rate {
    Once,
    Row,
    Element,
}

/// An iteration space to compile a body for.
pub struct Space<'a> {
    /// Sizes of the body's axes.
    pub shape: &'a [usize],
    /// The body's axes in the order of iteration.
    pub order: Vec<usize>,
    /// The group of each axis of the body; only axes of one group are joined.
    pub groups: Vec<u8>,
}

impl Program {
    /// Compiles a body. `reduced` are registers that must have a tile.
    ///
    /// # Panics
    /// When an access leaves its buffer, which is a mistake of ours.
    pub fn compile(
        space: &Space,
        inputs: &[Region],
        body: &Body,
        stores: &[(Store, Region)],
        reduced: &[usize],
        isa: Isa,
    ) -> Program {
        check_accesses(space.shape, inputs, body, stores);
        let axes = Axes::collapse(space, body, stores);
        let inner = *axes.dims.last().expect("an iteration space has an axis");
        let by_rows = axes.dims.len() == 1 || inner >= ROW;
        let rates = axes.rates(body, by_rows);
        let mut program = Program { n_regs: body.instrs.len(), by_rows, ..Program::default() };
        let steps: Vec<usize> = rates.iter().map(|rate| usize::from(*rate == Rate::Element)).collect();
        for store in stores {
            let reg = usize::from(store.0.reg);
            program.sinks.push(Sink {
                reg,
                scalar: rates[reg] != Rate::Element,
                region: store.1,
                offset: store.0.access.offset,
                strides: axes.strides(&store.0.access),
                direct: false,
            });
        }
        let types = types_of(body, inputs);
        for (reg, instr) in body.instrs.iter().enumerate() {
            let op = match instr {
                Instr::Load(load) => {
                    let region = inputs[load.input];
                    let indirect: Vec<(usize, usize, usize)> = (load.access.indirect.iter())
                        .map(|(reg, stride)| (usize::from(*reg), *stride, steps[usize::from(*reg)]))
                        .collect();
                    let varies = |reg: Reg| axes.depends(body, reg, axes.dims.len() - 1);
                    program.sources.push(Source {
                        region,
                        offset: load.access.offset,
                        strides: axes.strides(&load.access),
                        scattered: load.access.indirect.iter().any(|(reg, _)| varies(*reg)),
                        indirect,
                        table: None,
                    });
                    Op::Load { to: reg, source: program.sources.len() - 1 }
                }
                Instr::Float(value) => {
                    program.literals.push((reg, value.to_bits()));
                    continue;
                }
                Instr::Word(value) => {
                    program.literals.push((reg, *value));
                    continue;
                }
                Instr::Position { axis, offset } => {
                    Op::Position { to: reg, axis: axes.place_of[*axis], offset: *offset }
                }
                Instr::Unary(function, x) => Op::Unary { to: reg, function: *function, x: usize::from(*x) },
                Instr::Binary(function, a, b) => {
                    let (a, b) = (usize::from(*a), usize::from(*b));
                    let form = form_of(&rates, rates[reg], a, b);
                    assert_eq!(types[a], types[b], "operands of `{}` have one type", function.name());
                    if types[a] == DType::U32 {
                        assert!(*function != Binary::Divide, "words are not divided");
                        Op::Whole { to: reg, function: *function, form, a, b }
                    } else {
                        Op::Float { to: reg, function: *function, form, a, b }
                    }
                }
                Instr::Select(condition, a, b) => {
                    let (condition, a, b) = (usize::from(*condition), usize::from(*a), usize::from(*b));
                    let form = form_of(&rates, rates[reg], a, b);
                    let uniform = rates[reg] == Rate::Element && rates[condition] != Rate::Element;
                    Op::Select { to: reg, condition, uniform, form, a, b }
                }
                Instr::ToWord(x) => Op::ToWord { to: reg, x: usize::from(*x) },
                Instr::RoundToHalf(x) => Op::RoundToHalf { to: reg, x: usize::from(*x) },
                Instr::ToFloat(x) => Op::ToFloat { to: reg, x: usize::from(*x) },
                Instr::Product => Op::Product { to: reg },
                Instr::Fold { kind, x, width } => {
                    let x = usize::from(*x);
                    assert!(rates[x] == Rate::Element, "what is reduced differs along the row");
                    Op::Fold { to: reg, kind: *kind, x, width: *width }
                }
                Instr::Random { stream, operands } => {
                    let operands = operands.map(usize::from);
                    Op::Random { to: reg, stream: *stream, operands, steps: operands.map(|operand| steps[operand]) }
                }
            };
            match rates[reg] {
                Rate::Once => program.constant.push(op),
                Rate::Row => program.row.push(op),
                Rate::Element => program.varying.push(op),
            }
        }
        for reg in reduced {
            if rates[*reg] == Rate::Element {
                program.reduced.push(*reg);
            } else {
                program.varying.push(Op::Splat { to: program.n_regs, x: *reg });
                program.reduced.push(program.n_regs);
                program.n_regs += 1;
            }
        }
        program.dims = axes.dims;
        program.cost = program.varying.iter().map(cost).sum::<usize>() + program.sinks.len();
        program.skip_copies(isa);
        let mut is_tile: Vec<bool> = rates.iter().map(|rate| *rate == Rate::Element).collect();
        is_tile.resize(program.n_regs, true);
        native::fuse(&mut program, &is_tile, isa);
        program.place_tiles();
        program.place_registers();
        program.make_tables();
        program
    }

    /// The length of the inner axis.
    pub fn inner(&self) -> usize {
        *self.dims.last().expect("an iteration space has an axis")
    }

    /// How many positions there are.
    pub fn positions(&self) -> usize {
        self.dims.iter().product()
    }

    /// Words that a thread needs to run it: pointers, numbers, tiles.
    pub fn scratch_words(&self) -> usize {
        self.tiles_at() + self.n_tiles * self.tile
    }

    /// Words before the numbers.
    pub fn numbers_at(&self) -> usize {
        (2 * self.n_regs).next_multiple_of(16)
    }

    /// Words before the tiles.
    pub fn tiles_at(&self) -> usize {
        self.numbers_at() + self.n_regs.next_multiple_of(16)
    }

    /// Whether a tile is one run of elements.
    fn is_run(&self, strides: &[usize]) -> bool {
        if self.by_rows {
            return strides.last() == Some(&1);
        }
        let mut expected = 1;
        strides.iter().zip(&self.dims).rev().all(|(stride, dim)| {
            let fits = *stride == expected;
            expected *= dim;
            fits
        })
    }

    /// Reads sources in place and computes results in place, where no order of reads and writes is changed by it.
    fn skip_copies(&mut self, isa: Isa) {
        let last_use = self.last_use();
        let is_stored = |sinks: &[Sink], reg| sinks.iter().any(|sink| sink.reg == reg);
        // Loads: not where a store to the same buffer could come before a store of what was loaded.
        for at in 0..self.varying.len() {
            let Op::Load { to, source } = self.varying[at] else {
                continue;
            };
            let found = &self.sources[source];
            let straight = found.region.dtype != DType::U8 && !found.scattered && self.is_run(&found.strides);
            let fixed = found.indirect.is_empty() || self.by_rows;
            let overwritten = self.sinks.iter().any(|sink| sink.region.overlaps(&found.region));
            if straight && fixed && !(overwritten && is_stored(&self.sinks, to)) {
                self.varying[at] = Op::Alias { to, source };
            }
        }
        // Stores: not where a load of the same buffer, or a use of one in place, comes later or at the same time.
        let mut direct = vec![None; self.n_regs];
        for (idx, sink) in self.sinks.iter().enumerate() {
            let Some(at) = self.varying.iter().position(|op| target(op) == sink.reg) else {
                continue;
            };
            if matches!(self.varying[at], Op::Alias { .. } | Op::Product { .. }) || direct[sink.reg].is_some() {
                continue;
            }
            let safe = self.varying.iter().enumerate().all(|(load_at, op)| match op {
                Op::Load { source, .. } => load_at < at || !self.sources[*source].region.overlaps(&sink.region),
                Op::Alias { to, source } => {
                    let source = &self.sources[*source];
                    // Machine code reads an element before it writes its result to the same place.
                    let in_place = native::is_simple(&self.varying[at], isa) && source.is_at(sink);
                    let last = last_use[*to];
                    load_at < at && (last < at || last == at && in_place) || !source.region.overlaps(&sink.region)
                }
                _ => true,
            });
            if self.is_run(&sink.strides) && safe {
                direct[sink.reg] = Some(idx);
            }
        }
        let mut varying = Vec::with_capacity(self.varying.len());
        for op in self.varying.drain(..) {
            if let Some(sink) = direct[target(&op)] {
                self.sinks[sink].direct = true;
                varying.push(Op::Direct { to: target(&op), sink });
            }
            varying.push(op);
        }
        self.varying = varying;
    }

    /// Gives each register its place.
    fn place_registers(&mut self) {
        let place = |reg: usize| match self.tile_of.get(reg).copied().flatten() {
            Some(tile) => self.tiles_at() + tile * self.tile,
            None => self.numbers_at() + reg,
        };
        self.places =
            (0..self.n_regs).map(|reg| u32::try_from(place(reg)).expect("a thread's tiles are few")).collect();
    }

    /// Makes the tables by which a space with short rows is read: beginning a run for each row would take longer than the
    /// row.
    fn make_tables(&mut self) {
        let [rows, inner] = self.dims[..] else { return };
        if self.by_rows || inner > TABLE_ROW {
            return;
        }
        let len = (rows * inner).min(self.tile) + inner - 1;
        let place = |[row, column]: [usize; 2], at: usize| at / inner * row + at % inner * column;
        let mut tables = std::mem::take(&mut self.tables);
        let mut number = |strides: [usize; 2]| {
            if let Some(found) = tables.iter().position(|(own, _)| *own == strides) {
                return Some(found);
            }
            // None for samples so long that a tile of them would need longer numbers.
            let table = (0..len).map(|at| u32::try_from(place(strides, at)).ok()).collect::<Option<_>>()?;
            tables.push((strides, table));
            Some(tables.len() - 1)
        };
        for op in &self.varying {
            match op {
                Op::Load { source, .. } => {
                    let source = &mut self.sources[*source];
                    // Else what rows read is a run, as far as the end of the buffer too.
                    if source.indirect.is_empty() || source.scattered || source.strides[1] == 0 {
                        source.table = number([source.strides[0], source.strides[1]]);
                    }
                }
                Op::Position { axis: Some(axis), .. } => {
                    number([usize::from(*axis == 0), usize::from(*axis == 1)]);
                }
                _ => {}
            }
        }
        self.tables = tables;
    }

    /// For each register, the last of the varying ops that reads it; `usize::MAX` if it is needed at the end.
    fn last_use(&self) -> Vec<usize> {
        let mut last_use = vec![0; self.n_regs];
        for (at, op) in self.varying.iter().enumerate() {
            for_operands(op, &self.sources, |operand| last_use[operand] = at);
        }
        for reg in self.sinks.iter().map(|sink| sink.reg).chain(self.reduced.iter().copied()) {
            last_use[reg] = usize::MAX;
        }
        last_use
    }

    /// Gives each register that needs one a tile, none that is also an operand, and chooses the tiles' length.
    fn place_tiles(&mut self) {
        let last_use = self.last_use();
        self.tile_of = vec![None; self.n_regs];
        let mut free = Vec::new();
        let mut in_place = vec![false; self.n_regs];
        let mut n_in_place = 0;
        for (at, op) in self.varying.iter().enumerate() {
            for to in targets(op) {
                match op {
                    Op::Alias { .. } | Op::Direct { .. } | Op::Product { .. } => {
                        in_place[*to] = true;
                        n_in_place += 1;
                    }
                    _ if in_place[*to] => {}
                    _ => {
                        self.tile_of[*to] = Some(free.pop().unwrap_or_else(|| {
                            self.n_tiles += 1;
                            self.n_tiles - 1
                        }));
                    }
                }
            }
            let mut ended: Vec<usize> = Vec::new();
            for_operands(op, &self.sources, |operand| ended.push(operand));
            ended.sort_unstable();
            ended.dedup();
            free.extend(ended.into_iter().filter(|reg| last_use[*reg] == at).filter_map(|reg| self.tile_of[reg]));
        }
        let room = TILE_BYTES / 4 / (self.n_tiles + n_in_place).max(1);
        let longest = room.clamp(256, 2048) / 64 * 64;
        self.tile = if self.by_rows {
            let inner = self.inner();
            inner.div_ceil(inner.div_ceil(longest)).next_multiple_of(64)
        } else {
            longest
        };
    }
}

/// The axes of a program: those of the body without the ones of size 1, adjacent ones joined.
struct Axes {
    dims: Vec<usize>,
    /// The body's axes that each one stands for, outermost first.
    members: Vec<Vec<usize>>,
    /// The program's axis of each axis of the body, if any.
    place_of: Vec<Option<usize>>,
}

impl Axes {
    fn collapse(space: &Space, body: &Body, stores: &[(Store, Region)]) -> Axes {
        let accesses: Vec<&Access> = (body.instrs.iter())
            .filter_map(|instr| if let Instr::Load(load) = instr { Some(&load.access) } else { None })
            .chain(stores.iter().map(|(store, _)| &store.access))
            .collect();
        let is_counted = |axis: usize| {
            body.instrs.iter().any(|instr| matches!(instr, Instr::Position { axis: counted, .. } if *counted == axis))
        };
        let mut dims: Vec<usize> = Vec::new();
        let mut members: Vec<Vec<usize>> = Vec::new();
        for axis in space.order.iter().copied().filter(|axis| space.shape[*axis] != 1) {
            let joins = members.last().and_then(|last| last.last()).is_some_and(|before| {
                space.groups[*before] == space.groups[axis]
                    && !is_counted(*before)
                    && !is_counted(axis)
                    && accesses.iter().all(|access| access.strides[*before] == access.strides[axis] * space.shape[axis])
            });
            if joins {
                *dims.last_mut().expect("an axis to join") *= space.shape[axis];
                members.last_mut().expect("an axis to join").push(axis);
            } else {
                dims.push(space.shape[axis]);
                members.push(vec![axis]);
            }
        }
        if dims.is_empty() {
            dims.push(1);
            members.push(Vec::new());
        }
        assert!(dims.len() <= MAX_RANK, "an iteration space has at most {MAX_RANK} axes that cannot be joined");
        let mut place_of = vec![None; space.shape.len()];
        for (place, members) in members.iter().enumerate() {
            members.iter().for_each(|axis| place_of[*axis] = Some(place));
        }
        Axes { dims, members, place_of }
    }

    fn strides(&self, access: &Access) -> Vec<usize> {
        self.members.iter().map(|members| members.last().map_or(0, |axis| access.strides[*axis])).collect()
    }

    /// Whether a register differs along an axis.
    fn depends(&self, body: &Body, reg: Reg, axis: usize) -> bool {
        self.dependence(body)[usize::from(reg)][axis]
    }

    fn dependence(&self, body: &Body) -> Vec<[bool; MAX_RANK]> {
        let mut found: Vec<[bool; MAX_RANK]> = Vec::with_capacity(body.instrs.len());
        for instr in &body.instrs {
            let mut axes = [false; MAX_RANK];
            match instr {
                Instr::Load(load) => {
                    for (axis, stride) in self.strides(&load.access).into_iter().enumerate() {
                        axes[axis] |= stride != 0;
                    }
                }
                Instr::Position { axis, .. } => {
                    if let Some(place) = self.place_of[*axis] {
                        axes[place] = true;
                    }
                }
                // It differs from position to position, as the result does.
                Instr::Product => axes[..self.dims.len()].fill(true),
                _ => {}
            }
            for operand in operands_of(instr) {
                (0..MAX_RANK).for_each(|axis| axes[axis] |= found[operand][axis]);
            }
            found.push(axes);
        }
        found
    }

    fn rates(&self, body: &Body, by_rows: bool) -> Vec<Rate> {
        let inner = self.dims.len() - 1;
        let rate = |axes: [bool; MAX_RANK]| {
            if !axes.contains(&true) {
                Rate::Once
            } else if by_rows && !axes[inner] {
                Rate::Row
            } else {
                Rate::Element
            }
        };
        self.dependence(body).into_iter().map(rate).collect()
    }
}

/// Panics unless every access stays inside its buffer. Indirect parts are clamped where they are used.
fn check_accesses(shape: &[usize], inputs: &[Region], body: &Body, stores: &[(Store, Region)]) {
    let check = |access: &Access, region: &Region, what: &str| {
        assert_eq!(access.strides.len(), shape.len(), "{what} has a stride for each axis");
        let reach: usize = access.strides.iter().zip(shape).map(|(stride, dim)| stride * (dim - 1)).sum();
        assert!(access.offset + reach < region.len, "{what} stays inside its buffer: {access:?} of {}", region.len);
    };
    assert!(!shape.contains(&0), "an iteration space is not empty");
    for (reg, instr) in body.instrs.iter().enumerate() {
        assert!(operands_of(instr).iter().all(|operand| *operand < reg), "operands come before their users");
        if let Instr::Load(load) = instr {
            check(&load.access, &inputs[load.input], "a load");
        }
    }
    for (store, region) in stores {
        assert!(usize::from(store.reg) < body.instrs.len(), "a stored register exists");
        assert!(store.access.indirect.is_empty(), "a store is not indirect");
        assert!(region.dtype != DType::U8, "a store writes words");
        check(&store.access, region, "a store");
    }
}

fn types_of(body: &Body, inputs: &[Region]) -> Vec<DType> {
    let buffers: Vec<BufferRef> = (inputs.iter())
        .map(|region| BufferRef { place: Place::Arena(0), len: region.len, dtype: region.dtype })
        .collect();
    body.types(&buffers)
}

fn form_of(rates: &[Rate], rate: Rate, a: usize, b: usize) -> Form {
    // What is computed once, or once a row, has tiles of one element.
    if rate != Rate::Element {
        return Form::Tiles;
    }
    match (rates[a] == Rate::Element, rates[b] == Rate::Element) {
        (true, true) => Form::Tiles,
        (false, true) => Form::ScalarTile,
        (true, false) => Form::TileScalar,
        (false, false) => Form::Scalars,
    }
}

/// The registers that an instruction reads.
pub fn operands_of(instr: &Instr) -> Vec<usize> {
    let mut operands = Vec::new();
    instr.clone().for_operands(|operand| operands.push(usize::from(*operand)));
    operands
}

/// The registers that an op gives their values.
fn targets(op: &Op) -> &[usize] {
    match op {
        Op::Load { to, .. }
        | Op::Alias { to, .. }
        | Op::Direct { to, .. }
        | Op::Position { to, .. }
        | Op::Unary { to, .. }
        | Op::Float { to, .. }
        | Op::Whole { to, .. }
        | Op::Select { to, .. }
        | Op::ToWord { to, .. }
        | Op::ToFloat { to, .. }
        | Op::RoundToHalf { to, .. }
        | Op::Random { to, .. }
        | Op::Splat { to, .. }
        | Op::Fold { to, .. }
        | Op::Product { to } => std::slice::from_ref(to),
        Op::Native { outputs, .. } => outputs,
    }
}

/// The register that an op gives its value.
///
/// # Panics
/// When there are several.
pub fn target(op: &Op) -> usize {
    match targets(op) {
        [to] => *to,
        _ => unreachable!("functions are made last"),
    }
}

/// Calls `visit` for each register that an op reads.
pub fn for_operands(op: &Op, sources: &[Source], mut visit: impl FnMut(usize)) {
    match op {
        Op::Load { source, .. } | Op::Alias { source, .. } => {
            sources[*source].indirect.iter().for_each(|(reg, ..)| visit(*reg));
        }
        Op::Direct { .. } | Op::Position { .. } | Op::Product { .. } => {}
        Op::Unary { x, .. } | Op::ToWord { x, .. } | Op::ToFloat { x, .. } => visit(*x),
        Op::RoundToHalf { x, .. } | Op::Splat { x, .. } | Op::Fold { x, .. } => visit(*x),
        Op::Float { a, b, .. } | Op::Whole { a, b, .. } => [*a, *b].into_iter().for_each(visit),
        Op::Select { condition, a, b, .. } => [*condition, *a, *b].into_iter().for_each(visit),
        Op::Random { operands, .. } => operands.iter().copied().for_each(visit),
        Op::Native { inputs, .. } => inputs.iter().copied().for_each(visit),
    }
}

/// About how long an op takes for one element, in tenths of a nanosecond.
fn cost(op: &Op) -> usize {
    match op {
        Op::Random { .. } => 20,
        Op::Unary { function, .. } => match function {
            Unary::Negate | Unary::Abs | Unary::Sign | Unary::Floor | Unary::Relu | Unary::NonFinite => 1,
            Unary::Sqrt | Unary::Reciprocal => 3,
            Unary::Exp | Unary::Log => 5,
            Unary::Tanh | Unary::Sigmoid | Unary::Softplus | Unary::Erf | Unary::Sin | Unary::Cos => 8,
        },
        Op::Load { .. } | Op::RoundToHalf { .. } => 3,
        Op::Float { function: Binary::Divide, .. } => 3,
        _ => 1,
    }
}
