//! The lock file: one service at a time on a database.
//!
//! `<database>.lock` is locked by the kernel for as long as the process lives, so that it is free again after a crash
//! without anybody's doing. The file itself stays: removing it would let two processes lock two files of one name.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::path::{Path, PathBuf};

/// Held while a process owns the database.
#[derive(Debug)]
pub(super) struct Lock {
    _file: File,
}

/// What came of trying to lock.
pub(super) enum Attempt {
    Locked(Lock),
    /// Another process holds it; its number, when that could be read.
    HeldBy(Option<u32>),
}

pub(super) fn path_beside(database: &Path) -> PathBuf {
    let mut name = database.as_os_str().to_owned();
    name.push(".lock");
    name.into()
}

pub(super) fn try_lock(database: &Path) -> io::Result<Attempt> {
    let mut file =
        OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path_beside(database))?;
    match file.try_lock() {
        Ok(()) => {
            file.set_len(0)?;
            file.rewind()?;
            writeln!(file, "{}", std::process::id())?;
            Ok(Attempt::Locked(Lock { _file: file }))
        }
        Err(TryLockError::WouldBlock) => {
            let mut holder = String::new();
            let _ = file.take(32).read_to_string(&mut holder);
            Ok(Attempt::HeldBy(holder.trim().parse().ok()))
        }
        Err(TryLockError::Error(error)) => Err(error),
    }
}
