//! Programs that `tests/run` installs.

use crate::support::documents::blocks_in_chapter;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Returns the path of `faketime`'s library, which moves a process's clock and which `tests/run` installs.
pub fn faketime() -> PathBuf {
    let folders = std::fs::read_dir("/usr/lib").unwrap().map(|entry| entry.unwrap().path());
    let found = folders.map(|folder| folder.join("faketime/libfaketimeMT.so.1")).find(|library| library.exists());
    found.expect("tests/run installs faketime")
}

/// The blocks of the chapter in this language.
pub fn blocks(language: &str) -> Vec<String> {
    blocks_in_chapter("migrations/README.md", "Analysis", language)
}

/// A program of the place where `tests/run` installs the tools.
pub fn tool(name: &str) -> Command {
    let place = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/analysis");
    let mut command = Command::new(place.join("bin").join(name));
    // Where DuckDB looks for its extension.
    command.env("HOME", place);
    command
}

pub fn output(command: &mut Command, folder: &Path) -> String {
    let out = command.current_dir(folder).stdin(Stdio::null()).output().expect("tests/run has installed the tools");
    assert!(out.status.success(), "{command:?}: {}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8(out.stdout).unwrap()
}
