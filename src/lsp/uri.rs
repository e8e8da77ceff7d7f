//! `file:` addresses and paths.

use std::path::{Path, PathBuf};

use gen_lsp_types::Uri;

/// The path of an address; the address itself, as a name, where it is not a `file:` one.
pub fn path_of(uri: &Uri) -> PathBuf {
    let Some(rest) = uri.0.strip_prefix("file://") else { return PathBuf::from(&uri.0) };
    // What stands before the path is the name of a machine: empty, or this one.
    let path = rest.find('/').map_or(rest, |slash| &rest[slash..]);
    let decoded = decode(path);
    // `/C:/a` is `C:/a` on Windows.
    let bytes = decoded.as_bytes();
    let has_drive = cfg!(windows) && bytes.len() > 2 && bytes[1].is_ascii_alphabetic() && bytes[2] == b':';
    PathBuf::from(if has_drive { &decoded[1..] } else { &decoded })
}

/// The address of a path.
pub fn uri_of(path: &Path) -> Uri {
    let text = path.to_string_lossy().replace('\\', "/");
    let mut uri = String::from(if text.starts_with('/') { "file://" } else { "file:///" });
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'-' | b'_' | b'.' | b'~' => uri.push(byte as char),
            _ => uri.push_str(&format!("%{byte:02X}")),
        }
    }
    Uri(uri)
}

fn decode(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let hex = text.get(at + 1..at + 3).filter(|_| bytes[at] == b'%');
        match hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) => {
                decoded.push(byte);
                at += 3;
            }
            None => {
                decoded.push(bytes[at]);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(unix)]
    #[test]
    fn paths_and_addresses_convert() {
        for (path, uri) in [("/a/b.nnopt", "file:///a/b.nnopt"), ("/é ü/%.nnopt", "file:///%C3%A9%20%C3%BC/%25.nnopt")]
        {
            assert_eq!(uri_of(Path::new(path)).0, uri);
            assert_eq!(path_of(&Uri(uri.to_owned())), Path::new(path));
        }
        assert_eq!(path_of(&Uri("file://localhost/a".to_owned())), Path::new("/a"));
        assert_eq!(path_of(&Uri("untitled:Untitled-1".to_owned())), Path::new("untitled:Untitled-1"));
        assert_eq!(path_of(&Uri("file:///a%zz%4".to_owned())), Path::new("/a%zz%4"));
    }
}
