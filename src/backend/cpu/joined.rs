//! Short kernels over the same few rows, such as a classifier's loss and its gradient, as one program.
//!
//! Each of them takes longer to begin than to compute. Where a tile holds all rows, what one kernel leaves for the next stays
//! in that tile: a reduction of a row is repeated at each of the row's elements, and only what others read is written.

use std::ops::Range;

use super::Job;
use super::fold;
use super::isa::Isa;
use super::memory::Region;
use super::program::{Program, Space, operands_of};
use super::tile::Frame;
use crate::ir::DType;
use crate::plan::{Access, Body, BufferRef, Instr, Kernel, KernelKind, Load, Place, Reducer, Reg, Store, row_axis};

/// Most elements of the space: beyond, computing takes longer than beginning.
const MOST: usize = 1024;

/// Axes of the space: rows, and the elements of a row.
const ROWS: usize = 0;
const COLUMNS: usize = 1;

/// Kernels that are to be one.
pub struct Joined {
    /// Rows, and elements of a row.
    shape: [usize; 2],
    inputs: Vec<BufferRef>,
    body: Body,
    /// What kernels have left so far: the buffer, its register, and a stride for each axis.
    left: Vec<(BufferRef, Reg, [usize; 2])>,
    /// Reductions over the rows.
    totals: Vec<(Total, BufferRef)>,
}

/// A reduction over the rows.
#[derive(Clone, Copy, Debug)]
struct Total {
    reg: Reg,
    kind: Reducer,
    of: Of,
}

/// What a [`Total`] is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Of {
    /// Each column.
    Columns,
    /// All elements.
    Elements,
    /// One number for each row.
    Rows,
}

impl Joined {
    /// None yet, over rows of so many elements.
    pub fn new(shape: [usize; 2]) -> Joined {
        Joined { shape, inputs: Vec::new(), body: Body::default(), left: Vec::new(), totals: Vec::new() }
    }

    /// Elements of a row of a kernel that could be the first, over so many rows.
    pub fn columns(kernel: &Kernel, rows: usize) -> Option<usize> {
        let (KernelKind::Pointwise { shape, .. } | KernelKind::Reduce { shape, .. }) = &kernel.kind else {
            return None;
        };
        let elements: usize = shape.iter().product();
        (elements <= MOST && elements.is_multiple_of(rows)).then_some(elements / rows)
    }

    /// Whether it reads what the kernels have left.
    pub fn is_read_by(&self, kernel: &Kernel) -> bool {
        kernel.inputs().iter().any(|input| self.left.iter().any(|(buffer, ..)| buffer == input))
    }

    /// Takes another kernel; gives whether it could, else nothing has changed.
    pub fn take(&mut self, kernel: &Kernel) -> bool {
        let before = (self.inputs.len(), self.body.instrs.len(), self.left.len(), self.totals.len());
        let taken = self.try_take(kernel).is_some();
        if !taken {
            self.inputs.truncate(before.0);
            self.body.instrs.truncate(before.1);
            self.left.truncate(before.2);
            self.totals.truncate(before.3);
        }
        taken
    }

    fn try_take(&mut self, kernel: &Kernel) -> Option<()> {
        match &kernel.kind {
            KernelKind::Pointwise { shape, inputs, body, stores } => {
                let axes = self.axes(shape, 0)?;
                let regs = self.append(inputs, body, &axes)?;
                for store in stores {
                    let strides = on(&axes, &store.access);
                    let is_plain = store.access.offset == 0 && store.output.dtype != DType::F16;
                    // What is overwritten may still have to be read.
                    let is_new = !self.inputs.iter().any(|input| input.place == store.output.place)
                        && !self.left.iter().any(|(left, ..)| left.place == store.output.place);
                    (is_plain && is_new).then_some(())?;
                    self.left.push((store.output, regs[usize::from(store.reg)], strides));
                }
            }
            KernelKind::Reduce { shape, kept, inputs, body, reductions } => {
                let lens: Vec<usize> = inputs.iter().map(|input| input.len).collect();
                let row = row_axis(shape, &lens, body, self.shape[ROWS])?;
                let axes = self.axes(shape, row)?;
                let regs = self.append(inputs, body, &axes)?;
                let has = |wanted: usize, range: Range<usize>| axes[range].contains(&Some(wanted));
                for reduction in reductions {
                    let (kind, reg) = (reduction.kind, regs[usize::from(reduction.reg)]);
                    (kind != Reducer::SquaredDeviation).then_some(())?;
                    if row < *kept {
                        let is_of_rows = !has(COLUMNS, 0..*kept) && has(COLUMNS, *kept..shape.len());
                        (is_of_rows && self.differs(reg)).then_some(())?;
                        let reg = self.push(Instr::Fold { kind, x: reg, width: self.shape[COLUMNS] });
                        self.left.push((reduction.output, reg, [1, 0]));
                        continue;
                    }
                    (kind != Reducer::ArgMax).then_some(())?;
                    let of = match (has(COLUMNS, 0..*kept), has(COLUMNS, *kept..shape.len())) {
                        (true, _) => Of::Columns,
                        (_, true) => Of::Elements,
                        _ => Of::Rows,
                    };
                    self.totals.push((Total { reg, kind, of }, reduction.output));
                }
            }
            _ => return None,
        }
        Some(())
    }

    /// The axis of the space that each axis of a kernel is, if it has more than one place; `row` is that of the rows.
    fn axes(&self, shape: &[usize], row: usize) -> Option<Vec<Option<usize>>> {
        let mut columns = 0;
        let mut axes = Vec::new();
        for (axis, &size) in shape.iter().enumerate() {
            axes.push(match size {
                _ if axis == row => (size == self.shape[ROWS]).then_some(Some(ROWS))?,
                1 => None,
                _ => {
                    columns += 1;
                    (columns == 1 && size == self.shape[COLUMNS]).then_some(Some(COLUMNS))?
                }
            });
        }
        axes.contains(&Some(ROWS)).then_some(axes)
    }

    /// Adds a body; gives the register of each of its own.
    fn append(&mut self, inputs: &[BufferRef], body: &Body, axes: &[Option<usize>]) -> Option<Vec<Reg>> {
        let mut regs: Vec<Reg> = Vec::new();
        for instr in &body.instrs {
            let mut instr = instr.clone();
            instr.for_operands(|operand| *operand = regs[usize::from(*operand)]);
            let reg = match instr {
                Instr::Load(load) => self.load(&inputs[load.input], &load.access, axes)?,
                Instr::Position { axis, offset } => match axes[axis] {
                    Some(axis) => self.push(Instr::Position { axis, offset }),
                    None => self.push(Instr::Word(offset)),
                },
                Instr::Product => return None,
                other => self.push(other),
            };
            regs.push(reg);
        }
        Some(regs)
    }

    /// The register of an element of a buffer.
    fn load(&mut self, buffer: &BufferRef, access: &Access, axes: &[Option<usize>]) -> Option<Reg> {
        let strides = on(axes, access);
        if let Some((_, reg, own)) = self.left.iter().find(|(left, ..)| left.place == buffer.place) {
            return (access.offset == 0 && access.indirect.is_empty() && strides == *own).then_some(*reg);
        }
        if self.totals.iter().any(|(_, output)| output.place == buffer.place) {
            return None;
        }
        let input = self.inputs.iter().position(|input| input == buffer).unwrap_or_else(|| {
            self.inputs.push(*buffer);
            self.inputs.len() - 1
        });
        let access = Access { strides: strides.to_vec(), ..access.clone() };
        Some(self.push(Instr::Load(Load { input, access })))
    }

    /// Whether a register differs from position to position, so that it has a tile.
    fn differs(&self, reg: Reg) -> bool {
        let mut differ: Vec<bool> = Vec::new();
        for instr in &self.body.instrs {
            let by_itself = match instr {
                Instr::Load(load) => load.access.strides != [0, 0],
                Instr::Position { .. } => true,
                _ => false,
            };
            differ.push(by_itself || operands_of(instr).into_iter().any(|operand| differ[operand]));
        }
        differ[usize::from(reg)]
    }

    /// The register of an instruction, which may be there already.
    fn push(&mut self, instr: Instr) -> Reg {
        let is_same = |own: &Instr| match (own, &instr) {
            // Zeros have signs.
            (Instr::Float(own), Instr::Float(other)) => own.to_bits() == other.to_bits(),
            _ => *own == instr,
        };
        let found = self.body.instrs.iter().position(is_same);
        found.unwrap_or_else(|| {
            self.body.instrs.push(instr);
            self.body.instrs.len() - 1
        }) as Reg
    }

    /// The job that does the work of all, if a tile holds the rows; `is_read` tells whether kernels beside these read a buffer.
    pub fn compile(
        self,
        bind: &dyn Fn(&BufferRef) -> Region,
        is_read: &dyn Fn(&BufferRef) -> bool,
        isa: Isa,
    ) -> Option<Box<dyn Job>> {
        let Joined { shape, inputs, body, left, totals } = self;
        let inputs: Vec<Region> = inputs.iter().map(bind).collect();
        let stores: Vec<(Store, Region)> = (left.into_iter())
            .filter(|(buffer, ..)| matches!(buffer.place, Place::State(_)) || is_read(buffer))
            .map(|(output, reg, strides)| {
                let access = Access { strides: strides.to_vec(), ..Access::default() };
                (Store { reg, output, access }, bind(&output))
            })
            .collect();
        let regs: Vec<usize> = totals.iter().map(|(total, _)| usize::from(total.reg)).collect();
        let space = Space { shape: &shape, order: vec![ROWS, COLUMNS], groups: vec![0, 0] };
        let program = Program::compile(&space, &inputs, &body, &stores, &regs, isa);
        let is_one_tile = shape[ROWS] * shape[COLUMNS] <= program.tile && (!program.by_rows || program.dims.len() == 1);
        let totals = totals.into_iter().map(|(total, output)| (total, bind(&output))).collect();
        is_one_tile.then(|| Box::new(Together { program, isa, shape, totals }) as Box<dyn Job>)
    }
}

/// An access's strides on the axes of the space. Axes with one place only have none.
fn on(axes: &[Option<usize>], access: &Access) -> [usize; 2] {
    let mut strides = [0; 2];
    for (axis, stride) in axes.iter().zip(&access.strides) {
        if let Some(axis) = axis {
            strides[*axis] = *stride;
        }
    }
    strides
}

/// The job of kernels that are one.
struct Together {
    program: Program,
    isa: Isa,
    shape: [usize; 2],
    totals: Vec<(Total, Region)>,
}

impl Together {
    fn elements(&self) -> usize {
        self.shape[ROWS] * self.shape[COLUMNS]
    }

    /// Words of scratch memory before those of the totals.
    fn totals_at(&self) -> usize {
        self.program.scratch_words().next_multiple_of(16)
    }
}

impl Job for Together {
    fn parts(&self, _phase: usize) -> usize {
        1
    }

    fn scratch_words(&self) -> usize {
        self.totals_at() + 2 * self.elements()
    }

    unsafe fn run_part(&self, _phase: usize, _part: usize, scratch: *mut u32) {
        let [rows, columns] = self.shape;
        // SAFETY: the caller's promise; a tile holds the space, and scratch memory its elements twice more.
        unsafe {
            let frame = Frame::new(&self.program, self.isa, scratch);
            frame.eval(0, self.elements());
            let own = std::slice::from_raw_parts_mut(scratch.add(self.totals_at()).cast::<f32>(), self.elements());
            for ((total, output), reg) in self.totals.iter().zip(&self.program.reduced) {
                let values = frame.floats(*reg, self.elements());
                let to = |len: usize| std::slice::from_raw_parts_mut(output.words(), len);
                match total.of {
                    Of::Columns => {
                        own.copy_from_slice(values);
                        let places =
                            std::slice::from_raw_parts_mut(scratch.add(self.totals_at() + own.len()), own.len());
                        fold::halve(self.isa, total.kind, own, places, to(columns));
                    }
                    Of::Elements => fold::rows(self.isa, total.kind, values, values.len(), to(1)),
                    Of::Rows => {
                        own.iter_mut().zip(values.iter().step_by(columns)).for_each(|(own, value)| *own = *value);
                        fold::rows(self.isa, total.kind, &own[..rows], rows, to(1));
                    }
                }
            }
        }
    }

    fn rows_phase(&self) -> Option<usize> {
        Some(0)
    }

    unsafe fn run_rows(&self, rows: Range<usize>, scratch: *mut u32) {
        assert_eq!(rows, 0..self.shape[ROWS], "all rows run together");
        // SAFETY: the caller's promise.
        unsafe { self.run_part(0, 0, scratch) };
    }
}
