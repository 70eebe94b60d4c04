//! Opens a database read-only while others may write to it, even if this user may not write.
//!
//! Reading a database in WAL mode needs two files beside it, which SQLite creates if necessary. If it may not create
//! them and there is no WAL, the database alone is read as a file that nobody changes (`immutable`).

use super::functions::add_functions;
use super::place;
use crate::store::sqlite::error::Context as _;
use crate::store::{Error, ErrorKind, Result};
use crate::sys::files;
use crate::sys::paths::with_suffix;
use rusqlite::{Connection, ErrorCode, OpenFlags};
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::time::Duration;

const CONTEXT: &str = "opening the database";

/// Opens a file as a read-only database. It need not be a database of this program.
///
/// # Errors
/// The file does not exist, is no regular file, has several paths, or has a WAL that this user cannot read.
pub(in crate::store::sqlite) fn open(path: &Path) -> Result<Connection> {
    let file_error = |error: io::Error| Error::new(ErrorKind::Other, CONTEXT, error);
    let path = place::canonical_path(path).map_err(file_error)?;
    if let Some(alias) = place::alias(&path).map_err(file_error)? {
        return Err(Error::new(ErrorKind::Other, CONTEXT, format!("{} {alias}", path.display())));
    }
    // `immutable` needs the URI flag. SQLite takes no absolute path for a URI.
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_URI;
    let connection = Connection::open_with_flags(&path, flags).context(CONTEXT)?;
    connection.busy_timeout(Duration::from_secs(10)).context(CONTEXT)?;
    let refused = match begin_reading(&connection) {
        Ok(()) => return Ok(connection),
        Err(error) => error,
    };
    if !matches!(refused.sqlite_error_code(), Some(ErrorCode::CannotOpen | ErrorCode::ReadOnly)) {
        return Err(refused).context(CONTEXT);
    }
    drop(connection);
    for ending in ["-wal", "-journal"] {
        let journal = with_suffix(&path, ending);
        if journal.symlink_metadata().is_ok_and(|metadata| metadata.len() > 0) {
            let problem = format!(
                "{} holds data that is not in the database yet; read it as a user who may write to its folder, or read \
                 a copy of both files",
                journal.display()
            );
            return Err(Error::new(ErrorKind::Other, CONTEXT, problem));
        }
    }
    let connection = Connection::open_with_flags(immutable(&path), flags).context(CONTEXT)?;
    begin_reading(&connection).context(CONTEXT)?;
    Ok(connection)
}

/// Opens a copy that nobody writes to as a read-only database, ignoring files beside it. It need not be a database of
/// this program.
///
/// # Errors
/// The file does not exist, or is no database.
pub(in crate::store::sqlite) fn open_copy(path: &Path) -> Result<Connection> {
    let metadata = std::fs::symlink_metadata(path).and_then(|file| files::expect_regular(path, &file));
    metadata.map_err(|error| Error::new(ErrorKind::Other, CONTEXT, error))?;
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_URI;
    let connection = Connection::open_with_flags(immutable(path), flags).context(CONTEXT)?;
    begin_reading(&connection).context(CONTEXT)?;
    Ok(connection)
}

/// Adds the functions of queries, and reads once, which fails if SQLite cannot read the file.
fn begin_reading(connection: &Connection) -> rusqlite::Result<()> {
    add_functions(connection)?;
    connection.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))
}

/// Returns the URI of a file with `immutable`, which tells SQLite that nobody changes the file.
pub(in crate::store::sqlite) fn immutable(path: &Path) -> String {
    let path = path.as_os_str().as_bytes();
    let encoded = percent_encoding::percent_encode(path, percent_encoding::NON_ALPHANUMERIC).to_string();
    format!("file:{}?immutable=1", encoded.replace("%2F", "/"))
}
