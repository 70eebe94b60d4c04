//! Access to the writing connection.

use super::batch::call_cache::CallCache;
use super::search::SearchIndex;
use parking_lot::MutexGuard;
use rusqlite::Connection;
use std::ops::{Deref, DerefMut};

/// A guard of the writing connection.
pub(super) struct WriterGuard<'a>(pub(super) MutexGuard<'a, Option<WriterState>>);

impl Deref for WriterGuard<'_> {
    type Target = WriterState;

    fn deref(&self) -> &WriterState {
        self.0.as_ref().expect("the connection is opened before the guard is created")
    }
}

impl DerefMut for WriterGuard<'_> {
    fn deref_mut(&mut self) -> &mut WriterState {
        self.0.as_mut().expect("the connection is opened before the guard is created")
    }
}

/// The writing connection with its caches.
pub(super) struct WriterState {
    /// Closed before the connection, because the connection must be the last one that has the database open.
    pub(super) index: SearchIndex,
    pub(super) connection: Connection,
    pub(super) live: CallCache,
}
