//! Replaces a database by a copy in one step, and keeps the old database.
//!
//! 1. Checks the copy, copies it to a complete file beside the database, and checks that file.
//! 2. Checkpoints the old database's WAL, if it belongs to the database and is readable.
//! 3. Renames what is left of the old WAL and journal, because SQLite would write it into the copy.
//! 4. Exchanges the names of the two files in one step, so a kill leaves one database or the other.

use super::backup::backup;
use super::check::{self, check};
use crate::domain::Timestamp;
use crate::store::sqlite::connection::lock::{Attempt, Lock};
use crate::store::sqlite::connection::migrations::known_schema;
use crate::store::sqlite::connection::open::{connect, lock_path};
use crate::store::sqlite::connection::open_error::OpenError;
use crate::store::sqlite::connection::options::Options;
use crate::store::sqlite::connection::{checkpoint, header, place, read_only};
use crate::store::sqlite::error::Context as _;
use crate::store::{BackupReport, Error, ErrorKind, ProgressFn, Result};
use crate::sys::atomic_file::PartialFile;
use crate::sys::files::{self, FileId};
use crate::sys::paths::{parent_dir, sync_parent_dir, with_suffix};
use std::fs::{self, File, Metadata, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

const CONTEXT: &str = "restoring";

/// Maximum time to wait for another process that holds the old database.
const LOCK_TIMEOUT: Duration = Duration::from_secs(10);

/// A checked copy that can replace a database. No service can open the database meanwhile.
#[derive(Debug)]
pub struct Replacement {
    copy: PathBuf,
    database: PathBuf,
    /// Metadata of the present database, if there is one.
    old: Option<Metadata>,
    lock: Lock,
    newest: Option<Timestamp>,
}

/// Result of a replacement.
#[derive(Debug)]
pub struct ReplacementReport {
    /// Numbers of calls, turns and bytes.
    pub report: BackupReport,
    /// New path of the old database.
    pub kept: Option<PathBuf>,
    /// New paths of its WAL or journal, if they could not be checkpointed.
    pub moved: Vec<PathBuf>,
}

impl Replacement {
    /// Locks the database and checks the copy. Changes nothing.
    ///
    /// # Errors
    /// A service has the database open, the database cannot be used, or the copy is not ours, newer or broken.
    pub fn prepare(copy: &Path, database: &Path) -> Result<Self, OpenError> {
        let options = Options { path: database.to_owned(), busy_timeout: LOCK_TIMEOUT, readers: 1 };
        let (path, attempt) = lock_path(&options)?;
        let unusable = |source| OpenError::Unusable { path: path.clone(), source };
        let mut lock = match attempt {
            Attempt::Locked(lock) => lock,
            Attempt::HeldBy(by) => return Err(OpenError::InUse { path, by }),
        };
        let old = match fs::symlink_metadata(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            old => Some(old.map_err(unusable)?),
        };
        if let Some(old) = &old {
            expect_ours_or_broken(&path)?;
            let user = rustix::process::geteuid();
            if !user.is_root() && old.uid() != user.as_raw() {
                let what = format!("it belongs to another user (uid {}); restore as that user or as root", old.uid());
                return Err(unusable(io::Error::new(io::ErrorKind::PermissionDenied, what)));
            }
            let file = files::open_regular(&path, true).map_err(unusable)?;
            if !lock.hold(file).map_err(unusable)? {
                return Err(OpenError::InUse { path, by: None });
            }
        }
        let of_copy = |source| OpenError::Database { path: copy.to_owned(), source };
        let id = |file: io::Result<Metadata>| file.map(|file| FileId::from_metadata(&file)).ok();
        if old.is_some() && id(fs::metadata(copy)) == id(fs::metadata(&path)) {
            return Err(of_copy(Error::new(ErrorKind::Other, CONTEXT, "it is the database itself")));
        }
        let newest = check_copy(copy).map_err(of_copy)?;
        Ok(Self { copy: copy.to_owned(), database: path, old, lock, newest })
    }

    /// Returns whether a database exists that will be replaced.
    pub fn replaces(&self) -> bool {
        self.old.is_some()
    }

    /// Returns the path of the database, without links in it.
    pub fn database(&self) -> &Path {
        &self.database
    }

    /// Returns the time when the newest row of the copy was stored, or `None` if the copy is empty.
    pub fn newest(&self) -> Option<Timestamp> {
        self.newest
    }

    /// Replaces the database by the copy.
    ///
    /// # Errors
    /// The old database is still in place.
    pub fn run(self, now: Timestamp, watch: ProgressFn) -> Result<ReplacementReport> {
        let path = &*self.database;
        let partial = PartialFile::over(path).map_err(|error| Error::new(ErrorKind::Other, CONTEXT, error))?;
        let report = backup(&self.copy, &partial, watch)?;
        self.inherit(partial.file()).map_err(failed)?;
        partial.file().sync_all().map_err(failed)?;
        if self.old.is_some() {
            checkpoint(path);
        }
        let suffix = suffix(path, now);
        remove_derived(path).map_err(failed)?;
        let moved = move_journals_aside(path, &suffix).map_err(failed)?;
        sync_parent_dir(path).map_err(failed)?;
        let kept = self.old.is_some().then(|| with_suffix(path, &suffix));
        match &kept {
            Some(kept) => exchange(partial.path(), path, kept).map_err(failed)?,
            None => partial.publish().map_err(|error| Error::new(ErrorKind::Other, CONTEXT, error))?,
        }
        drop(self.lock);
        Ok(ReplacementReport { report, kept, moved })
    }

    /// Gives a file the mode and owner of the old database, or those of a new one.
    fn inherit(&self, file: &File) -> io::Result<()> {
        let mode = self.old.as_ref().map_or(files::MODE, |old| old.permissions().mode() & 0o777);
        file.set_permissions(Permissions::from_mode(mode))?;
        files::give_to_owner_of(file, &place::owner_metadata(&self.database)?)
    }
}

fn failed(error: io::Error) -> Error {
    Error::new(ErrorKind::Other, CONTEXT, error)
}

/// Refuses another program's database, which must have been named by mistake. A file that is no database may be a
/// broken one of ours.
fn expect_ours_or_broken(path: &Path) -> Result<(), OpenError> {
    match header::open(path) {
        Err(OpenError::NotOurs { path, what: header::NO_DATABASE }) => drop(path),
        // A service of a newer version may have used it last.
        Err(OpenError::ForeignWal { .. } | OpenError::SchemaTooNew { .. }) | Ok(_) => {}
        Err(error) => return Err(error),
    }
    Ok(())
}

/// Checks that a copy is ours, not newer and intact. Returns the time when its newest row was stored.
fn check_copy(copy: &Path) -> Result<Option<Timestamp>> {
    let connection = read_only::open(copy)?;
    let is_newest = crate::store::sqlite::connection::schema::expect_own(&connection)? == known_schema();
    let problems = if is_newest {
        check(copy)?.problems
    } else {
        // The other checks need a later schema.
        [check::integrity(&connection)?, check::counts(&connection)?].concat()
    };
    if let Some(first) = problems.first() {
        let what = format!("it has {} problems, the first: {}", problems.len(), first.what);
        return Err(Error::new(ErrorKind::Other, "checking the copy", what));
    }
    let newest: Option<String> = connection
        .query_row(
            "SELECT max(at) FROM (SELECT max(created_at) AS at FROM call_transcriptions \
             UNION ALL SELECT max(created_at) FROM calls)",
            [],
            |row| row.get(0),
        )
        .context("checking the copy")?;
    Ok(newest.and_then(|at| Timestamp::parse(&at).ok()))
}

/// Checkpoints a database's own WAL. Leaves it alone if it cannot be read.
fn checkpoint(path: &Path) {
    if header::belongs_together(path)
        && let Ok(connection) = connect(path, LOCK_TIMEOUT)
        && crate::store::sqlite::connection::schema::expect_own(&connection).is_ok()
        && checkpoint::checkpoint_truncate(&connection, checkpoint::WalOwner::Database, LOCK_TIMEOUT)
            .is_ok_and(|whole| whole)
    {
        // Closing the last connection removes the WAL.
        let _ = connection.close();
    }
}

/// Removes files derived from the old database, which would be taken for the new one's.
fn remove_derived(path: &Path) -> io::Result<()> {
    let name = with_suffix(path, ".search");
    let name = name.file_name().unwrap_or_default().as_encoded_bytes();
    for entry in parent_dir(path).read_dir()? {
        let entry = entry?;
        if entry.file_name().as_encoded_bytes().starts_with(name) && entry.file_type()?.is_file() {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// Removes the old database's WAL, journal and shared memory, which SQLite would use for the new database. Renames a
/// WAL or journal that is not empty, and returns its new path.
fn move_journals_aside(path: &Path, suffix: &str) -> io::Result<Vec<PathBuf>> {
    let mut moved = Vec::new();
    for ending in ["-wal", "-journal", "-shm"] {
        let journal = with_suffix(path, ending);
        match fs::symlink_metadata(&journal) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Ok(file) if file.len() > 0 && ending != "-shm" => {
                let kept = with_suffix(&journal, suffix);
                files::rename_new(&journal, &kept)?;
                moved.push(kept);
            }
            found => found.and_then(|_| fs::remove_file(&journal))?,
        }
    }
    Ok(moved)
}

/// Gives the new file the database's name, and the old database the name under which it is kept.
fn exchange(new: &Path, database: &Path, kept: &Path) -> io::Result<()> {
    files::rename_new(new, kept)?;
    sync_parent_dir(database)?;
    match files::exchange(kept, database) {
        Err(error) if files::lacks_flags(&error) => {
            // Without an exchange, two steps are necessary. Between them the old database has two names and is refused
            // for that.
            fs::rename(kept, new)?;
            fs::hard_link(database, kept)?;
            fs::rename(new, database)?;
        }
        exchanged => exchanged?,
    }
    sync_parent_dir(database)
}

/// Returns an unused suffix for the old files, such as `.replaced-20260928T120000Z`.
fn suffix(database: &Path, now: Timestamp) -> String {
    let text = now.to_string();
    let seconds = text.split('.').next().unwrap_or_default().replace(['-', ':'], "");
    let is_free = |suffix: &String| {
        ["", "-wal", "-journal"]
            .into_iter()
            .all(|ending| with_suffix(&with_suffix(database, ending), suffix).symlink_metadata().is_err())
    };
    let first = format!(".replaced-{seconds}Z");
    let mut others = (2..).map(|n| format!("{first}-{n}"));
    if is_free(&first) { first } else { others.find(is_free).unwrap_or(first) }
}
