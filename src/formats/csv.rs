//! CSV tables: one row a sample, one or more columns to be predicted.

use std::path::Path;
use std::sync::Arc;

use csv::{ByteRecord, ReaderBuilder};

use super::bytes::product;
use super::dataset::{Dataset, Header, Samples, Targets, Task};
use super::error::{FormatError, Place, count, quote};
use super::files::Files;
use super::labels::Labels;
use crate::diagnostic::did_you_mean;

/// How a table is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CsvOptions {
    /// Whether the first line names the columns; without it they are named `1`, `2` and so on.
    pub header: bool,
    /// The columns to predict, by name or by number from 1; the last one if there are none here.
    pub target: Vec<String>,
    /// What the target means.
    pub task: Task,
    /// The shape of a sample; `[features]` if there is none.
    pub shape: Option<Vec<usize>>,
    /// Columns to leave out, by name or by number from 1.
    pub drop: Vec<String>,
    /// The delimiter; found among `,` `;` and tab if there is none.
    pub delimiter: Option<u8>,
}

impl Default for CsvOptions {
    fn default() -> CsvOptions {
        CsvOptions { header: true, target: vec![], task: Task::Classes, shape: None, drop: vec![], delimiter: None }
    }
}

/// What is in the table: every line is read, but of the cells only the targets.
pub fn header(files: &dyn Files, path: &Path, options: &CsvOptions) -> Result<Header, FormatError> {
    scan(files, path, options, false).map(|dataset| dataset.header())
}

/// The table as numbers; class names are the distinct texts of the target, sorted (numbers by value).
pub fn load(files: &dyn Files, path: &Path, options: &CsvOptions) -> Result<Dataset, FormatError> {
    scan(files, path, options, true)
}

/// The names in the first line, of which only so much is read as such a line has.
pub fn column_names(files: &dyn Files, path: &Path) -> Option<Vec<String>> {
    const LONGEST: usize = 1 << 16;
    let raw = files.read_prefix(path, LONGEST).ok()?;
    let text = raw.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&raw);
    let mut reader =
        ReaderBuilder::new().has_headers(false).flexible(true).delimiter(find_delimiter(text)).from_reader(text);
    let mut record = ByteRecord::new();
    reader.read_byte_record(&mut record).ok().filter(|is_there| *is_there)?;
    let is_whole = raw.len() < LONGEST || text[..].contains(&b'\n');
    let names: Option<Vec<String>> =
        record.iter().map(|cell| Some(std::str::from_utf8(cell).ok()?.trim().to_owned())).collect();
    names.filter(|_| is_whole)
}

/// Reads all lines; without `numbers`, the features are not read and the samples stay empty.
fn scan(files: &dyn Files, path: &Path, options: &CsvOptions, numbers: bool) -> Result<Dataset, FormatError> {
    let raw = files.read(path).map_err(|error| FormatError::unreadable(path, error))?;
    let text = raw.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&raw);
    let mut reader = ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .delimiter(options.delimiter.unwrap_or_else(|| find_delimiter(text)))
        .from_reader(text);
    let mut record = ByteRecord::new();
    let mut table: Option<Table> = None;
    let mut rows = Rows::default();
    let mut lines = Lines { text, byte: 0, line: 1 };
    while reader.read_byte_record(&mut record).map_err(|error| FormatError::unreadable(path, error.into()))? {
        let line = lines.of(record.position().map_or(0, |position| position.byte()));
        let Some(table) = &table else {
            let first = Table::new(path, options, &record, line)?;
            if !options.header {
                first.read(&record, line, numbers, &mut rows)?;
            }
            table = Some(first);
            continue;
        };
        table.read(&record, line, numbers, &mut rows)?;
    }
    let Some(table) = table.filter(|_| rows.count > 0) else {
        return Err(FormatError::malformed(path, Place::Whole, "0 rows", "1 or more", "add data to the file"));
    };
    let names: Vec<String> = table.targets.iter().map(|column| table.columns[*column].clone()).collect();
    let targets = match options.task {
        Task::Classes => rows.labels.finish(),
        Task::Regression => Targets::Values { data: rows.values, width: names.len(), names },
    };
    Ok(Dataset {
        samples: Samples::F32(Arc::new(rows.samples)),
        sample_shape: table.shape,
        targets,
        columns: table.features.iter().map(|column| table.columns[*column].clone()).collect(),
        origin: path.display().to_string(),
    })
}

/// The rows read so far.
#[derive(Default)]
struct Rows {
    count: usize,
    samples: Vec<f32>,
    labels: Labels,
    values: Vec<f32>,
}

/// The most frequent of `,` `;` and tab in the first line, outside quotes.
fn find_delimiter(text: &[u8]) -> u8 {
    let mut counts = [(0, b','), (0, b';'), (0, b'\t')];
    let mut quoted = false;
    for byte in text {
        match byte {
            b'"' => quoted = !quoted,
            b'\n' | b'\r' if !quoted => break,
            _ if !quoted => counts.iter_mut().filter(|(_, delimiter)| delimiter == byte).for_each(|(n, _)| *n += 1),
            _ => {}
        }
    }
    // The first of equals wins.
    counts.iter().rev().max_by_key(|(n, _)| *n).map_or(b',', |(_, delimiter)| *delimiter)
}

/// Counts lines by the bytes before a record; the reader's own count stops before blank lines.
struct Lines<'a> {
    text: &'a [u8],
    byte: usize,
    line: u64,
}

impl Lines<'_> {
    /// The line, from 1, where the record of this byte offset has its first cell.
    fn of(&mut self, byte: u64) -> u64 {
        let start = (byte as usize).min(self.text.len());
        let blank = self.text[start..].iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
        let end = start + blank;
        let passed = &self.text[self.byte.min(end)..end];
        let lone_returns = passed
            .iter()
            .enumerate()
            .filter(|(index, byte)| **byte == b'\r' && self.text.get(self.byte + index + 1) != Some(&b'\n'));
        self.line += (passed.iter().filter(|byte| **byte == b'\n').count() + lone_returns.count()) as u64;
        self.byte = end;
        self.line
    }
}

/// Which column is what.
struct Table<'a> {
    path: &'a Path,
    options: &'a CsvOptions,
    columns: Vec<String>,
    /// The first line, which the others are compared with.
    line: u64,
    targets: Vec<usize>,
    features: Vec<usize>,
    shape: Vec<usize>,
}

impl<'a> Table<'a> {
    /// The columns, from the first record, which names them or is data.
    fn new(path: &'a Path, options: &'a CsvOptions, record: &ByteRecord, line: u64) -> Result<Table<'a>, FormatError> {
        let wrong = |found: String, expected: String, help: &str| {
            FormatError::malformed(path, Place::Line(line), found, expected, help)
        };
        let mut columns = Vec::with_capacity(record.len());
        for (index, cell) in record.iter().enumerate() {
            columns.push(match std::str::from_utf8(cell) {
                _ if !options.header => (index + 1).to_string(),
                Ok(name) => name.trim().to_string(),
                Err(_) => {
                    let place = Place::Cell { line, column: index + 1, name: None };
                    return Err(not_text(path, place));
                }
            });
        }
        if options.header && columns.iter().all(|name| name.parse::<f64>().is_ok()) {
            return Err(wrong("only numbers".into(), "the names of the columns".into(), "set `header = false`"));
        }
        let find = |wanted: &String| {
            let number = wanted.parse::<usize>().ok().filter(|number| (1..=columns.len()).contains(number));
            let mut named = columns.iter().enumerate().filter(|(_, name)| *name == wanted).map(|(index, _)| index);
            match (named.next(), named.next(), number) {
                (Some(index), None, _) => Ok(index),
                (Some(_), Some(_), _) => {
                    let found = format!("two columns `{wanted}`");
                    Err(wrong(found, "one".into(), "name the column by its number, from 1"))
                }
                (None, _, Some(number)) => Ok(number - 1),
                (None, _, None) => {
                    let shown = columns.iter().take(12).map(|name| quote(name)).collect::<Vec<_>>().join(", ");
                    let more = if columns.len() > 12 { ", …" } else { "" };
                    let found = format!("the columns {shown}{more}");
                    let help = match did_you_mean(wanted, columns.iter().map(String::as_str)) {
                        Some(close) => format!("a similar column is {}", quote(close)),
                        None => "correct the name, or give the column's number".to_owned(),
                    };
                    Err(wrong(found, format!("a column `{wanted}`"), &help))
                }
            }
        };
        let mut targets = options.target.iter().map(find).collect::<Result<Vec<_>, _>>()?;
        let dropped = options.drop.iter().map(find).collect::<Result<Vec<_>, _>>()?;
        if targets.is_empty() {
            targets.push(columns.len() - 1);
        }
        if let Some(column) = targets.iter().find(|column| dropped.contains(column)) {
            let found = format!("`{}` both as target and in `drop`", columns[*column]);
            return Err(wrong(found, "one of them".into(), "take it out of `drop`"));
        }
        if targets.len() > 1 && options.task == Task::Classes {
            let found = format!("{} targets", targets.len());
            return Err(wrong(found, "1 for classes".into(), "name one target, or set `task = regression`"));
        }
        let features: Vec<usize> =
            (0..columns.len()).filter(|column| !targets.contains(column) && !dropped.contains(column)).collect();
        if features.is_empty() {
            let found = format!("{} and no features", count(columns.len(), "column"));
            return Err(wrong(found, "a feature beside the target".into(), "check `delimiter`, `target` and `drop`"));
        }
        let shape = options.shape.clone().unwrap_or_else(|| vec![features.len()]);
        if product(&shape) != Some(features.len()) {
            let found = count(features.len(), "feature");
            return Err(wrong(found, format!("as many as `shape = {shape:?}` holds"), "correct `shape`"));
        }
        Ok(Table { path, options, columns, line, targets, features, shape })
    }

    /// Adds a record to the rows.
    fn read(&self, record: &ByteRecord, line: u64, numbers: bool, rows: &mut Rows) -> Result<(), FormatError> {
        if record.len() != self.columns.len() {
            return Err(FormatError::malformed(
                self.path,
                Place::Line(line),
                count(record.len(), "cell"),
                format!("{}, as in line {}", self.columns.len(), self.line),
                "complete the line, or quote cells that hold the delimiter",
            ));
        }
        if numbers {
            for column in &self.features {
                rows.samples.push(self.number(record, line, *column)?);
            }
        }
        for column in &self.targets {
            match self.options.task {
                Task::Classes => rows.labels.push(self.path, self.text(record, line, *column)?)?,
                Task::Regression => rows.values.push(self.number(record, line, *column)?),
            }
        }
        rows.count += 1;
        Ok(())
    }

    /// A cell that holds one line of text.
    fn text<'r>(&self, record: &'r ByteRecord, line: u64, column: usize) -> Result<&'r str, FormatError> {
        let cell = record.get(column).unwrap_or_default();
        let text = std::str::from_utf8(cell).map_err(|_| not_text(self.path, self.cell(line, column)))?.trim();
        if text.is_empty() {
            let expected = if self.targets.contains(&column) { "a target" } else { "a number" };
            return Err(self.wrong(line, column, "an empty cell", expected, "fill the gap, or remove the line"));
        }
        if text.contains(['\n', '\r']) {
            return Err(self.wrong(line, column, "a line break in quotes", "one line", "close the quote"));
        }
        Ok(text)
    }

    /// A cell that holds a finite number.
    fn number(&self, record: &ByteRecord, line: u64, column: usize) -> Result<f32, FormatError> {
        let text = self.text(record, line, column)?;
        match text.parse::<f32>() {
            Ok(number) if number.is_finite() => Ok(number),
            Ok(_) if text.contains(|letter: char| letter.is_ascii_digit()) => {
                Err(self.wrong(line, column, &quote(text), "a number up to 3.4e38", "scale the column"))
            }
            Ok(_) => Err(self.wrong(line, column, &quote(text), "a finite number", "fill the gap, or remove the line")),
            Err(_) => {
                let help = if self.targets.contains(&column) {
                    "correct the cell, or set `task = classes`"
                } else {
                    "correct the cell, or leave the column out with `drop`"
                };
                Err(self.wrong(line, column, &quote(text), "a number", help))
            }
        }
    }

    fn cell(&self, line: u64, column: usize) -> Place {
        let name = self.options.header.then(|| self.columns[column].clone());
        Place::Cell { line, column: column + 1, name }
    }

    fn wrong(&self, line: u64, column: usize, found: &str, expected: &str, help: &str) -> FormatError {
        FormatError::malformed(self.path, self.cell(line, column), found, expected, help)
    }
}

fn not_text(path: &Path, place: Place) -> FormatError {
    FormatError::malformed(path, place, "bytes that are not UTF-8", "text", "save the file as UTF-8")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::Memory;
    use proptest::prelude::*;

    fn targets(names: &[&str], task: Task) -> CsvOptions {
        CsvOptions { target: names.iter().map(|name| name.to_string()).collect(), task, ..CsvOptions::default() }
    }

    /// Loads `t.csv`; header and data agree.
    fn read(text: impl AsRef<[u8]>, options: &CsvOptions) -> Result<Dataset, FormatError> {
        let files = Memory::new().with("t.csv", text.as_ref());
        let dataset = load(&files, Path::new("t.csv"), options);
        if let Ok(dataset) = &dataset {
            assert_eq!(header(&files, Path::new("t.csv"), options).unwrap().rows, dataset.len());
            let header = Header { bytes: false, ..dataset.header() };
            assert_eq!(super::header(&files, Path::new("t.csv"), options).unwrap(), header);
        }
        dataset
    }

    fn check_error(text: impl AsRef<[u8]>, options: &CsvOptions, expected: &str) {
        assert_eq!(read(text, options).unwrap_err().to_string(), format!("`t.csv`{expected}"));
    }

    fn classes(dataset: &Dataset) -> (Vec<u32>, Vec<&str>) {
        match &dataset.targets {
            Targets::Classes { labels, names } => (labels.clone(), names.iter().map(String::as_str).collect()),
            Targets::Values { .. } => unreachable!("the test asks for classes"),
        }
    }

    #[test]
    fn every_spelling_of_one_table_is_the_same() {
        let expected = read("a,b,kind\n1,2.5,dog\n-3,4e2,cat\n", &CsvOptions::default()).unwrap();
        assert_eq!(expected.samples, Samples::F32(Arc::new(vec![1.0, 2.5, -3.0, 400.0])));
        assert_eq!(classes(&expected), (vec![1, 0], vec!["cat", "dog"]));
        assert_eq!((&expected.columns[..], &expected.sample_shape[..]), (&["a".into(), "b".into()][..], &[2][..]));
        for text in [
            "\u{feff}a,b,kind\r\n1,2.5,dog\r\n-3,4e2,cat",
            "a;b;kind\n1;2.5;dog\n-3;4e2;cat\n",
            "a\tb\tkind\n1\t2.5\tdog\n\n-3\t4e2\tcat\n",
            "\"a\",\"b\",\"kind\"\n\"1\", 2.5 ,\"dog\"\n-3,4e2,cat\n",
        ] {
            assert_eq!(read(text, &CsvOptions::default()).unwrap(), expected, "{text}");
        }
        let first = read("kind,a,b\ndog,1,2.5\ncat,-3,4e2\n", &targets(&["1"], Task::Classes)).unwrap();
        assert_eq!(first, expected);
        let options = CsvOptions { drop: vec!["id".into()], ..targets(&["kind"], Task::Classes) };
        assert_eq!(read("id,kind,a,b\nx1,dog,1,2.5\nx2,cat,-3,4e2\n", &options).unwrap(), expected);
        let options = CsvOptions { header: false, ..CsvOptions::default() };
        let unnamed = read("1,2.5,dog\n-3,4e2,cat\n", &options).unwrap();
        assert_eq!((unnamed.samples, &unnamed.columns[..]), (expected.samples, &["1".into(), "2".into()][..]));
    }

    #[test]
    fn the_example_tables_are_read() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/data");
        let any = CsvOptions::default();
        let rows = |name: &str, options: &CsvOptions| {
            let header = header(&crate::formats::Disk, &folder.join(name), options).unwrap();
            (header.rows, header.sample_shape, header.target.classes())
        };
        assert_eq!(rows("iris.csv", &any), (150, vec![4], Some(3)));
        let image = CsvOptions { shape: Some(vec![1, 8, 8]), ..any };
        assert_eq!(rows("digits.csv", &image), (1797, vec![1, 8, 8], Some(10)));
        assert_eq!(rows("diabetes.csv", &targets(&["progression"], Task::Regression)), (442, vec![10], None));
    }

    #[test]
    fn labels_that_count_from_0_are_kept_and_numbers_are_ordered_by_value() {
        let dataset = read("a,y\n0,2\n0,0\n0,1\n", &CsvOptions::default()).unwrap();
        assert_eq!(classes(&dataset), (vec![2, 0, 1], vec!["0", "1", "2"]));
        let dataset = read("a,y\n0,10\n0,9\n0,1.0\n0,1\n", &CsvOptions::default()).unwrap();
        assert_eq!(classes(&dataset), (vec![2, 1, 0, 0], vec!["1", "9", "10"]));
        let dataset = read("a,y\n0,10\n0,9\n0,x\n", &CsvOptions::default()).unwrap();
        assert_eq!(classes(&dataset), (vec![0, 1, 2], vec!["10", "9", "x"]));
    }

    #[test]
    fn regression_has_one_or_more_targets() {
        let dataset = read("a,y,z\n1,2,3\n4,5,6\n", &targets(&["z", "y"], Task::Regression)).unwrap();
        let names = vec!["z".to_string(), "y".into()];
        assert_eq!(dataset.targets, Targets::Values { data: vec![3.0, 2.0, 6.0, 5.0], width: 2, names });
        let options = CsvOptions { shape: Some(vec![1, 2, 2]), ..CsvOptions::default() };
        assert_eq!(read("a,b,c,d,y\n1,2,3,4,0\n1,2,3,4,1\n", &options).unwrap().sample_shape, [1, 2, 2]);
    }

    #[test]
    fn malformed_cells_are_named_by_line_and_column() {
        let any = &CsvOptions::default();
        for (text, expected) in [
            (
                "a,age,y\n1,2,0\n1,x,1\n",
                ", line 3, column 2 (`age`): found `x`, expected a number; correct the cell or leave the column out",
            ),
            (
                "a,b,y\n\n\n1,2,0\n1,,1\n",
                ", line 5, column 2 (`b`): found an empty cell, expected a number; fill the gap, or remove the line",
            ),
            (
                "a,b,y\n1,2,\n",
                ", line 2, column 3 (`y`): found an empty cell, expected a target; fill the gap, or remove the line",
            ),
            (
                "a,y\nNaN,0\n",
                ", line 2, column 1 (`a`): found `NaN`, expected a finite number; fill the gap, or remove the line",
            ),
            (
                "a,y\n-inf,0\n",
                ", line 2, column 1 (`a`): found `-inf`, expected a finite number; fill the gap, or remove the line",
            ),
            (
                "a,y\n1e400,0\n",
                ", line 2, column 1 (`a`): found `1e400`, expected a number up to 3.4e38; scale the column",
            ),
            (
                "a,b,y\r\n1,2,0\r\n1,2\r\n",
                ", line 3: found 2 cells, expected 3, as in line 1; complete the line, or quote cells that hold the \
                 delimiter",
            ),
            (
                "a,y\n1,\"cat\n2,dog\n",
                ", line 2, column 2 (`y`): found a line break in quotes, expected one line; close the quote",
            ),
            (
                "a,y\n1\0,0\n",
                ", line 2, column 1 (`a`): found `1\\0`, expected a number; correct the cell or leave the column out",
            ),
            ("", ": found 0 rows, expected 1 or more; add data to the file"),
            ("a,y\n", ": found 0 rows, expected 1 or more; add data to the file"),
            ("1,2\n3,4\n", ", line 1: found only numbers, expected the names of the columns; set `header = false`"),
            (
                "y\n1\n",
                ", line 1: found 1 column and no features, expected a feature beside the target; \
                 check `delimiter`, `target` and `drop`",
            ),
        ] {
            let expected =
                expected.replace("cell or leave the column out", "cell, or leave the column out with `drop`");
            check_error(text, any, &expected);
        }
        check_error(
            b"a,y\n1,\xff\n",
            any,
            ", line 2, column 2 (`y`): found bytes that are not UTF-8, expected text; save the file as UTF-8",
        );
        check_error(
            "a,y\n1,x\n",
            &targets(&["y"], Task::Regression),
            ", line 2, column 2 (`y`): found `x`, expected a number; correct the cell, or set `task = classes`",
        );
        check_error(
            "1,x\ny,2\n",
            &CsvOptions { header: false, ..CsvOptions::default() },
            ", line 2, column 1: found `y`, expected a number; correct the cell, or leave the column out with `drop`",
        );
    }

    #[test]
    fn unfit_options_are_named() {
        let text = "a,b,b,y\n1,2,3,0\n";
        for (options, expected) in [
            (
                targets(&["z"], Task::Classes),
                ", line 1: found the columns `a`, `b`, `b`, `y`, expected a column `z`; \
                 correct the name, or give the column's number",
            ),
            (
                targets(&["b"], Task::Classes),
                ", line 1: found two columns `b`, expected one; name the column by its number, from 1",
            ),
            (
                targets(&["a", "y"], Task::Classes),
                ", line 1: found 2 targets, expected 1 for classes; name one target, or set `task = regression`",
            ),
            (
                CsvOptions { drop: vec!["y".into()], ..CsvOptions::default() },
                ", line 1: found `y` both as target and in `drop`, expected one of them; take it out of `drop`",
            ),
            (
                CsvOptions { shape: Some(vec![2, 2]), ..CsvOptions::default() },
                ", line 1: found 3 features, expected as many as `shape = [2, 2]` holds; correct `shape`",
            ),
        ] {
            check_error(text, &options, expected);
        }
    }

    proptest! {
        #[test]
        fn round_trip(rows in prop::collection::vec((any::<f32>(), any::<f32>(), 0u32..3), 1..20), crlf: bool) {
            let rows: Vec<_> = rows.into_iter().filter(|row| row.0.is_finite() && row.1.is_finite()).collect();
            prop_assume!(!rows.is_empty());
            let end = if crlf { "\r\n" } else { "\n" };
            let lines = rows.iter().map(|(a, b, y)| format!("{a},{b:e},class {y}{end}"));
            let dataset = read(format!("a,b,y{end}{}", lines.collect::<String>()), &CsvOptions::default()).unwrap();
            let numbers: Vec<f32> = rows.iter().flat_map(|row| [row.0, row.1]).collect();
            prop_assert_eq!(&dataset.samples, &Samples::F32(Arc::new(numbers)));
            let (labels, names) = classes(&dataset);
            for (row, label) in rows.iter().zip(labels) {
                prop_assert_eq!(names[label as usize], format!("class {}", row.2));
            }
        }

        #[test]
        fn arbitrary_bytes_do_not_panic(bytes: Vec<u8>, text in "[a0-9,;\"\n\r]{0,60}", header: bool) {
            let options = CsvOptions { header, ..CsvOptions::default() };
            let _ = read(&bytes, &options);
            let _ = read(&text, &options);
        }
    }
}
