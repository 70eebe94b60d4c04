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
use std::fs::{File, TryLockError};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

/// Ownership of a database by this process.
#[derive(Debug)]
pub(in crate::store::sqlite) struct Lock {
    _file: File,
    /// The database's file, which is open only for its lock.
    database: Option<(File, FileId)>,
}

/// Result of an attempt to lock a database.
pub(in crate::store::sqlite) enum Attempt {
    Locked(Lock),
    /// Another process holds the lock; its process id, if known.
    HeldBy(Option<u32>),
}

pub(in crate::store::sqlite) fn path_beside(database: &Path) -> PathBuf {
    files::beside(database, ".lock")
}

pub(in crate::store::sqlite) fn try_lock(database: &Path) -> io::Result<Attempt> {
    let heir = place::heir(database)?;
    let (mut file, is_new) = files::open_or_create(&path_beside(database), Some(heir.uid()))?;
    if is_new {
        files::give_to_owner_of(&file, &heir)?;
    }
    match file.try_lock() {
        Ok(()) => {
            // The process id is only informative, so a full disk must not prevent the lock.
            let _ =
                file.set_len(0).and_then(|()| file.rewind()).and_then(|()| writeln!(file, "{}", std::process::id()));
            Ok(Attempt::Locked(Lock { _file: file, database: None }))
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
        let id = FileId::of(&database.metadata()?);
        self.database = Some((database, id));
        Ok(true)
    }

    /// Returns whether the database still begins like one in WAL mode, so it was not overwritten by a copy. Reads
    /// through the descriptor that is open anyway. A read error is no evidence, so it counts as true.
    pub(in crate::store::sqlite) fn holds_database(&self) -> bool {
        let Some((file, _)) = &self.database else { return true };
        let mut head = [0; 20];
        match file.read_exact_at(&mut head, 0) {
            Ok(()) => head.starts_with(b"SQLite format 3\0") && head[18..] == [2, 2],
            Err(error) => error.kind() != io::ErrorKind::UnexpectedEof,
        }
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
