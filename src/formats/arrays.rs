//! Samples and targets from NumPy arrays: two NPY files, or two arrays of an NPZ archive.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::dataset::{Dataset, Header, MAX_CLASSES, Samples, Targets, Task, check_rows, numbered_classes};
use super::error::{FormatError, Place};
use super::files::Files;
use super::npy::{self, Array};
use super::npy_header::{Element, Layout};
use super::npz::Npz;

/// Where the arrays are and what they mean.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArrayOptions {
    /// The NPY file of the targets, where the samples are an NPY file.
    pub labels: Option<PathBuf>,
    /// The name of the samples in an archive.
    pub x: String,
    /// The name of the targets in an archive.
    pub y: String,
    /// What the targets mean.
    pub task: Task,
    /// Where the channels of images are.
    pub channels: Channels,
}

impl Default for ArrayOptions {
    fn default() -> ArrayOptions {
        ArrayOptions { labels: None, x: "x".into(), y: "y".into(), task: Task::Classes, channels: Channels::Auto }
    }
}

/// Which axis of `[N, ?, ?, ?]` has the channels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Channels {
    /// The last axis where it has 1, 3 or 4 elements and the first does not; else the first.
    #[default]
    Auto,
    /// `[N, C, H, W]`.
    First,
    /// `[N, H, W, C]`.
    Last,
}

/// What is in the arrays, from the header of the samples and the targets.
pub fn header(files: &dyn Files, path: &Path, options: &ArrayOptions) -> Result<Header, FormatError> {
    let (layout, targets, target_path) = match open(files, path, options)? {
        Source::Pair(labels) => (npy::read_layout(files, path)?, npy::read_array(files, labels)?, labels),
        Source::Archive(mut npz) => (npz.layout(&options.x)?, npz.array(&options.y)?, path),
    };
    let targets = read_targets(target_path, targets, options.task)?;
    check_rows(path, rows(path, &layout)?, target_path, targets.len())?;
    let (_, sample_shape) = arrange(&layout, options.channels);
    let samples = if is_bytes(layout.element) { Samples::U8(Arc::default()) } else { Samples::F32(Arc::default()) };
    let origin = path.display().to_string();
    Ok(Dataset { samples, sample_shape, targets, columns: Vec::new(), origin }.header())
}

/// The arrays; `u8` stays as bytes, other elements become `f32`.
///
/// Samples `[N]` become `[N, 1]`; bytes `[N, H, W]` become images `[N, 1, H, W]`.
pub fn load(files: &dyn Files, path: &Path, options: &ArrayOptions) -> Result<Dataset, FormatError> {
    let (array, targets, target_path) = match open(files, path, options)? {
        Source::Pair(labels) => (npy::read_array(files, path)?, npy::read_array(files, labels)?, labels),
        Source::Archive(mut npz) => (npz.array(&options.x)?, npz.array(&options.y)?, path),
    };
    let targets = read_targets(target_path, targets, options.task)?;
    let rows = rows(path, &array.layout)?;
    check_rows(path, rows, target_path, targets.len())?;
    let (axes, sample_shape) = arrange(&array.layout, options.channels);
    let array = array.permuted(&axes);
    let samples = if is_bytes(array.layout.element) {
        Samples::U8(Arc::new(array.body))
    } else {
        Samples::F32(Arc::new(finite(path, &array, rows)?))
    };
    Ok(Dataset { samples, sample_shape, targets, columns: Vec::new(), origin: path.display().to_string() })
}

/// What the path leads to.
enum Source<'a> {
    /// An NPY file; the other one has the targets.
    Pair(&'a Path),
    Archive(Npz<'a>),
}

fn open<'a>(files: &dyn Files, path: &'a Path, options: &'a ArrayOptions) -> Result<Source<'a>, FormatError> {
    let prefix = files.read_prefix(path, 4).map_err(|error| FormatError::unreadable(path, error))?;
    match &options.labels {
        Some(labels) => Ok(Source::Pair(labels)),
        None if prefix.starts_with(b"PK") => Npz::open(files, path).map(Source::Archive),
        None if prefix.starts_with(b"\x93NUM") => {
            let help = "name the file of targets with `labels`, or give an NPZ archive";
            Err(FormatError::malformed(path, Place::Whole, "one array", "samples and targets", help))
        }
        None => {
            let help = "name a file that NumPy saved";
            Err(FormatError::malformed(path, Place::Whole, "another format", "an NPY file or an NPZ archive", help))
        }
    }
}

fn is_bytes(element: Element) -> bool {
    element == Element::Unsigned(1)
}

fn rows(path: &Path, layout: &Layout) -> Result<usize, FormatError> {
    layout.shape.first().copied().ok_or_else(|| {
        let help = "save an array with one row for each sample";
        FormatError::malformed(path, Place::Whole, "a single number", "an array of samples", help)
    })
}

/// The order of axes that puts channels first, and the shape of a sample in it.
fn arrange(layout: &Layout, channels: Channels) -> (Vec<usize>, Vec<usize>) {
    let in_order = (0..layout.shape.len()).collect();
    let is_count = |n: &usize| matches!(n, 1 | 3 | 4);
    match layout.shape[1..] {
        [] => (in_order, vec![1]),
        [height, width] if is_bytes(layout.element) => (in_order, vec![1, height, width]),
        [first, second, third]
            if channels == Channels::Last || channels == Channels::Auto && is_count(&third) && !is_count(&first) =>
        {
            (vec![0, 3, 1, 2], vec![third, first, second])
        }
        ref shape => (in_order, shape.to_vec()),
    }
}

fn read_targets(path: &Path, array: Array, task: Task) -> Result<Targets, FormatError> {
    let rows = rows(path, &array.layout)?;
    let width: usize = array.layout.shape[1..].iter().product();
    let axes: Vec<usize> = (0..array.layout.shape.len()).collect();
    let array = array.permuted(&axes);
    match task {
        Task::Classes if width != 1 => Err(FormatError::malformed(
            path,
            Place::Whole,
            format!("targets of the shape {:?}", array.layout.shape),
            format!("[{rows}], one class for each row"),
            "save class numbers, or set `task = regression`",
        )),
        Task::Classes => {
            let labels = array.wide_numbers().enumerate().map(|(row, label)| read_label(path, row, label));
            numbered_classes(path, labels.collect::<Result<_, _>>()?)
        }
        Task::Regression => {
            let names = if width == 1 { vec!["y".into()] } else { (1..=width).map(|i| format!("y{i}")).collect() };
            Ok(Targets::Values { data: finite(path, &array, rows)?, width, names })
        }
    }
}

fn read_label(path: &Path, row: usize, label: f64) -> Result<u32, FormatError> {
    let (expected, help) = if label.fract() != 0.0 || !label.is_finite() {
        ("a whole number".to_string(), "set `task = regression`")
    } else if label < 0.0 {
        ("0 or more".into(), "number the classes from 0")
    } else if label >= MAX_CLASSES as f64 {
        (format!("a class below {MAX_CLASSES}"), "number the classes from 0")
    } else {
        return Ok(label as u32);
    };
    Err(FormatError::malformed(path, Place::Row(row), format!("the label {label}"), expected, help))
}

/// The elements as `f32`, all of them finite.
fn finite(path: &Path, array: &Array, rows: usize) -> Result<Vec<f32>, FormatError> {
    let numbers = array.numbers();
    match numbers.iter().position(|number| !number.is_finite()) {
        None => Ok(numbers),
        Some(index) => {
            let place = Place::Row(index / (numbers.len() / rows));
            let found = array.wide_numbers().nth(index).unwrap_or(f64::NAN);
            let (expected, help) = if found.is_finite() {
                ("a number up to 3.4e38", "scale the array")
            } else {
                ("a finite number", "remove the row, or fill the gap")
            };
            Err(FormatError::malformed(path, place, format!("{found:?}"), expected, help))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::npz::tests::npz;
    use super::*;
    use crate::formats::Memory;
    use crate::formats::npy::write_f32;
    use zip::CompressionMethod;

    fn bytes(shape: &str, body: &[u8]) -> Vec<u8> {
        let dictionary = format!("{{'descr': '|u1', 'fortran_order': False, 'shape': {shape}}}");
        [&b"\x93NUMPY\x01\0"[..], &[dictionary.len() as u8, 0][..], dictionary.as_bytes(), body].concat()
    }

    /// Loads a pair of files, and the same arrays as an archive, which must agree.
    fn read(x: Vec<u8>, y: Vec<u8>, options: ArrayOptions) -> Result<Dataset, FormatError> {
        let archive = npz(&[("x", x.clone()), ("y", y.clone())], CompressionMethod::Deflated);
        let files = Memory::new().with("x.npy", x).with("y.npy", y).with("d.npz", archive);
        let pair = ArrayOptions { labels: Some("y.npy".into()), ..options.clone() };
        let dataset = load(&files, Path::new("x.npy"), &pair)?;
        assert_eq!(header(&files, Path::new("x.npy"), &pair)?, dataset.header());
        let from_archive = load(&files, Path::new("d.npz"), &options)?;
        assert_eq!(header(&files, Path::new("d.npz"), &options)?, from_archive.header());
        assert_eq!(Dataset { origin: "x.npy".into(), ..from_archive }, dataset);
        Ok(dataset)
    }

    fn check_error(x: Vec<u8>, y: Vec<u8>, options: ArrayOptions, expected: &str) {
        assert_eq!(read(x, y, options).unwrap_err().to_string(), expected);
    }

    fn regression() -> ArrayOptions {
        ArrayOptions { task: Task::Regression, ..ArrayOptions::default() }
    }

    #[test]
    fn images_get_their_channels_first() {
        let y = bytes("(1,)", &[1]);
        let any = ArrayOptions::default();
        let gray = read(bytes("(1, 2, 2)", &[1, 2, 3, 4]), y.clone(), any.clone()).unwrap();
        assert_eq!(gray.sample_shape, [1, 2, 2]);
        let pixels: Vec<u8> = (0..12).collect();
        let turned = Samples::U8(Arc::new(vec![0, 3, 6, 9, 1, 4, 7, 10, 2, 5, 8, 11]));
        let colour = read(bytes("(1, 2, 2, 3)", &pixels), y.clone(), any.clone()).unwrap();
        assert_eq!((&colour.sample_shape[..], &colour.samples), (&[3, 2, 2][..], &turned));
        let last = ArrayOptions { channels: Channels::Last, ..any.clone() };
        assert_eq!(read(bytes("(1, 2, 2, 3)", &pixels), y.clone(), last).unwrap(), colour);
        let first = ArrayOptions { channels: Channels::First, ..any.clone() };
        assert_eq!(read(bytes("(1, 2, 2, 3)", &pixels), y.clone(), first).unwrap().sample_shape, [2, 2, 3]);
        assert_eq!(read(bytes("(1, 3, 2, 2)", &pixels), y, any).unwrap().sample_shape, [3, 2, 2]);
    }

    #[test]
    fn numbers_keep_their_shape() {
        let y = write_f32(&[2, 1], &[0.0, 2.0]);
        let dataset = read(write_f32(&[2, 2], &[1.0, 2.0, 3.0, 4.0]), y.clone(), ArrayOptions::default()).unwrap();
        assert_eq!((&dataset.sample_shape[..], dataset.samples.len()), (&[2][..], 4));
        let names = ["0", "1", "2"].map(String::from).to_vec();
        assert_eq!(dataset.targets, Targets::Classes { labels: vec![0, 2], names });
        let dataset = read(write_f32(&[2], &[1.0, 2.0]), y, regression()).unwrap();
        assert_eq!(dataset.sample_shape, [1]);
        assert_eq!(dataset.targets, Targets::Values { data: vec![0.0, 2.0], width: 1, names: vec!["y".into()] });
        let y = write_f32(&[1, 2], &[0.5, 2.0]);
        let dataset = read(write_f32(&[1, 2, 2], &[0.0; 4]), y, regression()).unwrap();
        assert_eq!(dataset.sample_shape, [2, 2]);
        let names = vec!["y1".to_string(), "y2".into()];
        assert_eq!(dataset.targets, Targets::Values { data: vec![0.5, 2.0], width: 2, names });
    }

    #[test]
    fn wrong_arrays_are_named_with_the_row() {
        let x = || write_f32(&[2], &[1.0, 2.0]);
        let any = ArrayOptions::default;
        check_error(
            x(),
            write_f32(&[2], &[0.0, -1.0]),
            any(),
            "`y.npy`, row 1: found the label -1, expected 0 or more; number the classes from 0",
        );
        check_error(
            x(),
            write_f32(&[2], &[0.0, 0.5]),
            any(),
            "`y.npy`, row 1: found the label 0.5, expected a whole number; set `task = regression`",
        );
        check_error(
            x(),
            write_f32(&[2], &[0.0, 1e9]),
            any(),
            "`y.npy`, row 1: found the label 1000000000, expected a class below 65536; number the classes from 0",
        );
        check_error(
            x(),
            write_f32(&[2, 3], &[0.0; 6]),
            any(),
            "`y.npy`: found targets of the shape [2, 3], expected [2], one class for each row; \
             save class numbers, or set `task = regression`",
        );
        check_error(
            x(),
            write_f32(&[3], &[0.0; 3]),
            any(),
            "`x.npy`: found 2 samples, expected 3, as many as `y.npy` has labels; \
             pair the samples with their own labels",
        );
        check_error(
            write_f32(&[2, 2], &[0.0, 0.0, 0.0, f32::NAN]),
            x(),
            any(),
            "`x.npy`, row 1: found NaN, expected a finite number; remove the row, or fill the gap",
        );
        check_error(
            write_f32(&[], &[0.0]),
            x(),
            any(),
            "`x.npy`: found a single number, expected an array of samples; \
             save an array with one row for each sample",
        );
        let wide =
            [&b"\x93NUMPY\x01\0\x3a\0"[..], "{'descr': '<f8', 'fortran_order': False, 'shape': (2,), }\n".as_bytes()];
        let wide = [wide.concat(), [1e300f64, 0.0].map(f64::to_le_bytes).concat()].concat();
        check_error(wide, x(), any(), "`x.npy`, row 0: found 1e300, expected a number up to 3.4e38; scale the array");
    }

    #[test]
    fn a_lone_array_or_another_format_is_refused() {
        let files = Memory::new().with("x.npy", write_f32(&[1], &[0.0])).with("t.txt", "hello");
        let error = |path: &str| load(&files, Path::new(path), &ArrayOptions::default()).unwrap_err().to_string();
        assert_eq!(
            error("x.npy"),
            "`x.npy`: found one array, expected samples and targets; \
             name the file of targets with `labels`, or give an NPZ archive"
        );
        assert_eq!(
            error("t.txt"),
            "`t.txt`: found another format, expected an NPY file or an NPZ archive; name a file that NumPy saved"
        );
    }
}
