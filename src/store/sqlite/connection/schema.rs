//! Bringing a database's schema up to date.

use super::open_error::OpenError;
use crate::store::sqlite::error::Context as _;
use crate::store::{Error, ErrorKind, Result};
use rusqlite::Connection;
use rusqlite::config::DbConfig;
use std::path::Path;

mod embedded {
    refinery::embed_migrations!("migrations/sqlite");
}

/// The newest schema that this program knows: the number of its last migration.
pub(in crate::store::sqlite) fn known_schema() -> u32 {
    let newest = embedded::migrations::runner().get_migrations().iter().map(refinery::Migration::version).max();
    newest.map_or(0, |version| u32::try_from(version).expect("migrations are numbered from 1"))
}

/// All pending migrations in one transaction with their history rows: by default refinery commits the two apart, and a
/// process killed between them could never start again.
///
/// A migration may change the schema's text (`PRAGMA writable_schema`), which the connection forbids at all other times.
pub(in crate::store::sqlite) fn migrate(connection: &mut Connection, path: &Path) -> Result<(), OpenError> {
    let defend = |connection: &Connection, on| {
        let set = connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, on).map(drop);
        set.doing("bringing the schema up to date")
            .map_err(|source| OpenError::Database { path: path.to_owned(), source })
    };
    defend(connection, false)?;
    embedded::migrations::runner()
        .set_grouped(true)
        .run(connection)
        .map_err(|source| OpenError::Migration { path: path.to_owned(), source: Box::new(source) })?;
    defend(connection, true)
}

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
