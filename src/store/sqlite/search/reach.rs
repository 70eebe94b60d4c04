//! Which turns a search looks at.

pub(super) const DOING: &str = "searching";

/// Which turns a search looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::store::sqlite) enum Reach {
    /// Those that are indexed, and the newest others.
    Indexed,
    /// All, however long it takes.
    All,
}
