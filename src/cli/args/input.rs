//! Input: a file, or standard input.

use anyhow::{Context as _, Result};
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// Opens a file for reading. `-` is standard input.
pub(in crate::cli) fn open(file: &Path) -> Result<Box<dyn Read>> {
    if file == Path::new("-") {
        return Ok(Box::new(io::stdin()));
    }
    let opened = File::open(file).with_context(|| format!("cannot read {}", file.display()))?;
    Ok(Box::new(opened))
}
