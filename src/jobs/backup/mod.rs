//! Backups that the service makes by itself.

mod file_name;
mod rotation;

pub use rotation::{Backups, LATEST, Periodic, Plan, name, remove_leftovers};
