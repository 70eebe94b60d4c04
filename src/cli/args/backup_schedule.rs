//! Flags of `serve` for automatic backups.

use super::values::interval;
use crate::jobs::backup::{BackupSchedule, RotatingBackups};
use clap::Args;
use std::path::PathBuf;
use std::time::Duration;

#[derive(Debug, Args)]
pub(in crate::cli) struct BackupScheduleArgs {
    /// Make a backup at this interval
    #[arg(
        long, env = "TRANSCRIBE_HOOK_BACKUP_EVERY", value_name = "DURATION", value_parser = interval,
        requires = "backup_dir",
    )]
    backup_every: Option<Duration>,
    /// Store backups in this folder; it is created if missing
    #[arg(long, env = "TRANSCRIBE_HOOK_BACKUP_DIR", value_name = "FOLDER")]
    backup_dir: Option<PathBuf>,
    /// Retain this many backups
    #[arg(
        long, env = "TRANSCRIBE_HOOK_BACKUP_KEEP", value_name = "NUMBER", default_value = "7",
        value_parser = clap::value_parser!(u32).range(1..=10_000),
    )]
    backup_keep: u32,
    /// Write the snapshot latest.db beside the database at this interval
    ///
    /// The snapshot is safe to copy with a plain cp.
    #[arg(long, env = "TRANSCRIBE_HOOK_SNAPSHOT_EVERY", value_name = "DURATION", value_parser = interval)]
    snapshot_every: Option<Duration>,
    /// Let Litestream, which must be running, checkpoint the WAL
    #[arg(long, env = "TRANSCRIBE_HOOK_LITESTREAM")]
    litestream: bool,
}

impl BackupScheduleArgs {
    pub(in crate::cli) fn litestream(&self) -> bool {
        self.litestream
    }

    pub(in crate::cli) fn plan(&self) -> BackupSchedule {
        let backups = self.backup_every.zip(self.backup_dir.clone());
        let keep = self.backup_keep as usize;
        BackupSchedule {
            backups: backups.map(|(every, folder)| RotatingBackups { folder, every, keep }),
            snapshot_every: self.snapshot_every,
            folder: self.backup_dir.clone(),
        }
    }
}
