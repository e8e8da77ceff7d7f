//! Reading counted bytes: never more than a header allows, and never more memory than the file explains.

use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;

use super::error::{FormatError, Place, count};

/// The most that deflate can expand: 258 bytes from 2 bits.
const MAX_DEFLATE_RATIO: u64 = 1032;

/// The product of sizes, or nothing where it does not fit.
pub fn product(sizes: &[usize]) -> Option<usize> {
    sizes.iter().try_fold(1usize, |product, size| product.checked_mul(*size))
}

/// The bytes from `offset` on; copied only where someone else holds them too.
pub fn drop_prefix(bytes: Arc<Vec<u8>>, offset: usize) -> Vec<u8> {
    match Arc::try_unwrap(bytes) {
        Ok(mut bytes) => {
            bytes.drain(..offset.min(bytes.len()));
            bytes
        }
        Err(shared) => shared[offset.min(shared.len())..].to_vec(),
    }
}

/// What a compressed stream promises to hold.
pub struct Promise<'a> {
    /// The file that holds the stream.
    pub path: &'a Path,
    /// The place to name in errors.
    pub place: Place,
    /// How many bytes the format's own header says follow.
    pub bytes: usize,
    /// How many compressed bytes there are.
    pub compressed: u64,
}

impl Promise<'_> {
    /// Adds bytes of `stream` to `body` until the promised count, and checks that the stream ends there.
    ///
    /// Fails where the stream is damaged, short or long, and before any allocation where so few compressed bytes
    /// cannot hold so many.
    pub fn read(&self, stream: &mut dyn Read, mut body: Vec<u8>) -> Result<Vec<u8>, FormatError> {
        let expected = format!("{} after the header", count(self.bytes, "byte"));
        let wrong = |found: String, help: &str| {
            FormatError::malformed(self.path, self.place.clone(), found, expected.clone(), help)
        };
        if self.bytes as u64 > self.compressed.saturating_mul(MAX_DEFLATE_RATIO) {
            let found = format!("only {}", count(self.compressed as usize, "compressed byte"));
            return Err(wrong(found, "fetch the file again, it is cut short or not what it says"));
        }
        let missing = self.bytes.saturating_sub(body.len());
        body.try_reserve_exact(missing + 1)
            .map_err(|_| wrong("no memory for them".into(), "read a smaller file, or free memory"))?;
        stream.take(missing as u64 + 1).read_to_end(&mut body).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => wrong("a stream cut short".into(), "fetch the file again"),
            _ => wrong("damaged compressed data".into(), "fetch the file again"),
        })?;
        match body.len() {
            n if n < self.bytes => Err(wrong(format!("{n}"), "fetch the file again, it is cut short")),
            n if n > self.bytes => Err(wrong("more".into(), "write the file again, its header and size disagree")),
            _ => Ok(body),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_is_dropped_shared_or_not() {
        let bytes = Arc::new(vec![1, 2, 3]);
        assert_eq!(drop_prefix(bytes.clone(), 1), [2, 3]);
        assert_eq!(drop_prefix(bytes, 9), [0u8; 0]);
        assert_eq!(product(&[2, 3]), Some(6));
        assert_eq!(product(&[usize::MAX, 2]), None);
    }

    #[test]
    fn a_bomb_is_refused_before_memory_is_taken() {
        let promise = Promise { path: Path::new("a.gz"), place: Place::Whole, bytes: 1 << 40, compressed: 1000 };
        let error = promise.read(&mut io::empty(), Vec::new()).unwrap_err();
        assert_eq!(
            error.to_string(),
            "`a.gz`: found only 1000 compressed bytes, expected 1099511627776 bytes after the header; \
             fetch the file again, it is cut short or not what it says"
        );
    }
}
