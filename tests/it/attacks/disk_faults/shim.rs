//! The library that makes file operations of the real binary fail; `tests/diskfaults/shim.c` says how.

use crate::support::service::binary;
use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

pub(super) const DATABASE: u32 = 1;
pub(super) const WAL: u32 = 2;
pub(super) const SHM: u32 = 4;

pub(super) const WRITE: u32 = 1;
pub(super) const SYNC: u32 = 2;
pub(super) const TRUNCATE: u32 = 4;
pub(super) const OPEN: u32 = 8;
pub(super) const MAP: u32 = 16;
pub(super) const READ: u32 = 32;

const OPERATIONS: usize = 6;

/// In what way an operation fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    IoError = 1,
    DiskFull,
    Short,
    KillBefore,
    KillAfter,
    KillWithin,
}

/// The operations that fail next.
#[derive(Debug, Clone, Copy)]
pub(super) struct Plan {
    pub(super) files: u32,
    pub(super) operations: u32,
    pub(super) skip: u32,
    pub(super) times: u32,
    pub(super) fault: Fault,
}

/// The compiled library, and the plan that it follows.
pub(super) struct Shim {
    folder: TempDir,
    plan: File,
}

impl Shim {
    pub(super) fn build() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let built = Command::new("cc")
            .args(["-shared", "-fPIC", "-O1", "-Wall", "-Wextra", "-pthread", "-o"])
            .arg(folder.path().join("shim.so"))
            .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/diskfaults/shim.c"))
            .status()
            .expect("the C compiler starts");
        assert!(built.success(), "the library compiles");
        let plan = File::options().create_new(true).read(true).write(true).open(folder.path().join("plan")).unwrap();
        plan.set_len(4096).unwrap();
        Self { folder, plan }
    }

    /// The built binary, whose operations on this database's files may fail.
    pub(super) fn binary(&self, database: &Path) -> Command {
        let path = |name: &str| -> PathBuf { self.folder.path().join(name) };
        let mut command = binary();
        command.env("LD_PRELOAD", path("shim.so")).env("FAULTS_PLAN", path("plan")).env("FAULTS_DATABASE", database);
        command
    }

    pub(super) fn follow(&self, plan: Plan) {
        self.clear();
        for (at, number) in [(4, plan.files), (8, plan.operations), (12, plan.skip), (16, plan.fault as u32)] {
            self.plan.write_all_at(&number.to_ne_bytes(), at).unwrap();
        }
        self.plan.write_all_at(&plan.times.to_ne_bytes(), 0).unwrap();
    }

    /// Nothing fails any more.
    pub(super) fn clear(&self) {
        self.plan.write_all_at(&[0; 4], 0).unwrap();
    }

    /// Returns the numbers of failed operations by kind, on the database, its WAL and its shared memory.
    pub(super) fn hits(&self) -> [[u32; OPERATIONS]; 3] {
        let mut numbers = [0; 3 * OPERATIONS * 4];
        self.plan.read_exact_at(&mut numbers, 20).unwrap();
        let number = |at: usize| u32::from_ne_bytes(*numbers[4 * at..].first_chunk().unwrap());
        std::array::from_fn(|file| std::array::from_fn(|operation| number(file * OPERATIONS + operation)))
    }
}
