//! Where a database is: its one path, and whether the files that are open are still the ones at that path.
//!
//! SQLite finds a database's WAL by the name of the database, so a file that is reached by two names has two WALs, of which
//! each side knows one. A file that is moved or replaced while it is open takes turns that nobody finds again.

use crate::files::{self, FileId};
use crate::store::{Error, ErrorKind, Result};
use rustix::fs::{AtFlags, CWD, StatxFlags};
use std::fs::{self, File, Metadata};
use std::io;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

/// What a read or write fails with while the files are not in their place.
const DOING: &str = "looking for the database's files";

/// Returns the path of a database without links in it. The file need not exist.
///
/// # Errors
/// The folder does not exist, or a link leads nowhere.
pub(super) fn resolve(path: &Path) -> io::Result<PathBuf> {
    match path.canonicalize() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        resolved => return resolved,
    }
    if path.symlink_metadata().is_ok() {
        let what = format!("{} is a symbolic link that leads nowhere", path.display());
        return Err(io::Error::new(io::ErrorKind::NotFound, what));
    }
    let name = path.file_name().ok_or(io::ErrorKind::NotFound)?;
    Ok(files::folder_of(path).canonicalize()?.join(name))
}

/// Why a file must not be used as a database although it may be one.
#[derive(Debug)]
pub(super) enum Alias {
    /// So many names lead to it.
    Links(u64),
    /// It is mounted on its own, apart from its folder.
    Mount,
}

impl std::fmt::Display for Alias {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Links(names) => write!(
                f,
                "has {names} names (hard links), and each would have a WAL of its own; remove the others, or use a copy of it"
            ),
            Self::Mount => {
                f.write_str("is mounted apart from its folder, so its WAL would not be found; mount the folder")
            }
        }
    }
}

/// Returns why the file at a resolved path can be reached by another path, if that shows.
///
/// # Errors
/// It is no regular file, or the system refused.
pub(super) fn alias(path: &Path) -> io::Result<Option<Alias>> {
    let metadata = fs::symlink_metadata(path)?;
    files::expect_regular(path, &metadata)?;
    if metadata.nlink() > 1 {
        return Ok(Some(Alias::Links(metadata.nlink())));
    }
    // `st_dev` does not tell a bind mount from the file system that it shows.
    let mount = |path: &Path| rustix::fs::statx(CWD, path, AtFlags::SYMLINK_NOFOLLOW, StatxFlags::MNT_ID);
    let (file, folder) = (mount(path)?, mount(files::folder_of(path))?);
    let known = |mask: u32| mask & StatxFlags::MNT_ID.bits() != 0;
    let apart = if known(file.stx_mask) && known(folder.stx_mask) {
        file.stx_mnt_id != folder.stx_mnt_id
    } else {
        metadata.dev() != fs::metadata(files::folder_of(path))?.dev()
    };
    Ok(apart.then_some(Alias::Mount))
}

/// The files that are open, and the path at which they were opened.
#[derive(Debug, Default)]
pub(super) struct Place {
    /// The database, its WAL, and the index of that; nothing until they are open for writing.
    files: OnceLock<Files>,
    lost: AtomicBool,
    /// Whether another file was written over the database; for good.
    overwritten: AtomicBool,
    /// Whether the database is shorter than its header says.
    cut: AtomicBool,
    log: OnceLock<Log>,
}

type Files = [(PathBuf, FileId); 3];

/// The WAL that is open, and how it was when it was last looked at.
#[derive(Debug)]
struct Log {
    file: File,
    last: Mutex<(u64, [u8; 32])>,
    /// Whether somebody cut it off or wrote over it; for good, since what is appended to it is not read again.
    damaged: AtomicBool,
}

impl Log {
    /// Returns whether the WAL still begins as one does, and did not lose its end. SQLite itself cuts it off only to nothing,
    /// or after it has given it a new header.
    fn is_whole(&self) -> bool {
        if self.damaged.load(Ordering::Relaxed) {
            return false;
        }
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        // The length comes first: one from before a new header is never too short.
        let Ok(length) = self.file.metadata().map(|file| file.len()) else { return true };
        let mut header = [0; 32];
        // It is empty, or the disk says nothing of what it holds.
        if self.file.read_exact_at(&mut header, 0).is_err() {
            *last = (0, [0; 32]);
            return true;
        }
        let begins = matches!(header[..4], [0x37, 0x7f, 0x06, 0x82 | 0x83]);
        let whole = begins && (header != last.1 || length == 0 || length >= last.0);
        *last = (length, header);
        self.damaged.store(!whole, Ordering::Relaxed);
        whole
    }
}

/// What was found at the path.
#[derive(Debug, PartialEq, Eq)]
enum Found {
    Own,
    Nothing,
    Another,
    Linked,
    Overwritten,
    Cut,
    Unknown(io::ErrorKind),
}

impl Place {
    /// Notes which files are at a database's path, once it is open for writing. Returns the identity of the database.
    ///
    /// # Errors
    /// One of them is not there.
    pub(super) fn note(&self, database: &Path) -> io::Result<FileId> {
        let file = |ending: &str| -> io::Result<_> {
            let path = files::beside(database, ending);
            let id = FileId::of(&fs::symlink_metadata(&path)?);
            Ok((path, id))
        };
        let files = [file("")?, file("-wal")?, file("-shm")?];
        // Only the WAL's content is read. Its locks are on its index, and closing this loses none.
        let log = files::open_regular(&files[1].0, false)?;
        let _ = self.log.set(Log { file: log, last: Mutex::default(), damaged: AtomicBool::new(false) });
        Ok(self.files.get_or_init(|| files)[0].1)
    }

    /// Makes sure that the open files are those at the path, by a stat of each.
    ///
    /// # Errors
    /// [`ErrorKind::Unready`]; the log says so once.
    pub(super) fn check(&self) -> Result<()> {
        let Some(files) = self.files.get() else {
            return Err(Error::new(ErrorKind::Unready, DOING, "the disk has no room yet to open it for writing"));
        };
        let overwritten = self.overwritten.load(Ordering::Relaxed).then_some((&files[0].0, Found::Overwritten));
        let cut = || self.cut.load(Ordering::Relaxed).then_some((&files[0].0, Found::Cut));
        let displaced =
            || files.iter().map(|(path, id)| (path, found(path, *id))).find(|(_, found)| *found != Found::Own);
        // What is displaced comes first: another file's content says nothing of this one's.
        let damaged = || (!self.log_is_whole()).then_some((&files[1].0, Found::Cut));
        let wrong = overwritten.or_else(displaced).or_else(cut).or_else(damaged);
        let Some((path, found)) = wrong else {
            if self.lost.load(Ordering::Relaxed) && self.lost.swap(false, Ordering::Relaxed) {
                tracing::info!(database = %files[0].0.display(), "the database's files are back; turns are stored again");
            }
            return Ok(());
        };
        let what = match found {
            Found::Nothing => format!("{} is not there any more", path.display()),
            Found::Another => format!("{} is another file than the one that was opened", path.display()),
            Found::Linked => format!("{} has a second name (hard link)", path.display()),
            Found::Overwritten => format!("another file was written over {}", path.display()),
            Found::Cut => format!("{} was cut off or written over", path.display()),
            Found::Unknown(kind) => format!("{} cannot be looked at: {kind}", path.display()),
            Found::Own => unreachable!("it was looked for what is not"),
        };
        if !self.lost.swap(true, Ordering::Relaxed) {
            tracing::error!(
                error = %what,
                "nothing is stored until the database's own files are at their path again; to serve other files, restart"
            );
        }
        Err(Error::new(ErrorKind::Unready, DOING, what))
    }

    /// Notes that another file was written over the database, from which only a restart recovers.
    pub(super) fn note_overwritten(&self) {
        self.overwritten.store(true, Ordering::Relaxed);
    }

    /// Notes whether the database is shorter than its header says.
    pub(super) fn note_cut(&self, cut: bool) {
        self.cut.store(cut, Ordering::Relaxed);
    }

    fn log_is_whole(&self) -> bool {
        self.log.get().is_none_or(Log::is_whole)
    }

    /// Makes sure that the files were in their place when somebody looked last, and that the WAL is whole, which the next
    /// commit would hide; looks again if they were not.
    ///
    /// # Errors
    /// As [`Place::check`].
    pub(super) fn check_if_lost(&self) -> Result<()> {
        let in_place = self.files.get().is_some() && !self.lost.load(Ordering::Relaxed);
        if in_place && self.log_is_whole() { Ok(()) } else { self.check() }
    }

    /// Whether only the WAL or its index is gone, and nobody else can be using the database: what the open WAL holds is
    /// then better moved into the database, since no later start will find it.
    pub(super) fn only_log_is_gone(&self) -> bool {
        let Some(files) = self.files.get() else { return false };
        let [database, wal, shm] = files.each_ref().map(|(path, id)| found(path, *id));
        let empty = || fs::symlink_metadata(&files[1].0).is_ok_and(|wal| wal.len() == 0);
        let wal_is_free = matches!(wal, Found::Own | Found::Nothing) || empty();
        database == Found::Own
            && !self.overwritten.load(Ordering::Relaxed)
            && !self.cut.load(Ordering::Relaxed)
            && self.log_is_whole()
            && wal_is_free
            && matches!(shm, Found::Own | Found::Nothing)
            && (wal != Found::Own || shm != Found::Own)
    }
}

fn found(path: &Path, id: FileId) -> Found {
    match fs::symlink_metadata(path) {
        Ok(metadata) if FileId::of(&metadata) != id => Found::Another,
        Ok(metadata) if metadata.nlink() > 1 => Found::Linked,
        Ok(_) => Found::Own,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Found::Nothing,
        Err(error) => Found::Unknown(error.kind()),
    }
}

/// Returns whose a file that is made beside a database should be: the database's owner, or else its folder's.
pub(super) fn heir(database: &Path) -> io::Result<Metadata> {
    fs::symlink_metadata(database).or_else(|_| fs::metadata(files::folder_of(database)))
}
