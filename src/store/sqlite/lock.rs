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
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// Held while a process owns the database.
#[derive(Debug)]
pub(super) struct Lock {
    _file: File,
    /// The database's file, which is only held.
    database: Option<(File, FileId)>,
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
    /// Locks the database's own file, which was opened before any of SQLite's connections, and returns whether it could.
    pub(super) fn hold(&mut self, database: File) -> io::Result<bool> {
        match database.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(false),
            // Some network file systems have no such lock; the lock file must do there.
            Err(TryLockError::Error(error)) if error.kind() == io::ErrorKind::Unsupported => {}
            Err(TryLockError::Error(error)) => return Err(error),
        }
        let id = FileId::of(&database.metadata()?);
        self.database = Some((database, id));
        Ok(true)
    }

    /// Returns whether the file that is locked is this one.
    pub(super) fn holds(&self, id: FileId) -> bool {
        self.database.as_ref().is_some_and(|(_, held)| *held == id)
    }
}
