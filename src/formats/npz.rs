//! NPZ, the archive of NumPy: a zip file with one NPY array for each name.

use std::io::{Cursor, Read};
use std::path::Path;
use std::sync::Arc;

use zip::ZipArchive;
use zip::result::ZipError;

use super::bytes::Promise;
use super::error::{FormatError, Place, quote};
use super::files::Files;
use super::npy::Array;
use super::npy_header::{Layout, MAX_HEADER, Site, header_size, parse_layout};

/// An archive in memory; its arrays are unpacked one by one, never to disk.
pub struct Npz<'a> {
    path: &'a Path,
    /// The size of the file, which no entry exceeds, whatever the table says.
    size: u64,
    archive: ZipArchive<Cursor<Content>>,
}

/// The bytes of the archive.
struct Content(Arc<Vec<u8>>);

impl AsRef<[u8]> for Content {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl<'a> Npz<'a> {
    /// Opens an archive by the table at its end.
    pub fn open(files: &dyn Files, path: &'a Path) -> Result<Npz<'a>, FormatError> {
        let raw = files.read(path).map_err(|error| FormatError::unreadable(path, error))?;
        let size = raw.len() as u64;
        let archive = ZipArchive::new(Cursor::new(Content(raw))).map_err(|_| {
            let help = "fetch the file again, or save it with `numpy.savez`";
            FormatError::malformed(path, Place::Whole, "no table of contents", "a whole zip archive", help)
        })?;
        Ok(Npz { path, size, archive })
    }

    /// The header of an array.
    pub fn layout(&mut self, name: &str) -> Result<Layout, FormatError> {
        self.unpack(name, false).map(|array| array.layout)
    }

    /// An array.
    pub fn array(&mut self, name: &str) -> Result<Array, FormatError> {
        self.unpack(name, true)
    }

    /// Unpacks an array, or only so much of it that the header is there.
    fn unpack(&mut self, name: &str, whole: bool) -> Result<Array, FormatError> {
        let (path, size) = (self.path, self.size);
        let names: Vec<String> = self.archive.file_names().map(|name| quote(name.trim_end_matches(".npy"))).collect();
        let site = Site { path, member: Some(name) };
        let mut entry = self.archive.by_name(&format!("{name}.npy")).map_err(|error| match error {
            ZipError::FileNotFound => {
                let found = if names.is_empty() { "no arrays".into() } else { names.join(", ") };
                FormatError::malformed(path, Place::Whole, found, format!("an array {}", quote(name)), "name another")
            }
            _ => site.wrong(site.whole(), "an entry that cannot be unpacked", "one stored or deflated", SAVE),
        })?;
        let compressed = entry.compressed_size().min(size);
        let layout = parse_layout(site, &read_head(&mut entry))?;
        if !whole {
            return Ok(Array { layout, body: Vec::new() });
        }
        let promise = Promise { path, place: site.whole(), bytes: layout.bytes, compressed };
        let body = promise.read(&mut entry, Vec::new())?;
        Ok(Array { layout, body })
    }
}

/// The bytes of a header and no more; fewer where the stream ends or fails, which parsing then reports.
fn read_head(stream: &mut dyn Read) -> Vec<u8> {
    let mut head = Vec::new();
    if stream.take(12).read_to_end(&mut head).is_ok()
        && let Some(size @ 12..=MAX_HEADER) = header_size(&head)
    {
        let _ = stream.take(size as u64 - 12).read_to_end(&mut head);
    }
    head
}

const SAVE: &str = "save the file again with `numpy.savez`";

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::formats::Memory;
    use crate::formats::npy::write_f32;
    use std::io::Write;
    use zip::CompressionMethod;
    use zip::write::{SimpleFileOptions, ZipWriter};

    /// An archive of these arrays.
    pub fn npz(arrays: &[(&str, Vec<u8>)], method: CompressionMethod) -> Vec<u8> {
        let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
        for (name, bytes) in arrays {
            let options = SimpleFileOptions::default().compression_method(method);
            writer.start_file(format!("{name}.npy"), options).unwrap();
            writer.write_all(bytes).unwrap();
        }
        writer.finish().unwrap().into_inner()
    }

    fn read(bytes: &[u8], name: &str) -> Result<Vec<f32>, FormatError> {
        let files = Memory::new().with("d.npz", bytes);
        let mut npz = Npz::open(&files, Path::new("d.npz"))?;
        let layout = npz.layout(name)?;
        let array = npz.array(name)?;
        assert_eq!(array.layout, layout);
        Ok(array.numbers())
    }

    fn check_error(bytes: &[u8], name: &str, expected: &str) {
        assert_eq!(read(bytes, name).unwrap_err().to_string(), format!("`d.npz`{expected}"));
    }

    #[test]
    fn stored_and_deflated_arrays() {
        let arrays = [("x", write_f32(&[2], &[1.0, 2.0])), ("y", write_f32(&[1], &[3.0]))];
        for method in [CompressionMethod::Stored, CompressionMethod::Deflated] {
            let bytes = npz(&arrays, method);
            assert_eq!(read(&bytes, "x").unwrap(), [1.0, 2.0]);
            assert_eq!(read(&bytes, "y").unwrap(), [3.0]);
            check_error(&bytes, "z", ": found `x`, `y`, expected an array `z`; name another");
        }
    }

    #[test]
    fn malformed_archives_are_named() {
        let help = "fetch the file again, or save it with `numpy.savez`";
        check_error(b"PK", "x", &format!(": found no table of contents, expected a whole zip archive; {help}"));
        let array = write_f32(&[2], &[1.0, 2.0]);
        check_error(
            &npz(&[("x", array[..array.len() - 4].to_vec())], CompressionMethod::Deflated),
            "x",
            ", `x`: found 4, expected 8 bytes after the header; fetch the file again, it is cut short",
        );
        check_error(
            &npz(&[("x", [array.clone(), vec![0; 9]].concat())], CompressionMethod::Deflated),
            "x",
            ", `x`: found more, expected 8 bytes after the header; \
             write the file again, its header and size disagree",
        );
        check_error(
            &npz(&[("x", b"hello".to_vec())], CompressionMethod::Stored),
            "x",
            ", `x`, byte 0: found 5 bytes, expected 0x934e554d5059, the start of an NPY file; save it with NumPy",
        );
        let mut flipped = npz(&[("x", array)], CompressionMethod::Stored);
        let place = flipped.windows(4).position(|bytes| bytes == 2.0f32.to_le_bytes()).unwrap();
        flipped[place] ^= 1;
        check_error(
            &flipped,
            "x",
            ", `x`: found damaged compressed data, expected 8 bytes after the header; fetch the file again",
        );
    }

    #[test]
    fn a_bomb_is_refused_before_memory_is_taken() {
        let mut array = write_f32(&[1], &[]);
        let place = array.windows(4).position(|bytes| bytes == b"(1,)").unwrap();
        array.splice(place..place + 4, *b"(99999999999,)");
        array[8] += 10;
        let bytes = npz(&[("x", array)], CompressionMethod::Deflated);
        let error = read(&bytes, "x").unwrap_err().to_string();
        assert!(error.starts_with("`d.npz`, `x`: found only "), "{error}");
        assert!(error.contains("expected 399999999996 bytes after the header"), "{error}");
    }

    #[test]
    fn every_truncation_is_an_error_and_no_flip_panics() {
        let arrays = [("x", write_f32(&[2], &[1.0, 2.0])), ("y", write_f32(&[1], &[3.0]))];
        for method in [CompressionMethod::Stored, CompressionMethod::Deflated] {
            let bytes = npz(&arrays, method);
            for end in 0..bytes.len() {
                assert!(read(&bytes[..end], "x").is_err(), "cut at {end}");
            }
            for bit in 0..bytes.len() * 8 {
                let mut flipped = bytes.clone();
                flipped[bit / 8] ^= 1 << (bit % 8);
                let _ = read(&flipped, "x");
            }
        }
    }
}
