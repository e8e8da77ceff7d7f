//! Plain text tables, and numbers as people read them.

use std::fmt;

pub use crate::figures::{bytes, duration, scaled, whole};

/// Where the cells of a column stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Align {
    /// Words.
    Left,
    /// Numbers.
    Right,
}

/// Rows under headings, in columns as wide as their widest cell.
#[derive(Clone, Debug, Default)]
pub struct Table {
    indent: usize,
    columns: Vec<(String, Align)>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with these columns and no rows.
    pub fn new<'a>(columns: impl IntoIterator<Item = (&'a str, Align)>) -> Table {
        let columns = columns.into_iter().map(|(heading, align)| (heading.to_owned(), align)).collect();
        Table { indent: 0, columns, rows: Vec::new() }
    }

    /// Begins every line with so many spaces.
    pub fn indent(mut self, indent: usize) -> Table {
        self.indent = indent;
        self
    }

    /// Adds a row; missing cells are empty.
    pub fn row<T: Into<String>>(&mut self, cells: impl IntoIterator<Item = T>) {
        self.rows.push(cells.into_iter().map(Into::into).collect());
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let headings: Vec<String> = self.columns.iter().map(|(heading, _)| heading.clone()).collect();
        let has_headings = headings.iter().any(|heading| !heading.is_empty());
        let lines: Vec<&Vec<String>> = has_headings.then_some(&headings).into_iter().chain(&self.rows).collect();
        let width = |column: usize| {
            lines.iter().filter_map(|line| line.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..self.columns.len()).map(width).collect();
        for line in &lines {
            let mut text = " ".repeat(self.indent);
            for (column, ((_, align), width)) in self.columns.iter().zip(&widths).enumerate() {
                let cell = line.get(column).map_or("", String::as_str);
                let gap = if column == 0 { "" } else { "  " };
                let fill = " ".repeat(width - cell.chars().count());
                text += &match align {
                    Align::Left => format!("{gap}{cell}{fill}"),
                    Align::Right => format!("{gap}{fill}{cell}"),
                };
            }
            writeln!(f, "{}", text.trim_end())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let mut table = Table::new([("layer", Align::Left), ("parameters", Align::Right), ("", Align::Left)]).indent(2);
        table.row(["linear(64)", "4,160", "x"]);
        table.row(["relu", "0"]);
        assert_eq!(
            table.to_string(),
            "  layer       parameters\n  linear(64)       4,160  x\n  relu                 0\n"
        );
    }
}
