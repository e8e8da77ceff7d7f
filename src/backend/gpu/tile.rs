//! WGSL of the loop that computes a product tile by tile, for each size of tile.
//!
//! `out[row, column] = Σ a[row, term] · b[term, column]`: a workgroup computes a tile of the result from tiles of both
//! operands in workgroup memory, an invocation a part of it in registers. The text is written out for the size, since a
//! register that is chosen by an index is none: compilers put such arrays in memory.

use std::fmt::Write;

use crate::ir::DType;

use super::grants::{Grants, Matrix};
use super::matrix_tile;
use super::product::Product;

/// Invocations of a workgroup.
const LANES: usize = 256;
/// Terms whose sums are added up in registers.
const BLOCK: usize = 512;

/// So many of the largest tiles keep a large GPU busy.
const MANY: usize = 128;

/// A size of tile, and what each invocation computes of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tile {
    /// Rows of the result.
    pub rows: usize,
    /// Columns of the result.
    pub columns: usize,
    /// Terms that are in workgroup memory at once.
    pub depth: usize,
    /// What computes a part of it.
    pub by: By,
}

/// What computes a part of a tile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum By {
    /// An invocation with so many rows (1, 4 or 8) and columns (4 or 8) in registers.
    Registers([usize; 2]),
    /// A subgroup with cooperative matrices, for operands of 16 bits.
    Matrices(Matrix),
}

const fn tile(rows: usize, columns: usize, depth: usize, part: [usize; 2]) -> Tile {
    Tile { rows, columns, depth, by: By::Registers(part) }
}

impl Tile {
    /// All sizes by registers; both operands fit in the 16 KiB of workgroup memory that every adapter grants.
    pub const BY_REGISTERS: [Tile; 7] = [
        tile(32, 32, 32, [1, 4]),
        tile(32, 128, 16, [4, 4]),
        tile(128, 32, 16, [4, 4]),
        tile(64, 64, 16, [4, 4]),
        tile(64, 128, 16, [4, 8]),
        tile(128, 64, 16, [8, 4]),
        tile(128, 128, 8, [8, 8]),
    ];

    /// The tiles to try for a product, the one to take without a try first: none by registers that has more than twice the
    /// elements, with those past the ends of rows and columns, of the one that has the fewest; by matrices, which have fewer
    /// registers to lose, none that has more than half as many again.
    pub fn candidates(product: &Product, grants: Grants) -> Vec<Tile> {
        let padded = |tile: &Tile| tile.count(product) * tile.rows * tile.columns;
        let least = Tile::BY_REGISTERS.iter().map(padded).min().unwrap_or(0);
        let halves = product.reads.iter().all(|(_, buffer)| buffer.dtype == DType::F16);
        let by_matrices = grants.matrix.filter(|_| halves);
        let usual = Tile::usual(product, by_matrices);
        let by_registers = Tile::BY_REGISTERS.into_iter().filter(|tile| padded(tile) <= 2 * least);
        let fewest = by_matrices.into_iter().flat_map(Tile::by_matrices).map(|tile| padded(&tile)).min().unwrap_or(0);
        let by_matrices =
            by_matrices.into_iter().flat_map(Tile::by_matrices).filter(|tile| 2 * padded(tile) <= 3 * fewest);
        let others = by_matrices.chain(by_registers).filter(|tile| *tile != usual);
        std::iter::once(usual).chain(others).collect()
    }

    /// All sizes by cooperative matrices, the smallest one first; adapters that have those have workgroup memory for them.
    pub fn by_matrices(matrix: Matrix) -> [Tile; 5] {
        [[64, 64, 32], [64, 128, 32], [128, 64, 32], [128, 128, 16], [128, 128, 32]]
            .map(|[rows, columns, depth]| Tile { rows, columns, depth, by: By::Matrices(matrix) })
    }

    /// All tiles of an adapter.
    pub fn all(grants: Grants) -> Vec<Tile> {
        let by_matrices = grants.matrix.map(Tile::by_matrices);
        Tile::BY_REGISTERS.into_iter().chain(by_matrices.into_iter().flatten()).collect()
    }

    /// The tile that follows from the sizes: no wider than needed, large if there are many of them, and by matrices where
    /// few of their rows and columns are past the ends.
    fn usual(product: &Product, matrix: Option<Matrix>) -> Tile {
        let sizes = match (product.rows <= 32, product.columns <= 32) {
            (true, true) => [32, 32],
            (true, false) => [32, 128],
            (false, true) => [128, 32],
            (false, false) => [64, 64],
        };
        // Of two depths the larger one.
        let by_matrices = matrix.filter(|_| sizes == [64, 64]).map(Tile::by_matrices);
        let tiles = by_matrices.as_ref().map_or(&Tile::BY_REGISTERS[..], |tiles| tiles);
        let of = |[rows, columns]: [usize; 2]| {
            tiles.iter().rev().find(|tile| [tile.rows, tile.columns] == [rows, columns]).copied()
        };
        let double = |size: usize| if size > 64 { 128 } else { 64 };
        let large = of([double(product.rows), double(product.columns)]);
        let large = large.filter(|tile| sizes == [64, 64] && tile.count(product) >= MANY);
        large.or_else(|| of(sizes)).unwrap_or_else(|| unreachable!("there are tiles of these sizes"))
    }

    /// How many tiles the result of a product has.
    pub fn count(&self, product: &Product) -> usize {
        product.parts * product.rows.div_ceil(self.rows) * product.columns.div_ceil(self.columns)
    }

    /// `ROWSxCOLUMNS`, and what computes it if that is matrices, with the depth.
    pub fn name(&self) -> String {
        let Tile { rows, columns, depth, by } = self;
        match by {
            By::Registers(_) => format!("{rows}x{columns}"),
            By::Matrices(_) => format!("{rows}x{columns}x{depth} by matrices"),
        }
    }

    /// Terms whose sums are added up, since one long sum loses digits. Those of matrices are of products of 16-bit numbers,
    /// which have lost more before, and a second set of sums takes the registers of a second workgroup.
    pub fn block(&self) -> usize {
        match self.by {
            By::Registers(_) => BLOCK,
            By::Matrices(_) => matrix_tile::BLOCK,
        }
    }

    /// Bytes of workgroup memory.
    pub fn workgroup_bytes(&self) -> usize {
        match self.by {
            By::Registers(_) => 16 * self.depth * (self.rows / 4 + 1 + self.columns / 4 + 1),
            By::Matrices(matrix) => matrix_tile::workgroup_bytes(self, matrix),
        }
    }

    /// The loop as an entry for [`super::source::Source::finish`]. `adjacent` says of both operands whether neighbours in
    /// memory are neighbouring terms, `long` whether sums have more than [`Tile::block`] terms.
    pub fn text(&self, adjacent: [bool; 2], long: bool) -> String {
        match self.by {
            By::Registers(part) => self.by_registers(part, adjacent, long),
            By::Matrices(matrix) => matrix_tile::text(self, matrix, adjacent, long),
        }
    }

    fn by_registers(&self, [height, width]: [usize; 2], adjacent: [bool; 2], long: bool) -> String {
        let Tile { rows, columns, depth, .. } = *self;
        let [a, b] = [
            Operand::of("a", "row", rows, depth, adjacent[0]),
            Operand::of("b", "column", columns, depth, adjacent[1]),
        ];
        let mut text = format!(
            "// A workgroup computes {rows} x {columns} elements, an invocation {height} x {width} of them. A quadruple holds \
             rows or columns\n// that lie a quarter of the tile apart, so that neighbours in the workgroup read and write \
             neighbours in memory.
const TILE_ROWS = {rows}u;
const TILE_COLUMNS = {columns}u;
const DEPTH = {depth}u;
const ROW_QUADS = {}u;
const COLUMN_QUADS = {}u;
const LANES_X = {}u;
const LANES_Y = {}u;
// One quadruple more than a row of the tile has, so that a column lies in different memory banks.
const PITCH_A = ROW_QUADS + 1u;
const PITCH_B = COLUMN_QUADS + 1u;

var<workgroup> tile_a: array<vec4<f32>, DEPTH * PITCH_A>;
var<workgroup> tile_b: array<vec4<f32>, DEPTH * PITCH_B>;

",
            rows / 4,
            columns / 4,
            columns / width,
            rows / height,
        );
        text.push_str(&keep_row(width));
        text.push_str(RUN);
        text.push_str(PLACE);
        text.push_str("\n    // What this invocation brings into workgroup memory.\n");
        text.push_str(&(a.places() + &b.places()));
        text.push_str("\n    // What it computes.\n    let y = lane / LANES_X;\n    let x = lane % LANES_X;\n");
        for sum in sums([height, width]) {
            line(&mut text, 1, &format!("var sum_{sum} = vec4<f32>();"));
        }
        if long {
            text.push_str("    // Sums of a number of terms are added up, since one long sum loses digits.\n");
            for sum in sums([height, width]) {
                line(&mut text, 1, &format!("var total_{sum} = vec4<f32>();"));
            }
        }
        text.push_str(BEGIN);
        text.push_str("    // Each turn reads a tile from memory while the one before it is multiplied.\n");
        line(&mut text, 1, "for (var first = begin; first < end + DEPTH; first += DEPTH) {");
        line(&mut text, 2, "if (first < end) {");
        text.push_str(&(a.reads() + &b.reads()));
        text.push_str("        }\n        if (first > begin) {\n");
        text.push_str(&multiply([height, width]));
        if long {
            let turns = BLOCK / depth;
            line(&mut text, 3, &format!("if (((first - begin) / DEPTH) % {turns}u == 0u) {{"));
            for sum in sums([height, width]) {
                line(&mut text, 4, &format!("total_{sum} += sum_{sum};"));
                line(&mut text, 4, &format!("sum_{sum} = vec4<f32>();"));
            }
            line(&mut text, 3, "}");
        }
        text.push_str("        }\n        workgroupBarrier();\n");
        text.push_str(&(a.stores() + &b.stores()));
        text.push_str("        workgroupBarrier();\n    }\n\n");
        text.push_str(
            "    // The driver does not know this number, so that what becomes of an element stands here once a row.\n",
        );
        line(&mut text, 1, &format!("let width = min({width}u, columns() - first_column);"));
        for row in 0..height {
            let place = match row {
                0 => "first_row + y".to_owned(),
                _ => format!("first_row + y + {}u", row / 4 * (rows / height) + row % 4 * (rows / 4)),
            };
            let result = |quad| match long {
                true => format!("total_{row}_{quad} + sum_{row}_{quad}"),
                false => format!("sum_{row}_{quad}"),
            };
            let results: Vec<String> = (0..width / 4).map(result).collect();
            let results = results.join(", ");
            line(&mut text, 1, &format!("keep_row(slice, part, {place}, first_column + x, width, {results});"));
        }
        text.push_str("}\n");
        text
    }
}

/// `row_quad` of every sum of an invocation.
fn sums([height, width]: [usize; 2]) -> impl Iterator<Item = String> {
    let quads = width / 4;
    (0..height).flat_map(move |row| (0..quads).map(move |quad| format!("{row}_{quad}")))
}

/// The function that hands on a row of an invocation.
fn keep_row(width: usize) -> String {
    let (values, value, offset) = match width {
        4 => ("values: vec4<f32>", "values[i]", "i * COLUMN_QUADS"),
        _ => (
            "left: vec4<f32>, right: vec4<f32>",
            "select(right, left, i < 4u)[i % 4u]",
            "(i / 4u) * LANES_X + (i % 4u) * COLUMN_QUADS",
        ),
    };
    format!(
        "fn keep_row(slice: u32, part: u32, row: u32, first: u32, width: u32, {values}) {{
if (row >= rows()) {{
    return;
}}
for (var i = 0u; i < width; i++) {{
    let column = first + {offset};
    if (column < columns()) {{
        keep(slice, part, row, column, {value});
    }}
}}
}}

"
    )
}

/// The loop over the terms in workgroup memory.
fn multiply([height, width]: [usize; 2]) -> String {
    let mut text = String::new();
    line(&mut text, 3, "for (var depth = 0u; depth < DEPTH; depth++) {");
    let beside = |quad: usize, name: &str, lanes: &str| match quad {
        0 => name.to_owned(),
        _ => format!("{name} + {quad}u * {lanes}"),
    };
    for quad in 0..width / 4 {
        let place = beside(quad, "x", "LANES_X");
        line(&mut text, 4, &format!("let right_{quad} = tile_b[depth * PITCH_B + {place}];"));
    }
    if height == 1 {
        line(&mut text, 4, "let left_0 = tile_a[depth * PITCH_A + y % ROW_QUADS][y / ROW_QUADS];");
    }
    for quad in 0..height / 4 {
        let place = beside(quad, "y", "LANES_Y");
        line(&mut text, 4, &format!("let left_{quad} = tile_a[depth * PITCH_A + {place}];"));
    }
    for row in 0..height {
        let component = if height == 1 { "" } else { [".x", ".y", ".z", ".w"][row % 4] };
        for quad in 0..width / 4 {
            line(&mut text, 4, &format!("sum_{row}_{quad} += left_{}{component} * right_{quad};", row / 4));
        }
    }
    line(&mut text, 3, "}");
    text
}

/// How an operand comes into workgroup memory: `quads` quadruples of rows or columns for each of `depth` terms.
struct Operand {
    /// `a` or `b`.
    name: &'static str,
    /// What a quadruple holds: `row` or `column`.
    unit: &'static str,
    quads: usize,
    depth: usize,
    /// Neighbours in memory are neighbouring terms.
    terms_adjacent: bool,
}

impl Operand {
    fn of(name: &'static str, unit: &'static str, size: usize, depth: usize, terms_adjacent: bool) -> Operand {
        Operand { name, unit, quads: size / 4, depth, terms_adjacent }
    }

    /// Quadruples that an invocation brings.
    fn loads(&self) -> usize {
        (self.quads * self.depth).div_ceil(LANES)
    }

    /// Whether some invocations bring nothing.
    fn is_partial(&self) -> bool {
        self.quads * self.depth < LANES
    }

    /// How many places there are for terms and for quadruples, of those that an invocation brings.
    fn places_of(&self) -> [usize; 2] {
        if self.terms_adjacent { [1, self.loads()] } else { [self.loads(), 1] }
    }

    /// Where in the tile the quadruples lie, and the rows or columns that they hold.
    fn places(&self) -> String {
        let Operand { name, unit, quads, depth, terms_adjacent, .. } = *self;
        let [terms, groups] = self.places_of();
        let mut text = String::new();
        let after =
            |index: usize, step: usize| if index == 0 { String::new() } else { format!(" + {}u", index * step) };
        // Each load is so many invocations behind the one before it, of which the other place knows nothing.
        let [term, quad] = match terms_adjacent {
            true => [format!("lane % {depth}u"), format!("lane / {depth}u")],
            false => [format!("lane / {quads}u"), format!("lane % {quads}u")],
        };
        for index in 0..terms {
            line(&mut text, 1, &format!("let {name}_term_{index} = {term}{};", after(index, LANES / quads)));
        }
        for index in 0..groups {
            line(&mut text, 1, &format!("let {name}_quad_{index} = {quad}{};", after(index, LANES / depth)));
            for part in 0..4 {
                let place = format!("first_{unit} + {name}_quad_{index}{}", after(part, quads));
                let info = format!("let {unit}_{index}_{part} = {unit}_of(part, min({place}, {unit}s() - 1u));");
                line(&mut text, 1, &info);
            }
        }
        for load in 0..self.loads() {
            line(&mut text, 1, &format!("var {name}_{load} = vec4<f32>();"));
        }
        text
    }

    /// From memory into registers; zeros past the end.
    fn reads(&self) -> String {
        let Operand { name, unit, .. } = self;
        let [terms, groups] = self.places_of();
        let mut text = String::new();
        let indent = if self.is_partial() { 4 } else { 3 };
        if self.is_partial() {
            line(&mut text, 3, &format!("if (lane < {}u) {{", self.quads * self.depth));
        }
        for term in 0..terms {
            let place = format!("first + {name}_term_{term}");
            // The last term is read again where there is none: without branches many reads are under way at once.
            let info = format!("let {name}_info_{term} = term_of(part, min({place}, terms() - 1u));");
            line(&mut text, indent, &info);
            for group in 0..groups {
                let element = |part| match *name {
                    "a" => format!("load_a({unit}_{group}_{part}, {name}_info_{term})"),
                    _ => format!("load_b({name}_info_{term}, {unit}_{group}_{part})"),
                };
                let elements: Vec<String> = (0..4).map(element).collect();
                let quad = format!("vec4<f32>({})", elements.join(", "));
                let load = term + group;
                line(&mut text, indent, &format!("{name}_{load} = select(vec4<f32>(), {quad}, {place} < end);"));
            }
        }
        if self.is_partial() {
            line(&mut text, 3, "}");
        }
        text
    }

    /// From registers into workgroup memory.
    fn stores(&self) -> String {
        let name = self.name;
        let pitch = name.to_uppercase();
        let [terms, groups] = self.places_of();
        let mut text = String::new();
        let indent = if self.is_partial() { 3 } else { 2 };
        if self.is_partial() {
            line(&mut text, 2, &format!("if (lane < {}u) {{", self.quads * self.depth));
        }
        for term in 0..terms {
            for group in 0..groups {
                let place = format!("{name}_term_{term} * PITCH_{pitch} + {name}_quad_{group}");
                line(&mut text, indent, &format!("tile_{name}[{place}] = {name}_{};", term + group));
            }
        }
        if self.is_partial() {
            line(&mut text, 2, "}");
        }
        text
    }
}

/// Where the statements begin.
pub(super) const RUN: &str = "fn run(group: u32, lane: u32) {\n";

/// Which tile a workgroup computes.
pub(super) const PLACE: &str = "    let row_tiles = (rows() + TILE_ROWS - 1u) / TILE_ROWS;
    let column_tiles = (columns() + TILE_COLUMNS - 1u) / TILE_COLUMNS;
    let first_row = (group % row_tiles) * TILE_ROWS;
    let first_column = ((group / row_tiles) % column_tiles) * TILE_COLUMNS;
    let part = (group / (row_tiles * column_tiles)) % parts();
    let slice = group / (row_tiles * column_tiles * parts());
";

/// Which terms a workgroup adds up.
pub(super) const BEGIN: &str = "
    let begin = slice * slice_terms();
    let end = min(terms(), begin + slice_terms());
";

/// A line of text.
pub(super) fn line(text: &mut String, indent: usize, content: &str) {
    writeln!(text, "{}{content}", "    ".repeat(indent)).expect("a string can be written to");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_tile_keeps_the_guaranteed_limits() {
        for tile in Tile::BY_REGISTERS {
            let By::Registers([height, width]) = tile.by else { unreachable!("these have registers") };
            assert!(tile.workgroup_bytes() <= 16 << 10, "{tile:?}");
            assert_eq!((tile.rows / height) * (tile.columns / width), LANES, "{tile:?}");
            for size in [tile.rows, tile.columns] {
                // Invocations bring whole quadruples, all of them as many, or a part of them one each.
                let quads = size / 4 * tile.depth;
                assert!(quads.is_multiple_of(LANES) || LANES.is_multiple_of(quads), "{tile:?}");
                assert!(LANES.is_multiple_of(size / 4) && LANES.is_multiple_of(tile.depth), "{tile:?}");
            }
            assert!(BLOCK.is_multiple_of(tile.depth), "{tile:?}");
        }
    }

    #[test]
    fn invocations_share_the_elements_of_a_tile() {
        for tile in Tile::BY_REGISTERS {
            let Tile { rows, columns, by: By::Registers([height, width]), .. } = tile else {
                unreachable!("these have registers");
            };
            let mut seen = vec![0; rows * columns];
            for lane in 0..LANES {
                let (y, x) = (lane / (columns / width), lane % (columns / width));
                for (i, j) in (0..height).flat_map(|i| (0..width).map(move |j| (i, j))) {
                    let row = y + i / 4 * (rows / height) + i % 4 * (rows / 4);
                    let column = x + j / 4 * (columns / width) + j % 4 * (columns / 4);
                    seen[row * columns + column] += 1;
                }
            }
            assert!(seen.iter().all(|count| *count == 1), "{tile:?}");
        }
    }
}
