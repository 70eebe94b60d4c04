//! The marks of a database of this program, which tell it from other files.

use super::migrations::known_schema;
use crate::store::sqlite::error::Context as _;
use crate::store::{Error, ErrorKind, Result};
use rusqlite::Connection;

/// Value of `PRAGMA application_id`, stored in the file's header.
pub(in crate::store::sqlite) const APPLICATION_ID: u32 = u32::from_be_bytes(*b"TRHK");

/// Checks that the database is ours and not newer than this program. Returns its schema version.
pub(in crate::store::sqlite) fn expect_own(connection: &Connection) -> Result<u32> {
    const CONTEXT: &str = "checking the file's identity";
    let pragma = |name| connection.pragma_query_value(None, name, |row| row.get::<_, u32>(0)).context(CONTEXT);
    let (application_id, version, known) = (pragma("application_id")?, pragma("user_version")?, known_schema());
    let wrong = |what: String| Err(Error::new(ErrorKind::Other, CONTEXT, what));
    if application_id != APPLICATION_ID {
        return wrong("it is not a database of transcribe-hook".to_owned());
    }
    if version > known {
        return wrong(format!(
            "it was written by a newer transcribe-hook (schema {version}, this one supports {known})"
        ));
    }
    Ok(version)
}

/// Checks that the database is ours and has the newest schema version.
pub(in crate::store::sqlite) fn expect_newest(connection: &Connection) -> Result<()> {
    if expect_own(connection)? < known_schema() {
        let what = "it has an older schema; run `transcribe-hook migrate`";
        return Err(Error::new(ErrorKind::Other, "checking the file's identity", what));
    }
    Ok(())
}
