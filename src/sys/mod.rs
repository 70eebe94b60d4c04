//! What the operating system offers: files, gzip, priorities, terminals.

pub mod atomic_file;
pub mod files;
pub mod gzip;
pub mod low_priority;
pub mod terminal;
