//! The SQLite store: one file, one writing connection, a pool of reading ones.
//!
//! - The writing connection runs with `synchronous=FULL` in WAL mode, so a commit that returned is on disk. It alone
//!   moves the log into the database file (checkpoints).
//! - Readers open the file read-only; each read is one short snapshot with a time limit, so that no reader keeps the
//!   log from being folded in.
//! - A lock file beside the database keeps a second service away: see [`lock`].
//! - The index behind the search is a file of its own beside the database: see [`search`].
//!
//! How many turns a call has is kept in its row and, for calls that run now, in memory, so the next sequence number
//! costs one look-up or none, whatever the length of the call.

mod align;
mod archive;
mod backup;
mod calls;
mod changes;
mod check;
mod checkpoint;
mod clean_pages;
mod drivers;
mod erase;
mod error;
mod events;
mod figures;
mod identity;
mod live;
mod lock;
mod log_file;
mod migrations;
mod open;
mod pool;
mod repeats;
mod restore;
mod row;
mod search;
mod tail;
mod turns;

pub use archive::ReadOnly;
pub use backup::backup;
pub use check::{check, each_call};
pub use open::{OpenError, Options};
pub use search::search_file;

use super::{
    Archive, CallQuery, Copier, FiguresQuery, Found, OldCall, OldCalls, Outcome, Page, Position, Result, Scope,
    SearchQuery, Since, Sizes, Store, Touched, TurnQuery, Write, Written,
};
use crate::metrics::METRICS;
use crate::model::{
    Call, CallFigures, ConversationId, Dispatch, Driver, DriverId, PhoneNumber, StoredEvent, Timestamp, Turn,
};
use checkpoint::Of;
use error::Context as _;
use live::LiveCalls;
use pool::Readers;
use rusqlite::{Connection, TransactionBehavior};
use search::{Reach, SearchIndex};
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// A database file that is open for the service.
pub struct SqliteStore {
    // Fields are dropped in this order: the writing connection goes last but for the lock, so that it is the one that
    // folds the log in and removes it.
    readers: Readers,
    writer: Mutex<Writing>,
    copier: Copier,
    busy_timeout: Duration,
    /// Whether the log is this service's own to move, and not Litestream's.
    folds: bool,
    path: PathBuf,
    /// Set by a search that finds the search index broken, so that the writer makes it anew.
    index_is_broken: AtomicBool,
    lock: Option<lock::Lock>,
}

/// The writing connection, and what is remembered of what it wrote.
struct Writing {
    /// Closed before the connection, so that the latter is the last one that has the database open.
    index: SearchIndex,
    connection: Connection,
    live: LiveCalls,
}

impl SqliteStore {
    /// Whether a service has it open beside this.
    pub fn is_shared(&self) -> bool {
        self.lock.is_none()
    }

    fn writer(&self) -> MutexGuard<'_, Writing> {
        // A panic while the connection was held leaves at most an open transaction, which the next `apply` rolls back.
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store for SqliteStore {
    fn apply(&self, now: Timestamp, batch: &[Write]) -> Result<Vec<Outcome>> {
        let mut writing = self.writer();
        let Writing { connection, live, .. } = &mut *writing;
        if !connection.is_autocommit() {
            connection.execute_batch("ROLLBACK").doing("rolling an abandoned transaction back")?;
        }
        // Dropping a transaction that was not committed rolls it back, unless SQLite has already done so by itself
        // (it may on a full disk or an I/O error).
        let transaction = connection
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .doing("waiting for the database's write lock")?;
        let mut turns = turns::Batch::begin(&transaction, live, now)?;
        let mut outcomes = Vec::with_capacity(batch.len());
        for write in batch {
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
                    turns.forget(id);
                    erase::call(&transaction, now, id)?
                }
                Write::PruneCall(id, before) => {
                    turns.forget(id);
                    erase::old_call(&transaction, id, *before)?
                }
                Write::PruneEvents(ids) => erase::events(&transaction, ids)?,
                Write::PruneDispatches(ids) => erase::dispatches(&transaction, ids)?,
                Write::KeepEvent(event) => events::keep(&transaction, &mut turns, now, event)?,
                Write::ReplayEvent(id, event) => events::replay(&transaction, &mut turns, now, *id, event)?,
                Write::KeepHistory(report) => events::keep_history(&transaction, &mut turns, now, report)?,
                Write::EndStaleCalls(before) => calls::end_stale(&transaction, now, *before)?,
                Write::Restore(archived) => restore::restore(&transaction, archived)?,
                Write::Probe => open::probe(&transaction)?,
            });
        }
        turns.flush(&transaction)?;
        turns.changes.settle(&transaction)?;
        let started = Instant::now();
        transaction.commit().doing("committing")?;
        METRICS.commit_duration_seconds.observe(started.elapsed().as_secs_f64());
        turns.committed();
        Ok(outcomes)
    }

    fn rest(&self) -> Result<bool> {
        let writing = self.writer();
        let index = writing.index.rest();
        let database = if self.folds {
            checkpoint::fold_log_in(&writing.connection, Of::Database, self.busy_timeout)
        } else {
            checkpoint::warn_of_length(&self.path);
            Ok(true)
        };
        Ok(database? & index?)
    }

    fn forget(&self, wait: Duration) -> Result<bool> {
        const DOING: &str = "taking what was erased out of the search index";
        let Writing { index, connection, .. } = &mut *self.writer();
        connection.busy_timeout(Duration::ZERO).doing(DOING)?;
        let index = index.forget(connection, wait);
        connection.busy_timeout(self.busy_timeout).doing(DOING)?;
        // Whatever became of the index, the database forgets.
        let database = checkpoint::forget(connection, Of::Database, wait, self.busy_timeout)?;
        Ok(database & index?)
    }

    fn catch_up(&self) -> Result<u64> {
        let Writing { index, connection, .. } = &mut *self.writer();
        if self.index_is_broken.swap(false, Ordering::Relaxed) {
            index.discard();
        }
        // Who holds the lock is not waited for, since new turns would wait too.
        connection.busy_timeout(Duration::ZERO).doing("indexing turns for search")?;
        let left = index.catch_up(connection);
        connection.busy_timeout(self.busy_timeout).doing("indexing turns for search")?;
        left
    }

    fn call(&self, id: &ConversationId) -> Result<Option<Call>> {
        calls::get(&*self.readers.get()?, id)
    }

    fn calls(&self, query: &CallQuery) -> Result<Page<Call>> {
        calls::list(&mut *self.readers.get()?, query)
    }

    fn turns(&self, query: &TurnQuery) -> Result<Option<Page<Turn>>> {
        turns::list(&mut *self.readers.get()?, query)
    }

    fn search(&self, query: &SearchQuery) -> Result<Found> {
        let (found, is_broken) = search::find(&mut *self.readers.get()?, &self.path, query, Reach::Indexed)?;
        if is_broken {
            self.index_is_broken.store(true, Ordering::Relaxed);
        }
        Ok(found)
    }

    fn driver(&self, id: DriverId) -> Result<Option<Driver>> {
        drivers::get(&*self.readers.get()?, id)
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

    fn dispatch(&self, id: &ConversationId) -> Result<Option<Dispatch>> {
        drivers::get_dispatch(&*self.readers.get()?, id)
    }

    fn figures(&self, query: &FiguresQuery, each: &mut dyn FnMut(&CallFigures)) -> Result<()> {
        figures::each(&mut *self.readers.get()?, query, each)
    }

    fn is_erased(&self, id: &ConversationId) -> Result<bool> {
        erase::is_erased(&*self.readers.get()?, id)
    }

    fn old_calls(&self, query: &OldCalls) -> Result<Vec<OldCall>> {
        erase::old_calls(&*self.readers.get()?, query)
    }

    fn old_events(&self, before: Timestamp, after: i64, limit: usize) -> Result<(Vec<i64>, Option<i64>)> {
        erase::old_events(&*self.readers.get()?, before, after, limit)
    }

    fn old_dispatches(
        &self,
        before: Timestamp,
        after: Option<&ConversationId>,
        limit: usize,
    ) -> Result<Vec<ConversationId>> {
        erase::old_dispatches(&*self.readers.get()?, before, after, limit)
    }

    fn dispatches_of(&self, id: DriverId, number: Option<&PhoneNumber>, limit: usize) -> Result<Vec<ConversationId>> {
        erase::dispatches_of(&*self.readers.get()?, id, number, limit)
    }

    fn head(&self) -> Result<Position> {
        tail::head(&*self.readers.get()?)
    }

    fn since(&self, scope: &Scope, after: Position, until: Position) -> Result<Since> {
        tail::since(&mut *self.readers.get()?, scope, after, until)
    }

    fn touched(&self, after: Position, until: Position) -> Result<Touched> {
        tail::touched(&mut *self.readers.get()?, after, until)
    }

    fn copier(&self) -> Copier {
        self.copier.clone()
    }

    fn archive(&self) -> Result<Option<Box<dyn Archive>>> {
        Ok(Some(Box::new(ReadOnly::open(&self.path)?)))
    }

    fn open_calls(&self, at_most: u32) -> Result<u64> {
        calls::open(&*self.readers.get()?, at_most)
    }

    fn sizes(&self) -> io::Result<Sizes> {
        checkpoint::sizes(&self.path)
    }
}

/// The outcome of a change that either found its row or did not.
fn found(rows: usize) -> Outcome {
    if rows == 0 { Err(super::Rejection::NotFound) } else { Ok(Written::Done) }
}
