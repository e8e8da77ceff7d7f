//! Named tensors in a file: safetensors, checked strictly and sealed with a checksum.

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use half::{bf16, f16};
use safetensors::{Dtype, SafeTensorError, SafeTensors};
use serde::de::{Deserializer, Error, IgnoredAny, MapAccess, Visitor};
use sha2::{Digest, Sha256};

use super::error::{FormatError, Place, count, quote};
use super::files::Files;

pub use safetensors::Dtype as Element;

/// The most tensors that a file may have.
pub const MAX_TENSORS: usize = 65_536;

/// The metadata entry that says who wrote a file; such files carry a checksum.
const WRITER: &str = "nnoptc.writer";

/// The metadata entry with the checksum of all else.
const CHECKSUM: &str = "nnoptc.sha256";

/// Tensors with their names, and text about them.
#[derive(Clone, Debug)]
pub struct Tensors {
    path: String,
    bytes: Arc<Vec<u8>>,
    tensors: BTreeMap<String, Entry>,
    /// Texts by name; the checksum and its mark are not among them.
    pub metadata: BTreeMap<String, String>,
}

#[derive(Clone, Debug)]
struct Entry {
    dtype: Dtype,
    shape: Vec<usize>,
    range: Range<usize>,
}

/// A tensor of a file.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tensor<'a> {
    /// The type of an element.
    pub dtype: Dtype,
    /// The sizes of the axes.
    pub shape: &'a [usize],
    /// The elements, little-endian, in C order.
    pub data: &'a [u8],
}

impl Tensors {
    /// Reads and checks a file; the tensors stay in its bytes.
    ///
    /// Fails for duplicate names, more than [`MAX_TENSORS`] tensors, tensors that overlap, leave gaps or do not fit
    /// their shapes, and a checksum that is not that of the content. Files from elsewhere have no checksum.
    pub fn read(files: &dyn Files, path: &Path) -> Result<Tensors, FormatError> {
        let bytes = files.read(path).map_err(|error| FormatError::unreadable(path, error))?;
        Tensors::parse(path, bytes)
    }

    /// As [`Tensors::read`], of bytes in memory; `path` is for error messages.
    pub fn parse(path: &Path, bytes: Arc<Vec<u8>>) -> Result<Tensors, FormatError> {
        check_names(path, &bytes)?;
        let (header, metadata) = SafeTensors::read_metadata(&bytes).map_err(|error| explain(path, &error))?;
        let start = 8 + header;
        let tensors = metadata.tensors().into_iter().map(|(name, info)| {
            let (from, to) = info.data_offsets;
            (name, Entry { dtype: info.dtype, shape: info.shape.clone(), range: start + from..start + to })
        });
        let mut read = Tensors {
            path: path.display().to_string(),
            tensors: tensors.collect(),
            metadata: metadata.metadata().iter().flatten().map(|(key, text)| (key.clone(), text.clone())).collect(),
            bytes,
        };
        read.check_seal(path)?;
        Ok(read)
    }

    /// Fails where the checksum is wrong, or missing from a file that had one.
    fn check_seal(&mut self, path: &Path) -> Result<(), FormatError> {
        let sum = self.metadata.remove(CHECKSUM);
        // Whichever of the two entries is damaged, the other one tells.
        if sum.is_none() && !self.metadata.contains_key(WRITER) {
            return Ok(());
        }
        let found = checksum(self.names().filter_map(|name| Some((name, self.get(name)?))), &self.metadata);
        self.metadata.remove(WRITER);
        match sum {
            Some(sum) if sum == found => Ok(()),
            _ => Err(FormatError::malformed(
                path,
                Place::Whole,
                "content that differs from its checksum",
                "the content as it was written",
                "use another copy, this one is damaged",
            )),
        }
    }

    /// The names, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }

    /// A tensor, if there is one of this name.
    pub fn get(&self, name: &str) -> Option<Tensor<'_>> {
        let Entry { dtype, shape, range } = self.tensors.get(name)?;
        Some(Tensor { dtype: *dtype, shape, data: self.bytes.get(range.clone())? })
    }

    /// The numbers of a tensor of real numbers, which must have this shape.
    pub fn numbers(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>, FormatError> {
        let path = Path::new(&self.path);
        let wrong = |found: String, expected: String, help: &str| {
            FormatError::malformed(path, Place::Named(name.into()), found, expected, help)
        };
        let tensor = self
            .get(name)
            .ok_or_else(|| wrong("no such tensor".into(), format!("one of {shape:?}"), "name weights of this model"))?;
        if tensor.shape != shape {
            let found = format!("the shape {:?}", tensor.shape);
            return Err(wrong(found, format!("{shape:?}"), "name weights of this model"));
        }
        tensor.numbers().ok_or_else(|| {
            wrong(format!("elements {}", tensor.dtype), "F32, F16, BF16 or F64".into(), "convert the tensor to F32")
        })
    }
}

impl Tensor<'_> {
    /// The elements as `f32`; nothing where they are not real numbers.
    pub fn numbers(&self) -> Option<Vec<f32>> {
        match self.dtype {
            Dtype::F32 => Some(self.map(f32::from_le_bytes)),
            Dtype::F16 => Some(self.map(|bytes| f16::from_le_bytes(bytes).to_f32())),
            Dtype::BF16 => Some(self.map(|bytes| bf16::from_le_bytes(bytes).to_f32())),
            Dtype::F64 => Some(self.map(|bytes| f64::from_le_bytes(bytes) as f32)),
            // The list of other types is open, that of real numbers is not.
            _ => None,
        }
    }

    fn map<const N: usize>(&self, read: impl Fn([u8; N]) -> f32) -> Vec<f32> {
        self.data.as_chunks::<N>().0.iter().map(|bytes| read(*bytes)).collect()
    }
}

/// The bytes of a file with these tensors and texts; the same input always gives the same bytes.
///
/// # Panics
/// The data of each tensor must have the size of its shape, and no name may come twice. Metadata keys that start with
/// `nnoptc.` belong to this module.
pub fn write(tensors: &[(&str, Tensor)], metadata: &BTreeMap<String, String>) -> Vec<u8> {
    let mut sorted = tensors.to_vec();
    sorted.sort_by_key(|(name, _)| *name);
    assert!(sorted.windows(2).all(|pair| pair[0].0 != pair[1].0), "the names of tensors are distinct");
    let mut metadata = metadata.clone();
    metadata.insert(WRITER.into(), "nnoptc".into());
    metadata.insert(CHECKSUM.into(), checksum(sorted.iter().copied(), &metadata));
    // Larger elements first, as the format asks for, so that each tensor is aligned to its elements.
    sorted.sort_by_key(|(_, tensor)| std::cmp::Reverse(tensor.dtype));
    let mut header = serde_json::Map::new();
    header.insert("__metadata__".into(), serde_json::json!(metadata));
    let mut end = 0;
    for (name, tensor) in &sorted {
        let size = tensor.shape.iter().product::<usize>() * tensor.dtype.bitsize() / 8;
        assert_eq!(tensor.data.len(), size, "`{name}` has the data of its shape");
        let (start, shape) = (end, tensor.shape);
        end += size;
        let dtype = tensor.dtype.to_string();
        header.insert(
            name.to_string(),
            serde_json::json!({"dtype": dtype, "shape": shape, "data_offsets": [start, end]}),
        );
    }
    let mut text = serde_json::Value::Object(header).to_string();
    // The data starts at a multiple of 8.
    text.extend(std::iter::repeat_n(' ', text.len().next_multiple_of(8) - text.len()));
    let mut bytes = Vec::with_capacity(8 + text.len() + end);
    bytes.extend((text.len() as u64).to_le_bytes());
    bytes.extend(text.as_bytes());
    sorted.iter().for_each(|(_, tensor)| bytes.extend_from_slice(tensor.data));
    bytes
}

/// SHA-256 of all names, types, shapes, elements and texts, each with its length before it.
fn checksum<'a>(tensors: impl Iterator<Item = (&'a str, Tensor<'a>)>, metadata: &BTreeMap<String, String>) -> String {
    let mut hash = Sha256::new();
    let mut add = |bytes: &[u8]| {
        hash.update((bytes.len() as u64).to_le_bytes());
        hash.update(bytes);
    };
    for (key, text) in metadata {
        add(key.as_bytes());
        add(text.as_bytes());
    }
    for (name, tensor) in tensors {
        add(name.as_bytes());
        add(tensor.dtype.to_string().as_bytes());
        add(format!("{:?}", tensor.shape).as_bytes());
        add(tensor.data);
    }
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Fails where a name comes twice or names are too many, which the `safetensors` crate accepts.
fn check_names(path: &Path, bytes: &[u8]) -> Result<(), FormatError> {
    let Some((length, rest)) = bytes.split_first_chunk::<8>() else {
        let found = format!("a file of {}", count(bytes.len(), "byte"));
        return Err(FormatError::malformed(path, Place::Whole, found, "8 or more", "fetch the file again"));
    };
    let header = usize::try_from(u64::from_le_bytes(*length)).ok().and_then(|length| rest.get(..length));
    // What is not a header at all is told by the crate, in more words.
    let Some(header) = header else { return Ok(()) };
    let mut names = Names::default();
    let result = serde_json::Deserializer::from_slice(header).deserialize_map(&mut names);
    let wrong =
        |place, found: String, expected: String, help| FormatError::malformed(path, place, found, expected, help);
    if let Some(name) = names.duplicate {
        return Err(wrong(Place::Named(name), "two of this name".into(), "one".into(), "write the file again"));
    }
    if names.seen.len() > MAX_TENSORS {
        let found = format!("more than {MAX_TENSORS} tensors");
        return Err(wrong(Place::Whole, found, format!("at most {MAX_TENSORS}"), "join small tensors"));
    }
    // What cannot be searched for duplicates is not trusted to have none.
    result.map_err(|error| {
        let found = format!("a damaged header ({})", quote(&error.to_string()));
        wrong(Place::Byte(8), found, "a safetensors file".into(), "fetch the file again")
    })
}

/// The keys of a header, one level deep and in the metadata.
#[derive(Default)]
struct Names {
    seen: HashSet<String>,
    duplicate: Option<String>,
}

impl<'de> Visitor<'de> for &mut Names {
    type Value = ();

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "a map of tensors")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(name) = map.next_key::<String>()? {
            if name == "__metadata__" && !self.seen.contains(&name) {
                self.duplicate = map.next_value::<Metadata>()?.0;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
            if self.duplicate.is_some() || self.seen.contains(&name) || self.seen.len() > MAX_TENSORS {
                self.duplicate = self.duplicate.take().or_else(|| self.seen.contains(&name).then_some(name));
                return Err(A::Error::custom("the caller sees why"));
            }
            self.seen.insert(name);
        }
        self.seen.remove("__metadata__");
        Ok(())
    }
}

/// The first key that comes twice in a map of texts.
struct Metadata(Option<String>);

impl<'de> serde::Deserialize<'de> for Metadata {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Metadata, D::Error> {
        struct Keys;
        impl<'de> Visitor<'de> for Keys {
            type Value = Metadata;

            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(out, "a map of texts")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Metadata, A::Error> {
                let (mut seen, mut duplicate) = (HashSet::new(), None);
                while let Some((key, _)) = map.next_entry::<String, IgnoredAny>()? {
                    if !seen.insert(key.clone()) {
                        duplicate.get_or_insert(key);
                    }
                }
                Ok(Metadata(duplicate))
            }
        }
        deserializer.deserialize_map(Keys)
    }
}

/// The crate's error in the terms of this module.
fn explain(path: &Path, error: &SafeTensorError) -> FormatError {
    let again = "fetch the file again";
    let wrong = |place, found: &str, expected: &str| FormatError::malformed(path, place, found, expected, again);
    match error {
        SafeTensorError::HeaderTooLarge => wrong(Place::Byte(0), "a header of more than 100 MB", "a smaller one"),
        SafeTensorError::HeaderTooSmall | SafeTensorError::InvalidHeaderLength => {
            wrong(Place::Byte(0), "a header that is longer than the file", "a safetensors file")
        }
        SafeTensorError::InvalidHeader(_) | SafeTensorError::InvalidHeaderStart => {
            wrong(Place::Byte(8), "no header", "a safetensors file")
        }
        SafeTensorError::InvalidOffset(name) => {
            wrong(Place::Named(name.clone()), "a tensor that overlaps another or leaves a gap", "tensors side by side")
        }
        SafeTensorError::MetadataIncompleteBuffer => {
            wrong(Place::Whole, "tensors that do not end where the file ends", "tensors that fill the file")
        }
        SafeTensorError::TensorInvalidInfo | SafeTensorError::MisalignedSlice => {
            wrong(Place::Byte(8), "a tensor whose shape and size disagree", "a size that follows from the shape")
        }
        SafeTensorError::ValidationOverflow => {
            wrong(Place::Byte(8), "a shape that no memory holds", "a size that fits in memory")
        }
        SafeTensorError::InvalidHeaderDeserialization(error) => {
            wrong(Place::Byte(8), &format!("a damaged header ({})", quote(&error.to_string())), "a safetensors file")
        }
        other => wrong(Place::Whole, &other.to_string(), "a safetensors file"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::Memory;
    use proptest::prelude::*;

    fn texts(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(key, text)| (key.to_string(), text.to_string())).collect()
    }

    fn read(bytes: &[u8]) -> Result<Tensors, FormatError> {
        Tensors::read(&Memory::new().with("w", bytes), Path::new("w"))
    }

    /// A file with this header and data.
    fn raw(header: &str, data: &[u8]) -> Vec<u8> {
        [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), data].concat()
    }

    fn check_error(bytes: &[u8], expected: &str) {
        assert_eq!(read(bytes).unwrap_err().to_string(), format!("`w`{expected}"));
    }

    fn sample() -> Vec<u8> {
        let numbers = [1.0f32, -2.0, 3.5, 0.0].map(f32::to_le_bytes).concat();
        let half = [f16::from_f32(0.5), f16::from_f32(-1.0)].map(f16::to_le_bytes).concat();
        let step = 7u64.to_le_bytes();
        write(
            &[
                ("a.bias", Tensor { dtype: Dtype::F16, shape: &[2], data: &half }),
                ("a.weight", Tensor { dtype: Dtype::F32, shape: &[2, 2], data: &numbers }),
                ("step", Tensor { dtype: Dtype::U64, shape: &[], data: &step }),
            ],
            &texts(&[("epoch", "3"), ("note", "äöü \"quoted\"")]),
        )
    }

    #[test]
    fn what_is_written_is_read() {
        let bytes = sample();
        let tensors = read(&bytes).unwrap();
        assert_eq!(tensors.names().collect::<Vec<_>>(), ["a.bias", "a.weight", "step"]);
        assert_eq!(tensors.numbers("a.weight", &[2, 2]).unwrap(), [1.0, -2.0, 3.5, 0.0]);
        assert_eq!(tensors.numbers("a.bias", &[2]).unwrap(), [0.5, -1.0]);
        assert_eq!(tensors.get("step").unwrap().data, 7u64.to_le_bytes());
        assert_eq!(tensors.metadata, texts(&[("epoch", "3"), ("note", "äöü \"quoted\"")]));
        assert_eq!(tensors.get("missing"), None);
        // Others read it too, and the data is aligned.
        let others = SafeTensors::deserialize(&bytes).unwrap();
        assert_eq!(others.tensor("a.weight").unwrap().shape(), [2, 2]);
        assert_eq!(u64::from_le_bytes(*bytes.first_chunk().unwrap()) % 8, 0);
        assert_eq!(sample(), bytes);
    }

    #[test]
    fn files_from_elsewhere_have_no_checksum() {
        let data = 1.5f64.to_le_bytes();
        let view = safetensors::tensor::TensorView::new(Dtype::F64, vec![1], &data).unwrap();
        let bytes = safetensors::serialize([("x", view)], None).unwrap();
        assert_eq!(read(&bytes).unwrap().numbers("x", &[1]).unwrap(), [1.5]);
    }

    #[test]
    fn unfit_tensors_are_named() {
        let tensors = read(&sample()).unwrap();
        let error = |name, shape: &[usize]| tensors.numbers(name, shape).unwrap_err().to_string();
        assert_eq!(error("b", &[2]), "`w`, `b`: found no such tensor, expected one of [2]; name weights of this model");
        assert_eq!(
            error("a.bias", &[3]),
            "`w`, `a.bias`: found the shape [2], expected [3]; name weights of this model"
        );
        assert_eq!(
            error("step", &[]),
            "`w`, `step`: found elements U64, expected F32, F16, BF16 or F64; convert the tensor to F32"
        );
    }

    #[test]
    fn malformed_files_are_named() {
        let a = r#""a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}"#;
        let b = |offsets: &str| format!(r#"{{{a},"b":{{"dtype":"U8","shape":[1],"data_offsets":{offsets}}}}}"#);
        check_error(b"short", ": found a file of 5 bytes, expected 8 or more; fetch the file again");
        check_error(
            &u64::MAX.to_le_bytes(),
            ", byte 0: found a header of more than 100 MB, expected a smaller one; fetch the file again",
        );
        check_error(
            &100u64.to_le_bytes(),
            ", byte 0: found a header that is longer than the file, expected a safetensors file; fetch the file again",
        );
        check_error(
            &raw("[1]", &[]),
            ", byte 8: found a damaged header (`invalid type: sequence, expected a map o…`), \
             expected a safetensors file; fetch the file again",
        );
        check_error(
            &raw(&format!("{{{a},{a}}}"), &[0]),
            ", `a`: found two of this name, expected one; write the file again",
        );
        let escaped = a.replace("\"a\"", "\"\\u0061\"");
        check_error(
            &raw(&format!(r#"{{"__metadata__":{{}},{a},{escaped}}}"#), &[0]),
            ", `a`: found two of this name, expected one; write the file again",
        );
        check_error(
            &raw(&format!(r#"{{"__metadata__":{{"k":"1","k":"2"}},{a}}}"#), &[0]),
            ", `k`: found two of this name, expected one; write the file again",
        );
        assert!(read(&raw(&format!(r#"{{"__metadata__":null,{a},{a}}}"#), &[0])).is_err());
        check_error(
            &raw(&b("[2,3]"), &[0; 3]),
            ", `b`: found a tensor that overlaps another or leaves a gap, expected tensors side by side; \
             fetch the file again",
        );
        // Two tensors at one place: which of them is named is not fixed.
        assert!(read(&raw(&b("[0,1]"), &[0; 3])).is_err());
        check_error(
            &raw(&b("[1,2]"), &[0; 3]),
            ": found tensors that do not end where the file ends, expected tensors that fill the file; \
             fetch the file again",
        );
        check_error(
            &raw(&b("[1,3]"), &[0; 3]),
            ", byte 8: found a tensor whose shape and size disagree, expected a size that follows from the shape; \
             fetch the file again",
        );
        let huge = r#"{"a":{"dtype":"F32","shape":[4611686018427387904,4],"data_offsets":[0,0]}}"#;
        check_error(
            &raw(huge, &[]),
            ", byte 8: found a shape that no memory holds, expected a size that fits in memory; fetch the file again",
        );
        let many: Vec<String> =
            (0..=MAX_TENSORS).map(|i| format!(r#""{i}":{{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}"#)).collect();
        check_error(
            &raw(&format!("{{{}}}", many.join(",")), &[]),
            ": found more than 65536 tensors, expected at most 65536; join small tensors",
        );
        assert!(read(&raw(&format!("{{{}}}", many[1..].join(",")), &[])).is_ok());
    }

    #[test]
    fn every_truncation_and_every_flipped_bit_is_an_error() {
        let bytes = sample();
        for end in 0..bytes.len() {
            assert!(read(&bytes[..end]).is_err(), "cut at {end}");
        }
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(read(&flipped).is_err(), "bit {bit} of {}", String::from_utf8_lossy(&bytes[8..]));
        }
        let mut flipped = bytes.clone();
        *flipped.last_mut().unwrap() ^= 1;
        check_error(
            &flipped,
            ": found content that differs from its checksum, expected the content as it was written; \
             use another copy, this one is damaged",
        );
    }

    proptest! {
        #[test]
        fn round_trip(numbers: Vec<f32>, name in "[a-z.\"é]{1,9}", text: String) {
            let data: Vec<u8> = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
            let shape = [numbers.len()];
            let bytes = write(&[(&name, Tensor { dtype: Dtype::F32, shape: &shape, data: &data })], &texts(&[("t", &text)]));
            let tensors = read(&bytes).unwrap();
            prop_assert_eq!(tensors.get(&name).unwrap().data, &data[..]);
            prop_assert_eq!(&tensors.metadata["t"], &text);
        }

        #[test]
        fn arbitrary_headers_do_not_panic(header in "[{}\\[\\]:,\"a0-9]{0,40}", data: Vec<u8>) {
            let _ = read(&raw(&header, &data));
            let _ = read(&data);
        }
    }
}
