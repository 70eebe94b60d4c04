//! Locks that keep a second service away from a database.
//!
//! The kernel holds the lock on `<database>.lock` as long as the process lives, so a crash releases it. The lock file
//! is never removed, because two processes could then lock two different files of the same name.
//!
//! The database's own file is locked as well ([`Lock::hold`]), because another path may lead to it, with another lock
//! file. This is a `flock`, which does not conflict with SQLite's own POSIX locks. A process that closes any descriptor
//! of a file loses all its POSIX locks on it. The descriptor therefore stays open until SQLite's connections are
//! closed, and only SQLite may open the database in this process.

use super::place;
use crate::sys::files::{self, FileId};
use crate::sys::paths::with_suffix;
use std::fs::{File, TryLockError};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// Ownership of a database by this process.
#[derive(Debug)]
pub(in crate::store::sqlite) struct Lock {
    _file: File,
    /// The database's file, which is open only for its lock.
    database: Option<(File, FileId)>,
    /// Size of the database's file at the last check, in bytes.
    length: AtomicU64,
}

/// Kind of content in the database's file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::store::sqlite) enum Content {
    /// A database in WAL mode.
    Database,
    /// A database that has lost its end.
    Cut,
    /// Something else.
    Other,
}

/// Result of an attempt to lock a database.
pub(in crate::store::sqlite) enum Attempt {
    Locked(Lock),
    /// Another process holds the lock; its process id, if known.
    HeldBy(Option<u32>),
}

pub(in crate::store::sqlite) fn lock_path(database: &Path) -> PathBuf {
    with_suffix(database, ".lock")
}

pub(in crate::store::sqlite) fn try_lock(database: &Path) -> io::Result<Attempt> {
    let heir = place::owner_metadata(database)?;
    // Root also gives away an old lock file of its own, which would keep the service's user out.
    let (mut file, _) = files::open_or_create(&lock_path(database), Some(heir.uid()))?;
    files::give_to_owner_of(&file, &heir)?;
    match file.try_lock() {
        Ok(()) => {
            // The process id is only informative, so a full disk must not prevent the lock.
            let _ =
                file.set_len(0).and_then(|()| file.rewind()).and_then(|()| writeln!(file, "{}", std::process::id()));
            Ok(Attempt::Locked(Lock { _file: file, database: None, length: AtomicU64::new(0) }))
        }
        Err(TryLockError::WouldBlock) => {
            let mut holder = String::new();
            let _ = file.take(32).read_to_string(&mut holder);
            Ok(Attempt::HeldBy(holder.trim().parse().ok()))
        }
        Err(TryLockError::Error(error)) => Err(error),
    }
}

impl Lock {
    /// Locks the database's file, which must be opened before any SQLite connection. Returns false if another process
    /// holds the lock.
    pub(in crate::store::sqlite) fn hold(&mut self, database: File) -> io::Result<bool> {
        if !turns_locks_into_posix_ones(&database) {
            match database.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Ok(false),
                // Without `flock` support, the lock file must suffice.
                Err(TryLockError::Error(error)) if error.kind() == io::ErrorKind::Unsupported => {}
                Err(TryLockError::Error(error)) => return Err(error),
            }
        }
        let id = FileId::from_metadata(&database.metadata()?);
        self.database = Some((database, id));
        Ok(true)
    }

    /// Returns the kind of content in the database's file, which a copy may have overwritten. Reads through the
    /// descriptor that is open anyway. A read error is no evidence, so it counts as a database.
    pub(in crate::store::sqlite) fn content(&self) -> Content {
        let Some((file, _)) = &self.database else { return Content::Database };
        // Before the header: a checkpoint that makes the file shorter writes the header first.
        let Ok(length) = file.metadata().map(|file| file.len()) else { return Content::Database };
        let mut head = [0; 32];
        match file.read_exact_at(&mut head, 0) {
            Ok(()) if head.starts_with(b"SQLite format 3\0") && head[18..20] == [2, 2] => {}
            Err(error) if error.kind() != io::ErrorKind::UnexpectedEof => return Content::Database,
            _ => return Content::Other,
        }
        let page_size = match u16::from_be_bytes([head[16], head[17]]) {
            1 => 65536,
            size => u64::from(size),
        };
        let pages = u32::from_be_bytes([head[28], head[29], head[30], head[31]]);
        // One that makes the file longer writes the header first, too, so the file must also have become shorter.
        if length < self.length.load(Ordering::Relaxed) && length < page_size * u64::from(pages) {
            return Content::Cut;
        }
        self.length.store(length, Ordering::Relaxed);
        Content::Database
    }

    /// Returns whether this is the locked file.
    pub(in crate::store::sqlite) fn holds(&self, id: FileId) -> bool {
        self.database.as_ref().is_some_and(|(_, held)| *held == id)
    }
}

/// Returns whether the file system turns a `flock` into a POSIX lock on its server. It would conflict with SQLite's own
/// locks there, so the lock file must suffice.
fn turns_locks_into_posix_ones(file: &File) -> bool {
    const NFS: i64 = 0x6969;
    const SMB: [i64; 3] = [0x517b, 0xff53_4d42, 0xfe53_4d42];
    const PLAN_9: i64 = 0x0102_1997;
    rustix::fs::fstatfs(file).is_ok_and(|system| {
        #[allow(clippy::unnecessary_cast, reason = "its type differs by machine")]
        let kind = system.f_type as i64;
        kind == NFS || kind == PLAN_9 || SMB.contains(&kind)
    })
}
