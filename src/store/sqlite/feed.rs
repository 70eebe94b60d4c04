//! The feed of changes, as a part of the store.

use super::change_feed;
use super::database::SqliteStore;
use crate::store::{ChangeBatch, ChangedCalls, Feed, FeedPosition, Result, Scope};

impl Feed for SqliteStore {
    fn head(&self) -> Result<FeedPosition> {
        change_feed::current_position(&*self.readers.get()?)
    }

    fn since(&self, scope: &Scope, after: FeedPosition, until: FeedPosition) -> Result<ChangeBatch> {
        change_feed::changes_since(&mut *self.readers.get()?, scope, after, until)
    }

    fn touched(&self, after: FeedPosition, until: FeedPosition) -> Result<ChangedCalls> {
        change_feed::calls_changed_between(&mut *self.readers.get()?, after, until)
    }
}
