//! A consistent copy of a database as one file, whether or not a service is writing to it.

use super::error::Context as _;
use crate::store::{Error, ErrorKind, Result};
use rusqlite::{Connection, OpenFlags};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What was copied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BackupReport {
    /// Calls in the copy.
    pub calls: u64,
    /// Turns in the copy.
    pub turns: u64,
    /// The copy's size.
    pub bytes: u64,
}

/// Writes a copy of `source` to `target`, which must not exist.
///
/// The copy is one snapshot: it is made aside, checked (integrity, and no gap in any call), synced, and only then given
/// its name. It is in rollback mode, so that it opens anywhere, read-only folders included. The service that writes to
/// `source` meanwhile is not held up.
///
/// # Errors
/// Nothing is left under `target`.
pub fn backup(source: &Path, target: &Path) -> Result<BackupReport> {
    let failed = |doing, error: io::Error| Error::new(ErrorKind::Other, doing, error);
    let taken = || Error::new(ErrorKind::Other, "making the copy", format!("{} exists", target.display()));
    if target.exists() {
        return Err(taken());
    }
    let aside = Aside::beside(target);
    // VACUUM INTO takes an empty file, so the name is ours before a byte is written.
    File::create_new(&aside.0).map_err(|error| failed("making the copy", error))?;
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(source, flags).doing("opening the database")?;
    connection.busy_timeout(Duration::from_secs(10)).doing("opening the database")?;
    let name = aside
        .0
        .to_str()
        .ok_or_else(|| Error::new(ErrorKind::Other, "making the copy", "the target's path is not UTF-8"))?;
    connection.execute("VACUUM INTO ?1", [name]).doing("copying")?;
    drop(connection);
    let (calls, turns) = verify(&aside.0)?;
    let file = File::open(&aside.0).map_err(|error| failed("syncing the copy", error))?;
    file.sync_all().map_err(|error| failed("syncing the copy", error))?;
    let bytes = file.metadata().map_err(|error| failed("syncing the copy", error))?.len();
    // A link, unlike a rename, does not replace a file that has come to be in the meantime.
    fs::hard_link(&aside.0, target).map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => taken(),
        _ => failed("naming the copy", error),
    })?;
    drop(aside);
    let folder = target.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(|error| failed("naming the copy", error))?;
    Ok(BackupReport { calls, turns, bytes })
}

/// The unfinished copy, which goes away with this value.
struct Aside(PathBuf);

impl Aside {
    fn beside(target: &Path) -> Self {
        let mut name = target.as_os_str().to_owned();
        name.push(format!(".{}.partial", std::process::id()));
        Self(name.into())
    }
}

impl Drop for Aside {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// Counts the copy's calls and turns after making sure that it is whole.
fn verify(copy: &Path) -> Result<(u64, u64)> {
    const DOING: &str = "checking the copy";
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(copy, flags).doing(DOING)?;
    let broken = |what: String| Err(Error::new(ErrorKind::Other, DOING, what));
    let integrity: String = connection.query_row("PRAGMA integrity_check", [], |row| row.get(0)).doing(DOING)?;
    if integrity != "ok" {
        return broken(integrity);
    }
    let gaps: u64 = connection
        .query_row(
            "SELECT count(*) FROM calls c WHERE turn_count <> \
             (SELECT count(*) FROM call_transcriptions t WHERE t.conversation_id = c.conversation_id) \
             OR turn_count <> \
             (SELECT ifnull(max(sequence_number), 0) FROM call_transcriptions t WHERE t.conversation_id = c.conversation_id)",
            [],
            |row| row.get(0),
        )
        .doing(DOING)?;
    if gaps > 0 {
        return broken(format!("{gaps} calls do not have the turns that they count"));
    }
    connection
        .query_row("SELECT (SELECT count(*) FROM calls), (SELECT count(*) FROM call_transcriptions)", [], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })
        .doing(DOING)
}
