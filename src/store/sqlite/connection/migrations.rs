//! Schema migrations.

use super::open_error::OpenError;
use crate::store::sqlite::error::Context as _;
use rusqlite::Connection;
use rusqlite::config::DbConfig;
use std::path::Path;

mod embedded {
    refinery::embed_migrations!("migrations/sqlite");
}

/// Returns the newest schema version that this program supports, which is the number of its last migration.
pub(in crate::store::sqlite) fn known_schema() -> u32 {
    let newest = embedded::migrations::runner().get_migrations().iter().map(refinery::Migration::version).max();
    newest.map_or(0, |version| u32::try_from(version).expect("migrations are numbered from 1"))
}

/// Runs all pending migrations in one transaction together with their history rows. By default refinery commits the two
/// separately, and a process killed between the commits could never start again.
///
/// A migration may change the schema's text (`PRAGMA writable_schema`), which the connection forbids otherwise.
pub(in crate::store::sqlite) fn migrate(connection: &mut Connection, path: &Path) -> Result<(), OpenError> {
    let defend = |connection: &Connection, on| {
        let set = connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, on).map(drop);
        set.context("migrating the schema").map_err(|source| OpenError::Database { path: path.to_owned(), source })
    };
    defend(connection, false)?;
    embedded::migrations::runner()
        .set_grouped(true)
        .run(connection)
        .map_err(|source| OpenError::Migration { path: path.to_owned(), source: Box::new(source) })?;
    defend(connection, true)
}
