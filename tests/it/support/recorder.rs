//! The recorder: a small library in C, preloaded into the real binary, that writes down what the process does to its
//! database's files and what it answers, in one order, or kills it at a sync.
//!
//! `tests/powercut/recorder.c` says what is recorded and how.

use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

/// The compiled recorder and the place of its log. Both go when it goes.
pub(crate) struct Recorder {
    folder: TempDir,
}

/// Moment at which a sync that is to kill the process does so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Moment {
    BeforeSync,
    AfterSync,
}

/// An operation of the process. Names are those of files in the database's folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Event {
    Created(String),
    Written { name: String, offset: usize, data: Vec<u8> },
    Resized { name: String, length: usize },
    Synced(String),
    FolderSynced,
    Removed(String),
    Renamed { from: String, to: String },
    Answered(Vec<u8>),
}

impl Recorder {
    /// Compiles the recorder. A machine without a C compiler fails the test: SQLite itself needs one to be built.
    pub(crate) fn build() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let built = Command::new("cc")
            .args(["-shared", "-fPIC", "-O1", "-Wall", "-Wextra", "-pthread", "-o"])
            .arg(folder.path().join("recorder.so"))
            .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/powercut/recorder.c"))
            .status()
            .expect("the C compiler starts");
        assert!(built.success(), "the recorder compiles");
        Self { folder }
    }

    fn log(&self) -> PathBuf {
        self.folder.path().join("log")
    }

    /// The command, to be recorded. What several processes do one after another goes into one log.
    pub(crate) fn recording(&self, command: Command, database_folder: &Path) -> Command {
        let mut command = self.watching(command, database_folder);
        command.env("RECORDER_LOG", self.log());
        command
    }

    /// The command, to be killed in its `n`-th sync of a file in the folder, counted from 1.
    pub(crate) fn killing(&self, command: Command, database_folder: &Path, n: usize, moment: Moment) -> Command {
        let mut command = self.watching(command, database_folder);
        let when = if moment == Moment::BeforeSync { "before" } else { "after" };
        command.env("RECORDER_KILL_AT", n.to_string()).env("RECORDER_KILL_WHEN", when);
        command
    }

    fn watching(&self, mut command: Command, database_folder: &Path) -> Command {
        // SQLite resolves links in the path it is given, and so must what its paths are compared with.
        let watched = database_folder.canonicalize().expect("the folder exists");
        command.env("LD_PRELOAD", self.folder.path().join("recorder.so")).env("RECORDER_FOLDER", watched);
        command
    }

    /// All that was recorded. The processes must have ended.
    pub(crate) fn events(&self) -> Vec<Event> {
        let log = std::fs::read(self.log()).expect("something was recorded");
        let mut rest = log.as_slice();
        let mut events = Vec::new();
        while !rest.is_empty() {
            events.push(read_event(&mut rest).expect("the log ends with a whole record"));
        }
        events
    }
}

fn read_event(rest: &mut &[u8]) -> Option<Event> {
    let mut number = || {
        let (number, tail) = rest.split_first_chunk::<8>()?;
        *rest = tail;
        usize::try_from(u64::from_ne_bytes(*number)).ok()
    };
    let [kind, offset, name_length, data_length] = [number()?, number()?, number()?, number()?];
    let (name, tail) = rest.split_at_checked(name_length)?;
    let (data, tail) = tail.split_at_checked(data_length)?;
    *rest = tail;
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_owned()).ok();
    let name = text(name)?;
    Some(match kind {
        1 => Event::Created(name),
        2 => Event::Written { name, offset, data: data.to_owned() },
        3 => Event::Resized { name, length: offset },
        4 if name.is_empty() => Event::FolderSynced,
        4 => Event::Synced(name),
        5 => Event::Removed(name),
        6 => Event::Renamed { from: name, to: text(data)? },
        7 => Event::Answered(data.to_owned()),
        _ => return None,
    })
}
