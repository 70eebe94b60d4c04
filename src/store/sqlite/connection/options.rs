//! How to open a database.

use std::path::PathBuf;
use std::time::Duration;

/// How to open a database.
#[derive(Debug, Clone)]
pub struct Options {
    /// The file; made when there is none.
    pub path: PathBuf,
    /// How long a write waits for another process that holds the database's write lock.
    pub busy_timeout: Duration,
    /// Greatest number of reading connections.
    pub readers: u32,
}
