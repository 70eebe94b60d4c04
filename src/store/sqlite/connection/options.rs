//! Options for opening a database.

use std::path::PathBuf;
use std::time::Duration;

/// Options for opening a database.
#[derive(Debug, Clone)]
pub struct Options {
    /// Path of the database, which is created if it does not exist.
    pub path: PathBuf,
    /// Maximum time that a write waits for another process's write lock.
    pub busy_timeout: Duration,
    /// Maximum number of reading connections.
    pub readers: u32,
}
