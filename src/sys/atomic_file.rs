//! Atomic files: a file gets its name when it is complete.
//!
//! The content is written to `<name>.partial` in the same folder. The writing process holds a lock on that file, so two
//! processes cannot write the same file, and a leftover of a killed process differs from a file in progress. The next
//! process that writes the file reuses the leftover. A complete file that is on disk gets its name in one step, so the
//! file never has both names.
//!
//! Small files do not need the lock. [`write()`] and [`write_new`] write them to a file with a random name first.

use super::files::{self, FileId};
use super::paths::{parent_dir, sync_parent_dir, with_suffix};
use std::fs::{self, File, Permissions, TryLockError};
use std::io::{self, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use tempfile::NamedTempFile;
use thiserror::Error;

/// Creates or replaces a small file, which only its owner may access. It is on disk when this returns.
///
/// A symbolic link of that name is replaced, not followed.
///
/// # Errors
/// The operating system refused. An existing file stays in place then.
pub fn write(path: &Path, content: &[u8]) -> io::Result<()> {
    persist(temporary(path, content)?, path)
}

/// Creates a small file with a name that must not be taken. Otherwise like [`write()`].
///
/// # Errors
/// The name is taken, or the operating system refused.
pub fn write_new(path: &Path, content: &[u8]) -> io::Result<()> {
    let file = temporary(path, content)?;
    file.as_file().sync_all()?;
    file.persist_noclobber(path)?;
    sync_parent_dir(path)
}

/// Gives a complete temporary file its name, replacing an existing file. It is on disk when this returns.
///
/// # Errors
/// The operating system refused. An existing file stays in place then.
pub fn persist(file: NamedTempFile, path: &Path) -> io::Result<()> {
    file.as_file().sync_all()?;
    file.persist(path)?;
    sync_parent_dir(path)
}

/// Writes a temporary file in the folder of `path`. It is created with `O_EXCL` and mode 0600.
fn temporary(path: &Path, content: &[u8]) -> io::Result<NamedTempFile> {
    let mut file = NamedTempFile::new_in(parent_dir(path))?;
    file.write_all(content)?;
    Ok(file)
}

/// A file in progress. Dropping it removes the file, unless the file got its name.
#[derive(Debug)]
pub struct PartialFile {
    path: PathBuf,
    target: PathBuf,
    file: File,
}

/// Reason why a file was not created.
#[derive(Debug, Error)]
pub enum PartialFileError {
    /// A file of that name exists and is not overwritten.
    #[error("{} exists", .0.display())]
    Exists(PathBuf),
    /// Another process is writing a file of that name.
    #[error("{} is being written by another process", .0.display())]
    InProgress(PathBuf),
    /// The operating system refused.
    #[error("cannot create {path}: {1}", path = .0.display())]
    Io(PathBuf, io::Error),
}

/// Returns the path of the file in progress.
fn partial_path(target: &Path) -> PathBuf {
    with_suffix(target, ".partial")
}

impl PartialFile {
    /// Begins a file with a name that must not be taken.
    ///
    /// # Errors
    /// See [`PartialFileError`].
    pub fn new(target: &Path) -> Result<Self, PartialFileError> {
        // Fails now rather than when the work is done; `publish` checks again.
        if target.symlink_metadata().is_ok() {
            return Err(PartialFileError::Exists(target.to_owned()));
        }
        Self::over(target)
    }

    /// Begins a file that may replace another one.
    ///
    /// # Errors
    /// See [`PartialFileError`].
    pub fn over(target: &Path) -> Result<Self, PartialFileError> {
        let path = partial_path(target);
        let failed = |error| PartialFileError::Io(target.to_owned(), error);
        loop {
            Self::finish_cut_off(&path, target).map_err(failed)?;
            let (file, _) = files::open_or_create(&path, None).map_err(failed)?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Err(PartialFileError::InProgress(target.to_owned())),
                Err(TryLockError::Error(error)) => return Err(failed(error)),
            }
            // The other process may have removed or renamed the file before it was locked here.
            let own = file.metadata().map_err(failed)?;
            let there = fs::symlink_metadata(&path);
            if there
                .is_ok_and(|there| FileId::from_metadata(&there) == FileId::from_metadata(&own) && there.nlink() == 1)
            {
                file.set_permissions(private()).map_err(failed)?;
                file.set_len(0).map_err(failed)?;
                return Ok(Self { path, target: target.to_owned(), file });
            }
        }
    }

    /// Removes the second name of a finished file whose process was killed before it could. This can only happen on
    /// file systems that lack the rename that fails if the name is taken.
    fn finish_cut_off(path: &Path, target: &Path) -> io::Result<()> {
        let id = |path: &Path| fs::symlink_metadata(path).map(|file| FileId::from_metadata(&file));
        match (id(path), id(target)) {
            (Ok(partial), Ok(finished)) if partial == finished => fs::remove_file(path),
            _ => Ok(()),
        }
    }

    /// Removes the leftover of a killed process, if there is one.
    pub fn remove_leftover(target: &Path) {
        if partial_path(target).symlink_metadata().is_ok() {
            // Dropping removes it. A file in progress cannot be opened and stays.
            drop(Self::over(target));
        }
    }

    /// Returns the present path of the file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the future path of the file.
    pub fn target(&self) -> &Path {
        &self.target
    }

    /// Returns the file, for reading and writing.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Gives the file the permissions of another file.
    ///
    /// # Errors
    /// The operating system refused.
    pub fn permit_as(&self, other: &Path) -> io::Result<()> {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = fs::metadata(other)?.permissions().mode() & 0o777;
        self.file.set_permissions(Permissions::from_mode(mode))
    }

    /// Syncs the file and gives it its name.
    ///
    /// # Errors
    /// The name was taken meanwhile, or the operating system refused. There is no file with that name then, unless
    /// another process created it.
    pub fn publish(self) -> Result<(), PartialFileError> {
        let failed = |error| PartialFileError::Io(self.target.clone(), error);
        self.file.sync_all().map_err(failed)?;
        files::rename_new(&self.path, &self.target).map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => PartialFileError::Exists(self.target.clone()),
            _ => failed(error),
        })?;
        sync_parent_dir(&self.target).map_err(failed)
    }

    /// Syncs the file and gives it its name, replacing an existing file.
    ///
    /// # Errors
    /// The operating system refused. An existing file stays in place then.
    pub fn replace(self) -> Result<(), PartialFileError> {
        let failed = |error| PartialFileError::Io(self.target.clone(), error);
        self.file.sync_all().map_err(failed)?;
        fs::rename(&self.path, &self.target).map_err(failed)?;
        sync_parent_dir(&self.target).map_err(failed)
    }

    /// Returns the file and removes its name at once. The disk space is freed when the returned file is closed.
    ///
    /// # Errors
    /// The operating system refused.
    pub fn nameless(self) -> io::Result<File> {
        self.file.try_clone()
    }
}

/// Returns the permissions of a file in progress, which only its owner may access.
fn private() -> Permissions {
    use std::os::unix::fs::PermissionsExt as _;
    Permissions::from_mode(files::MODE)
}

impl Drop for PartialFile {
    fn drop(&mut self) {
        // A finished file no longer has this name, and another process may use the name already.
        let own = self.file.metadata().map(|own| FileId::from_metadata(&own));
        if own.is_ok_and(|own| fs::symlink_metadata(&self.path).is_ok_and(|there| FileId::from_metadata(&there) == own))
        {
            let _ = fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_has_its_name_only_when_it_is_published() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("out");
        let names = || fs::read_dir(&folder).unwrap().map(|e| e.unwrap().file_name()).collect::<Vec<_>>();
        drop(PartialFile::new(&target).unwrap());
        assert!(names().is_empty(), "{:?}", names());
        let partial = PartialFile::new(&target).unwrap();
        partial.file().write_all(b"whole").unwrap();
        assert!(matches!(PartialFile::new(&target), Err(PartialFileError::InProgress(_))));
        assert_eq!(names(), ["out.partial"]);
        partial.publish().unwrap();
        assert_eq!(names(), ["out"]);
        assert!(matches!(PartialFile::new(&target), Err(PartialFileError::Exists(_))));
        let partial = PartialFile::over(&target).unwrap();
        partial.file().write_all(b"newer").unwrap();
        partial.replace().unwrap();
        assert_eq!(fs::read(&target).unwrap(), b"newer");
        assert_eq!(names(), ["out"]);
    }

    #[test]
    fn a_small_file_is_its_owners_alone_and_replaces_a_link_instead_of_following_it() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let (target, elsewhere) = (folder.path().join("out"), folder.path().join("elsewhere"));
        fs::write(&elsewhere, "another's").unwrap();
        std::os::unix::fs::symlink(&elsewhere, &target).unwrap();
        assert_eq!(write_new(&target, b"new").unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        for words in ["first", "second"] {
            write(&target, words.as_bytes()).unwrap();
            assert_eq!(fs::read_to_string(&target).unwrap(), words);
            let metadata = fs::symlink_metadata(&target).unwrap();
            assert!(metadata.is_file() && metadata.permissions().mode() & 0o777 == 0o600, "{metadata:?}");
        }
        assert_eq!(write_new(&target, b"third").unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read_to_string(&target).unwrap(), "second");
        assert_eq!(fs::read_to_string(&elsewhere).unwrap(), "another's");
        write_new(&folder.path().join("fresh"), b"fourth").unwrap();
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 3, "temporary files are gone");
    }

    #[test]
    fn what_a_killed_process_left_is_taken_over_or_removed_and_what_is_being_made_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("out");
        fs::write(folder.path().join("out.partial"), "left behind").unwrap();
        let partial = PartialFile::new(&target).unwrap();
        assert_eq!(partial.file().metadata().unwrap().len(), 0);
        PartialFile::remove_leftover(&target);
        assert!(partial.path().exists());
        drop(partial);
        fs::write(folder.path().join("out.partial"), "left behind").unwrap();
        PartialFile::remove_leftover(&target);
        assert!(!folder.path().join("out.partial").exists());
    }

    #[test]
    fn a_finished_file_that_still_has_its_second_name_is_never_emptied() {
        let folder = tempfile::tempdir().unwrap();
        let (target, partial) = (folder.path().join("out"), folder.path().join("out.partial"));
        fs::write(&target, "whole").unwrap();
        fs::hard_link(&target, &partial).unwrap();
        PartialFile::remove_leftover(&target);
        assert!(!partial.exists());
        fs::hard_link(&target, &partial).unwrap();
        drop(PartialFile::over(&target).unwrap());
        assert_eq!(fs::read(&target).unwrap(), b"whole");
        // A second name elsewhere belongs to somebody.
        fs::hard_link(&target, folder.path().join("other.partial")).unwrap();
        assert!(matches!(PartialFile::new(&folder.path().join("other")), Err(PartialFileError::Io(..))));
        PartialFile::remove_leftover(&folder.path().join("other"));
        assert_eq!(fs::read(&target).unwrap(), b"whole");
    }

    #[test]
    fn a_link_in_the_place_of_an_unfinished_file_is_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        let precious = folder.path().join("precious");
        fs::write(&precious, "kept").unwrap();
        std::os::unix::fs::symlink(&precious, folder.path().join("out.partial")).unwrap();
        assert!(matches!(PartialFile::new(&folder.path().join("out")), Err(PartialFileError::Io(..))));
        PartialFile::remove_leftover(&folder.path().join("out"));
        assert_eq!(fs::read(&precious).unwrap(), b"kept");
    }

    #[test]
    fn a_name_that_is_taken_meanwhile_is_not_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("out");
        let partial = PartialFile::new(&target).unwrap();
        fs::write(&target, "precious").unwrap();
        assert!(matches!(partial.publish(), Err(PartialFileError::Exists(_))));
        assert_eq!(fs::read(&target).unwrap(), b"precious");
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 1);
    }
}
