//! A consistent copy of a database as one file, whether or not a service is writing to it.
//!
//! - **One snapshot.** A read transaction is held over all steps, so that what is committed meanwhile neither shows in the
//!   copy nor makes SQLite begin it again, as it otherwise does whenever somebody else writes.
//! - **Nobody waits for it.** It takes no lock that a writer wants. It works in a thread that goes last, in small steps with
//!   pauses, and syncs as it goes, so that no commit's sync waits for the whole copy's.
//! - **It may not fill the disk** that the service needs: it is refused where little would be left.
//! - The log cannot be emptied until the copy is read, and grows by what is committed meanwhile. Checking the copy holds
//!   nothing.

use super::error::Context as _;
use super::{check, header, reading};
use crate::aside::Aside;
use crate::background::Background;
use crate::files;
use crate::store::{BackupReport, BackupStep, BackupWatch, Error, ErrorKind, Result};
use rusqlite::backup::{Backup, StepResult};
use rusqlite::{Connection, OpenFlags, Row};
use std::os::unix::fs::FileExt as _;
use std::path::Path;

/// How many pages are copied at once: 1 MiB.
const PAGES: i32 = 256;

/// After how many steps what is copied is synced.
const STEPS_A_SYNC: u32 = 8;

/// What must be left on the disk, in bytes, besides the copy.
const LEFT_OVER: u64 = 32 << 20;

/// How many steps SQLite's machine makes in a check between two looks at the clock.
const CHECK_STEPS: i32 = 20_000;

const COPYING: &str = "copying";

/// Copies `source` to a file that is being made, and checks the copy: its integrity, and that no call has a gap.
///
/// It is in rollback mode, so that it opens anywhere, read-only folders included, and has the source's permissions.
/// `watch` is told of each step and can end the work.
///
/// # Errors
/// What is in the file is then no copy.
pub fn backup(source: &Path, aside: &Aside, mut watch: BackupWatch) -> Result<BackupReport> {
    // A thread of its own, since one that goes last does so for ever.
    std::thread::scope(|scope| {
        let work = scope.spawn(|| {
            copy(source, aside, &mut watch)?;
            count(aside, watch)
        });
        work.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// Makes sure that nothing is left of an earlier database under the name that a copy is to have. SQLite would take its WAL or
/// journal for the copy's own.
///
/// # Errors
/// There is such a file, or the system refused.
pub fn expect_no_log(target: &Path) -> Result<()> {
    for ending in ["-wal", "-journal"] {
        let log = files::beside(target, ending);
        if header::not_empty(&log).map_err(of_file)?.is_some() {
            let what = format!("{} is of another database, and would damage the copy; move it away", log.display());
            return Err(of_file(what));
        }
    }
    Ok(())
}

fn of_file(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::new(ErrorKind::Other, COPYING, error)
}

fn copy(source: &Path, aside: &Aside, watch: &mut BackupWatch) -> Result<()> {
    const READING: &str = "reading the database";
    // The log grows until it is done.
    let mut background = Background::that_ends();
    let from = reading::open(source)?;
    from.execute_batch("PRAGMA cache_size = -1000; PRAGMA mmap_size = 0; BEGIN").doing(READING)?;
    // The first read takes the snapshot.
    from.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(())).doing(READING)?;
    let page_size: u64 = from.pragma_query_value(None, "page_size", |row| row.get(0)).doing(READING)?;
    let bytes = |pages: i32| u64::try_from(pages).unwrap_or(0) * page_size;
    aside.permit_as(source).map_err(of_file)?;
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut to = Connection::open_with_flags(aside.path(), flags).doing(COPYING)?;
    // A copy that is not finished is of no use, so nothing is done to save one.
    to.execute_batch("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA cache_size = -2000")
        .doing(COPYING)?;
    {
        let backup = Backup::new(&from, &mut to).doing(COPYING)?;
        for step in 0_u32.. {
            // The first step is there to learn how many pages there are.
            let state = backup.step(if step == 0 { 1 } else { PAGES }).doing(COPYING)?;
            let progress = backup.progress();
            let (done, of) = (bytes(progress.pagecount - progress.remaining), bytes(progress.pagecount));
            if step == 0 {
                refuse_to_fill_the_disk(aside, of)?;
            }
            if watch(BackupStep::Copied { done, of }).is_break() {
                return Err(of_file("it was told to stop"));
            }
            match state {
                StepResult::Done => break,
                StepResult::More => {}
                // Nobody else knows of the copy, and the source's snapshot is held.
                _ => return Err(Error::new(ErrorKind::Busy, COPYING, "the database is locked")),
            }
            if step % STEPS_A_SYNC == STEPS_A_SYNC - 1 {
                aside.file().sync_data().map_err(of_file)?;
            }
            background.pause();
        }
    }
    to.close().map_err(|(_, error)| error).doing(COPYING)?;
    drop(from);
    // The file's format, for writing and for reading: 1 is rollback mode (<https://www.sqlite.org/fileformat.html>).
    aside.file().write_all_at(&[1, 1], 18).map_err(of_file)?;
    aside.file().sync_all().map_err(of_file)
}

/// A full disk would keep the service from storing turns.
fn refuse_to_fill_the_disk(aside: &Aside, wanted: u64) -> Result<()> {
    let space = rustix::fs::fstatvfs(aside.file()).map_err(of_file)?;
    let free = space.f_bavail.saturating_mul(space.f_frsize);
    if wanted.saturating_add(LEFT_OVER) <= free {
        return Ok(());
    }
    let folder = aside.target().parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let what = format!(
        "{free} bytes are free on the disk of {}, the copy takes {wanted}, and {LEFT_OVER} must be left",
        folder.display()
    );
    Err(Error::new(ErrorKind::Full, COPYING, what))
}

/// Makes sure that a finished copy can be used: that it opens, is ours and has its whole length, and if asked, that all of it
/// is right.
///
/// # Errors
/// It cannot, or `watch` ended the work.
pub(super) fn examine(copy: &Path, thorough: bool, watch: BackupWatch) -> Result<()> {
    const DOING: &str = "looking at a copy";
    let connection = reading::open_copy(copy)?;
    check::expect_own(&connection)?;
    let number = |name| connection.pragma_query_value(None, name, |row| row.get::<_, u64>(0)).doing(DOING);
    let (wanted, bytes) = (number("page_size")? * number("page_count")?, copy.metadata().map_err(of_file)?.len());
    if wanted != bytes {
        return Err(Error::new(ErrorKind::Other, DOING, format!("it has {bytes} bytes of {wanted}")));
    }
    if thorough { verify(&connection, watch) } else { Ok(()) }
}

/// Makes sure that a copy is whole, in the background's way.
fn verify(connection: &Connection, mut watch: BackupWatch) -> Result<()> {
    const DOING: &str = "checking the copy";
    let mut background = Background::begin();
    connection.execute_batch("PRAGMA cache_size = -2000; PRAGMA mmap_size = 0").doing(DOING)?;
    connection
        .progress_handler(
            CHECK_STEPS,
            Some(move || {
                background.pause();
                watch(BackupStep::Checking).is_break()
            }),
        )
        .doing(DOING)?;
    let problems = [check::integrity(connection)?, check::counts(connection)?].concat();
    match problems.first() {
        None => Ok(()),
        Some(first) => {
            let what = format!("{} problems, the first: {}", problems.len(), first.what);
            Err(Error::new(ErrorKind::Other, DOING, what))
        }
    }
}

/// Counts the calls and turns of a copy that was just made, after making sure that it is whole.
fn count(aside: &Aside, watch: BackupWatch) -> Result<BackupReport> {
    let connection = reading::open_copy(aside.path())?;
    verify(&connection, watch)?;
    let bytes = aside.file().metadata().map_err(of_file)?.len();
    let counts = "SELECT (SELECT count(*) FROM calls), (SELECT count(*) FROM call_transcriptions)";
    let report = |row: &Row<'_>| Ok(BackupReport { calls: row.get(0)?, turns: row.get(1)?, bytes });
    connection.query_row(counts, [], report).doing("checking the copy")
}
