//! Files that get their name once they are whole.
//!
//! What is written goes to `<name>.partial` beside the name that it is to have. There it is locked for as long as its
//! process lives, so that two that make the same file do not meet, and what a killed process left is told from what is
//! being written: the next one that makes this file takes it over. Only a whole file that is on disk gets the name, in one
//! step, so that no moment has it under both names.

use super::files::{self, FileId};
use std::fmt;
use std::fs::{self, File, Permissions, TryLockError};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// A file that is being made. It is removed with this value unless it was given its name.
#[derive(Debug)]
pub struct Aside {
    path: PathBuf,
    target: PathBuf,
    file: File,
}

/// Why a file was not made.
#[derive(Debug)]
pub enum AsideError {
    /// There is a file of that name already, which is not overwritten.
    Exists(PathBuf),
    /// Another process makes a file of that name at this moment.
    BeingMade(PathBuf),
    /// The system refused.
    Io(PathBuf, io::Error),
}

impl fmt::Display for AsideError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exists(path) => write!(f, "{} exists", path.display()),
            Self::BeingMade(path) => write!(f, "{} is being made by another process", path.display()),
            Self::Io(path, error) => write!(f, "cannot make {}: {error}", path.display()),
        }
    }
}

impl std::error::Error for AsideError {}

/// Where the file of this name is while it is being made.
fn path_aside(target: &Path) -> PathBuf {
    files::beside(target, ".partial")
}

impl Aside {
    /// Begins a file that is to have a name that is not taken.
    ///
    /// # Errors
    /// See [`AsideError`].
    pub fn new(target: &Path) -> Result<Self, AsideError> {
        // Said now rather than when the work is done; `publish` looks again.
        if target.symlink_metadata().is_ok() {
            return Err(AsideError::Exists(target.to_owned()));
        }
        Self::over(target)
    }

    /// Begins a file that may take the place of another one.
    ///
    /// # Errors
    /// See [`AsideError`].
    pub fn over(target: &Path) -> Result<Self, AsideError> {
        let path = path_aside(target);
        let failed = |error| AsideError::Io(target.to_owned(), error);
        loop {
            Self::finish_cut_off(&path, target).map_err(failed)?;
            let (file, _) = files::open_or_create(&path, None).map_err(failed)?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Err(AsideError::BeingMade(target.to_owned())),
                Err(TryLockError::Error(error)) => return Err(failed(error)),
            }
            // Its maker may have removed or renamed it before it was locked here.
            let own = file.metadata().map_err(failed)?;
            let there = fs::symlink_metadata(&path);
            if there.is_ok_and(|there| FileId::of(&there) == FileId::of(&own) && there.nlink() == 1) {
                file.set_permissions(private()).map_err(failed)?;
                file.set_len(0).map_err(failed)?;
                return Ok(Self { path, target: target.to_owned(), file });
            }
        }
    }

    /// Takes the second name away from a finished file whose maker was killed before it could, where the file system
    /// cannot rename without replacing.
    fn finish_cut_off(path: &Path, target: &Path) -> io::Result<()> {
        let id = |path: &Path| fs::symlink_metadata(path).map(|file| FileId::of(&file));
        match (id(path), id(target)) {
            (Ok(aside), Ok(finished)) if aside == finished => fs::remove_file(path),
            _ => Ok(()),
        }
    }

    /// Takes away what a killed process left of a file of this name.
    pub fn remove_leftover(target: &Path) {
        if path_aside(target).symlink_metadata().is_ok() {
            // Dropped, it goes. One that is being made is let be.
            drop(Self::over(target));
        }
    }

    /// Where it is now.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The name that it is to have.
    pub fn target(&self) -> &Path {
        &self.target
    }

    /// The file, for reading and writing.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Lets those read and write it who may read and write another file.
    ///
    /// # Errors
    /// The system refused.
    pub fn permit_as(&self, other: &Path) -> io::Result<()> {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = fs::metadata(other)?.permissions().mode() & 0o777;
        self.file.set_permissions(Permissions::from_mode(mode))
    }

    /// Puts the file on disk and gives it its name.
    ///
    /// # Errors
    /// The name has been taken meanwhile, or the system refused. Nothing is left under the name.
    pub fn publish(self) -> Result<(), AsideError> {
        let failed = |error| AsideError::Io(self.target.clone(), error);
        self.file.sync_all().map_err(failed)?;
        files::rename_new(&self.path, &self.target).map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => AsideError::Exists(self.target.clone()),
            _ => failed(error),
        })?;
        files::sync_folder_of(&self.target).map_err(failed)
    }

    /// Puts the file on disk and gives it its name, which it takes from the file that has it now, if there is one.
    ///
    /// # Errors
    /// The system refused; what had the name still has it.
    pub fn replace(self) -> Result<(), AsideError> {
        let failed = |error| AsideError::Io(self.target.clone(), error);
        self.file.sync_all().map_err(failed)?;
        fs::rename(&self.path, &self.target).map_err(failed)?;
        files::sync_folder_of(&self.target).map_err(failed)
    }

    /// The file without a name: it is gone from its folder at once, and from the disk when what is returned is closed.
    ///
    /// # Errors
    /// The system refused.
    pub fn nameless(self) -> io::Result<File> {
        self.file.try_clone()
    }
}

/// For its maker only.
fn private() -> Permissions {
    use std::os::unix::fs::PermissionsExt as _;
    Permissions::from_mode(files::MODE)
}

impl Drop for Aside {
    fn drop(&mut self) {
        // Once it has its name there is none here, or already the next one's, which is another file.
        let own = self.file.metadata().map(|own| FileId::of(&own));
        if own.is_ok_and(|own| fs::symlink_metadata(&self.path).is_ok_and(|there| FileId::of(&there) == own)) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    #[test]
    fn a_file_has_its_name_only_when_it_is_published() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("out");
        let names = || fs::read_dir(&folder).unwrap().map(|e| e.unwrap().file_name()).collect::<Vec<_>>();
        drop(Aside::new(&target).unwrap());
        assert!(names().is_empty(), "{:?}", names());
        let aside = Aside::new(&target).unwrap();
        aside.file().write_all(b"whole").unwrap();
        assert!(matches!(Aside::new(&target), Err(AsideError::BeingMade(_))));
        assert_eq!(names(), ["out.partial"]);
        aside.publish().unwrap();
        assert_eq!(names(), ["out"]);
        assert!(matches!(Aside::new(&target), Err(AsideError::Exists(_))));
        let aside = Aside::over(&target).unwrap();
        aside.file().write_all(b"newer").unwrap();
        aside.replace().unwrap();
        assert_eq!(fs::read(&target).unwrap(), b"newer");
        assert_eq!(names(), ["out"]);
    }

    #[test]
    fn what_a_killed_process_left_is_taken_over_or_removed_and_what_is_being_made_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("out");
        fs::write(folder.path().join("out.partial"), "left behind").unwrap();
        let aside = Aside::new(&target).unwrap();
        assert_eq!(aside.file().metadata().unwrap().len(), 0);
        Aside::remove_leftover(&target);
        assert!(aside.path().exists());
        drop(aside);
        fs::write(folder.path().join("out.partial"), "left behind").unwrap();
        Aside::remove_leftover(&target);
        assert!(!folder.path().join("out.partial").exists());
    }

    #[test]
    fn a_finished_file_that_still_has_its_second_name_is_never_emptied() {
        let folder = tempfile::tempdir().unwrap();
        let (target, partial) = (folder.path().join("out"), folder.path().join("out.partial"));
        fs::write(&target, "whole").unwrap();
        fs::hard_link(&target, &partial).unwrap();
        Aside::remove_leftover(&target);
        assert!(!partial.exists());
        fs::hard_link(&target, &partial).unwrap();
        drop(Aside::over(&target).unwrap());
        assert_eq!(fs::read(&target).unwrap(), b"whole");
        // One whose other name is elsewhere is somebody's.
        fs::hard_link(&target, folder.path().join("other.partial")).unwrap();
        assert!(matches!(Aside::new(&folder.path().join("other")), Err(AsideError::Io(..))));
        Aside::remove_leftover(&folder.path().join("other"));
        assert_eq!(fs::read(&target).unwrap(), b"whole");
    }

    #[test]
    fn a_link_in_the_place_of_an_unfinished_file_is_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        let precious = folder.path().join("precious");
        fs::write(&precious, "kept").unwrap();
        std::os::unix::fs::symlink(&precious, folder.path().join("out.partial")).unwrap();
        assert!(matches!(Aside::new(&folder.path().join("out")), Err(AsideError::Io(..))));
        Aside::remove_leftover(&folder.path().join("out"));
        assert_eq!(fs::read(&precious).unwrap(), b"kept");
    }

    #[test]
    fn a_name_that_is_taken_meanwhile_is_not_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("out");
        let aside = Aside::new(&target).unwrap();
        fs::write(&target, "precious").unwrap();
        assert!(matches!(aside.publish(), Err(AsideError::Exists(_))));
        assert_eq!(fs::read(&target).unwrap(), b"precious");
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 1);
    }
}
