//! The SQLite store: one database file, one writing connection, and a pool of reading connections.
//!
//! - **Durability.** The writing connection uses WAL mode with `synchronous=FULL`, so a commit that returned is on
//!   disk. Only this connection runs checkpoints ([`connection::checkpoint`]). `cp` of a database in use is no valid
//!   copy; `backup` makes one.
//! - **Reads.** Readers open the file read-only. Each read is one short snapshot with a time limit, because an open
//!   snapshot prevents a checkpoint from finishing.
//! - **Ownership.** A lock file beside the database and a lock on the database itself keep a second service away
//!   ([`connection::lock`]). A commit is acknowledged only if the files are still at their path
//!   ([`connection::place`]).
//! - **Search.** The search index is a separate file beside the database ([`search`]).

mod archive;
mod batch;
mod call_filter;
mod call_stats;
mod calls;
mod change_feed;
mod connection;
mod database;
mod drivers;
mod due;
mod erase;
mod error;
mod events;
mod expired;
#[cfg(feature = "fuzz")]
#[doc(hidden)]
pub mod fuzz;
mod held;
mod json_column;
mod maintenance;
mod material;
mod quarantine;
mod records;
mod row;
mod search;
mod tool_calls;

pub use archive::read::ReadOnly;
pub use connection::open_error::OpenError;
pub use connection::options::Options;
pub use database::SqliteStore;
use held::WriterState;
pub use maintenance::backup::{backup, expect_no_wal};
pub use maintenance::check::{check, for_each_call};
pub use maintenance::replace::{Replacement, ReplacementReport};
pub use search::search_file;

use super::{
    Archive, Backlog, BackupSource, CallFilter, CallPageRequest, ChangeBatch, ChangedCalls, Commands, DatabaseSizes,
    Due, ErasedSlice, ExpiredCall, ExpiredCallQuery, ExpiredEvent, Feed, FeedPosition, Forgotten, HitPage, Maintenance,
    NamingEvent, Outcome, Page, Reads, Result, Scope, SearchQuery, TurnQuery, Unfinished, UnreadEvents, Write,
};
use crate::domain::reconcile::Material;
use crate::domain::{
    Call, CallStats, ConversationId, Dispatch, Driver, DriverId, PhoneNumber, PlacedToolCall, StoredEvent, Timestamp,
    Turn,
};
use crate::telemetry::metrics::METRICS;
use batch::change_log::ChangeLog;
use connection::checkpoint::WalOwner;
use error::Context as _;
use rusqlite::{Connection, Transaction, TransactionBehavior};
use search::Reach;
use std::collections::{BTreeSet, HashSet};
use std::io;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

impl Commands for SqliteStore {
    fn apply(&self, now: Timestamp, batch: &[Write]) -> Result<Vec<Outcome>> {
        let mut writing = self.writer()?;
        let WriterState { connection, live, .. } = &mut *writing;
        self.place.check_if_lost()?;
        let mut settled = archive::check_long_calls(connection, batch)?;
        let transaction = begin(connection)?;
        let mut turns = batch::turns::Batch::begin(&transaction, live, now)?;
        let mut outcomes = Vec::with_capacity(batch.len());
        for (n, write) in batch.iter().enumerate() {
            if let Some(outcome) = settled.remove(&n) {
                outcomes.push(outcome);
                continue;
            }
            if !matches!(write, Write::AppendTurn(_)) {
                turns.flush(&transaction)?;
                turns.changes.begin(&transaction)?;
            }
            outcomes.push(match write {
                Write::AppendTurn(turn) => turns.append(&transaction, turn)?,
                Write::PutDrivers(drivers) => drivers::put(&transaction, now, drivers)?,
                Write::DeleteDriver(id) => drivers::delete(&transaction, now, *id)?,
                Write::PutDispatches(dispatches) => drivers::put_dispatches(&transaction, now, dispatches)?,
                Write::DeleteDispatch(id) => drivers::delete_dispatch(&transaction, id)?,
                Write::ChangeCall(id, change) => calls::change(&transaction, now, id, change)?,
                Write::EraseCall(id) => {
                    turns.remove(id);
                    erase::call(&transaction, now, id)?
                }
                Write::PruneCall(id, before) => {
                    turns.remove(id);
                    erase::erase_expired_call(&transaction, id, *before)?
                }
                Write::PruneEvents(ids) => erase::events(&transaction, ids)?,
                Write::PruneDispatches(ids) => erase::dispatches(&transaction, ids)?,
                Write::KeepEvent(event) => events::store_event(&transaction, &mut turns, now, event)?,
                Write::ReplayEvent(id, event) => events::replace_parsed(&transaction, &mut turns, now, *id, event)?,
                Write::KeepHistory(report) => events::store_history(&transaction, &mut turns, report)?,
                Write::Reconcile(reconciliation) => turns.settle(&transaction, now, reconciliation)?,
                Write::EndStaleCalls(before) => calls::end_stale(&transaction, now, *before)?,
                Write::Restore(archived) => archive::restore(&transaction, archived)?,
                Write::GoOnRestoring(call, restored) => archive::restore_next_slice(&transaction, call, *restored)?,
                Write::Probe => connection::probe::check_writable(&transaction)?,
            });
        }
        turns.flush(&transaction)?;
        turns.changes.compact(&transaction)?;
        let started = Instant::now();
        transaction.commit().context("committing")?;
        METRICS.commit_duration_seconds.observe(started.elapsed().as_secs_f64());
        turns.committed();
        // A commit into files that are no longer at their path does not count as stored.
        self.check_place()?;
        Ok(outcomes)
    }

    fn go_on_erasing(&self, which: Unfinished<'_>) -> Result<Option<ErasedSlice>> {
        let mut writing = self.writer()?;
        let WriterState { connection, live, .. } = &mut *writing;
        self.place.check_if_lost()?;
        let transaction = begin(connection)?;
        let mut changes = ChangeLog::default();
        changes.begin(&transaction)?;
        let erased = erase::erase_next_slice(&transaction, which)?;
        if let Some(slice) = &erased {
            live.remove(&slice.conversation_id);
        }
        changes.compact(&transaction)?;
        transaction.commit().context("committing")?;
        self.check_place()?;
        Ok(erased)
    }
}

impl Reads for SqliteStore {
    fn call(&self, id: &ConversationId) -> Result<Option<Call>> {
        calls::get(&*self.readers.get()?, id)
    }

    fn calls(&self, request: &CallPageRequest) -> Result<Page<Call>> {
        calls::list(&mut *self.readers.get()?, request)
    }

    fn turns(&self, query: &TurnQuery) -> Result<Option<Page<Turn>>> {
        batch::turns::list(&mut *self.readers.get()?, query)
    }

    fn tool_calls(&self, id: &ConversationId) -> Result<Vec<PlacedToolCall>> {
        tool_calls::list(&*self.readers.get()?, id)
    }

    fn search(&self, query: &SearchQuery) -> Result<HitPage> {
        let (found, is_broken) = search::find(&mut *self.readers.get()?, &self.options.path, query, Reach::Indexed)?;
        if is_broken {
            self.index_is_broken.store(true, Ordering::Relaxed);
        }
        Ok(found)
    }

    fn due(&self, noted_after: i64, noted_until: i64, limit: usize) -> Result<Due> {
        self.read_due(|connection| due::list(connection, noted_after, noted_until, limit))
    }

    fn material(&self, id: &ConversationId) -> Result<Option<Material>> {
        self.read_due(|connection| material::read(connection, id))
    }

    fn driver(&self, id: DriverId) -> Result<Option<Driver>> {
        drivers::get(&*self.readers.get()?, id)
    }

    fn drivers_by_ids(&self, ids: &BTreeSet<DriverId>) -> Result<Vec<Driver>> {
        drivers::by_ids(&*self.readers.get()?, ids)
    }

    fn drivers(&self, after: Option<DriverId>, limit: usize, with_total: bool) -> Result<Page<Driver>> {
        drivers::list(&mut *self.readers.get()?, after, limit, with_total)
    }

    fn event(&self, id: i64) -> Result<Option<StoredEvent>> {
        events::get(&*self.readers.get()?, id)
    }

    fn event_ids(&self, after: i64, only_unreadable: bool, limit: usize) -> Result<Vec<i64>> {
        events::ids(&*self.readers.get()?, after, only_unreadable, limit)
    }

    fn unread_events(&self) -> Result<UnreadEvents> {
        events::unread(&*self.readers.get()?)
    }

    fn dispatch(&self, id: &ConversationId) -> Result<Option<Dispatch>> {
        drivers::get_dispatch(&*self.readers.get()?, id)
    }

    fn figures(&self, filter: &CallFilter, each: &mut dyn FnMut(&CallStats)) -> Result<()> {
        call_stats::for_each_call(&mut *self.readers.get()?, filter, each)
    }

    fn is_erased(&self, id: &ConversationId) -> Result<bool> {
        erase::is_erased(&*self.readers.get()?, id)
    }

    fn newest_arrival(&self) -> Result<Option<Timestamp>> {
        expired::newest_arrival(&*self.readers.get()?)
    }

    fn old_calls(&self, query: &ExpiredCallQuery) -> Result<Vec<ExpiredCall>> {
        expired::expired_calls(&*self.readers.get()?, query)
    }

    fn old_events(&self, before: Timestamp, after: i64, limit: usize) -> Result<(Vec<ExpiredEvent>, Option<i64>)> {
        expired::expired_events(&*self.readers.get()?, before, after, limit)
    }

    fn events_naming(&self, calls: &HashSet<ConversationId>, after: i64) -> Result<(Vec<NamingEvent>, Option<i64>)> {
        quarantine::events_naming(&*self.readers.get()?, calls, after)
    }

    fn old_dispatches(
        &self,
        before: Timestamp,
        after: Option<&ConversationId>,
        limit: usize,
    ) -> Result<Vec<ConversationId>> {
        expired::expired_dispatches(&*self.readers.get()?, before, after, limit)
    }

    fn dispatches_of(&self, id: DriverId, number: Option<&PhoneNumber>, limit: usize) -> Result<Vec<ConversationId>> {
        expired::dispatches_of(&*self.readers.get()?, id, number, limit)
    }

    fn open_calls(&self, at_most: u32) -> Result<u64> {
        calls::count_open(&*self.readers.get()?, at_most)
    }
}

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

impl Maintenance for SqliteStore {
    fn in_place(&self) -> Result<()> {
        let writing = self.writer()?;
        let checked = self.check_place();
        if checked.is_err() && self.lock.is_some() && self.place.only_log_is_gone() {
            connection::checkpoint::rescue(&writing.connection);
        }
        checked
    }

    fn rest(&self) -> Result<bool> {
        self.check_place()?;
        let writing = self.writer()?;
        let index = writing.index.idle();
        let database = if self.folds {
            connection::checkpoint::checkpoint_truncate(
                &writing.connection,
                WalOwner::Database,
                self.options.busy_timeout,
            )
        } else {
            connection::checkpoint::warn_if_wal_large(&self.options.path);
            Ok(true)
        };
        Ok(database? & index?)
    }

    fn forget(&self, wait: Duration) -> Result<Forgotten> {
        const CONTEXT: &str = "purging erased words from the search index";
        self.check_place()?;
        let WriterState { index, connection, .. } = &mut *self.writer()?;
        connection.busy_timeout(Duration::ZERO).context(CONTEXT)?;
        let index = index.forget(connection, wait);
        connection.busy_timeout(self.options.busy_timeout).context(CONTEXT)?;
        // The database is purged even if the search index could not be.
        let database =
            connection::checkpoint::purge_erased(connection, WalOwner::Database, wait, self.options.busy_timeout)?;
        Ok(if database { index? } else { index.and(Ok(Forgotten::Held))? })
    }

    fn catch_up(&self) -> Result<Backlog> {
        self.check_place()?;
        let WriterState { index, connection, .. } = &mut *self.writer()?;
        if self.index_is_broken.swap(false, Ordering::Relaxed) {
            index.discard();
        }
        // Does not wait for the write lock, because new turns would wait as well.
        connection.busy_timeout(Duration::ZERO).context("indexing turns for search")?;
        let left = index.catch_up(connection);
        connection.busy_timeout(self.options.busy_timeout).context("indexing turns for search")?;
        left
    }

    fn copier(&self) -> BackupSource {
        self.copier.clone()
    }

    fn archive(&self) -> Result<Option<Box<dyn Archive>>> {
        self.check_place()?;
        Ok(Some(Box::new(ReadOnly::open(&self.options.path)?)))
    }

    fn sizes(&self) -> io::Result<DatabaseSizes> {
        connection::checkpoint::sizes(&self.options.path)
    }
}

/// Begins a write transaction.
fn begin(connection: &mut Connection) -> Result<Transaction<'_>> {
    if !connection.is_autocommit() {
        connection.execute_batch("ROLLBACK").context("rolling back an abandoned transaction")?;
    }
    // Dropping an uncommitted transaction rolls it back. SQLite may already have done that itself after a full disk or
    // an I/O error.
    connection
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .context("waiting for the database's write lock")
}
