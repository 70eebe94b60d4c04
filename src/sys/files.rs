//! Creates and opens files safely, so that no other file is ever touched.
//!
//! - A new file has the mode 0600 whatever the umask, and is never the target of a link.
//! - An existing file is opened without following links and without blocking. It must be a regular file with one name
//!   and belong to this user. A FIFO, device, socket or folder is an error at once.

use super::paths::parent_dir;
use rustix::fs::{OFlags, RenameFlags};
use std::fs::{self, DirBuilder, File, Metadata, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{
    DirBuilderExt as _, FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _,
};
use std::path::Path;

/// Mode of files that this program creates. Nobody else may read them.
pub const MODE: u32 = 0o600;

/// Maximum number of attempts to open a file that appears and disappears.
const MAX_ATTEMPTS: usize = 100;

/// The identity of a file, whatever its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileId {
    device: u64,
    inode: u64,
}

impl FileId {
    /// Returns the identity from a file's metadata.
    pub fn from_metadata(metadata: &Metadata) -> Self {
        Self { device: metadata.dev(), inode: metadata.ino() }
    }
}

/// Creates a new file for reading and writing.
///
/// # Errors
/// The name is taken, even by a broken link, or the operating system refused.
pub fn create(path: &Path) -> io::Result<File> {
    let file = options().create_new(true).mode(MODE).open(path).map_err(|error| with_owner(error, parent_dir(path)))?;
    // The umask may have removed permissions that the owner needs.
    file.set_permissions(Permissions::from_mode(MODE))?;
    Ok(file)
}

/// Opens an existing file of this user for reading and writing. Root may also open a file of `other_owner`.
///
/// # Errors
/// The file does not exist, is no regular file, has several names or another owner, or the operating system refused.
pub fn open_own(path: &Path, other_owner: Option<u32>) -> io::Result<File> {
    let file = open_regular(path, true)?;
    let metadata = file.metadata()?;
    let user = rustix::process::geteuid().as_raw();
    if metadata.nlink() > 1 {
        return Err(refused(path, "has more than one name (hard links), so it is not written"));
    }
    if metadata.uid() != user && !(user == 0 && other_owner == Some(metadata.uid())) {
        return Err(refused(path, &format!("belongs to another user (uid {})", metadata.uid())));
    }
    Ok(file)
}

/// Opens a file of this user as [`open_own`] does, or creates it. Returns whether it is new.
///
/// # Errors
/// Like [`open_own`] and [`create`].
pub fn open_or_create(path: &Path, other_owner: Option<u32>) -> io::Result<(File, bool)> {
    let mut last = io::Error::from(io::ErrorKind::NotFound);
    for _ in 0..MAX_ATTEMPTS {
        match open_own(path, other_owner) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            opened => return opened.map(|file| (file, false)),
        }
        match create(path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => last = error,
            created => return created.map(|file| (file, true)),
        }
    }
    Err(last)
}

/// Opens a regular file for reading, and on request for writing, without following a link and without blocking.
///
/// # Errors
/// The file does not exist, is no regular file, or the operating system refused.
pub fn open_regular(path: &Path, writing: bool) -> io::Result<File> {
    // Checks before opening, because opening a device may have effects.
    expect_regular(path, &fs::symlink_metadata(path)?)?;
    let file = options().write(writing).open(path).map_err(|error| with_owner(error, path))?;
    expect_regular(path, &file.metadata()?)?;
    Ok(file)
}

/// Checks that a file is a regular file.
///
/// # Errors
/// The file is something else, which the error names.
pub fn expect_regular(path: &Path, metadata: &Metadata) -> io::Result<()> {
    let kind = metadata.file_type();
    let what = if kind.is_file() {
        return Ok(());
    } else if kind.is_symlink() {
        "is a symbolic link, not a regular file"
    } else if kind.is_dir() {
        "is a folder, not a regular file"
    } else if kind.is_fifo() {
        "is a FIFO, not a regular file"
    } else if kind.is_socket() {
        "is a socket, not a regular file"
    } else {
        "is a device, not a regular file"
    };
    Err(refused(path, what))
}

/// Adds to a refusal who may use the path, because root may have created it in place of the service's user.
fn with_owner(error: io::Error, path: &Path) -> io::Error {
    let Ok(metadata) = fs::metadata(path) else { return error };
    let user = rustix::process::geteuid().as_raw();
    if error.kind() != io::ErrorKind::PermissionDenied || metadata.uid() == user {
        return error;
    }
    let (owner, mode) = (metadata.uid(), metadata.mode() & 0o777);
    let what = format!("{} belongs to uid {owner} with mode {mode:o}, and this process is uid {user}", path.display());
    io::Error::new(error.kind(), format!("{error}: {what}; give it to this user with chown"))
}

fn refused(path: &Path, what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, format!("{} {what}", path.display()))
}

fn options() -> OpenOptions {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let mut options = OpenOptions::new();
    options.read(true).write(true).custom_flags(i32::try_from(flags.bits()).expect("flags fit"));
    options
}

/// Creates a folder and its parents for this user only. An existing folder stays unchanged.
///
/// # Errors
/// The operating system refused.
pub fn create_folder(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    DirBuilder::new().recursive(true).mode(0o700).create(path)?;
    // The umask may have removed permissions that the owner needs.
    fs::set_permissions(path, Permissions::from_mode(0o700))
}

/// Gives a file that root created to the owner of another file, so that a service of that user can use it.
///
/// # Errors
/// The operating system refused.
pub fn give_to_owner_of(file: &File, other: &Metadata) -> io::Result<()> {
    if !rustix::process::geteuid().is_root() {
        return Ok(());
    }
    std::os::unix::fs::fchown(file, Some(other.uid()), Some(other.gid()))
}

/// Renames a file without replacing another one.
///
/// # Errors
/// The name is taken, or the operating system refused.
pub fn rename_new(from: &Path, to: &Path) -> io::Result<()> {
    match rename_with(from, to, RenameFlags::NOREPLACE) {
        Err(error) if lacks_flags(&error) => {
            fs::hard_link(from, to)?;
            fs::remove_file(from)
        }
        done => done,
    }
}

/// Exchanges the names of two files in one step.
///
/// # Errors
/// One of them does not exist, the file system does not support it ([`lacks_flags`]), or the operating system refused.
pub fn exchange(one: &Path, other: &Path) -> io::Result<()> {
    rename_with(one, other, RenameFlags::EXCHANGE)
}

/// Returns whether an error means that the file system only supports plain renames.
pub fn lacks_flags(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported)
}

fn rename_with(from: &Path, to: &Path, flags: RenameFlags) -> io::Result<()> {
    Ok(rustix::fs::renameat_with(rustix::fs::CWD, from, rustix::fs::CWD, to, flags)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixListener;
    use std::process::Command;

    #[test]
    fn a_new_file_is_its_owners_alone_and_never_behind_a_link() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new");
        let file = create(&path).unwrap();
        assert_eq!(file.metadata().unwrap().mode() & 0o777, 0o600);
        assert_eq!(create(&path).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(folder.path().join("nowhere"), &link).unwrap();
        assert_eq!(create(&link).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert!(open_or_create(&link, None).is_err());
        assert!(!folder.path().join("nowhere").exists());
        create_folder(&folder.path().join("a/b")).unwrap();
        assert_eq!(fs::metadata(folder.path().join("a/b")).unwrap().mode() & 0o777, 0o700);
    }

    #[test]
    fn only_a_regular_file_with_one_name_is_opened_and_nothing_is_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::write(at("file"), "kept").unwrap();
        open_own(&at("file"), None).unwrap();
        fs::hard_link(at("file"), at("twin")).unwrap();
        std::os::unix::fs::symlink(at("file"), at("link")).unwrap();
        fs::create_dir(at("folder")).unwrap();
        assert!(Command::new("mkfifo").arg(at("fifo")).status().unwrap().success());
        let _socket = UnixListener::bind(at("socket")).unwrap();
        for name in ["file", "twin", "link", "folder", "fifo", "socket"] {
            let error = open_or_create(&at(name), None).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput, "{name}");
            assert!(error.to_string().contains(at(name).to_str().unwrap()), "{error}");
        }
        assert!(open_own(Path::new("/dev/null"), None).is_err());
        assert_eq!(fs::read(at("file")).unwrap(), b"kept");
    }

    #[test]
    fn a_rename_to_a_name_that_is_taken_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::write(at("one"), "1").unwrap();
        fs::write(at("two"), "2").unwrap();
        assert_eq!(rename_new(&at("one"), &at("two")).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        exchange(&at("one"), &at("two")).unwrap();
        assert_eq!(fs::read(at("one")).unwrap(), b"2");
        rename_new(&at("one"), &at("three")).unwrap();
        assert_eq!(fs::read(at("three")).unwrap(), b"2");
        assert!(!at("one").exists());
    }
}
