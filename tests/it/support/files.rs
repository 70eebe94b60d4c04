//! Files that are searched for words.

use std::path::{Path, PathBuf};

pub fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { files.extend(files_below(&path)) } else { files.push(path) }
    }
    files
}

/// Returns the files below a folder that contain any of these texts, each with the first such text.
pub fn with_any(folder: &Path, texts: &[String]) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    for path in files_below(folder) {
        // A file may go while it is looked for.
        let Ok(bytes) = std::fs::read(&path) else { continue };
        let text = texts.iter().find(|text| memmem(&bytes, text.as_bytes()));
        found.extend(text.map(|text| (path, text.clone())));
    }
    found
}

pub fn memmem(haystack: &[u8], needle: &[u8]) -> bool {
    let first = needle[0];
    let mut rest = haystack;
    while let Some(at) = rest.iter().position(|byte| *byte == first) {
        if rest[at..].starts_with(needle) {
            return true;
        }
        rest = &rest[at + 1..];
    }
    false
}
