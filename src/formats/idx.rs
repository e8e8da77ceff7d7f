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

/// The labels alone.
pub fn targets(files: &dyn Files, path: &Path, options: &IdxOptions) -> Result<Targets, FormatError> {
    let (_, labels) = locate(files, path, options)?;
    read_targets(files, &labels)
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
        let found = names.iter().flat_map(|name| [name.to_string(), format!("{name}.gz")]).find_map(|name| {
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
        return parse_layout(path, &read_head(&mut MultiGzDecoder::new(&prefix[..])), ranks);
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
    let layout = parse_layout(path, &read_head(&mut stream), ranks)?;
    let promise = Promise { path, place: Place::Whole, bytes: layout.bytes, compressed: raw.len() as u64 };
    let body = promise.read(&mut stream, Vec::new())?;
    Ok((layout, body))
}

/// The bytes of a header and no more; fewer where the stream ends or fails, which parsing then reports.
fn read_head(stream: &mut dyn Read) -> Vec<u8> {
    let mut head = Vec::new();
    if stream.take(4).read_to_end(&mut head).is_ok() && head.len() == 4 {
        let sizes = 4 * u64::from(head[3].min(3));
        let _ = stream.take(sizes).read_to_end(&mut head);
    }
    head
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
        return wrong(3, if rank == 1 { "1 axis".into() } else { format!("{rank} axes") }, expected.join(" or "), help);
    }
    let offset = 4 + 4 * rank;
    let Some(sizes) = head.get(4..offset) else {
        let found = format!("the end of the file after {}", count(head.len(), "byte"));
        return wrong(
            head.len() as u64,
            found,
            format!("a header of {offset}"),
            "fetch the file again, it is cut short",
        );
    };
    let shape: Vec<usize> = words(sizes).map(|size| size as usize).collect();
    if let Some(axis) = shape.iter().position(|size| *size == 0) {
        return wrong(4 + 4 * axis as u64, "a size of 0".into(), "1 or more".into(), "add data to the file");
    }
    let Some(bytes) = product(&shape).and_then(|n| n.checked_mul(size)).filter(|n| *n <= isize::MAX as usize - 16)
    else {
        let found = shape.iter().map(usize::to_string).collect::<Vec<_>>().join(" x ");
        let help = "fetch the file again, its header is damaged";
        return wrong(4, format!("{found} elements"), "a size that fits in memory".into(), help);
    };
    Ok(Layout { element, shape, offset, bytes })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::{Memory, TargetHeader};
    use proptest::prelude::*;
    use std::io::Write;

    fn idx(code: u8, sizes: &[u32], body: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0, 0, code, sizes.len() as u8];
        sizes.iter().for_each(|size| bytes.extend(size.to_be_bytes()));
        bytes.extend(body);
        bytes
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn images() -> Vec<u8> {
        idx(8, &[2, 2, 3], &[0, 1, 2, 3, 4, 5, 250, 251, 252, 253, 254, 255])
    }

    fn labels() -> Vec<u8> {
        idx(8, &[2], &[1, 3])
    }

    fn explicit() -> IdxOptions {
        IdxOptions { labels: Some("y".into()) }
    }

    /// Loads `x` and `y`; header and data agree where both succeed.
    fn read(x: &[u8], y: &[u8]) -> Result<Dataset, FormatError> {
        let files = Memory::new().with("x", x).with("y", y);
        let dataset = load(&files, Path::new("x"), &explicit());
        if let Ok(dataset) = &dataset {
            assert_eq!(header(&files, Path::new("x"), &explicit()).unwrap(), dataset.header());
        }
        dataset
    }

    fn check_error(x: &[u8], y: &[u8], expected: &str) {
        assert_eq!(read(x, y).unwrap_err().to_string(), expected);
    }

    #[test]
    fn a_stem_finds_every_spelling() {
        for (image_name, label_name) in [
            ("d/t-images-idx3-ubyte", "d/t-labels-idx1-ubyte"),
            ("d/t-images-idx3-ubyte.gz", "d/t-labels-idx1-ubyte"),
            ("d/t-images.idx3-ubyte", "d/t-labels.idx1-ubyte.gz"),
        ] {
            let pack = |name: &str, bytes: Vec<u8>| if name.ends_with(".gz") { gzip(&bytes) } else { bytes };
            let files =
                Memory::new().with(image_name, pack(image_name, images())).with(label_name, pack(label_name, labels()));
            let dataset = load(&files, Path::new("d/t"), &IdxOptions::default()).unwrap();
            assert_eq!(dataset.sample_shape, [1, 2, 3]);
            assert_eq!(dataset.samples, Samples::U8(Arc::new(images()[16..].to_vec())));
            let names = ["0", "1", "2", "3"].map(String::from).to_vec();
            assert_eq!(dataset.targets, Targets::Classes { labels: vec![1, 3], names: names.clone() });
            let header = header(&files, Path::new("d/t"), &IdxOptions::default()).unwrap();
            assert_eq!(header, dataset.header());
            assert_eq!((header.rows, header.target), (2, TargetHeader::Classes { names }));
        }
    }

    #[test]
    fn other_elements_become_numbers() {
        let x = idx(0x0d, &[2, 2], &[1.5f32, -2.0, 0.0, 4.0].map(f32::to_be_bytes).concat());
        let y = idx(0x0c, &[2], &[0i32, 1].map(i32::to_be_bytes).concat());
        let dataset = read(&x, &y).unwrap();
        assert_eq!(dataset.sample_shape, [2]);
        assert_eq!(dataset.samples, Samples::F32(Arc::new(vec![1.5, -2.0, 0.0, 4.0])));
        let y = idx(0x0d, &[2], &[0.5f32, 1.0].map(f32::to_be_bytes).concat());
        let expected = Targets::Values { data: vec![0.5, 1.0], width: 1, names: vec!["y".into()] };
        assert_eq!(read(&x, &y).unwrap().targets, expected);
        let y = idx(0x0c, &[2], &[0i32, -1].map(i32::to_be_bytes).concat());
        check_error(&x, &y, "`y`, row 1: found the label -1, expected 0 or more; number the classes from 0");
        let x = idx(0x0d, &[2, 2], &[1.5f32, -2.0, f32::NAN, 4.0].map(f32::to_be_bytes).concat());
        check_error(&x, &labels(), "`x`, row 1: found NaN, expected a finite number; remove the row, or fill the gap");
    }

    #[test]
    fn a_missing_stem_names_what_was_looked_for() {
        let error = load(&Memory::new(), Path::new("d/t"), &IdxOptions::default()).unwrap_err();
        assert_eq!(
            error.to_string(),
            "`d/t`: found no such files, expected `t-images-idx3-ubyte` beside it, plain or with `.gz`; \
             correct the path, or name both files"
        );
        let error = load(&Memory::new(), Path::new("x"), &explicit()).unwrap_err();
        assert_eq!(error.to_string(), "could not read `y`");
    }

    #[test]
    fn malformed_files_are_named_with_the_place() {
        check_error(
            b"\x89PNG....",
            &labels(),
            "`x`, byte 0: found 0x89504e47, expected an IDX header, 0x0000…; name an IDX file, plain or gzipped",
        );
        check_error(
            b"\0",
            &labels(),
            "`x`, byte 0: found 1 byte, expected an IDX header, 0x0000…; name an IDX file, plain or gzipped",
        );
        check_error(
            &idx(0x0e, &[1, 1], &[0; 8]),
            &labels(),
            "`x`, byte 2: found element type 0x0e, expected 0x08 (u8), 0x0c (i32) or 0x0d (f32); convert the file",
        );
        check_error(
            &labels(),
            &labels(),
            "`x`, byte 3: found 1 axis, expected 2 or 3; name a file of images, not of labels",
        );
        check_error(&images(), &images(), "`y`, byte 3: found 3 axes, expected 1; name a file of labels");
        check_error(
            &images()[..10],
            &labels(),
            "`x`, byte 10: found the end of the file after 10 bytes, expected a header of 16; \
             fetch the file again, it is cut short",
        );
        check_error(
            &images()[..27],
            &labels(),
            "`x`, byte 27: found a file of 27 bytes, expected 28, by its header; fetch the file again, it is cut short",
        );
        check_error(
            &[images(), vec![0]].concat(),
            &labels(),
            "`x`, byte 28: found a file of 29 bytes, expected 28, by its header; \
             write the file again, its header and size disagree",
        );
        check_error(
            &images(),
            &idx(8, &[3], &[0, 1, 2]),
            "`x`: found 2 samples, expected 3, as many as `y` has labels; pair the samples with their own labels",
        );
        check_error(
            &idx(0x0d, &[u32::MAX; 3], &[]),
            &labels(),
            "`x`, byte 4: found 4294967295 x 4294967295 x 4294967295 elements, expected a size that fits in memory; \
             fetch the file again, its header is damaged",
        );
        check_error(
            &idx(8, &[2, 0, 3], &[]),
            &labels(),
            "`x`, byte 8: found a size of 0, expected 1 or more; add data to the file",
        );
    }

    #[test]
    fn malformed_gzip_is_named() {
        let packed = gzip(&images());
        check_error(
            &packed[..packed.len() - 1],
            &labels(),
            "`x`: found a stream cut short, expected 12 bytes after the header; fetch the file again",
        );
        let mut damaged = packed.clone();
        let checksum = damaged.len() - 6;
        damaged[checksum] ^= 1;
        check_error(
            &damaged,
            &labels(),
            "`x`: found damaged compressed data, expected 12 bytes after the header; fetch the file again",
        );
        check_error(
            &gzip(&images()[..20]),
            &labels(),
            "`x`: found 4, expected 12 bytes after the header; fetch the file again, it is cut short",
        );
        check_error(
            &gzip(&[images(), vec![0; 1 << 20]].concat()),
            &labels(),
            "`x`: found more, expected 12 bytes after the header; write the file again, its header and size disagree",
        );
        let bomb = gzip(&idx(8, &[1 << 30, 1 << 10, 1 << 10], &[0; 64]));
        let compressed = bomb.len();
        check_error(
            &bomb,
            &labels(),
            &format!(
                "`x`: found only {compressed} compressed bytes, expected 1125899906842624 bytes after the header; \
                 fetch the file again, it is cut short or not what it says"
            ),
        );
    }

    #[test]
    fn every_truncation_is_an_error() {
        for bytes in [images(), gzip(&images())] {
            for end in 0..bytes.len() {
                assert!(read(&bytes[..end], &labels()).is_err(), "cut at {end}");
            }
        }
        for bytes in [labels(), gzip(&labels())] {
            for end in 0..bytes.len() {
                assert!(read(&images(), &bytes[..end]).is_err(), "cut at {end}");
            }
        }
    }

    proptest! {
        #[test]
        fn round_trip(rows in 1usize..5, height in 1usize..5, width in 1usize..5, packed: bool, seed: u8) {
            let body: Vec<u8> = (0..rows * height * width).map(|i| (i as u8).wrapping_mul(31) ^ seed).collect();
            let x = idx(8, &[rows as u32, height as u32, width as u32], &body);
            let y = idx(8, &[rows as u32], &vec![seed; rows]);
            let dataset = if packed { read(&gzip(&x), &gzip(&y)) } else { read(&x, &y) }.unwrap();
            prop_assert_eq!(dataset.sample_shape, [1, height, width]);
            prop_assert_eq!(dataset.samples, Samples::U8(Arc::new(body)));
        }

        #[test]
        fn arbitrary_bytes_do_not_panic(bytes: Vec<u8>, code in 0u8..16, rank in 0u8..5) {
            let mut head = vec![0, 0, code, rank];
            head.extend(&bytes);
            let _ = read(&head, &labels());
            let _ = read(&gzip(&head), &labels());
            let _ = read(&bytes, &labels());
        }
    }
}
