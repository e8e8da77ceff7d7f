//! Tables of text.

use std::path::Path;

use super::TaskArg;
use crate::formats::csv::{self, CsvOptions};
use crate::formats::dataset::{Dataset, Header};
use crate::formats::error::FormatError;
use crate::formats::files::Files;
use crate::item;
use crate::library::Source;
use crate::schema::{Count, FromArg, Given, GivenKind, Mismatch, Word};

item! {
    /// Reads a table of numbers, one sample a line, with the targets in a column.
    ///
    /// Every column that is neither a target nor dropped is a feature. Classes are numbered in their order: whole
    /// numbers from 0 as they are, other texts sorted.
    ///
    /// ```nnopt
    /// csv("iris.csv", target = species)
    /// ```
    "csv" => pub struct Csv: Source {
        /// The file, relative to the pipeline's file.
        path: String,
        /// The column to predict, by name or number from 1; a list for several numbers; the last one if `auto`.
        target: Columns = Columns(Vec::new()),
        /// Whether the target is a class or a number.
        task: TaskArg = TaskArg::Classes,
        /// The shape of a sample, such as `[1, 8, 8]` for images; all features in a row if `none`.
        shape: Option<Vec<Count>> = None,
        /// Columns to leave out.
        drop: Columns = Columns(Vec::new()),
        /// Whether the first line names the columns.
        header: bool = true,
    }
}

/// Columns by name or number; `auto` for none in particular.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Columns(pub Vec<String>);

impl FromArg for Columns {
    fn expected() -> String {
        "a column by its name or number, or a list of columns".to_owned()
    }

    fn from_arg(given: &Given) -> Result<Self, Mismatch> {
        match &given.kind {
            GivenKind::Word(word) if word == "auto" || word == "none" => Ok(Columns(Vec::new())),
            GivenKind::List(items) => {
                let columns: Result<Vec<Columns>, Mismatch> = items.iter().map(Columns::from_arg).collect();
                Ok(Columns(columns?.into_iter().flat_map(|columns| columns.0).collect()))
            }
            GivenKind::Number { .. } => Count::from_arg(given).map(|count| Columns(vec![count.0.to_string()])),
            _ => Word::from_arg(given).map(|word| Columns(vec![word.0])),
        }
    }

    fn show(&self) -> String {
        let shown: Vec<String> = self.0.iter().map(|name| Word(name.clone()).show()).collect();
        match &shown[..] {
            [] => "auto".to_owned(),
            [one] => one.clone(),
            many => format!("[{}]", many.join(", ")),
        }
    }

    fn words() -> Vec<&'static str> {
        vec!["auto"]
    }
}

impl Csv {
    fn options(&self) -> CsvOptions {
        CsvOptions {
            header: self.header,
            target: self.target.0.clone(),
            task: self.task.into(),
            shape: self.shape.as_ref().map(|shape| shape.iter().map(|size| size.0).collect()),
            drop: self.drop.0.clone(),
            delimiter: None,
        }
    }
}

impl Source for Csv {
    fn header(&self, files: &dyn Files, base: &Path) -> Result<Header, FormatError> {
        csv::header(files, &base.join(&self.path), &self.options())
    }

    fn load(&self, files: &dyn Files, base: &Path) -> Result<Dataset, FormatError> {
        csv::load(files, &base.join(&self.path), &self.options())
    }
}
