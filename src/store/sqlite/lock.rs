//! The locks that keep a second service away from a database.
//!
//! `<database>.lock` is locked by the kernel for as long as the process lives, so that it is free again after a crash
//! without anybody's doing. The file itself stays: removing it would let two processes lock two files of one name.
//!
//! The database's own file is locked too ([`Lock::hold`]), since another path may lead to it, with another lock file. That is
//! a `flock`, which SQLite's own locks (POSIX) do not meet. A process that closes any descriptor of a file loses all its POSIX
//! locks on it. The descriptor therefore stays open until SQLite's connections are closed, and nothing in this process opens
//! the database by itself while there are some.

use super::place;
use crate::files::{self, FileId};
use std::fs::{File, TryLockError};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// Held while a process owns the database.
#[derive(Debug)]
pub(super) struct Lock {
    _file: File,
    /// The database's file, which is only held.
    database: Option<(File, FileId)>,
    /// Its length when it was last looked at, in bytes.
    length: AtomicU64,
}

/// What the database's file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Content {
    /// A database in WAL mode.
    Database,
    /// A database that has lost its end.
    Cut,
    /// Something else.
    Other,
}

/// What came of trying to lock.
pub(super) enum Attempt {
    Locked(Lock),
    /// Another process holds it; its number, when that could be read.
    HeldBy(Option<u32>),
}

pub(super) fn path_beside(database: &Path) -> PathBuf {
    files::beside(database, ".lock")
}

pub(super) fn try_lock(database: &Path) -> io::Result<Attempt> {
    let heir = place::heir(database)?;
    let (mut file, is_new) = files::open_or_create(&path_beside(database), Some(heir.uid()))?;
    if is_new {
        files::give_to_owner_of(&file, &heir)?;
    }
    match file.try_lock() {
        Ok(()) => {
            // The number is only for people: a full disk keeps nobody from the lock.
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
    /// Locks the database's own file, which was opened before any of SQLite's connections, and returns whether it could.
    pub(super) fn hold(&mut self, database: File) -> io::Result<bool> {
        if !turns_locks_into_posix_ones(&database) {
            match database.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Ok(false),
                // Where there is no such lock, the lock file must do.
                Err(TryLockError::Error(error)) if error.kind() == io::ErrorKind::Unsupported => {}
                Err(TryLockError::Error(error)) => return Err(error),
            }
        }
        let id = FileId::of(&database.metadata()?);
        self.database = Some((database, id));
        Ok(true)
    }

    /// Returns what the database's file holds, which may be a copy that was written over it. It is read by the descriptor that is
    /// open anyway. A disk that fails to read it says nothing of what it holds.
    pub(super) fn content(&self) -> Content {
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

    /// Returns whether the file that is locked is this one.
    pub(super) fn holds(&self, id: FileId) -> bool {
        self.database.as_ref().is_some_and(|(_, held)| *held == id)
    }
}

/// Whether a file is on a file system that asks its server for a POSIX lock when it is asked for a `flock`. SQLite's own locks
/// would then wait for that one, and the lock file must do.
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
