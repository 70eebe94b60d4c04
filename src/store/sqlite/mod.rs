//! The SQLite store: one file, one writing connection, a pool of reading ones.
//!
//! - The writing connection runs with `synchronous=FULL` in WAL mode, so a commit that returned is on disk. It alone
//!   moves the log into the database file (checkpoints).
//! - Readers open the file read-only; each read is one short snapshot with a time limit, so that no reader keeps the
//!   log from being folded in.
//! - A lock file beside the database, and a lock of the database's file, keep a second service away: see [`lock`].
//! - Nothing is acknowledged that went to files which are not at their path any more: see [`place`].
//! - The index behind the search is a file of its own beside the database: see [`search`].
//!
//! How many turns a call has is kept in its row and, for calls that run now, in memory, so the next sequence number
//! costs one look-up or none, whatever the length of the call.

mod archive;
mod backup;
mod calls;
mod changes;
mod check;
mod checkpoint;
mod drivers;
mod due;
mod erase;
mod error;
mod events;
mod figures;
mod header;
mod held;
mod identity;
mod live;
mod lock;
mod material;
mod migrations;
mod old;
mod open;
mod open_error;
mod page_scrub;
mod page_scrub_vfs;
mod place;
mod pool;
mod probe;
mod quarantine;
mod reading;
mod repeats;
mod replace;
mod restore;
mod row;
mod search;
mod settle;
mod tail;
mod turns;

pub use archive::ReadOnly;
pub use backup::backup;
pub use check::{check, each_call};
pub use open::Options;
pub use open_error::OpenError;
pub use replace::{Replaced, Replacement};
pub use search::search_file;

use super::{
    Archive, Backlog, CallQuery, Copier, Due, ErasedSlice, FiguresQuery, Forgotten, Found, NamingEvent, OldCall,
    OldCalls, OldEvent, Outcome, Page, Position, Result, Scope, SearchQuery, Since, Sizes, Store, Touched, TurnQuery,
    Unfinished, UnreadEvents, Write, Written,
};
use crate::metrics::METRICS;
use crate::model::{
    Call, CallFigures, ConversationId, Dispatch, Driver, DriverId, PhoneNumber, StoredEvent, Timestamp, Turn,
};
use crate::reconcile::Material;
use changes::Changes;
use checkpoint::Of;
use error::Context as _;
use held::Writer;
use live::LiveCalls;
use place::Place;
use pool::Readers;
use rusqlite::{Connection, Transaction, TransactionBehavior};
use search::{Reach, SearchIndex};
use std::collections::HashSet;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// A database file that is open for the service.
pub struct SqliteStore {
    // Fields are dropped in this order: the writing connection goes last but for the lock, so that it is the one that
    // folds the log in and removes it.
    readers: Readers,
    /// What reads calls that are due, so that other reads do not hold reconciliation up, nor the other way round. Opened
    /// when it is first used.
    reconciler: Mutex<Option<Connection>>,
    /// Nothing while the disk has no room for what opening it takes.
    writer: Mutex<Option<Writing>>,
    copier: Copier,
    place: Arc<Place>,
    /// Whether the log is this service's own to move, and not Litestream's.
    folds: bool,
    options: Options,
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

    fn check_place(&self) -> Result<()> {
        if self.lock.as_ref().is_some_and(|lock| !lock.holds_database()) {
            self.place.note_overwritten();
        }
        self.place.check()
    }

    /// Reads calls that are due.
    fn read_due<T>(&self, read: impl FnOnce(&mut Connection) -> Result<T>) -> Result<T> {
        self.check_place()?;
        let mut reconciler = self.reconciler.lock().unwrap_or_else(PoisonError::into_inner);
        let connection = match &mut *reconciler {
            Some(connection) => connection,
            none => none.insert(pool::reader(&self.options.path)?),
        };
        read(connection)
    }

    /// The writing connection; opens it if that could not be done yet.
    fn writer(&self) -> Result<Writer<'_>> {
        // A panic while the connection was held leaves at most an open transaction, which the next `apply` rolls back.
        let mut writing = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        if writing.is_none() {
            *writing = Some(self.begin_writing()?);
        }
        Ok(Writer(writing))
    }
}

impl Drop for SqliteStore {
    /// Closing must not touch files that are not this database's any more: SQLite would remove the WAL at its path.
    fn drop(&mut self) {
        let checked = self.check_place();
        let writing = self.writer.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let (Some(writing), Err(_)) = (writing, checked) {
            if self.lock.is_some() && self.place.only_log_is_gone() {
                checkpoint::rescue(&writing.connection);
            }
            checkpoint::leave_log(&writing.connection);
        }
    }
}

impl Store for SqliteStore {
    fn apply(&self, now: Timestamp, batch: &[Write]) -> Result<Vec<Outcome>> {
        let mut writing = self.writer()?;
        let Writing { connection, live, .. } = &mut *writing;
        self.place.check_if_lost()?;
        let mut settled = restore::look_at_long_calls(connection, batch)?;
        let transaction = begin(connection)?;
        let mut turns = turns::Batch::begin(&transaction, live, now)?;
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
                Write::KeepHistory(report) => events::keep_history(&transaction, &mut turns, report)?,
                Write::Reconcile(reconciliation) => turns.settle(&transaction, now, reconciliation)?,
                Write::EndStaleCalls(before) => calls::end_stale(&transaction, now, *before)?,
                Write::Restore(archived) => restore::restore(&transaction, archived)?,
                Write::GoOnRestoring(call, restored) => restore::go_on(&transaction, call, *restored)?,
                Write::Probe => probe::probe(&transaction)?,
            });
        }
        turns.flush(&transaction)?;
        turns.changes.settle(&transaction)?;
        let started = Instant::now();
        transaction.commit().doing("committing")?;
        METRICS.commit_duration_seconds.observe(started.elapsed().as_secs_f64());
        turns.committed();
        // What was committed to files that nobody finds again is not stored.
        self.check_place()?;
        Ok(outcomes)
    }

    fn in_place(&self) -> Result<()> {
        let writing = self.writer()?;
        let checked = self.check_place();
        if checked.is_err() && self.lock.is_some() && self.place.only_log_is_gone() {
            checkpoint::rescue(&writing.connection);
        }
        checked
    }

    fn rest(&self) -> Result<bool> {
        self.check_place()?;
        let writing = self.writer()?;
        let index = writing.index.rest();
        let database = if self.folds {
            checkpoint::fold_log_in(&writing.connection, Of::Database, self.options.busy_timeout)
        } else {
            checkpoint::warn_of_length(&self.options.path);
            Ok(true)
        };
        Ok(database? & index?)
    }

    fn forget(&self, wait: Duration) -> Result<Forgotten> {
        const DOING: &str = "taking what was erased out of the search index";
        self.check_place()?;
        let Writing { index, connection, .. } = &mut *self.writer()?;
        connection.busy_timeout(Duration::ZERO).doing(DOING)?;
        let index = index.forget(connection, wait);
        connection.busy_timeout(self.options.busy_timeout).doing(DOING)?;
        // Whatever became of the index, the database forgets.
        let database = checkpoint::forget(connection, Of::Database, wait, self.options.busy_timeout)?;
        Ok(if database { index? } else { index.and(Ok(Forgotten::Held))? })
    }

    fn catch_up(&self) -> Result<Backlog> {
        self.check_place()?;
        let Writing { index, connection, .. } = &mut *self.writer()?;
        if self.index_is_broken.swap(false, Ordering::Relaxed) {
            index.discard();
        }
        // Who holds the lock is not waited for, since new turns would wait too.
        connection.busy_timeout(Duration::ZERO).doing("indexing turns for search")?;
        let left = index.catch_up(connection);
        connection.busy_timeout(self.options.busy_timeout).doing("indexing turns for search")?;
        left
    }

    fn go_on_erasing(&self, which: Unfinished<'_>) -> Result<Option<ErasedSlice>> {
        let mut writing = self.writer()?;
        let Writing { connection, live, .. } = &mut *writing;
        self.place.check_if_lost()?;
        let transaction = begin(connection)?;
        let mut changes = Changes::default();
        changes.begin(&transaction)?;
        let erased = erase::go_on(&transaction, which)?;
        if let Some(slice) = &erased {
            live.forget(&slice.conversation_id);
        }
        changes.settle(&transaction)?;
        transaction.commit().doing("committing")?;
        self.check_place()?;
        Ok(erased)
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

    fn figures(&self, query: &FiguresQuery, each: &mut dyn FnMut(&CallFigures)) -> Result<()> {
        figures::each(&mut *self.readers.get()?, query, each)
    }

    fn is_erased(&self, id: &ConversationId) -> Result<bool> {
        erase::is_erased(&*self.readers.get()?, id)
    }

    fn newest_arrival(&self) -> Result<Option<Timestamp>> {
        old::newest_arrival(&*self.readers.get()?)
    }

    fn old_calls(&self, query: &OldCalls) -> Result<Vec<OldCall>> {
        old::old_calls(&*self.readers.get()?, query)
    }

    fn old_events(&self, before: Timestamp, after: i64, limit: usize) -> Result<(Vec<OldEvent>, Option<i64>)> {
        old::old_events(&*self.readers.get()?, before, after, limit)
    }

    fn events_naming(&self, calls: &HashSet<ConversationId>, after: i64) -> Result<(Vec<NamingEvent>, Option<i64>)> {
        quarantine::naming(&*self.readers.get()?, calls, after)
    }

    fn old_dispatches(
        &self,
        before: Timestamp,
        after: Option<&ConversationId>,
        limit: usize,
    ) -> Result<Vec<ConversationId>> {
        old::old_dispatches(&*self.readers.get()?, before, after, limit)
    }

    fn dispatches_of(&self, id: DriverId, number: Option<&PhoneNumber>, limit: usize) -> Result<Vec<ConversationId>> {
        old::dispatches_of(&*self.readers.get()?, id, number, limit)
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
        self.check_place()?;
        Ok(Some(Box::new(ReadOnly::open(&self.options.path)?)))
    }

    fn open_calls(&self, at_most: u32) -> Result<u64> {
        calls::open(&*self.readers.get()?, at_most)
    }

    fn sizes(&self) -> io::Result<Sizes> {
        checkpoint::sizes(&self.options.path)
    }
}

/// Begins a transaction that writes.
fn begin(connection: &mut Connection) -> Result<Transaction<'_>> {
    if !connection.is_autocommit() {
        connection.execute_batch("ROLLBACK").doing("rolling an abandoned transaction back")?;
    }
    // Dropping a transaction that was not committed rolls it back, unless SQLite has already done so by itself
    // (it may on a full disk or an I/O error).
    connection.transaction_with_behavior(TransactionBehavior::Immediate).doing("waiting for the database's write lock")
}

/// The outcome of a change that either found its row or did not.
fn found(rows: usize) -> Outcome {
    if rows == 0 { Err(super::Rejection::NotFound) } else { Ok(Written::Done) }
}
