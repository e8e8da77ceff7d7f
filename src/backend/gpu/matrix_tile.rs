//! WGSL of the loop that computes a product of 16-bit operands by cooperative matrices.
//!
//! A tile of the result is divided into blocks, each of which a subgroup computes as products of square matrices, which its
//! invocations hold together. Both operands come through workgroup memory as numbers of 16 bits, which they are in memory
//! as well, so that all products are exact; sums are `f32`. What becomes of an element is not for matrices: results go
//! through workgroup memory to invocations.

use super::grants::Matrix;
use super::tile::{BEGIN, PLACE, RUN, Tile, line};

/// Invocations of a workgroup.
const LANES: usize = 256;
/// Blocks of a tile: one for each subgroup of 32.
const BLOCKS: usize = 8;
/// Elements that a row of an operand in workgroup memory has more than its tile: 16 bytes, so that the rows of a matrix lie
/// in different memory banks.
const PADDING: usize = 8;
/// Workgroup memory that an adapter must have for these tiles, which all adapters with cooperative matrices have.
pub(super) const WORKGROUP_BYTES: usize = 32 << 10;
/// Terms whose sums are added up.
pub(super) const BLOCK: usize = 4096;

/// Blocks along rows and along columns, so that each is about as high as wide.
fn blocks(tile: &Tile) -> [usize; 2] {
    if tile.rows >= tile.columns { [4, 2] } else { [2, 4] }
}

/// Bytes of workgroup memory at most: both operands, and a matrix of results for each block.
pub(super) fn workgroup_bytes(tile: &Tile, matrix: Matrix) -> usize {
    let operand = |size: usize| 2 * (size * (tile.depth + PADDING)).max(tile.depth * (size + PADDING));
    operand(tile.rows) + operand(tile.columns) + 4 * BLOCKS * matrix.size * matrix.size
}

/// The loop as an entry for [`super::source::Source::finish`], with the numbers `subgroup` and `subgroups` beside those
/// that every entry has. `adjacent` says of both operands whether neighbours in memory are neighbouring terms, `long`
/// whether sums have more than [`BLOCK`] terms.
pub(super) fn text(tile: &Tile, matrix: Matrix, adjacent: [bool; 2], long: bool) -> String {
    let Tile { rows, columns, depth, .. } = *tile;
    let Matrix { size, subgroup } = matrix;
    let [blocks_y, blocks_x] = blocks(tile);
    let [height, width] = [rows / blocks_y, columns / blocks_x];
    let pieces = [height / size, width / size];
    // Blocks of a subgroup, if there are as few subgroups as there may be.
    let turns = BLOCKS.div_ceil((LANES / subgroup).max(1));
    let operands = [
        Operand { name: "a", unit: "row", size: rows, depth, terms_adjacent: adjacent[0] },
        Operand { name: "b", unit: "column", size: columns, depth, terms_adjacent: adjacent[1] },
    ];
    let mut text = format!(
        "// A workgroup computes {rows} x {columns} elements in {BLOCKS} blocks, a subgroup a block by matrices of {size} x \
         {size}.
const TILE_ROWS = {rows}u;
const TILE_COLUMNS = {columns}u;
const DEPTH = {depth}u;
const SIZE = {size}u;
const BLOCKS = {BLOCKS}u;
const BLOCKS_X = {blocks_x}u;
const BLOCK_HEIGHT = {height}u;
const BLOCK_WIDTH = {width}u;
// Some more than a row has, so that the rows of a matrix lie in different memory banks.
const PITCH_A = {}u;
const PITCH_B = {}u;

var<workgroup> tile_a: array<f16, {}>;
var<workgroup> tile_b: array<f16, {}>;
// A matrix of each block.
var<workgroup> results: array<f32, BLOCKS * SIZE * SIZE>;

// Hands on a matrix of each block.
fn keep_results(slice: u32, part: u32, row: u32, column: u32, lane: u32, count: u32) {{
    for (var i = lane; i < count; i += LANES) {{
        let block = i / (SIZE * SIZE);
        let own_row = row + block / BLOCKS_X * BLOCK_HEIGHT + i / SIZE % SIZE;
        let own_column = column + block % BLOCKS_X * BLOCK_WIDTH + i % SIZE;
        if (own_row < rows() && own_column < columns()) {{
            keep(slice, part, own_row, own_column, results[i]);
        }}
    }}
}}

",
        operands[0].pitch(),
        operands[1].pitch(),
        operands[0].length(),
        operands[1].length(),
    );
    let sums: Vec<String> = (0..turns)
        .flat_map(|turn| (0..pieces[0]).flat_map(move |y| (0..pieces[1]).map(move |x| format!("{turn}_{y}_{x}"))))
        .collect();
    let zero = format!("coop_mat{size}x{size}<f32, C>()");
    text.push_str(RUN);
    text.push_str(PLACE);
    text.push_str("\n    // What this invocation brings into workgroup memory.\n");
    operands.iter().for_each(|operand| operand.places(&mut text));
    // Control flow that depends on the subgroup would not do for matrices.
    text.push_str("\n    // What its subgroup computes; past the end, the last block again.\n");
    for turn in 0..turns {
        line(&mut text, 1, &format!("let block_{turn} = min(subgroup + {turn}u * subgroups, BLOCKS - 1u);"));
        line(&mut text, 1, &format!("let block_row_{turn} = block_{turn} / BLOCKS_X * BLOCK_HEIGHT;"));
        line(&mut text, 1, &format!("let block_column_{turn} = block_{turn} % BLOCKS_X * BLOCK_WIDTH;"));
    }
    for sum in &sums {
        line(&mut text, 1, &format!("var sum_{sum} = {zero};"));
        if long {
            line(&mut text, 1, &format!("var total_{sum} = {zero};"));
        }
    }
    text.push_str(BEGIN);
    operands.iter().for_each(|operand| operand.reads(&mut text, "begin", 1));
    // No condition stands around what subgroups do together.
    text.push_str("    for (var first = begin; first < end; first += DEPTH) {\n");
    operands.iter().for_each(|operand| operand.stores(&mut text));
    text.push_str(
        "        workgroupBarrier();\n        // The next tile is read from memory while this one is multiplied.\n",
    );
    line(&mut text, 2, "let next = first + DEPTH;");
    operands.iter().for_each(|operand| operand.reads(&mut text, "next", 2));
    for turn in 0..turns {
        multiply(&mut text, turn, &operands, size, pieces);
    }
    if long {
        // One long sum loses digits.
        line(&mut text, 2, &format!("if ((next - begin) % {BLOCK}u == 0u) {{"));
        for sum in &sums {
            line(&mut text, 3, &format!("total_{sum} = total_{sum} + sum_{sum};"));
            line(&mut text, 3, &format!("sum_{sum} = {zero};"));
        }
        line(&mut text, 2, "}");
    }
    text.push_str("        workgroupBarrier();\n    }\n\n");
    text.push_str(
        "    // The driver does not know this number, so that what becomes of an element stands here once a matrix.\n",
    );
    line(&mut text, 1, "let count = select(0u, BLOCKS * SIZE * SIZE, first_row < rows());");
    for (y, x) in (0..pieces[0]).flat_map(|y| (0..pieces[1]).map(move |x| (y, x))) {
        for turn in 0..turns {
            let sum = format!("{turn}_{y}_{x}");
            let result = if long { format!("total_{sum} + sum_{sum}") } else { format!("sum_{sum}") };
            line(&mut text, 1, &format!("let result_{sum} = {result};"));
            line(&mut text, 1, &format!("coopStoreT(result_{sum}, &results[block_{turn} * SIZE * SIZE], SIZE);"));
        }
        line(&mut text, 1, "workgroupBarrier();");
        let place = format!("first_row + {}u, first_column + {}u", y * size, x * size);
        line(&mut text, 1, &format!("keep_results(slice, part, {place}, lane, count);"));
        line(&mut text, 1, "workgroupBarrier();");
    }
    text.push_str("}\n");
    text
}

/// The products of a block's matrices over the terms in workgroup memory.
fn multiply(text: &mut String, turn: usize, operands: &[Operand; 2], size: usize, pieces: [usize; 2]) {
    line(text, 2, "for (var depth = 0u; depth < DEPTH; depth += SIZE) {");
    for (operand, (count, side, role)) in operands.iter().zip([(pieces[0], "left", 'A'), (pieces[1], "right", 'B')]) {
        let Operand { name, unit, .. } = operand;
        for piece in 0..count {
            let own = format!("block_{unit}_{turn} + {}u", piece * size);
            // The left operand has rows of terms, the right one columns.
            let by_rows = operand.terms_adjacent == (role == 'A');
            let pitch = operand.pitch_name();
            let place = match operand.terms_adjacent {
                true => format!("({own}) * {pitch} + depth"),
                false => format!("depth * {pitch} + {own}"),
            };
            let load = if by_rows { "coopLoadT" } else { "coopLoad" };
            let kind = format!("coop_mat{size}x{size}<f16, {role}>");
            line(text, 3, &format!("let {side}_{piece} = {load}<{kind}>(&tile_{name}[{place}], {pitch});"));
        }
    }
    for (y, x) in (0..pieces[0]).flat_map(|y| (0..pieces[1]).map(move |x| (y, x))) {
        let sum = format!("sum_{turn}_{y}_{x}");
        line(text, 3, &format!("{sum} = coopMultiplyAdd(left_{y}, right_{x}, {sum});"));
    }
    line(text, 2, "}");
}

/// How an operand comes into workgroup memory: as it lies in memory, either terms or rows (columns) beside each other.
struct Operand {
    /// `a` or `b`.
    name: &'static str,
    /// `row` or `column`.
    unit: &'static str,
    /// Rows or columns.
    size: usize,
    depth: usize,
    /// Neighbours in memory are neighbouring terms.
    terms_adjacent: bool,
}

impl Operand {
    /// Elements from one row in workgroup memory to the next.
    fn pitch(&self) -> usize {
        PADDING + if self.terms_adjacent { self.depth } else { self.size }
    }

    /// The name of [`Operand::pitch`] in the text.
    fn pitch_name(&self) -> &'static str {
        if self.name == "a" { "PITCH_A" } else { "PITCH_B" }
    }

    /// Elements in workgroup memory.
    fn length(&self) -> usize {
        self.pitch() * if self.terms_adjacent { self.size } else { self.depth }
    }

    /// Elements that an invocation brings.
    fn loads(&self) -> usize {
        self.size * self.depth / LANES
    }

    fn places(&self, text: &mut String) {
        let Operand { name, unit, size, depth, .. } = self;
        for load in 0..self.loads() {
            line(text, 1, &format!("var {name}_{load} = f16();"));
        }
        let info = |place: &str| format!("{unit}_of(part, min(first_{unit} + {place}, {unit}s() - 1u))");
        if !self.terms_adjacent {
            line(text, 1, &format!("let {name}_term = lane / {size}u;"));
            line(text, 1, &format!("let {unit} = {};", info(&format!("lane % {size}u"))));
            return;
        }
        line(text, 1, &format!("let {name}_term = lane % {depth}u;"));
        for load in 0..self.loads() {
            let place = format!("lane / {depth}u + {}u", load * LANES / depth);
            line(text, 1, &format!("let {unit}_{load} = {};", info(&place)));
        }
    }

    /// From memory into registers, from the term of this name on; zeros past the end.
    fn reads(&self, text: &mut String, first: &str, indent: usize) {
        let Operand { name, unit, size, .. } = self;
        let element = |own: &str, info: &str| match *name {
            "a" => format!("load_a({own}, {info})"),
            _ => format!("load_b({info}, {own})"),
        };
        let loads: Vec<usize> = (0..self.loads()).collect();
        // The loads of one term together.
        for loads in loads.chunks(if self.terms_adjacent { self.loads() } else { 1 }) {
            let term = match loads[0] * LANES / size {
                0 => format!("{first} + {name}_term"),
                terms => format!("{first} + {name}_term + {terms}u"),
            };
            // The last term is read again where there is none: without branches many reads are under way at once.
            let info = format!("{name}_info_{}_{first}", loads[0]);
            line(text, indent, &format!("let {info} = term_of(part, min({term}, terms() - 1u));"));
            for load in loads {
                let own = if self.terms_adjacent { format!("{unit}_{load}") } else { (*unit).to_owned() };
                let value = format!("select(f16(), {}, {term} < end)", element(&own, &info));
                line(text, indent, &format!("{name}_{load} = {value};"));
            }
        }
    }

    /// From registers into workgroup memory, in the order of the invocations.
    fn stores(&self, text: &mut String) {
        let name = self.name;
        let row = if self.terms_adjacent { self.depth } else { self.size };
        line(text, 2, &format!("let {name}_place = lane / {row}u * {} + lane % {row}u;", self.pitch_name()));
        for load in 0..self.loads() {
            let place = load * LANES / row * self.pitch();
            line(text, 2, &format!("tile_{name}[{name}_place + {place}u] = {name}_{load};"));
        }
    }
}
