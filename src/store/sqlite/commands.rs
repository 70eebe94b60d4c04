//! Changes, each batch in one transaction.

use super::batch::change_log::ChangeLog;
use super::batch::turns::Batch;
use super::connection::probe;
use super::database::SqliteStore;
use super::error::Context as _;
use super::held::WriterState;
use super::outgoing::Outbox;
use super::{
    access_log, alerts, archive, calls, drivers, erase, events, new_initiations, outgoing, recordings, rereads,
};
use crate::domain::Timestamp;
use crate::store::{Commands, ErasedSlice, Outcome, Result, Unfinished, Write};
use crate::telemetry::metrics::METRICS;
use rusqlite::{Connection, Transaction, TransactionBehavior};
use std::time::Instant;

impl Commands for SqliteStore {
    fn apply(&self, now: Timestamp, batch: &[Write]) -> Result<Vec<Outcome>> {
        let mut writing = self.writer()?;
        let WriterState { connection, live, .. } = &mut *writing;
        self.place.check_if_lost()?;
        let mut settled = archive::check_long_calls(connection, batch)?;
        let transaction = begin(connection)?;
        let mut turns = Batch::begin(&transaction, live, now)?;
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
                Write::RereadEvent(id, event) => rereads::store_reread(&transaction, &mut turns, now, *id, event)?,
                Write::KeepHistory(report) => events::store_history(&transaction, &mut turns, report)?,
                Write::Reconcile(reconciliation) => turns.settle(&transaction, now, reconciliation)?,
                Write::StoreInitiation(initiation) => new_initiations::store(&transaction, now, initiation)?,
                Write::NoteRecordings(ids, has_audio) => recordings::note(&transaction, ids, *has_audio)?,
                Write::NoteAccesses(accesses) => access_log::note(&transaction, accesses)?,
                Write::PruneAccesses(before) => access_log::prune(&transaction, *before)?,
                Write::EndStaleCalls(before, text_before) => {
                    calls::end_stale(&transaction, now, *before, *text_before)?
                }
                Write::SetEndpoints(ids) => outgoing::set_endpoints(&transaction, ids)?,
                Write::SettleDeliveries(settlement) => outgoing::settle(&transaction, now, settlement)?,
                Write::RetryDeliveries(endpoint, ids) => outgoing::retry(&transaction, endpoint, ids)?,
                Write::NoteAlerts(matches, until) => alerts::note(&transaction, now, matches, *until)?,
                Write::Restore(archived) => archive::restore(&transaction, archived)?,
                Write::ContinueRestore(call, restored) => archive::restore_next_slice(&transaction, call, *restored)?,
                Write::Probe => probe::check_writable(&transaction)?,
            });
        }
        turns.flush(&transaction)?;
        turns.changes.compact(&transaction)?;
        turns.outbox.store(&transaction, now)?;
        let started = Instant::now();
        transaction.commit().context("committing")?;
        METRICS.commit_duration_seconds.observe(started.elapsed().as_secs_f64());
        turns.committed();
        // A commit into files that are no longer at their path does not count as stored.
        self.check_place()?;
        Ok(outcomes)
    }

    fn continue_erasing(&self, now: Timestamp, which: Unfinished<'_>) -> Result<Option<ErasedSlice>> {
        let mut writing = self.writer()?;
        let WriterState { connection, live, .. } = &mut *writing;
        self.place.check_if_lost()?;
        let transaction = begin(connection)?;
        let mut changes = ChangeLog::default();
        changes.begin(&transaction)?;
        let outbox = Outbox::begin(&transaction)?;
        let erased = erase::erase_next_slice(&transaction, which)?;
        if let Some(slice) = &erased {
            live.remove(&slice.conversation_id);
        }
        changes.compact(&transaction)?;
        outbox.store(&transaction, now)?;
        transaction.commit().context("committing")?;
        self.check_place()?;
        Ok(erased)
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
