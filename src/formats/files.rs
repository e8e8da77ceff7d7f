//! Where bytes come from: the disk, or memory.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Read access to a tree of files, so that checks run without a disk.
pub trait Files: Send + Sync {
    /// The whole content.
    fn read(&self, path: &Path) -> io::Result<Arc<Vec<u8>>>;

    /// The first `n` bytes, or fewer where the file is shorter.
    fn read_prefix(&self, path: &Path, n: usize) -> io::Result<Vec<u8>>;

    /// The paths of a folder's entries, sorted.
    fn list(&self, folder: &Path) -> io::Result<Vec<PathBuf>>;

    /// Whether there is a file or folder of this path.
    fn exists(&self, path: &Path) -> bool;

    /// Whether the path is a folder.
    fn is_folder(&self, path: &Path) -> bool;

    /// The size of a file in bytes.
    fn len(&self, path: &Path) -> io::Result<u64>;
}

/// The files of this machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct Disk;

impl Files for Disk {
    fn read(&self, path: &Path) -> io::Result<Arc<Vec<u8>>> {
        std::fs::read(path).map(Arc::new)
    }

    fn read_prefix(&self, path: &Path, n: usize) -> io::Result<Vec<u8>> {
        let mut prefix = Vec::new();
        std::fs::File::open(path)?.take(n as u64).read_to_end(&mut prefix)?;
        Ok(prefix)
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<PathBuf>> {
        let mut paths =
            std::fs::read_dir(folder)?.map(|entry| entry.map(|entry| entry.path())).collect::<io::Result<Vec<_>>>()?;
        paths.sort();
        Ok(paths)
    }

    fn exists(&self, path: &Path) -> bool {
        path.exists()
    }

    fn is_folder(&self, path: &Path) -> bool {
        path.is_dir()
    }

    fn len(&self, path: &Path) -> io::Result<u64> {
        std::fs::metadata(path).map(|metadata| metadata.len())
    }
}

/// Files that exist only in memory; a folder exists where a file lies below it.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    files: BTreeMap<PathBuf, Arc<Vec<u8>>>,
}

impl Memory {
    /// No files.
    pub fn new() -> Memory {
        Memory::default()
    }

    /// Adds or replaces a file.
    pub fn insert(&mut self, path: impl Into<PathBuf>, bytes: impl Into<Vec<u8>>) {
        self.files.insert(path.into(), Arc::new(bytes.into()));
    }

    /// The same files and one more.
    pub fn with(mut self, path: impl Into<PathBuf>, bytes: impl Into<Vec<u8>>) -> Memory {
        self.insert(path, bytes);
        self
    }
}

impl Files for Memory {
    fn read(&self, path: &Path) -> io::Result<Arc<Vec<u8>>> {
        self.files.get(path).cloned().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn read_prefix(&self, path: &Path, n: usize) -> io::Result<Vec<u8>> {
        self.read(path).map(|bytes| bytes[..n.min(bytes.len())].to_vec())
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<PathBuf>> {
        let mut paths: Vec<PathBuf> = self
            .files
            .keys()
            .filter_map(|path| path.strip_prefix(folder).ok()?.components().next())
            .map(|entry| folder.join(entry))
            .collect();
        paths.sort();
        paths.dedup();
        if paths.is_empty() { Err(io::ErrorKind::NotFound.into()) } else { Ok(paths) }
    }

    fn exists(&self, path: &Path) -> bool {
        self.files.contains_key(path) || self.is_folder(path)
    }

    fn is_folder(&self, path: &Path) -> bool {
        self.files.keys().any(|file| file != path && file.starts_with(path))
    }

    fn len(&self, path: &Path) -> io::Result<u64> {
        self.read(path).map(|bytes| bytes.len() as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_files(files: &dyn Files, root: &Path) {
        assert_eq!(*files.read(&root.join("a/y")).unwrap(), b"second");
        assert_eq!(files.read_prefix(&root.join("a/x"), 3).unwrap(), b"fir");
        assert_eq!(files.read_prefix(&root.join("a/x"), 99).unwrap(), b"first");
        assert_eq!(files.list(root).unwrap(), [root.join("a"), root.join("b")]);
        assert_eq!(files.list(&root.join("a")).unwrap(), [root.join("a/x"), root.join("a/y")]);
        assert_eq!(files.len(&root.join("b/z")).unwrap(), 0);
        assert!(files.exists(&root.join("a")) && files.is_folder(&root.join("a")));
        assert!(files.exists(&root.join("a/x")) && !files.is_folder(&root.join("a/x")));
        assert!(!files.exists(&root.join("c")));
        assert_eq!(files.read(&root.join("c")).unwrap_err().kind(), io::ErrorKind::NotFound);
        assert_eq!(files.list(&root.join("c")).unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn disk_and_memory_agree() {
        let folder = tempfile::tempdir().unwrap();
        let mut memory = Memory::new();
        for (path, text) in [("a/x", "first"), ("a/y", "second"), ("b/z", "")] {
            let path = folder.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, text).unwrap();
            memory.insert(path, text);
        }
        check_files(&Disk, folder.path());
        check_files(&memory, folder.path());
    }
}
