//! Attaching the search index to a connection that reads the database.

use super::file;
use super::reach::CONTEXT;
use crate::store::sqlite::connection::read_only;
use crate::store::sqlite::error::Context as _;
use crate::store::sqlite::statement::Statements as _;
use crate::store::{Error, ErrorKind, Result};
use crate::sys::paths::with_suffix;
use rusqlite::{Connection, ErrorCode};
use std::path::Path;

/// Maximum number of attempts to get a snapshot with the database and the index in step.
pub(super) const MAX_ATTEMPTS: usize = 3;

/// Attaches the index to a connection that reads the database. Returns false if there is no index.
pub(super) fn attach(connection: &Connection, database: &Path) -> Result<bool> {
    let is_attached: bool = connection
        .fetch_one("SELECT EXISTS (SELECT 1 FROM pragma_database_list WHERE name = 'search')", [], |row| row.get(0))
        .context(CONTEXT)?;
    if is_attached {
        return Ok(true);
    }
    let path = file::index_path(database);
    if !path.symlink_metadata().is_ok_and(|file| file.is_file()) {
        return Ok(false);
    }
    // Checks without opening the file, because closing it would release SQLite's locks in this process.
    if rustix::fs::access(&path, rustix::fs::Access::READ_OK).is_err() {
        return Ok(false);
    }
    let path = path.to_str().ok_or_else(|| Error::new(ErrorKind::Other, CONTEXT, "the file's name is not UTF-8"))?;
    match attach_file(connection, path) {
        // If this user may not write, a file that nobody changes is read as immutable, like the database itself.
        Err(error) if matches!(error.sqlite_error_code(), Some(ErrorCode::CannotOpen | ErrorCode::ReadOnly)) => {
            let _ = connection.execute_batch("DETACH search");
            let wal = with_suffix(Path::new(path), "-wal");
            if wal.symlink_metadata().is_ok_and(|wal| wal.len() > 0) {
                return Ok(false);
            }
            attach_file(connection, &read_only::immutable(Path::new(path))).context(CONTEXT)?;
        }
        attached => attached.context(CONTEXT)?,
    }
    connection.execute_batch("PRAGMA search.cache_size = -200").context(CONTEXT)?;
    if file::has_form(connection, "search")? {
        return Ok(true);
    }
    connection.execute_batch("DETACH search").context(CONTEXT)?;
    Ok(false)
}

fn attach_file(connection: &Connection, name: &str) -> rusqlite::Result<()> {
    connection.execute("ATTACH ?1 AS search", [name])?;
    connection.query_row("SELECT count(*) FROM search.sqlite_schema", [], |_| Ok(()))
}
