//! Backups that the service makes by itself.

mod file_name;
mod rotation;

pub use rotation::{BackupSchedule, LATEST, Periodic, RotatingBackups, name, remove_leftovers};
