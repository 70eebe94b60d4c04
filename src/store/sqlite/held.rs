//! Access to the writing connection.

use super::batch::call_cache::LiveCalls;
use super::search::SearchIndex;
use parking_lot::MutexGuard;
use rusqlite::Connection;
use std::ops::{Deref, DerefMut};

/// A guard of the writing connection.
pub(super) struct Writer<'a>(pub(super) MutexGuard<'a, Option<Writing>>);

impl Deref for Writer<'_> {
    type Target = Writing;

    fn deref(&self) -> &Writing {
        self.0.as_ref().expect("the connection is opened before the guard is created")
    }
}

impl DerefMut for Writer<'_> {
    fn deref_mut(&mut self) -> &mut Writing {
        self.0.as_mut().expect("the connection is opened before the guard is created")
    }
}

/// The writing connection with its caches.
pub(super) struct Writing {
    /// Closed before the connection, because the connection must be the last one that has the database open.
    pub(super) index: SearchIndex,
    pub(super) connection: Connection,
    pub(super) live: LiveCalls,
}
