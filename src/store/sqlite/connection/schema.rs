//! What makes a file a database of this program.

use super::migrations::known_schema;
use crate::store::sqlite::error::Context as _;
use crate::store::{Error, ErrorKind, Result};
use rusqlite::Connection;

/// In the file's header: `PRAGMA application_id`.
pub(in crate::store::sqlite) const APPLICATION_ID: u32 = u32::from_be_bytes(*b"TRHK");

/// Makes sure that what is read is a database of this program's, of this version or an older one.
pub(in crate::store::sqlite) fn expect_own(connection: &Connection) -> Result<u32> {
    const DOING: &str = "reading what the file is";
    let pragma = |name| connection.pragma_query_value(None, name, |row| row.get::<_, u32>(0)).doing(DOING);
    let (application_id, version, known) = (pragma("application_id")?, pragma("user_version")?, known_schema());
    let wrong = |what: String| Err(Error::new(ErrorKind::Other, DOING, what));
    if application_id != APPLICATION_ID {
        return wrong("it is no database of transcribe-hook".to_owned());
    }
    if version > known {
        return wrong(format!(
            "it was written by a newer transcribe-hook (schema {version}, this one knows up to {known})"
        ));
    }
    Ok(version)
}

/// The same, of this version only.
pub(in crate::store::sqlite) fn expect_newest(connection: &Connection) -> Result<()> {
    if expect_own(connection)? < known_schema() {
        let what = "it is of an older version; `transcribe-hook migrate` brings it up to date";
        return Err(Error::new(ErrorKind::Other, "reading what the file is", what));
    }
    Ok(())
}
