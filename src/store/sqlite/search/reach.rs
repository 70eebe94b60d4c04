//! The range of turns that a search looks at.

/// Context of the errors of a search.
pub(super) const CONTEXT: &str = "searching";

/// The turns that a search covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::store::sqlite) enum Reach {
    /// Indexed turns, and the newest others.
    Indexed,
    /// All turns, however long it takes.
    All,
}
