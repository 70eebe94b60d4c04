//! Services of the operating system: files, gzip, thread priority, terminals.

pub mod atomic_file;
pub mod files;
pub mod gzip;
pub mod low_priority;
pub mod paths;
pub mod terminal;
