//! Presence of other writers.

/// Presence of other writers of a database, for whom long changes pause.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OtherWriters {
    /// Nobody else writes.
    None,
    /// Others may write.
    Some,
}
