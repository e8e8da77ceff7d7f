//! Compiled pipelines, passed self-tests and choices of tiles kept on disk between runs. A cache that cannot be read or written is no cache, never an error.

use std::path::PathBuf;

use sha2::{Digest, Sha256};

use super::adapters::Adapter;

/// Bytes of the checksum with which a file begins.
const CHECKSUM: usize = 32;
/// Pipelines are not read from a larger file.
const PIPELINES_BYTES: u64 = 1 << 30;

/// A file of the cache. Its name is made of what its content is for, and its content has a checksum.
pub(super) struct Remembered {
    path: PathBuf,
    most_bytes: u64,
}

impl Remembered {
    /// The file of a kind for a key, of no more than so many bytes; `None` where there is no folder for it.
    pub fn of(kind: &str, key: &str, most_bytes: u64) -> Option<Remembered> {
        let key = Sha256::digest(format!("{} {key}", env!("CARGO_PKG_VERSION")));
        let name: String = key.iter().take(12).map(|byte| format!("{byte:02x}")).collect();
        Some(Remembered { path: folder()?.join(format!("{kind}-{name}")), most_bytes })
    }

    /// A file in a folder of a test.
    #[cfg(test)]
    pub fn at(path: PathBuf, most_bytes: u64) -> Remembered {
        Remembered { path, most_bytes }
    }

    /// The content, if there is one and it is whole.
    pub fn read(&self) -> Option<Vec<u8>> {
        let length = std::fs::metadata(&self.path).ok()?.len();
        if length > self.most_bytes + CHECKSUM as u64 {
            return None;
        }
        verified(&std::fs::read(&self.path).ok()?)
    }

    /// Writes a content, as a whole or not at all.
    pub fn write(&self, data: &[u8]) {
        let bytes = [Sha256::digest(data).as_slice(), data].concat();
        let temporary = self.path.with_extension(format!("{}.tmp", std::process::id()));
        let written = std::fs::write(&temporary, bytes).and_then(|()| std::fs::rename(&temporary, &self.path));
        if written.is_err() {
            std::fs::remove_file(&temporary).ok();
        }
    }
}

/// The pipelines of one adapter with one driver.
pub(super) struct DiskCache {
    file: Remembered,
    /// What the file held, to write it only when there is something new.
    loaded: Vec<u8>,
    cache: wgpu::PipelineCache,
}

impl DiskCache {
    /// The cache of this adapter, if its driver has such a thing and there is a folder for it.
    pub fn open(adapter: &Adapter, device: &wgpu::Device) -> Option<DiskCache> {
        if !device.features().contains(wgpu::Features::PIPELINE_CACHE) {
            return None;
        }
        let file = Remembered::of("pipelines", &adapter.key(), PIPELINES_BYTES)?;
        let loaded = file.read().unwrap_or_default();
        let data = (!loaded.is_empty()).then_some(loaded.as_slice());
        let descriptor = wgpu::PipelineCacheDescriptor { label: Some("nnoptc"), data, fallback: true };
        // SAFETY: the data comes from `get_data` of this version for this adapter and driver: the file's name is made of
        // them, and the checksum holds. wgpu and the driver compare their own headers as well.
        let cache = unsafe { device.create_pipeline_cache(&descriptor) };
        Some(DiskCache { file, loaded, cache })
    }

    /// For the descriptor of a pipeline.
    pub fn handle(&self) -> &wgpu::PipelineCache {
        &self.cache
    }

    /// Writes what is new.
    pub fn save(&self) {
        if let Some(data) = self.cache.get_data().filter(|data| *data != self.loaded) {
            self.file.write(&data);
        }
    }
}

/// `$XDG_CACHE_HOME/nnoptc` or `~/.cache/nnoptc` (on Windows in `%LOCALAPPDATA%`), made if it is not there.
fn folder() -> Option<PathBuf> {
    let variable = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let home = variable("XDG_CACHE_HOME")
        .or_else(|| variable("LOCALAPPDATA"))
        .or_else(|| variable("HOME").map(|home| home.join(".cache")))?;
    let folder = home.join("nnoptc");
    std::fs::create_dir_all(&folder).ok().map(|()| folder)
}

/// The content of a file whose checksum holds.
fn verified(bytes: &[u8]) -> Option<Vec<u8>> {
    let (checksum, data) = bytes.split_at_checked(CHECKSUM)?;
    (Sha256::digest(data).as_slice() == checksum).then(|| data.to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_whole_file_is_read() {
        let mut bytes = Sha256::digest(b"pipelines").to_vec();
        bytes.extend(b"pipelines");
        assert_eq!(verified(&bytes).as_deref(), Some(b"pipelines".as_slice()));
        assert_eq!(verified(&bytes[..bytes.len() - 1]), None);
        assert_eq!(verified(&bytes[..20]), None);
        bytes[40] ^= 1;
        assert_eq!(verified(&bytes), None);
    }
}
