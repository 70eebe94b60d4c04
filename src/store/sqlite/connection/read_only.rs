//! Opens a database for reading beside those who write to it, also where this user may not write.
//!
//! A database in WAL mode is read by way of two files beside it, which SQLite makes where there are none. Where it may not,
//! and there is no WAL to be missed, the file alone is read as one that nobody changes (`immutable`).

use super::place;
use crate::store::sqlite::error::Context as _;
use crate::store::{Error, ErrorKind, Result};
use crate::sys::files;
use rusqlite::{Connection, ErrorCode, OpenFlags};
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::time::Duration;

const DOING: &str = "opening the database";

/// Opens a file as a database for reading only. It need not be ours.
///
/// # Errors
/// It is not there, is no regular file, is reached by other paths too, or has a WAL that cannot be read here.
pub(in crate::store::sqlite) fn open(path: &Path) -> Result<Connection> {
    let of_file = |error: io::Error| Error::new(ErrorKind::Other, DOING, error);
    let path = place::resolve(path).map_err(of_file)?;
    if let Some(alias) = place::alias(&path).map_err(of_file)? {
        return Err(Error::new(ErrorKind::Other, DOING, format!("{} {alias}", path.display())));
    }
    // With addresses, as those of files that nobody changes are; the path itself is absolute and is none.
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_URI;
    let connection = Connection::open_with_flags(&path, flags).doing(DOING)?;
    connection.busy_timeout(Duration::from_secs(10)).doing(DOING)?;
    let refused = match first_read(&connection) {
        Ok(()) => return Ok(connection),
        Err(error) => error,
    };
    if !matches!(refused.sqlite_error_code(), Some(ErrorCode::CannotOpen | ErrorCode::ReadOnly)) {
        return Err(refused).doing(DOING);
    }
    drop(connection);
    for ending in ["-wal", "-journal"] {
        let log = files::beside(&path, ending);
        if log.symlink_metadata().is_ok_and(|log| log.len() > 0) {
            let what = format!(
                "{} holds what is not in the database yet, and can only be read by a user who may write to its folder, or in a \
                 copy of both files",
                log.display()
            );
            return Err(Error::new(ErrorKind::Other, DOING, what));
        }
    }
    let connection = Connection::open_with_flags(immutable(&path), flags).doing(DOING)?;
    first_read(&connection).doing(DOING)?;
    Ok(connection)
}

/// Opens a copy that nobody writes to for reading only, whatever stands beside it. It need not be ours.
///
/// # Errors
/// It is not there, or is no database.
pub(in crate::store::sqlite) fn open_copy(path: &Path) -> Result<Connection> {
    let metadata = std::fs::symlink_metadata(path).and_then(|file| files::expect_regular(path, &file));
    metadata.map_err(|error| Error::new(ErrorKind::Other, DOING, error))?;
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_URI;
    let connection = Connection::open_with_flags(immutable(path), flags).doing(DOING)?;
    first_read(&connection).doing(DOING)?;
    Ok(connection)
}

fn first_read(connection: &Connection) -> rusqlite::Result<()> {
    connection.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))
}

/// The file's address in which SQLite is told that nobody changes it.
pub(in crate::store::sqlite) fn immutable(path: &Path) -> String {
    let path = path.as_os_str().as_bytes();
    let encoded = percent_encoding::percent_encode(path, percent_encoding::NON_ALPHANUMERIC).to_string();
    format!("file:{}?immutable=1", encoded.replace("%2F", "/"))
}
