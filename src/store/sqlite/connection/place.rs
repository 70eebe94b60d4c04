//! The path of a database, and checks that the open files are still at that path.
//!
//! SQLite derives the name of the WAL from the name of the database, so a file with two names has two WALs, each known
//! to one side only. Hard links and files that are mounted alone are therefore refused. Turns that are written to a
//! file after it was moved or replaced would be lost. Device and inode of the database, its WAL and the WAL index are
//! therefore compared with the files at the path: after each commit, before it is acknowledged, and every 0.4 s.
//! Nothing is stored or copied until they match again. If only the WAL's name is gone, the service moves its content
//! into the database at once. `restore` exchanges two whole files by one rename.

use crate::store::{Error, ErrorKind, Result};
use crate::sys::files::{self, FileId};
use crate::sys::paths::{parent_dir, with_suffix};
use parking_lot::Mutex;
use rustix::fs::{AtFlags, CWD, StatxFlags};
use std::fs::{self, File, Metadata};
use std::io;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

/// Operation in the errors of reads and writes while the files are not at their path.
const CONTEXT: &str = "checking the database's files";

/// Resolves the path of a database to one without links. The file need not exist.
///
/// # Errors
/// The folder does not exist, or a link has no target.
pub(in crate::store::sqlite) fn canonical_path(path: &Path) -> io::Result<PathBuf> {
    match path.canonicalize() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        resolved => return resolved,
    }
    if path.symlink_metadata().is_ok() {
        let what = format!("{} is a symbolic link without a target", path.display());
        return Err(io::Error::new(io::ErrorKind::NotFound, what));
    }
    let name = path.file_name().ok_or(io::ErrorKind::NotFound)?;
    Ok(parent_dir(path).canonicalize()?.join(name))
}

/// Reason why a file must not be used as a database even if it is one.
#[derive(Debug)]
pub(in crate::store::sqlite) enum Alias {
    /// The file has this number of names.
    Links(u64),
    /// The file is mounted alone, without its folder.
    Mount,
}

impl std::fmt::Display for Alias {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Links(names) => write!(
                f,
                "has {names} names (hard links), each with a WAL of its own; remove the others, or use a copy"
            ),
            Self::Mount => {
                f.write_str("is mounted apart from its folder, so its WAL would not be found; mount the folder")
            }
        }
    }
}

/// Returns the reason why the file at a resolved path has another path as well, if that is detectable.
///
/// # Errors
/// The path is no regular file, or the operating system refused the query.
pub(in crate::store::sqlite) fn alias(path: &Path) -> io::Result<Option<Alias>> {
    let metadata = fs::symlink_metadata(path)?;
    files::expect_regular(path, &metadata)?;
    if metadata.nlink() > 1 {
        return Ok(Some(Alias::Links(metadata.nlink())));
    }
    // `st_dev` is equal for a bind mount and its file system.
    let mount = |path: &Path| rustix::fs::statx(CWD, path, AtFlags::SYMLINK_NOFOLLOW, StatxFlags::MNT_ID);
    let (file, folder) = (mount(path)?, mount(parent_dir(path))?);
    let known = |mask: u32| mask & StatxFlags::MNT_ID.bits() != 0;
    let apart = if known(file.stx_mask) && known(folder.stx_mask) {
        file.stx_mnt_id != folder.stx_mnt_id
    } else {
        metadata.dev() != fs::metadata(parent_dir(path))?.dev()
    };
    Ok(apart.then_some(Alias::Mount))
}

/// The identities of the open files and their path.
#[derive(Debug, Default)]
pub(in crate::store::sqlite) struct OpenFiles {
    /// The database, its WAL and the WAL index; empty until the database is open for writing.
    files: OnceLock<Files>,
    lost: AtomicBool,
    /// Set for good once another file was written over the database.
    overwritten: AtomicBool,
    /// Set while the database is shorter than its header says.
    cut: AtomicBool,
    wal: OnceLock<Wal>,
}

type Files = [(PathBuf, FileId); 3];

/// The open WAL, and its state at the last check.
#[derive(Debug)]
struct Wal {
    file: File,
    /// Size in bytes, and header.
    last: Mutex<(u64, [u8; 32])>,
    /// Set for good once somebody truncated or overwrote the WAL, because what is appended to it is not read again.
    damaged: AtomicBool,
}

impl Wal {
    /// Returns whether the WAL still has a WAL's header and did not lose its end. SQLite itself truncates a WAL only to
    /// nothing, or after it wrote a new header.
    fn is_whole(&self) -> bool {
        if self.damaged.load(Ordering::Relaxed) {
            return false;
        }
        let mut last = self.last.lock();
        // The size comes first: one from before a new header is never too small.
        let Ok(length) = self.file.metadata().map(|file| file.len()) else { return true };
        let mut header = [0; 32];
        // The WAL is empty, or the disk cannot be read, which is no evidence.
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

/// Result of comparing a file with the one at its path.
#[derive(Debug, PartialEq, Eq)]
enum FileMatch {
    Own,
    Nothing,
    Another,
    Linked,
    Overwritten,
    Cut,
    Unknown(io::ErrorKind),
}

impl OpenFiles {
    /// Records the files at a database's path after it was opened for writing. Returns the identity of the database.
    ///
    /// # Errors
    /// One of the files does not exist.
    pub(in crate::store::sqlite) fn note(&self, database: &Path) -> io::Result<FileId> {
        let file = |ending: &str| -> io::Result<_> {
            let path = with_suffix(database, ending);
            let id = FileId::from_metadata(&fs::symlink_metadata(&path)?);
            Ok((path, id))
        };
        let files = [file("")?, file("-wal")?, file("-shm")?];
        // SQLite locks the WAL's index, not the WAL, so closing this descriptor releases no lock.
        let wal = files::open_regular(&files[1].0, false)?;
        let _ = self.wal.set(Wal { file: wal, last: Mutex::default(), damaged: AtomicBool::new(false) });
        Ok(self.files.get_or_init(|| files)[0].1)
    }

    /// Checks by a `stat` of each file that the open files are at their path.
    ///
    /// # Errors
    /// [`ErrorKind::Unready`], which is logged once.
    pub(in crate::store::sqlite) fn check(&self) -> Result<()> {
        let Some(files) = self.files.get() else {
            return Err(Error::new(
                ErrorKind::Unready,
                CONTEXT,
                "the disk has no space to open the database for writing",
            ));
        };
        let overwritten = self.overwritten.load(Ordering::Relaxed).then_some((&files[0].0, FileMatch::Overwritten));
        let cut = || self.cut.load(Ordering::Relaxed).then_some((&files[0].0, FileMatch::Cut));
        let displaced = || {
            files.iter().map(|(path, id)| (path, compare_file(path, *id))).find(|(_, found)| *found != FileMatch::Own)
        };
        // Displaced files come first, because another file's content is no evidence about this one.
        let damaged = || (!self.wal_is_whole()).then_some((&files[1].0, FileMatch::Cut));
        let wrong = overwritten.or_else(displaced).or_else(cut).or_else(damaged);
        let Some((path, found)) = wrong else {
            if self.lost.load(Ordering::Relaxed) && self.lost.swap(false, Ordering::Relaxed) {
                tracing::info!(database = %files[0].0.display(), "database files are back; storing turns again");
            }
            return Ok(());
        };
        let what = match found {
            FileMatch::Nothing => format!("{} no longer exists", path.display()),
            FileMatch::Another => format!("{} is not the file that was opened", path.display()),
            FileMatch::Linked => format!("{} has a second name (hard link)", path.display()),
            FileMatch::Overwritten => format!("another file was written over {}", path.display()),
            FileMatch::Cut => format!("{} was truncated or overwritten", path.display()),
            FileMatch::Unknown(kind) => format!("{} cannot be checked: {kind}", path.display()),
            FileMatch::Own => unreachable!("the file was found not to be its own"),
        };
        if !self.lost.swap(true, Ordering::Relaxed) {
            tracing::error!(
                error = %what,
                "database files are not at their path; refusing writes until they are back (restart to use new files)"
            );
        }
        Err(Error::new(ErrorKind::Unready, CONTEXT, what))
    }

    /// Records that another file was written over the database. Only a restart recovers from it.
    pub(in crate::store::sqlite) fn note_overwritten(&self) {
        self.overwritten.store(true, Ordering::Relaxed);
    }

    /// Records whether the database is shorter than its header says.
    pub(in crate::store::sqlite) fn note_cut(&self, cut: bool) {
        self.cut.store(cut, Ordering::Relaxed);
    }

    fn wal_is_whole(&self) -> bool {
        self.wal.get().is_none_or(Wal::is_whole)
    }

    /// Returns the result of the last check without a new one, unless that check failed or the WAL is damaged, which
    /// the next commit would hide.
    ///
    /// # Errors
    /// Like [`OpenFiles::check`].
    pub(in crate::store::sqlite) fn check_if_lost(&self) -> Result<()> {
        let in_place = self.files.get().is_some() && !self.lost.load(Ordering::Relaxed);
        if in_place && self.wal_is_whole() { Ok(()) } else { self.check() }
    }

    /// Returns whether only the WAL or its index is missing, and no other process can be using the database. The open
    /// WAL's content should then be moved into the database, because no later start will find it.
    pub(in crate::store::sqlite) fn only_wal_is_gone(&self) -> bool {
        let Some(files) = self.files.get() else { return false };
        let [database, wal, shm] = files.each_ref().map(|(path, id)| compare_file(path, *id));
        let empty = || fs::symlink_metadata(&files[1].0).is_ok_and(|wal| wal.len() == 0);
        let wal_is_free = matches!(wal, FileMatch::Own | FileMatch::Nothing) || empty();
        database == FileMatch::Own
            && !self.overwritten.load(Ordering::Relaxed)
            && !self.cut.load(Ordering::Relaxed)
            && self.wal_is_whole()
            && wal_is_free
            && matches!(shm, FileMatch::Own | FileMatch::Nothing)
            && (wal != FileMatch::Own || shm != FileMatch::Own)
    }
}

fn compare_file(path: &Path, id: FileId) -> FileMatch {
    match fs::symlink_metadata(path) {
        Ok(metadata) if FileId::from_metadata(&metadata) != id => FileMatch::Another,
        Ok(metadata) if metadata.nlink() > 1 => FileMatch::Linked,
        Ok(_) => FileMatch::Own,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            FileMatch::Nothing
        }
        Err(error) => FileMatch::Unknown(error.kind()),
    }
}

/// Returns the metadata of the owner for files beside a database: that of the database, or else of its folder.
pub(in crate::store::sqlite) fn owner_metadata(database: &Path) -> io::Result<Metadata> {
    fs::symlink_metadata(database).or_else(|_| fs::metadata(parent_dir(database)))
}
