//! Recordings of calls: their folder, their file names, and atomic writing.
//!
//! ElevenLabs sends a recording as one JSON body of up to hundreds of megabytes, with the audio in base64. The body is
//! decoded into a temporary file while it is being received, so memory is bounded. Once the body is complete and its
//! sender is verified, the file is synced and renamed. So a file with a recording's name is always complete.
//!
//! - `audio_event` parses the JSON: bytes in, audio out, without files and threads.
//! - `upload` passes the pieces from a connection to the thread that parses and writes.
//!
//! If unredacted recordings are stored, an empty hidden file beside a recording marks it as unredacted, because a
//! redacted one that is received later must not replace it.
//!
//! This module does not deal with HTTP, signatures or the database.

use super::audio_event::AudioEvent;
use crate::domain::ConversationId;
use crate::sys::paths::sync_dir;
use crate::sys::{atomic_file, files};
use parking_lot::Mutex;
use sha2::{Digest as _, Sha256};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tempfile::NamedTempFile;

/// Prefix of a temporary file's name. No recording's name begins with a full stop.
const TEMPORARY_PREFIX: &str = ".incoming-";

/// Suffix of a temporary file's name.
const TEMPORARY_SUFFIX: &str = ".part";

/// Suffix of the name of a file that marks a recording as unredacted. The prefix is a full stop.
const UNREDACTED_SUFFIX: &str = ".unredacted";

/// A folder of recordings, which only one service may use.
#[derive(Debug, Clone)]
pub struct Recordings {
    folder: PathBuf,
    /// True if unredacted recordings are stored.
    keep_unredacted: bool,
    /// Held while a recording and its mark are stored or deleted.
    lock: Arc<Mutex<()>>,
}

impl Recordings {
    /// Opens a folder, creates it if missing, and deletes the temporary files of a killed service.
    ///
    /// # Errors
    /// The folder cannot be created, read or written.
    pub fn open(folder: &Path) -> io::Result<Self> {
        files::create_folder(folder)?;
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let name = entry.file_name();
            let name = name.to_string_lossy();
            if name.starts_with(TEMPORARY_PREFIX) && name.ends_with(TEMPORARY_SUFFIX) {
                fs::remove_file(entry.path())?;
            }
        }
        let recordings = Self { folder: folder.to_owned(), keep_unredacted: false, lock: Arc::default() };
        // Detects an unwritable folder at the start, because ElevenLabs sends a recording only once. A full disk is no
        // error here: space may be freed before the first recording.
        match recordings.temporary_file() {
            Err(error) if error.kind() == io::ErrorKind::StorageFull => {}
            tried => drop(tried?),
        }
        Ok(recordings)
    }

    /// Opens a folder that a service may be using. Its temporary files are not deleted.
    ///
    /// # Errors
    /// The folder does not exist.
    pub fn open_shared(folder: &Path) -> io::Result<Self> {
        fs::read_dir(folder)?;
        Ok(Self { folder: folder.to_owned(), keep_unredacted: false, lock: Arc::default() })
    }

    /// Sets whether unredacted recordings are stored. By default they are dropped.
    #[must_use]
    pub fn keeping_unredacted(mut self, keep: bool) -> Self {
        self.keep_unredacted = keep;
        self
    }

    /// Returns the path of a call's recording, which may not exist; see [`file_name`].
    pub fn path(&self, conversation_id: &ConversationId) -> PathBuf {
        self.folder.join(file_name(conversation_id))
    }

    /// Opens the recording of a call for reading, without following a symbolic link.
    ///
    /// # Errors
    /// It does not exist, or cannot be read.
    pub fn open_recording(&self, conversation_id: &ConversationId) -> io::Result<File> {
        files::open_regular(&self.path(conversation_id), false)
    }

    /// Deletes a recording, and returns whether it existed.
    ///
    /// # Errors
    /// The recording exists but cannot be deleted.
    pub fn remove(&self, conversation_id: &ConversationId) -> io::Result<bool> {
        let _lock = self.lock.lock();
        let existed = remove_file(&self.path(conversation_id))?;
        let was_marked = remove_file(&self.unredacted_mark(conversation_id))?;
        if existed || was_marked {
            sync_dir(&self.folder)?;
        }
        Ok(existed)
    }

    /// Returns the path of the file that marks a call's recording as unredacted.
    fn unredacted_mark(&self, conversation_id: &ConversationId) -> PathBuf {
        self.folder.join(format!(".{}{UNREDACTED_SUFFIX}", file_name(conversation_id)))
    }

    /// Deletes a recording on a blocking thread, and returns whether it existed.
    ///
    /// # Errors
    /// The recording exists but cannot be deleted.
    pub async fn remove_async(self, conversation_id: ConversationId) -> io::Result<bool> {
        tokio::task::spawn_blocking(move || self.remove(&conversation_id)).await?
    }

    /// Creates a temporary file, which is deleted when dropped unless it is persisted.
    pub(super) fn temporary_file(&self) -> io::Result<NamedTempFile> {
        tempfile::Builder::new().prefix(TEMPORARY_PREFIX).suffix(TEMPORARY_SUFFIX).make_in(&self.folder, files::create)
    }

    /// Persists a complete file as the recording of a call. It is on disk when this returns.
    ///
    /// A recording of the type `post_call_audio` replaces an earlier one. An unredacted one, if these are stored,
    /// replaces any other, and only another unredacted one replaces it. Other types replace nothing, because they are
    /// not documented. The result does not depend on the order. Returns `None` if the recording was dropped.
    pub(super) fn persist(&self, file: NamedTempFile, event: &AudioEvent) -> io::Result<Option<PathBuf>> {
        let path = self.path(&event.conversation_id);
        let event_type = event.event_type.as_deref().unwrap_or_default().to_ascii_lowercase();
        let mark = self.unredacted_mark(&event.conversation_id);
        let _lock = self.lock.lock();
        if event_type.contains("unredacted") {
            if !self.keep_unredacted {
                return Ok(None);
            }
            // The mark is stored first. After a crash in between, the sender repeats the delivery, which was not
            // acknowledged.
            files::create(&mark).map(drop).or_else(|error| match error.kind() {
                io::ErrorKind::AlreadyExists => Ok(()),
                _ => Err(error),
            })?;
            atomic_file::persist(file, &path)?;
            return Ok(Some(path));
        }
        let prefers_unredacted = self.keep_unredacted && mark.try_exists()?;
        if (event_type != "post_call_audio" || prefers_unredacted) && path.try_exists()? {
            return Ok(None);
        }
        atomic_file::persist(file, &path)?;
        if remove_file(&mark)? {
            sync_dir(&self.folder)?;
        }
        Ok(Some(path))
    }
}

/// Deletes a file, and returns whether it existed.
fn remove_file(path: &Path) -> io::Result<bool> {
    match fs::remove_file(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Returns the name of a call's recording: `<conversation_id>.mp3` for identifiers like ElevenLabs' own.
///
/// Identifiers are opaque and may contain anything. One of 1 to 100 lower-case letters, digits, `_` and `-` that begins
/// with a letter or digit is used unchanged. Any other is converted to at most 40 lower-case letters and digits, with
/// `_` for other characters, followed by `~` and the first 32 hexadecimal digits of its SHA-256. So no name leaves the
/// folder, is hidden or too long, and no two calls share one, even on case-insensitive file systems.
pub fn file_name(conversation_id: &ConversationId) -> String {
    let id = conversation_id.as_str();
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    if id.len() <= 100 && id.starts_with(plain) && id.chars().all(|c| plain(c) || c == '_' || c == '-') {
        return format!("{id}.mp3");
    }
    let readable: String =
        id.chars().take(40).map(|c| c.to_ascii_lowercase()).map(|c| if plain(c) { c } else { '_' }).collect();
    let digits = format!("{:x}", Sha256::digest(id.as_bytes()));
    format!("{readable}~{}.mp3", &digits[..32])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(id: &str) -> String {
        file_name(&ConversationId::new(id).unwrap())
    }

    #[test]
    fn elevenlabs_identifiers_are_used_unchanged() {
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
