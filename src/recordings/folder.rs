//! Recordings of calls: where they are kept, under what name, and how one gets there whole or not at all.
//!
//! The platform sends a recording as one JSON body of up to hundreds of megabytes with the audio in base64. It is decoded
//! while it arrives, into a file aside, so that memory stays flat; once it is complete and its sender is verified, the
//! file is synced and renamed. What is under a recording's name is therefore always a whole one.
//!
//! - `body` reads the JSON: bytes in, audio out, no files and no threads.
//! - `intake` carries the pieces that arrive on a connection to the thread that reads and writes.
//!
//! HTTP, signatures and the database are others' affairs.

use crate::domain::ConversationId;
use crate::sys::files;
use sha2::{Digest as _, Sha256};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use tempfile::NamedTempFile;

/// How a file is called while it arrives. No recording's name begins with a full stop.
const ASIDE: (&str, &str) = (".incoming-", ".part");

/// A folder of recordings, which is one service's own.
#[derive(Debug, Clone)]
pub struct Recordings {
    folder: PathBuf,
}

impl Recordings {
    /// Opens a folder, makes it if there is none, and takes away what a killed service left half received there.
    ///
    /// # Errors
    /// The folder cannot be made, read or written.
    pub fn open(folder: &Path) -> io::Result<Self> {
        files::create_folder(folder)?;
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let name = entry.file_name();
            let name = name.to_string_lossy();
            if name.starts_with(ASIDE.0) && name.ends_with(ASIDE.1) {
                fs::remove_file(entry.path())?;
            }
        }
        let recordings = Self { folder: folder.to_owned() };
        // Now rather than when the first recording comes, which the platform sends once. A full disk may have room by then.
        match recordings.aside() {
            Err(error) if error.kind() == io::ErrorKind::StorageFull => {}
            tried => drop(tried?),
        }
        Ok(recordings)
    }

    /// A folder that a service may be using at the same time: what is half received is left to it.
    ///
    /// # Errors
    /// There is no such folder.
    pub fn beside_service(folder: &Path) -> io::Result<Self> {
        fs::read_dir(folder)?;
        Ok(Self { folder: folder.to_owned() })
    }

    /// Where the recording of a call is, if there is one; see [`file_name`].
    pub fn path(&self, conversation_id: &ConversationId) -> PathBuf {
        self.folder.join(file_name(conversation_id))
    }

    /// Opens the recording of a call for reading. No link is followed.
    ///
    /// # Errors
    /// There is none, or it cannot be read.
    pub fn open_one(&self, conversation_id: &ConversationId) -> io::Result<File> {
        files::open_regular(&self.path(conversation_id), false)
    }

    /// Takes a recording away, and says whether there was one.
    ///
    /// # Errors
    /// There is one that cannot be removed.
    pub fn remove(&self, conversation_id: &ConversationId) -> io::Result<bool> {
        match fs::remove_file(self.path(conversation_id)) {
            Ok(()) => self.sync().map(|()| true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// A file aside, which goes away unless it is kept.
    pub(super) fn aside(&self) -> io::Result<NamedTempFile> {
        tempfile::Builder::new().prefix(ASIDE.0).suffix(ASIDE.1).make_in(&self.folder, files::create)
    }

    /// Makes a file that is complete the recording of a call, on disk when this returns. An earlier one is replaced.
    pub(super) fn keep(&self, file: NamedTempFile, conversation_id: &ConversationId) -> io::Result<PathBuf> {
        let path = self.path(conversation_id);
        file.as_file().sync_all()?;
        file.persist(&path).map_err(|failed| failed.error)?;
        self.sync()?;
        Ok(path)
    }

    /// Puts the folder's list of names on disk.
    fn sync(&self) -> io::Result<()> {
        File::open(&self.folder)?.sync_all()
    }
}

/// The name of a call's recording: `<conversation_id>.mp3`, if the identifier is as the platform makes them.
///
/// Identifiers are opaque and may hold anything. One of 1 to 100 lower-case letters, digits, `_` and `-` that begins
/// with a letter or digit stands for itself. Any other becomes at most 40 of its letters and digits, in lower case and
/// with `_` for all else, then `~` and the first 32 hexadecimal digits of its SHA-256. So no name leaves the folder,
/// is hidden or too long, and no two calls share one, also where file systems do not tell `A` from `a`.
pub fn file_name(conversation_id: &ConversationId) -> String {
    let id = conversation_id.as_str();
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    if id.len() <= 100 && id.starts_with(plain) && id.chars().all(|c| plain(c) || c == '_' || c == '-') {
        return format!("{id}.mp3");
    }
    let readable: String =
        id.chars().take(40).map(|c| c.to_ascii_lowercase()).map(|c| if plain(c) { c } else { '_' }).collect();
    let digest = Sha256::digest(id.as_bytes());
    let digits = digest.iter().take(16).fold(String::new(), |digits, byte| digits + &format!("{byte:02x}"));
    format!("{readable}~{digits}.mp3")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(id: &str) -> String {
        file_name(&ConversationId::new(id).unwrap())
    }

    #[test]
    fn the_platforms_identifiers_stand_for_themselves() {
        assert_eq!(name("conv_1901kaj4pr1penza6bbkscg6hgkc"), "conv_1901kaj4pr1penza6bbkscg6hgkc.mp3");
        assert_eq!(name("7"), "7.mp3");
    }

    #[test]
    fn no_identifier_leaves_the_folder_or_hides_in_it() {
        let long = "x".repeat(256);
        let wide = "界".repeat(256);
        let odd = ["..", ".", "../../etc/passwd", "/etc/passwd", "a/b", "a\\b", ".hidden", "-rf", "a b", "a\nb", "~x"];
        for id in odd.into_iter().chain([&*long, &*wide, "a.mp3", "é", ".incoming-x.part"]) {
            let name = name(id);
            let stem = name.strip_suffix(".mp3").unwrap();
            assert!(stem.len() < 100, "{id:?} gives {name:?}");
            assert!(stem.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_'), "{id:?} gives {name:?}");
            let safe = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "_-~".contains(c);
            assert!(stem.chars().all(safe), "{id:?} gives {name:?}");
        }
    }

    #[test]
    fn different_identifiers_have_names_that_differ_in_any_case() {
        let taken = name("CONV_1");
        let ids = ["conv_1", "CONV_1", "Conv_1", "conv 1", "conv_1 ", "conv/1", taken.strip_suffix(".mp3").unwrap()];
        let names: std::collections::HashSet<_> = ids.iter().map(|id| name(id).to_lowercase()).collect();
        assert_eq!(names.len(), ids.len());
    }
}
