//! Presence of other writers.

/// Presence of other writers of a database. Long changes pause for them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OtherWriters {
    /// Nobody else writes.
    None,
    /// Others may write.
    Some,
}
