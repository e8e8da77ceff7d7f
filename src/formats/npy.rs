//! NPY, the array file of NumPy: a header in Python's notation, then elements in any of its layouts.

use std::path::Path;

use half::f16;

use super::bytes::drop_prefix;
use super::error::{FormatError, Place, count};
use super::files::Files;
use super::npy_header::{Element, Layout, MAX_HEADER, Site, parse_layout};

/// An array in memory; the bytes are as in the file.
pub struct Array {
    /// What the header says.
    pub layout: Layout,
    /// The elements.
    pub body: Vec<u8>,
}

/// The header of a file, from as few bytes as hold it.
pub fn read_layout(files: &dyn Files, path: &Path) -> Result<Layout, FormatError> {
    let unreadable = |error| FormatError::unreadable(path, error);
    let prefix = files.read_prefix(path, MAX_HEADER).map_err(unreadable)?;
    let layout = parse_layout(Site { path, member: None }, &prefix)?;
    check_size(path, &layout, files.len(path).map_err(unreadable)?)?;
    Ok(layout)
}

/// The array of a file.
pub fn read_array(files: &dyn Files, path: &Path) -> Result<Array, FormatError> {
    let raw = files.read(path).map_err(|error| FormatError::unreadable(path, error))?;
    let layout = parse_layout(Site { path, member: None }, &raw)?;
    check_size(path, &layout, raw.len() as u64)?;
    Ok(Array { body: drop_prefix(raw, layout.offset), layout })
}

fn check_size(path: &Path, layout: &Layout, size: u64) -> Result<(), FormatError> {
    let expected = (layout.offset + layout.bytes) as u64;
    if size == expected {
        return Ok(());
    }
    let help = if size < expected { "fetch the file again, it is cut short" } else { "save one array to a file" };
    let found = format!("a file of {}", count(size as usize, "byte"));
    let place = Place::Byte(size.min(expected));
    Err(FormatError::malformed(path, place, found, format!("{expected}, by its header"), help))
}

impl Array {
    /// The elements in the order of the file, as `f32`; whole numbers beyond 2^24 are rounded.
    pub fn numbers(&self) -> Vec<f32> {
        let size = self.layout.element.size();
        self.body.chunks_exact(size).map(|bytes| self.number(bytes) as f32).collect()
    }

    /// The elements in the order of the file, as `f64`.
    pub fn wide_numbers(&self) -> impl Iterator<Item = f64> + '_ {
        self.body.chunks_exact(self.layout.element.size()).map(|bytes| self.number(bytes))
    }

    /// One element.
    fn number(&self, bytes: &[u8]) -> f64 {
        let mut word = [0u8; 8];
        let size = bytes.len();
        word[..size].copy_from_slice(bytes);
        if self.layout.big_endian {
            word[..size].reverse();
        }
        let bits = u64::from_le_bytes(word);
        match self.layout.element {
            Element::Bool => f64::from(u8::from(bits != 0)),
            Element::Unsigned(_) => bits as f64,
            // The shift to the top and back copies the sign.
            Element::Signed(_) => {
                let unused = 64 - 8 * size as u32;
                ((bits << unused) as i64 >> unused) as f64
            }
            Element::Float(2) => f16::from_bits(bits as u16).to_f64(),
            Element::Float(4) => f64::from(f32::from_bits(bits as u32)),
            Element::Float(_) => f64::from_bits(bits),
        }
    }

    /// The same array in C order with its axes permuted: axis `i` of the result is axis `axes[i]` of this one.
    pub fn permuted(self, axes: &[usize]) -> Array {
        let Array { mut layout, body } = self;
        let in_order = axes.iter().enumerate().all(|(index, axis)| index == *axis);
        if in_order && (!layout.fortran || layout.shape.len() < 2) {
            return Array { layout: Layout { fortran: false, ..layout }, body };
        }
        let size = layout.element.size();
        let mut strides = vec![size; layout.shape.len()];
        if layout.fortran {
            (1..strides.len()).for_each(|axis| strides[axis] = strides[axis - 1] * layout.shape[axis - 1]);
        } else {
            (1..strides.len()).rev().for_each(|axis| strides[axis - 1] = strides[axis] * layout.shape[axis]);
        }
        layout.shape = axes.iter().map(|axis| layout.shape[*axis]).collect();
        layout.fortran = false;
        let strides: Vec<usize> = axes.iter().map(|axis| strides[*axis]).collect();
        Array { body: gather(&body, size, &layout.shape, &strides), layout }
    }
}

/// Elements of `size` bytes in C order of `shape`, from positions that `strides` tell in bytes.
fn gather(body: &[u8], size: usize, shape: &[usize], strides: &[usize]) -> Vec<u8> {
    let mut gathered = Vec::with_capacity(body.len());
    let mut index = vec![0; shape.len()];
    let mut from = 0;
    while gathered.len() < body.len() {
        gathered.extend_from_slice(&body[from..from + size]);
        for axis in (0..shape.len()).rev() {
            index[axis] += 1;
            from += strides[axis];
            if index[axis] < shape[axis] {
                break;
            }
            from -= strides[axis] * shape[axis];
            index[axis] = 0;
        }
    }
    gathered
}

/// The bytes of an NPY file (version 1, little-endian, C order).
pub fn write_f32(shape: &[usize], numbers: &[f32]) -> Vec<u8> {
    let sizes: String = shape.iter().map(|size| format!("{size}, ")).collect();
    let sizes = if shape.len() > 1 { sizes.trim_end_matches(", ") } else { sizes.trim_end() };
    let mut dictionary = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({sizes}), }}");
    // The elements start at a multiple of 64, as NumPy aligns them.
    let padding = 63 - (10 + dictionary.len()) % 64;
    dictionary.extend(std::iter::repeat_n(' ', padding));
    dictionary.push('\n');
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((dictionary.len() as u16).to_le_bytes());
    bytes.extend(dictionary.as_bytes());
    numbers.iter().for_each(|number| bytes.extend(number.to_le_bytes()));
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::Memory;
    use proptest::prelude::*;

    fn npy(version: u8, dictionary: &str, body: &[u8]) -> Vec<u8> {
        let mut bytes = b"\x93NUMPY".to_vec();
        bytes.extend([version, 0]);
        match version {
            1 => bytes.extend((dictionary.len() as u16).to_le_bytes()),
            _ => bytes.extend((dictionary.len() as u32).to_le_bytes()),
        }
        bytes.extend(dictionary.as_bytes());
        bytes.extend(body);
        bytes
    }

    fn plain(descr: &str, shape: &str, body: &[u8]) -> Vec<u8> {
        npy(1, &format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}  \n"), body)
    }

    /// Reads `a.npy`; header and array agree.
    fn read(bytes: &[u8]) -> Result<Array, FormatError> {
        let files = Memory::new().with("a.npy", bytes);
        let array = read_array(&files, Path::new("a.npy"));
        let layout = read_layout(&files, Path::new("a.npy"));
        assert_eq!(
            layout.map_err(|e| e.to_string()),
            match &array {
                Ok(array) => Ok(array.layout.clone()),
                Err(error) => Err(error.to_string()),
            }
        );
        array
    }

    fn check_error(bytes: &[u8], expected: &str) {
        let error = read(bytes).err().map(|error| error.to_string());
        assert_eq!(error.as_deref(), Some(format!("`a.npy`{expected}").as_str()));
    }

    #[test]
    fn every_element_type_in_both_byte_orders() {
        for (descr, body) in [
            ("|b1", vec![0, 1]),
            ("|u1", vec![0, 1]),
            ("|i1", vec![0, 1]),
            ("<u2", [0u16, 1].map(u16::to_le_bytes).concat()),
            (">u2", [0u16, 1].map(u16::to_be_bytes).concat()),
            ("<i4", [0i32, 1].map(i32::to_le_bytes).concat()),
            (">i8", [0i64, 1].map(i64::to_be_bytes).concat()),
            ("<f2", vec![0, 0, 0, 0x3c]),
            (">f2", vec![0, 0, 0x3c, 0]),
            ("<f4", [0f32, 1.0].map(f32::to_le_bytes).concat()),
            (">f4", [0f32, 1.0].map(f32::to_be_bytes).concat()),
            ("<f8", [0f64, 1.0].map(f64::to_le_bytes).concat()),
        ] {
            assert_eq!(read(&plain(descr, "(2,)", &body)).unwrap().numbers(), [0.0, 1.0], "{descr}");
        }
        let body = [-1i16, i16::MIN].map(i16::to_be_bytes).concat();
        assert_eq!(read(&plain(">i2", "(2,)", &body)).unwrap().numbers(), [-1.0, -32768.0]);
        let body = [u64::MAX, 1].map(u64::to_le_bytes).concat();
        assert_eq!(read(&plain("<u8", "(2L,)", &body)).unwrap().numbers(), [1.8446744e19, 1.0]);
    }

    #[test]
    fn every_version_and_both_orders() {
        let dictionary = "{\"shape\": (2, 3), 'fortran_order': True, 'descr': '|u1'}\n";
        for version in 1..=3 {
            let array = read(&npy(version, dictionary, &[1, 4, 2, 5, 3, 6])).unwrap();
            assert_eq!((&array.layout.shape[..], array.layout.fortran), (&[2, 3][..], true));
            let array = array.permuted(&[0, 1]);
            assert_eq!((array.body, array.layout.fortran), (vec![1, 2, 3, 4, 5, 6], false));
        }
        let array = read(&plain("|u1", "(1, 2, 3)", &[1, 2, 3, 4, 5, 6])).unwrap().permuted(&[0, 2, 1]);
        assert_eq!((&array.layout.shape[..], &array.body[..]), (&[1, 3, 2][..], &[1, 4, 2, 5, 3, 6][..]));
    }

    #[test]
    fn malformed_files_are_named_with_the_place() {
        check_error(
            b"PK\x03\x04__",
            ", byte 0: found 0x504b03045f5f, expected 0x934e554d5059, the start of an NPY file; save it with NumPy",
        );
        check_error(b"\x93NUMPY\x04\0\0\0", ", byte 6: found version 4, expected 1, 2 or 3; save it with NumPy");
        check_error(
            &plain("<f4", "(2,)", &[0; 8])[..40],
            ", byte 40: found the end after 40 bytes, expected a whole header; fetch the file again, it is cut short",
        );
        check_error(
            &plain("<f4", "(2,)", &[0; 7]),
            ", byte 77: found a file of 77 bytes, expected 78, by its header; fetch the file again, it is cut short",
        );
        check_error(
            &plain("<f4", "(2,)", &[0; 9]),
            ", byte 78: found a file of 79 bytes, expected 78, by its header; save one array to a file",
        );
        check_error(
            &plain("<c8", "(2,)", &[]),
            ", byte 20: found the element type `<c8`, expected a bool, or a number of 8 to 64 bits; \
             save a plain array with NumPy",
        );
        check_error(
            &plain("|O", "(2,)", &[]),
            ", byte 20: found the element type `|O`, expected a bool, or a number of 8 to 64 bits; \
             save a plain array with NumPy",
        );
        check_error(
            &npy(1, "{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (2,), }", &[]),
            ", byte 20: found elements of several fields, expected plain numbers; save a plain array with NumPy",
        );
        check_error(
            &npy(1, "{'descr': '<f4', 'shape': (2,), }", &[]),
            ", byte 43: found the end of the header, expected `descr`, `fortran_order` and `shape`; \
             save a plain array with NumPy",
        );
        check_error(
            &npy(1, "{'kind': 1}", &[]),
            ", byte 18: found `kind`, expected `descr`, `fortran_order` or `shape`; save a plain array with NumPy",
        );
        check_error(
            &plain("<f4", "(-2,)", &[]),
            ", byte 61: found no size, or too large a one, expected a size in digits; save a plain array with NumPy",
        );
        check_error(
            &plain("<f4", "(4294967296, 4294967296)", &[]),
            ", byte 10: found the shape [4294967296, 4294967296], expected a size that fits in memory; \
             fetch the file again",
        );
        check_error(
            &plain("<f4", "(0, 2)", &[]),
            ", byte 10: found the shape [0, 2], expected no size of 0; add data to the array",
        );
        check_error(
            b"\x93NUMPY\x02\0\xff\xff\xff\x7f",
            ", byte 8: found a header of 2147483659 bytes, expected at most 65536; save a plain array",
        );
    }

    #[test]
    fn every_truncation_is_an_error() {
        let bytes = write_f32(&[2, 2], &[1.0, 2.0, 3.0, 4.0]);
        for end in 0..bytes.len() {
            assert!(read(&bytes[..end]).is_err(), "cut at {end}");
        }
    }

    proptest! {
        #[test]
        fn round_trip(shape in prop::collection::vec(1usize..4, 0..4), seed: u32) {
            let n = shape.iter().product::<usize>();
            let numbers: Vec<f32> = (0..n as u32).map(|i| (i.wrapping_mul(2_654_435_761) ^ seed) as f32 - 1e9).collect();
            let bytes = write_f32(&shape, &numbers);
            let array = read(&bytes).unwrap();
            prop_assert_eq!(array.layout.offset % 64, 0);
            prop_assert_eq!(array.numbers(), numbers);
            prop_assert_eq!(array.layout.shape, shape);
        }

        #[test]
        fn permuting_back_restores(shape in prop::collection::vec(1usize..4, 3..4), fortran: bool) {
            let body: Vec<u8> = (0..shape.iter().product::<usize>() as u8).collect();
            let layout = Layout {
                element: Element::Unsigned(1), big_endian: false, fortran, bytes: body.len(), offset: 0, shape,
            };
            let array = Array { layout: layout.clone(), body: body.clone() }.permuted(&[2, 0, 1]).permuted(&[1, 2, 0]);
            let expected = Array { layout, body }.permuted(&[0, 1, 2]);
            prop_assert_eq!(array.body, expected.body);
            prop_assert_eq!(array.layout, expected.layout);
        }

        #[test]
        fn arbitrary_bytes_do_not_panic(bytes: Vec<u8>, text in "[a-z0-9'{}():,<| ]{0,60}") {
            let _ = read(&bytes);
            let _ = read(&npy(1, &text, &bytes));
            let _ = read(&plain("<f8", &format!("({text})"), &bytes));
        }
    }
}
