//! Sums of products: matrix products and convolutions are problems for the same few loops.

use std::fmt::Write;

use crate::ir::DType;
use crate::plan::{BufferRef, Epilogue, Output, Place};

use super::body;
use super::dispatch::SMALL;
use super::launch::{Launch, Lowered, MAX_TRIPS, Target};
use super::pointwise::work_of;
use super::source::{Library, Source};
use super::space::Space;
use super::tile::{By, Tile};

/// `out[part, row, column] = Σ a[part, row, term] · b[part, term, column]`
pub(super) struct Product<'a> {
    /// What is computed.
    pub name: &'static str,
    /// Independent products.
    pub parts: usize,
    /// Rows of each.
    pub rows: usize,
    /// Columns of each.
    pub columns: usize,
    /// Length of the sums.
    pub terms: usize,
    /// Neighbours in memory of `a` are neighbouring terms, else neighbouring rows.
    pub a_terms_adjacent: bool,
    /// Neighbours in memory of `b` are neighbouring terms, else neighbouring columns.
    pub b_terms_adjacent: bool,
    /// Constants of `text`.
    pub constants: Vec<(&'static str, usize)>,
    /// Numbers of `text` that are parameters; if there are any, the sizes above are parameters as well.
    pub parameters: Vec<(&'static str, usize)>,
    /// Buffers that are read, by name.
    pub reads: [(&'static str, BufferRef); 2],
    /// What becomes of the result.
    pub out: &'a Output,
    /// Rows and columns are the axes of the result.
    pub is_matrix: bool,
    /// How elements are found, and read as `Factor`: `row_of`, `column_of`, `term_of`, `load_a`, `load_b`, `element_of`.
    pub text: &'static str,
}

/// The loop that computes a product.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Loop {
    /// An invocation for each element.
    Direct,
    /// A workgroup for each element.
    Reduce,
    /// Tiles in workgroup memory.
    Tile(Tile),
    /// Tiles of 8 x 8 in registers, with so many invocations along x and y.
    Register([usize; 2]),
}

/// `a · b` of sizes `[m, n, k]`.
pub(super) fn mat_mul(
    [m, n, k]: [usize; 3],
    transpose_a: bool,
    transpose_b: bool,
    a: BufferRef,
    b: BufferRef,
    out: &Output,
) -> Product<'_> {
    let (a_row, a_term) = if transpose_a { (1, m) } else { (k, 1) };
    let (b_term, b_column) = if transpose_b { (1, k) } else { (n, 1) };
    Product {
        name: "mat_mul",
        parts: 1,
        rows: m,
        columns: n,
        terms: k,
        a_terms_adjacent: !transpose_a,
        b_terms_adjacent: transpose_b,
        constants: Vec::new(),
        parameters: vec![("a_row", a_row), ("a_term", a_term), ("b_term", b_term), ("b_column", b_column)],
        reads: [("a", a), ("b", b)],
        out,
        is_matrix: true,
        text: include_str!("../../../shaders/matmul.wgsl"),
    }
}

impl Product<'_> {
    /// Names what decides how fast a tile is: equal products have equal keys.
    pub fn key(&self) -> String {
        let Product { name, parts, rows, columns, terms, a_terms_adjacent, b_terms_adjacent, .. } = self;
        let [(_, a), (_, b)] = &self.reads;
        let mut key = format!("{name} {parts} {rows} {columns} {terms} {a_terms_adjacent} {b_terms_adjacent}");
        for (_, value) in &self.constants {
            write!(key, " {value}").expect("a string can be written to");
        }
        write!(key, " {:?} {:?}", a.dtype, b.dtype).expect("as above");
        key
    }
}

/// Whether a product is computed tile by tile on a GPU.
pub(super) fn is_tiled(target: &Target, product: &Product) -> bool {
    matches!(choose(target, product), Loop::Tile(_))
}

/// The dispatches of a product: one, or one that leaves sums over slices of the terms and one that adds those.
pub(super) fn lower(target: &Target, product: &Product) -> Result<Lowered, String> {
    let kind = choose(target, product);
    let slices = slices(target, product, kind);
    let elements = product.parts * product.rows * product.columns;
    if (slices * elements) as u64 > u64::from(u32::MAX) {
        return Err(format!("a sum of {} products for each of {elements} elements is too long", product.terms));
    }
    let first = main_launch(target, product, kind, slices);
    if slices == 1 {
        return Ok(Lowered::one(first));
    }
    Ok(Lowered { launches: vec![first, sum_launch(target, product, slices)], scratch_words: slices * elements })
}

fn choose(target: &Target, product: &Product) -> Loop {
    let Product { parts, rows, columns, terms, .. } = *product;
    let thin = rows.min(columns) < 8;
    // Together with other small kernels, not in a dispatch of its own.
    let small = direct_work(parts * rows * columns * terms) <= SMALL;
    match (thin || small, target.software) {
        // A workgroup for each of many elements would cost more than it saves.
        (true, _) if !small && terms > 512 && parts * rows * columns <= 1 << 16 => Loop::Reduce,
        (true, _) => Loop::Direct,
        (false, false) => Loop::Tile(tile(target, product)),
        (false, true) => {
            let x = product.columns.div_ceil(8).next_power_of_two().min(32);
            Loop::Register([x, target.lanes() / x])
        }
    }
}

/// Sums over slices of the terms that products over tiles leave at most, as long as no loop is too long.
const MOST_PARTIAL: usize = 1 << 20;

/// The tile that was chosen for the product, else the one that follows from its sizes.
fn tile(target: &Target, product: &Product) -> Tile {
    target.choices.get(&product.key()).copied().unwrap_or_else(|| Tile::candidates(product, target.grants)[0])
}

/// Rough operations of so many multiplications whose factors are read from memory each time.
fn direct_work(operations: usize) -> u64 {
    8 * operations as u64
}

/// Workgroups for one slice of the terms.
fn groups(target: &Target, product: &Product, kind: Loop) -> usize {
    let Product { parts, rows, columns, .. } = *product;
    match kind {
        Loop::Direct => (parts * rows * columns).div_ceil(target.lanes()),
        Loop::Reduce => parts * rows * columns,
        Loop::Tile(tile) => tile.count(product),
        Loop::Register([x, y]) => parts * rows.div_ceil(8 * y) * columns.div_ceil(8 * x),
    }
}

/// Into how many slices the terms are cut: so many that the device is busy and no loop is too long.
fn slices(target: &Target, product: &Product, kind: Loop) -> usize {
    let (longest, shortest, wanted) = match kind {
        Loop::Direct => (MAX_TRIPS, MAX_TRIPS, 1),
        Loop::Reduce => (64 * 8_192, 16_384, if target.software { 8 } else { 256 }),
        // No more partial results of large tiles than of small ones.
        Loop::Tile(tile) => (MAX_TRIPS / 2, 128, (MOST_PARTIAL / (tile.rows * tile.columns)).min(256)),
        Loop::Register(_) => (MAX_TRIPS / 2, 1_024, 8),
    };
    let helpful = (wanted / groups(target, product, kind)).min(product.terms / shortest);
    product.terms.div_ceil(longest).max(helpful).max(1)
}

fn main_launch(target: &Target, product: &Product, kind: Loop, slices: usize) -> Launch {
    let mut source = problem(target, product, slices);
    source.parameter("slice_terms", product.terms.div_ceil(slices));
    let by_matrices = matches!(kind, Loop::Tile(Tile { by: By::Matrices(_), .. }));
    factors(&mut source, product, by_matrices);
    let arguments = "slice: u32, part: u32, row: u32, column: u32, value: f32";
    if slices == 1 {
        source.declare(product.text);
        finish(&mut source, product);
        source.declare(&format!("fn keep({arguments}) {{\n    finish(part, row, column, value);\n}}\n"));
    } else {
        source.writer("out", &partial(target, product, slices));
        source.declare(product.text);
        source.declare(&format!(
            "fn keep({arguments}) {{\n    \
             write_out(((slice * parts() + part) * rows() + row) * columns() + column, value);\n}}\n"
        ));
    }
    let entry = match kind {
        Loop::Direct => include_str!("../../../shaders/gemm_direct.wgsl"),
        Loop::Reduce => {
            source.library(Library::Tree);
            include_str!("../../../shaders/gemm_reduce.wgsl")
        }
        Loop::Tile(tile) => {
            source.reserve(tile.workgroup_bytes());
            let is_long = product.terms.div_ceil(slices) > tile.block();
            &tile.text([product.a_terms_adjacent, product.b_terms_adjacent], is_long)
        }
        Loop::Register([x, y]) => {
            source.constant("LANES_X", x);
            source.constant("LANES_Y", y);
            include_str!("../../../shaders/gemm_register.wgsl")
        }
    };
    let operations = (product.parts * product.rows * product.columns) as u64 * product.terms as u64;
    let work = match kind {
        Loop::Tile(_) | Loop::Register(_) => 2 * operations,
        // Every factor is read from memory.
        Loop::Direct | Loop::Reduce => direct_work(operations as usize),
    };
    let last = if slices == 1 { finish_work(product) } else { 0 };
    let launch = source.finish(entry, (groups(target, product, kind) * slices) as u64, work + last);
    let is_alone = matches!(kind, Loop::Tile(_) | Loop::Register(_));
    Launch { is_alone, by_matrices, ..launch }
}

/// Declares how the operands are read: as `Factor`, which is `f16` for matrices, else `f32`.
fn factors(source: &mut Source, product: &Product, by_matrices: bool) {
    source.declare(if by_matrices { "alias Factor = f16;" } else { "alias Factor = f32;" });
    for (name, buffer) in &product.reads {
        match by_matrices {
            true => source.half_reader(name, buffer),
            false => source.reader(name, buffer),
        }
    }
}

fn sum_launch(target: &Target, product: &Product, slices: usize) -> Launch {
    let mut source = problem(target, product, slices);
    let elements = product.parts * product.rows * product.columns;
    source.reader("partial", &partial(target, product, slices));
    // `element_of` is wanted; the rest of the problem's text reads these.
    factors(&mut source, product, false);
    source.declare(product.text);
    finish(&mut source, product);
    let entry = include_str!("../../../shaders/gemm_sum.wgsl");
    source.finish(
        entry,
        elements.div_ceil(target.lanes()) as u64,
        4 * (elements * slices) as u64 + finish_work(product),
    )
}

/// Declares `finish(part, row, column, product)`, which writes what becomes of an element of the result.
fn finish(source: &mut Source, product: &Product) {
    let head = "fn finish(part: u32, row: u32, column: u32, product: f32)";
    let epilogue = match product.out {
        Output::Buffer(buffer) => {
            source.writer("out", buffer);
            source.declare(&format!("{head} {{\n    write_out(element_of(part, row, column), product);\n}}\n"));
            return;
        }
        Output::Epilogue(epilogue) => epilogue,
    };
    let Epilogue { shape, inputs, body, stores } = &**epilogue;
    let space = Space::merged(shape, shape.len(), body, stores);
    body::declare_inputs(source, inputs, &space.body);
    let axes = if product.is_matrix && space.shape.len() == 2 {
        "    let p0 = row;\n    let p1 = column;\n".to_owned()
    } else {
        let element = "    let element = element_of(part, row, column);\n";
        element.to_owned() + &body::positions(&space.shape, 0..space.shape.len(), "element", "    ")
    };
    let program = body::instructions(source, inputs, &space.body, "    ");
    let writes = body::stores(source, &space.stores, "    ");
    source.declare(&format!("{head} {{\n{axes}{program}{writes}}}\n"));
}

/// Rough operations of [`finish`] for all elements.
fn finish_work(product: &Product) -> u64 {
    let elements = (product.parts * product.rows * product.columns) as u64;
    elements * product.out.epilogue().map_or(4, |epilogue| work_of(&epilogue.body, epilogue.stores.len()))
}

/// The sizes of the product.
fn problem<'a>(target: &'a Target, product: &Product, slices: usize) -> Source<'a> {
    let mut source = Source::new(target);
    // The lengths of loops are never constants: a driver that unrolls them all compiles for minutes.
    source.parameter("terms", product.terms);
    source.parameter("slices", slices);
    let sizes = [("parts", product.parts), ("rows", product.rows), ("columns", product.columns)];
    for (name, value) in sizes {
        if product.parameters.is_empty() { source.size(name, value) } else { source.parameter(name, value) }
    }
    for (name, value) in &product.parameters {
        source.parameter(name, *value);
    }
    for (name, value) in &product.constants {
        source.constant(name, *value);
    }
    source
}

/// Where the sums over slices lie.
fn partial(target: &Target, product: &Product, slices: usize) -> BufferRef {
    BufferRef {
        place: Place::Arena(target.scratch),
        len: slices * product.parts * product.rows * product.columns,
        dtype: DType::F32,
    }
}
