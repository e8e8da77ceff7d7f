//! IDX, the format of MNIST and its relatives: a big-endian header, then elements; plain or gzipped.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use flate2::read::MultiGzDecoder;

use super::bytes::{Promise, drop_prefix, product};
use super::dataset::{Dataset, Header, Samples, Targets, check_rows, numbered_classes};
use super::error::{FormatError, Place, count};
use super::files::Files;

/// Where the labels are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IdxOptions {
    /// The file of labels; with it, the path is the file of images, without it, the stem of both.
    pub labels: Option<PathBuf>,
}

/// The type of an element.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Element {
    U8,
    I32,
    F32,
}

/// What an IDX header says.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Layout {
    element: Element,
    shape: Vec<usize>,
    /// The size of the header.
    offset: usize,
    /// The size of the elements.
    bytes: usize,
}

/// The longest header: 4 bytes and 3 sizes.
const MAX_HEADER: usize = 16;

/// What is in the files, from their headers and the labels; images become `[1, H, W]`, rows `[F]`.
pub fn header(files: &dyn Files, path: &Path, options: &IdxOptions) -> Result<Header, FormatError> {
    let (images, labels) = locate(files, path, options)?;
    let layout = read_layout(files, &images, &[2, 3])?;
    let targets = read_targets(files, &labels)?;
    check_rows(&images, layout.shape[0], &labels, targets.len())?;
    let dataset = Dataset {
        samples: empty(layout.element),
        sample_shape: sample_shape(&layout),
        targets,
        columns: Vec::new(),
        origin: path.display().to_string(),
    };
    Ok(dataset.header())
}

/// Images and labels; bytes stay bytes, other elements become `f32`.
pub fn load(files: &dyn Files, path: &Path, options: &IdxOptions) -> Result<Dataset, FormatError> {
    let (images, labels) = locate(files, path, options)?;
    let targets = read_targets(files, &labels)?;
    let (layout, body) = read_body(files, &images, &[2, 3])?;
    check_rows(&images, layout.shape[0], &labels, targets.len())?;
    let samples = match layout.element {
        Element::U8 => Samples::U8(Arc::new(body)),
        Element::I32 => Samples::F32(Arc::new(words(&body).map(|word| word as i32 as f32).collect())),
        Element::F32 => Samples::F32(Arc::new(finite(&images, &body, layout.bytes / 4 / layout.shape[0])?)),
    };
    Ok(Dataset {
        samples,
        sample_shape: sample_shape(&layout),
        targets,
        columns: Vec::new(),
        origin: path.display().to_string(),
    })
}

/// The image and label files of a stem, under the names that the archives use.
fn locate(files: &dyn Files, path: &Path, options: &IdxOptions) -> Result<(PathBuf, PathBuf), FormatError> {
    if let Some(labels) = &options.labels {
        return Ok((path.to_owned(), labels.clone()));
    }
    let find = |names: &[&str]| {
        let found = names.iter().flat_map(|name| [format!("{name}"), format!("{name}.gz")]).find_map(|name| {
            let mut file = path.as_os_str().to_owned();
            file.push(name);
            let file = PathBuf::from(file);
            (files.exists(&file) && !files.is_folder(&file)).then_some(file)
        });
        found.ok_or_else(|| {
            let stem = path.file_name().unwrap_or_default().to_string_lossy();
            FormatError::malformed(
                path,
                Place::Whole,
                "no such files",
                format!("`{stem}{}` beside it, plain or with `.gz`", names[0]),
                "correct the path, or name both files",
            )
        })
    };
    let images = find(&["-images-idx3-ubyte", "-images.idx3-ubyte", "-images-idx2-ubyte", "-images.idx2-ubyte"])?;
    let labels = find(&["-labels-idx1-ubyte", "-labels.idx1-ubyte"])?;
    Ok((images, labels))
}

fn empty(element: Element) -> Samples {
    match element {
        Element::U8 => Samples::U8(Arc::default()),
        Element::I32 | Element::F32 => Samples::F32(Arc::default()),
    }
}

/// `[1, H, W]` of images, `[F]` of rows.
fn sample_shape(layout: &Layout) -> Vec<usize> {
    match layout.shape[1..] {
        [features] => vec![features],
        ref sizes => std::iter::once(1).chain(sizes.iter().copied()).collect(),
    }
}

fn read_targets(files: &dyn Files, path: &Path) -> Result<Targets, FormatError> {
    let (layout, body) = read_body(files, path, &[1])?;
    match layout.element {
        Element::U8 => numbered_classes(path, body.into_iter().map(u32::from).collect()),
        Element::I32 => {
            let labels: Vec<u32> = words(&body).collect();
            if let Some(row) = labels.iter().position(|label| (*label as i32) < 0) {
                return Err(FormatError::malformed(
                    path,
                    Place::Row(row),
                    format!("the label {}", labels[row] as i32),
                    "0 or more",
                    "number the classes from 0",
                ));
            }
            numbered_classes(path, labels)
        }
        Element::F32 => Ok(Targets::Values { data: finite(path, &body, 1)?, width: 1, names: vec!["y".into()] }),
    }
}

/// The big-endian words of a body.
fn words(body: &[u8]) -> impl Iterator<Item = u32> + '_ {
    body.chunks_exact(4).map(|word| u32::from_be_bytes([word[0], word[1], word[2], word[3]]))
}

/// The numbers of a body of `width` numbers a row, all of them finite.
fn finite(path: &Path, body: &[u8], width: usize) -> Result<Vec<f32>, FormatError> {
    let numbers: Vec<f32> = words(body).map(f32::from_bits).collect();
    match numbers.iter().position(|number| !number.is_finite()) {
        None => Ok(numbers),
        Some(index) => Err(FormatError::malformed(
            path,
            Place::Row(index / width),
            numbers[index].to_string(),
            "a finite number",
            "remove the row, or fill the gap",
        )),
    }
}

/// The header of a file, from as few bytes as hold it; the size of a plain file is checked against it.
fn read_layout(files: &dyn Files, path: &Path, ranks: &[usize]) -> Result<Layout, FormatError> {
    let read = |n| files.read_prefix(path, n).map_err(|error| FormatError::unreadable(path, error));
    let prefix = read(MAX_HEADER)?;
    if is_gzip(&prefix) {
        // A gzip header may carry names and comments; the first block then holds far more than 16 bytes.
        let prefix = read(65_536)?;
        let mut head = Vec::new();
        // An error in the middle is told by what it leaves missing.
        let _ = MultiGzDecoder::new(&prefix[..]).take(MAX_HEADER as u64).read_to_end(&mut head);
        return parse_layout(path, &head, ranks);
    }
    let layout = parse_layout(path, &prefix, ranks)?;
    let size = files.len(path).map_err(|error| FormatError::unreadable(path, error))?;
    check_size(path, &layout, size)?;
    Ok(layout)
}

/// The header and the elements of a file.
fn read_body(files: &dyn Files, path: &Path, ranks: &[usize]) -> Result<(Layout, Vec<u8>), FormatError> {
    let raw = files.read(path).map_err(|error| FormatError::unreadable(path, error))?;
    if !is_gzip(&raw) {
        let layout = parse_layout(path, &raw, ranks)?;
        check_size(path, &layout, raw.len() as u64)?;
        let body = drop_prefix(raw, layout.offset);
        return Ok((layout, body));
    }
    let mut stream = MultiGzDecoder::new(&raw[..]);
    let mut head = Vec::new();
    let _ = stream.by_ref().take(MAX_HEADER as u64).read_to_end(&mut head);
    let layout = parse_layout(path, &head, ranks)?;
    let promise = Promise { path, place: Place::Whole, bytes: layout.bytes, compressed: raw.len() as u64 };
    let body = promise.read(&mut stream, head.split_off(layout.offset))?;
    Ok((layout, body))
}

fn is_gzip(bytes: &[u8]) -> bool {
    bytes.starts_with(&[0x1f, 0x8b])
}

fn check_size(path: &Path, layout: &Layout, size: u64) -> Result<(), FormatError> {
    let expected = (layout.offset + layout.bytes) as u64;
    if size == expected {
        return Ok(());
    }
    let (place, help) = if size < expected {
        (size, "fetch the file again, it is cut short")
    } else {
        (expected, "write the file again, its header and size disagree")
    };
    Err(FormatError::malformed(
        path,
        Place::Byte(place),
        format!("a file of {}", count(size as usize, "byte")),
        format!("{expected}, by its header"),
        help,
    ))
}

fn parse_layout(path: &Path, head: &[u8], ranks: &[usize]) -> Result<Layout, FormatError> {
    let wrong = |byte, found: String, expected: String, help: &str| {
        Err(FormatError::malformed(path, Place::Byte(byte), found, expected, help))
    };
    let [0, 0, code, rank] = *head.first_chunk::<4>().unwrap_or(&[1; 4]) else {
        let start: String = head.iter().take(4).map(|byte| format!("{byte:02x}")).collect();
        let found = if head.len() < 4 { count(head.len(), "byte") } else { format!("0x{start}") };
        return wrong(0, found, "an IDX header, 0x0000…".into(), "name an IDX file, plain or gzipped");
    };
    let (element, size) = match code {
        0x08 => (Element::U8, 1),
        0x0c => (Element::I32, 4),
        0x0d => (Element::F32, 4),
        _ => {
            let expected = "0x08 (u8), 0x0c (i32) or 0x0d (f32)".into();
            return wrong(2, format!("element type 0x{code:02x}"), expected, "convert the file");
        }
    };
    let rank = usize::from(rank);
    if !ranks.contains(&rank) {
        let expected: Vec<String> = ranks.iter().map(usize::to_string).collect();
        let help = if ranks == [1] { "name a file of labels" } else { "name a file of images, not of labels" };
        return wrong(3, count(rank, "axis").replace("axiss", "axes"), expected.join(" or "), help);
    }
    let offset = 4 + 4 * rank;
    let Some(sizes) = head.get(4..offset) else {
        let found = format!("the end of the file after {}", count(head.len(), "byte"));
        return wrong(head.len() as u64, found, format!("a header of {offset}"), "fetch the file again, it is cut short");
    };
    let shape: Vec<usize> = words(sizes).map(|size| size as usize).collect();
    if let Some(axis) = shape.iter().position(|size| *size == 0) {
        return wrong(4 + 4 * axis as u64, "a size of 0".into(), "1 or more".into(), "add data to the file");
    }
    let Some(bytes) = product(&shape).and_then(|n| n.checked_mul(size)).filter(|n| *n <= isize::MAX as usize - 16) else {
        let found = shape.iter().map(usize::to_string).collect::<Vec<_>>().join(" x ");
        let help = "fetch the file again, its header is damaged";
        return wrong(4, format!("{found} elements"), "a size that fits in memory".into(), help);
    };
    Ok(Layout { element, shape, offset, bytes })
}
