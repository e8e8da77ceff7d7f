//! The header of an NPY array: a dictionary in Python's notation.

use std::path::Path;

use super::bytes::product;
use super::error::{FormatError, Place, count, quote};

/// The longest header that is read; NumPy writes 128 bytes for plain arrays.
pub const MAX_HEADER: usize = 65_536;

/// The type of an element.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Element {
    /// One byte, 0 or 1.
    Bool,
    /// A whole number with a sign, of so many bytes.
    Signed(usize),
    /// A whole number without a sign, of so many bytes.
    Unsigned(usize),
    /// A real number of so many bytes.
    Float(usize),
}

impl Element {
    /// Its size in bytes.
    pub fn size(self) -> usize {
        match self {
            Element::Bool => 1,
            Element::Signed(size) | Element::Unsigned(size) | Element::Float(size) => size,
        }
    }
}

/// What a header says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    /// The type of an element.
    pub element: Element,
    /// Whether the most significant byte comes first.
    pub big_endian: bool,
    /// Whether the first axis varies fastest.
    pub fortran: bool,
    /// The sizes of the axes, none of them 0.
    pub shape: Vec<usize>,
    /// The size of the header in bytes.
    pub offset: usize,
    /// The size of the elements in bytes.
    pub bytes: usize,
}

/// Where an array lies, for error messages.
#[derive(Clone, Copy)]
pub struct Site<'a> {
    /// The file.
    pub path: &'a Path,
    /// The name inside the archive, if the file is one.
    pub member: Option<&'a str>,
}

impl Site<'_> {
    /// A byte of the array.
    pub fn byte(&self, byte: usize) -> Place {
        match self.member {
            None => Place::Byte(byte as u64),
            Some(name) => Place::Member { name: name.into(), byte: byte as u64 },
        }
    }

    /// The array as a whole.
    pub fn whole(&self) -> Place {
        self.member.map_or(Place::Whole, |name| Place::Named(name.into()))
    }

    /// An error in the array.
    pub fn wrong(
        &self,
        place: Place,
        found: impl Into<String>,
        expected: impl Into<String>,
        help: &str,
    ) -> FormatError {
        FormatError::malformed(self.path, place, found, expected, help)
    }
}

/// Reads a header from the first bytes of an array.
pub fn parse_layout(site: Site, head: &[u8]) -> Result<Layout, FormatError> {
    if !head.starts_with(b"\x93NUMPY") {
        let start: String = head.iter().take(6).map(|byte| format!("{byte:02x}")).collect();
        let found = if head.len() < 6 { count(head.len(), "byte") } else { format!("0x{start}") };
        return Err(site.wrong(site.byte(0), found, "0x934e554d5059, the start of an NPY file", "save it with NumPy"));
    }
    let start = match head.get(6) {
        Some(1) => 10,
        Some(2 | 3) => 12,
        Some(version) => {
            return Err(site.wrong(site.byte(6), format!("version {version}"), "1, 2 or 3", "save it with NumPy"));
        }
        None => return Err(cut_short(site, head.len())),
    };
    let offset = header_size(head).ok_or_else(|| cut_short(site, head.len()))?;
    if offset > MAX_HEADER {
        let found = format!("a header of {offset} bytes");
        return Err(site.wrong(site.byte(8), found, format!("at most {MAX_HEADER}"), "save a plain array"));
    }
    let text = head.get(start..offset).ok_or_else(|| cut_short(site, head.len()))?;
    let (element, big_endian, fortran, shape) = Dictionary { site, text, start, at: 0 }.parse()?;
    let site_of_shape = site.byte(start);
    if shape.contains(&0) {
        return Err(site.wrong(site_of_shape, format!("the shape {shape:?}"), "no size of 0", "add data to the array"));
    }
    let limit = isize::MAX as usize - MAX_HEADER;
    let Some(bytes) = product(&shape).and_then(|n| n.checked_mul(element.size())).filter(|bytes| *bytes <= limit)
    else {
        let expected = "a size that fits in memory";
        return Err(site.wrong(site_of_shape, format!("the shape {shape:?}"), expected, "fetch the file again"));
    };
    Ok(Layout { element, big_endian, fortran, shape, offset, bytes })
}

/// The size of a header, from its first 12 bytes.
pub fn header_size(head: &[u8]) -> Option<usize> {
    match *head {
        [_, _, _, _, _, _, 1, _, a, b, ..] => Some(10 + usize::from(u16::from_le_bytes([a, b]))),
        [_, _, _, _, _, _, 2 | 3, _, a, b, c, d, ..] => (u32::from_le_bytes([a, b, c, d]) as usize).checked_add(12),
        _ => None,
    }
}

fn cut_short(site: Site, length: usize) -> FormatError {
    let found = format!("the end after {}", count(length, "byte"));
    site.wrong(site.byte(length), found, "a whole header", "fetch the file again, it is cut short")
}

/// The part of Python's notation that NumPy writes: one dictionary of three entries.
struct Dictionary<'a> {
    site: Site<'a>,
    text: &'a [u8],
    /// The offset of the text in the array, for error messages.
    start: usize,
    at: usize,
}

impl Dictionary<'_> {
    fn parse(mut self) -> Result<(Element, bool, bool, Vec<usize>), FormatError> {
        let (mut element, mut fortran, mut shape) = (None, None, None);
        self.expect(b'{')?;
        while !self.take(b'}') {
            let key = self.string()?;
            self.expect(b':')?;
            match &key[..] {
                "descr" => element = Some(self.element()?),
                "fortran_order" => fortran = Some(self.boolean()?),
                "shape" => shape = Some(self.shape()?),
                _ => return Err(self.wrong(quote(&key), "`descr`, `fortran_order` or `shape`")),
            }
            if !self.take(b',') {
                self.expect(b'}')?;
                break;
            }
        }
        self.skip_space();
        if self.at < self.text.len() {
            return Err(self.wrong("text after the `}`".into(), "the end of the header"));
        }
        match (element, fortran, shape) {
            (Some((element, big_endian)), Some(fortran), Some(shape)) => Ok((element, big_endian, fortran, shape)),
            _ => Err(self.wrong("the end of the header".into(), "`descr`, `fortran_order` and `shape`")),
        }
    }

    fn wrong(&self, found: String, expected: &str) -> FormatError {
        self.site.wrong(self.site.byte(self.start + self.at), found, expected, "save a plain array with NumPy")
    }

    fn skip_space(&mut self) {
        while self.text.get(self.at).is_some_and(u8::is_ascii_whitespace) {
            self.at += 1;
        }
    }

    fn take(&mut self, byte: u8) -> bool {
        self.skip_space();
        let is_next = self.text.get(self.at) == Some(&byte);
        self.at += usize::from(is_next);
        is_next
    }

    fn expect(&mut self, byte: u8) -> Result<(), FormatError> {
        if self.take(byte) {
            return Ok(());
        }
        let found = self
            .text
            .get(self.at)
            .map_or("the end of the header".into(), |byte| format!("`{}`", char::from(*byte).escape_default()));
        Err(self.wrong(found, &format!("`{}`", char::from(byte))))
    }

    fn string(&mut self) -> Result<String, FormatError> {
        let mark = if self.take(b'"') { b'"' } else { b'\'' };
        if mark == b'\'' {
            self.expect(mark)?;
        }
        let rest = &self.text[self.at..];
        let Some(length) = rest.iter().position(|byte| *byte == mark) else {
            return Err(self.wrong("no closing quote".into(), "a text in quotes"));
        };
        let text = String::from_utf8_lossy(&rest[..length]).into_owned();
        self.at += length + 1;
        Ok(text)
    }

    /// The type of the elements, and whether it is big-endian.
    fn element(&mut self) -> Result<(Element, bool), FormatError> {
        self.skip_space();
        let start = self.at;
        if self.text.get(start) == Some(&b'[') {
            return Err(self.wrong("elements of several fields".into(), "plain numbers"));
        }
        let text = self.string()?;
        let element = match text.get(1..).unwrap_or_default() {
            "b1" => Some(Element::Bool),
            "u1" => Some(Element::Unsigned(1)),
            "u2" => Some(Element::Unsigned(2)),
            "u4" => Some(Element::Unsigned(4)),
            "u8" => Some(Element::Unsigned(8)),
            "i1" => Some(Element::Signed(1)),
            "i2" => Some(Element::Signed(2)),
            "i4" => Some(Element::Signed(4)),
            "i8" => Some(Element::Signed(8)),
            "f2" => Some(Element::Float(2)),
            "f4" => Some(Element::Float(4)),
            "f8" => Some(Element::Float(8)),
            _ => None,
        };
        match (element, text.as_bytes().first()) {
            (Some(element), Some(b'<' | b'=')) => Ok((element, false)),
            (Some(element), Some(b'>')) => Ok((element, true)),
            (Some(element), Some(b'|')) if element.size() == 1 => Ok((element, false)),
            _ => {
                self.at = start;
                Err(self.wrong(format!("the element type {}", quote(&text)), "a bool, or a number of 8 to 64 bits"))
            }
        }
    }

    fn boolean(&mut self) -> Result<bool, FormatError> {
        self.skip_space();
        for (word, value) in [("True", true), ("False", false)] {
            if self.text[self.at..].starts_with(word.as_bytes()) {
                self.at += word.len();
                return Ok(value);
            }
        }
        Err(self.wrong("something else".into(), "`True` or `False`"))
    }

    fn shape(&mut self) -> Result<Vec<usize>, FormatError> {
        let mut shape = Vec::new();
        self.expect(b'(')?;
        while !self.take(b')') {
            let digits = self.text[self.at..].iter().take_while(|byte| byte.is_ascii_digit()).count();
            let size = std::str::from_utf8(&self.text[self.at..self.at + digits]).ok().and_then(|n| n.parse().ok());
            shape.push(size.ok_or_else(|| self.wrong("no size, or too large a one".into(), "a size in digits"))?);
            self.at += digits;
            // Python 2 marks long integers.
            self.take(b'L');
            if !self.take(b',') {
                self.expect(b')')?;
                break;
            }
        }
        Ok(shape)
    }
}
