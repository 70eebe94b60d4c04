//! Consistent copies of a database in one file, whether or not a service is writing to it.
//!
//! - **One snapshot.** A read transaction stays open over all steps, so later commits neither show in the copy nor make
//!   SQLite start again, as they otherwise would.
//! - **No waiting.** The copy takes no lock that a writer needs. It runs in a thread with the lowest priority, in small
//!   steps with pauses, and syncs after each few, so that no commit waits for the sync of a whole copy.
//! - **Disk space.** The copy is refused if it would leave too little space for the service.
//! - **The WAL** cannot be reset until the copy is read, so it grows by what is committed meanwhile. The check
//!   afterwards holds no snapshot.
//!
//! SQLite's backup interface copies page by page, unlike `VACUUM INTO`, which rebuilds the trees. Damage in the
//! database is therefore also in the copy, and is found by its check. `.partial` files are locked, which distinguishes
//! a running copy from the leftover of a killed process.

use super::check;
use crate::store::sqlite::connection::header;
use crate::store::sqlite::connection::read_only;
use crate::store::sqlite::error::Context as _;
use crate::store::{BackupReport, BackupStep, CopyCheck, Error, ErrorKind, ProgressFn, Result};
use crate::sys::atomic_file::PartialFile;
use crate::sys::low_priority::Background;
use crate::sys::paths::{parent_dir, with_suffix};
use rusqlite::backup::{Backup, StepResult};
use rusqlite::{Connection, OpenFlags, Row};
use std::os::unix::fs::FileExt as _;
use std::path::Path;

/// Number of pages that are copied at once (1 MiB).
const PAGES_PER_STEP: i32 = 256;

/// Number of steps between two syncs of the copy.
const STEPS_PER_SYNC: u32 = 8;

/// Minimum free disk space after the copy, in bytes.
const MIN_FREE_BYTES: u64 = 32 << 20;

/// Number of SQLite's virtual machine instructions in a check between two pauses.
const INSTRUCTIONS_PER_PAUSE: i32 = 20_000;

const CONTEXT: &str = "copying";

/// Copies `source` to a partial file and checks the copy: its integrity, and that no call has a gap.
///
/// The copy is in rollback mode, so it opens anywhere, even in a read-only folder. It has the source's permissions.
/// `watch` receives each step and can stop the work.
///
/// # Errors
/// The content of the file is not a usable copy then.
pub fn backup(source: &Path, partial: &PartialFile, mut watch: ProgressFn) -> Result<BackupReport> {
    // Uses a thread of its own, because a thread cannot raise its priority again.
    std::thread::scope(|scope| {
        let work = scope.spawn(|| {
            copy(source, partial, &mut watch)?;
            count(partial, watch)
        });
        work.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// Checks that no WAL or journal of another database is beside the path of a new copy. SQLite would apply it to the
/// copy.
///
/// # Errors
/// There is such a file, or the operating system refused the check.
pub fn expect_no_wal(target: &Path) -> Result<()> {
    for ending in ["-wal", "-journal"] {
        let wal = with_suffix(target, ending);
        if header::not_empty(&wal).map_err(file_error)?.is_some() {
            let what = format!("{} belongs to another database and would damage the copy; move it away", wal.display());
            return Err(file_error(what));
        }
    }
    Ok(())
}

fn file_error(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::new(ErrorKind::Other, CONTEXT, error)
}

fn copy(source: &Path, partial: &PartialFile, watch: &mut ProgressFn) -> Result<()> {
    const READING: &str = "reading the database";
    // The WAL grows until the copy is read.
    let mut background = Background::that_ends();
    let from = read_only::open(source)?;
    from.execute_batch("PRAGMA cache_size = -1000; PRAGMA mmap_size = 0; BEGIN").context(READING)?;
    // The first read opens the snapshot.
    from.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(())).context(READING)?;
    let page_size: u64 = from.pragma_query_value(None, "page_size", |row| row.get(0)).context(READING)?;
    let bytes = |pages: i32| u64::try_from(pages).unwrap_or(0) * page_size;
    partial.permit_as(source).map_err(file_error)?;
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut to = Connection::open_with_flags(partial.path(), flags).context(CONTEXT)?;
    // An unfinished copy is useless, so no journal protects it.
    to.execute_batch("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA cache_size = -2000")
        .context(CONTEXT)?;
    {
        let backup = Backup::new(&from, &mut to).context(CONTEXT)?;
        for step in 0_u32.. {
            // The first step only finds the number of pages.
            let state = backup.step(if step == 0 { 1 } else { PAGES_PER_STEP }).context(CONTEXT)?;
            let progress = backup.progress();
            let (done, of) = (bytes(progress.pagecount - progress.remaining), bytes(progress.pagecount));
            if step == 0 {
                refuse_to_fill_the_disk(partial, of)?;
            }
            if watch(BackupStep::Copied { done, of }).is_break() {
                return Err(file_error("it was stopped"));
            }
            match state {
                StepResult::Done => break,
                StepResult::More => {}
                // Nobody else knows the copy, and the source's snapshot is open.
                _ => return Err(Error::new(ErrorKind::Busy, CONTEXT, "the database is locked")),
            }
            if step % STEPS_PER_SYNC == STEPS_PER_SYNC - 1 {
                partial.file().sync_data().map_err(file_error)?;
            }
            background.pause();
        }
    }
    to.close().map_err(|(_, error)| error).context(CONTEXT)?;
    drop(from);
    // The write and read versions of the file format: 1 is rollback mode (<https://www.sqlite.org/fileformat.html>).
    partial.file().write_all_at(&[1, 1], 18).map_err(file_error)?;
    partial.file().sync_all().map_err(file_error)
}

/// Refuses a copy that would leave too little space, because a full disk prevents the service from storing turns.
fn refuse_to_fill_the_disk(partial: &PartialFile, wanted: u64) -> Result<()> {
    let space = rustix::fs::fstatvfs(partial.file()).map_err(file_error)?;
    let free = space.f_bavail.saturating_mul(space.f_frsize);
    if wanted.saturating_add(MIN_FREE_BYTES) <= free {
        return Ok(());
    }
    let folder = parent_dir(partial.target());
    let what = format!(
        "the disk of {} has {free} bytes free; the copy needs {wanted}, and {MIN_FREE_BYTES} must stay free",
        folder.display()
    );
    Err(Error::new(ErrorKind::Full, CONTEXT, what))
}

/// Checks that a finished copy is usable and ours.
///
/// # Errors
/// The copy is unusable, or `watch` stopped the work.
pub(in crate::store::sqlite) fn examine(copy: &Path, depth: CopyCheck, watch: ProgressFn) -> Result<()> {
    const CONTEXT: &str = "verifying a copy";
    let connection = read_only::open_copy(copy)?;
    crate::store::sqlite::connection::schema::expect_own(&connection)?;
    let number = |name| connection.pragma_query_value(None, name, |row| row.get::<_, u64>(0)).context(CONTEXT);
    let (wanted, bytes) = (number("page_size")? * number("page_count")?, copy.metadata().map_err(file_error)?.len());
    if wanted != bytes {
        return Err(Error::new(ErrorKind::Other, CONTEXT, format!("it has {bytes} bytes of {wanted}")));
    }
    match depth {
        CopyCheck::Length => Ok(()),
        CopyCheck::Content => verify(&connection, watch),
    }
}

/// Checks that a copy is intact, with pauses and at idle priority.
fn verify(connection: &Connection, mut watch: ProgressFn) -> Result<()> {
    const CONTEXT: &str = "checking the copy";
    let mut background = Background::begin();
    connection.execute_batch("PRAGMA cache_size = -2000; PRAGMA mmap_size = 0").context(CONTEXT)?;
    connection
        .progress_handler(
            INSTRUCTIONS_PER_PAUSE,
            Some(move || {
                background.pause();
                watch(BackupStep::Checking).is_break()
            }),
        )
        .context(CONTEXT)?;
    let problems = [check::integrity(connection)?, check::counts(connection)?].concat();
    match problems.first() {
        None => Ok(()),
        Some(first) => {
            let what = format!("{} problems, the first: {}", problems.len(), first.what);
            Err(Error::new(ErrorKind::Other, CONTEXT, what))
        }
    }
}

/// Counts the calls and turns of a new copy, after checking that it is intact.
fn count(partial: &PartialFile, watch: ProgressFn) -> Result<BackupReport> {
    let connection = read_only::open_copy(partial.path())?;
    verify(&connection, watch)?;
    let bytes = partial.file().metadata().map_err(file_error)?.len();
    let counts = "SELECT (SELECT count(*) FROM calls), (SELECT count(*) FROM call_transcriptions)";
    let report = |row: &Row<'_>| Ok(BackupReport { calls: row.get(0)?, turns: row.get(1)?, bytes });
    connection.query_row(counts, [], report).context("checking the copy")
}
