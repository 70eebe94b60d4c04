//! The writing connection while somebody holds it.

use super::batch::call_cache::LiveCalls;
use super::search::SearchIndex;
use rusqlite::Connection;
use std::ops::{Deref, DerefMut};
use std::sync::MutexGuard;

/// The writing connection, held.
pub(super) struct Writer<'a>(pub(super) MutexGuard<'a, Option<Writing>>);

impl Deref for Writer<'_> {
    type Target = Writing;

    fn deref(&self) -> &Writing {
        self.0.as_ref().expect("opened before it is held")
    }
}

impl DerefMut for Writer<'_> {
    fn deref_mut(&mut self) -> &mut Writing {
        self.0.as_mut().expect("opened before it is held")
    }
}

/// The writing connection, and what is remembered of what it wrote.
pub(super) struct Writing {
    /// Closed before the connection, so that the latter is the last one that has the database open.
    pub(super) index: SearchIndex,
    pub(super) connection: Connection,
    pub(super) live: LiveCalls,
}
