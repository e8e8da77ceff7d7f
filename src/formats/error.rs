//! What is wrong with a file: where, what was found, what was expected, what to do.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use super::files::Files;
use crate::diagnostic::did_you_mean;

/// A file that could not be read, or not understood.
#[derive(Debug, thiserror::Error)]
pub enum FormatError {
    /// The system gave no bytes; the cause is the error's source.
    #[error("could not read `{}`", path.display())]
    Unreadable {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The system took no bytes; the cause is the error's source.
    #[error("could not write `{}`", path.display())]
    Unwritable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The bytes are not what the format asks for.
    #[error("{0}")]
    Malformed(Box<Malformed>),
}

/// An error in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// What is wrong, and why.
    pub message: String,
    /// What to do.
    pub help: Option<String>,
}

/// A name like that of a missing file or folder, in its folder.
fn similar_name(files: &dyn Files, path: &Path) -> Option<String> {
    let wanted = path.file_name()?.to_str()?;
    let listed = files.list(path.parent()?).ok()?;
    let names: Vec<&str> = listed.iter().filter_map(|path| path.file_name()?.to_str()).collect();
    did_you_mean(wanted, names).map(str::to_owned)
}

/// One thing wrong in one place of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Malformed {
    /// The file, as it was named.
    pub file: String,
    /// The place in it.
    pub place: Place,
    /// What is there.
    pub found: String,
    /// What should be there.
    pub expected: String,
    /// What to do about it.
    pub help: String,
}

impl fmt::Display for Malformed {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Malformed { file, place, found, expected, help } = self;
        write!(out, "`{file}`{place}: found {found}, expected {expected}; {help}")
    }
}

/// A place in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// The file, or folder, as a whole.
    Whole,
    /// A byte offset, from 0.
    Byte(u64),
    /// A line, from 1.
    Line(u64),
    /// A cell of a table: line and column from 1, the column's name where there is one.
    Cell {
        /// The line, from 1, where the header line counts.
        line: u64,
        /// The column, from 1.
        column: usize,
        /// The column's name.
        name: Option<String>,
    },
    /// A row, from 0, as programs count samples.
    Row(usize),
    /// A byte of a named array inside an archive.
    Member {
        /// The array's name.
        name: String,
        /// The byte offset in it, from 0.
        byte: u64,
    },
    /// A named array or tensor.
    Named(String),
}

impl fmt::Display for Place {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Whole => Ok(()),
            Place::Byte(byte) => write!(out, ", byte {byte}"),
            Place::Line(line) => write!(out, ", line {line}"),
            Place::Cell { line, column, name: None } => write!(out, ", line {line}, column {column}"),
            Place::Cell { line, column, name: Some(name) } => write!(out, ", line {line}, column {column} (`{name}`)"),
            Place::Row(row) => write!(out, ", row {row}"),
            Place::Member { name, byte } => write!(out, ", `{name}`, byte {byte}"),
            Place::Named(name) => write!(out, ", `{name}`"),
        }
    }
}

impl FormatError {
    /// The error with its cause, and what to do about it. Names beside a file that is missing are looked at.
    pub fn tell(&self, files: &dyn Files) -> Told {
        match self {
            FormatError::Unreadable { path, source } => {
                let close = if source.kind() == io::ErrorKind::NotFound { similar_name(files, path) } else { None };
                let help = close.map(|name| format!("a similar name in the same folder is `{name}`"));
                Told { message: format!("{self}: {source}"), help }
            }
            FormatError::Unwritable { source, .. } => Told { message: format!("{self}: {source}"), help: None },
            FormatError::Malformed(malformed) => {
                let Malformed { file, place, found, expected, help } = &**malformed;
                let message = format!("`{file}`{place}: found {found}, expected {expected}");
                Told { message, help: Some(help.clone()) }
            }
        }
    }

    /// A file that the system did not give.
    pub fn unreadable(path: &Path, source: io::Error) -> FormatError {
        FormatError::Unreadable { path: path.to_owned(), source }
    }

    /// Bytes that are not what the format asks for.
    pub fn malformed(
        path: &Path,
        place: Place,
        found: impl Into<String>,
        expected: impl Into<String>,
        help: impl Into<String>,
    ) -> FormatError {
        FormatError::Malformed(Box::new(Malformed {
            file: path.display().to_string(),
            place,
            found: found.into(),
            expected: expected.into(),
            help: help.into(),
        }))
    }
}

/// A count with its noun: `1 row`, `3 rows`.
pub fn count(n: usize, noun: &str) -> String {
    if n == 1 { format!("1 {noun}") } else { format!("{n} {noun}s") }
}

/// A text in backticks, cut to what a message can hold.
pub fn quote(text: &str) -> String {
    let shown: String = text.chars().take(40).flat_map(char::escape_debug).collect();
    if text.chars().nth(40).is_some() { format!("`{shown}…`") } else { format!("`{shown}`") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_says_where_what_and_what_to_do() {
        let place = Place::Cell { line: 3, column: 2, name: Some("age".into()) };
        let error = FormatError::malformed(Path::new("a.csv"), place, quote("x\n"), "a number", "correct the cell");
        assert_eq!(
            error.to_string(),
            "`a.csv`, line 3, column 2 (`age`): found `x\\n`, expected a number; correct the cell"
        );
        let error = FormatError::unreadable(Path::new("a"), io::ErrorKind::NotFound.into());
        assert_eq!(error.to_string(), "could not read `a`");
        assert!(std::error::Error::source(&error).is_some());
    }

    #[test]
    fn long_text_is_cut() {
        assert_eq!(quote(&"ab".repeat(30)), format!("`{}…`", "ab".repeat(20)));
        assert_eq!(count(1, "row"), "1 row");
        assert_eq!(count(0, "row"), "0 rows");
    }
}
