//! The changes that a store executes, and their effects.

use super::alerts::AlertMatch;
use super::archive::{self, ArchiveRecord, ArchivedCall};
use super::outcome::{Counts, Receipt, Rejection, StoredTurn};
use super::outgoing::{EndpointId, Settlement};
use crate::domain::reconcile::Reconciliation;
use crate::domain::{
    Access, Call, CallChange, ConversationId, DriverId, HistoryReport, NewDispatch, NewDriver, NewEvent, NewInitiation,
    NewTurn, Timestamp,
};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// A single change, which takes effect completely or not at all.
///
/// Can be sent to other copies of the data as JSON. Other formats do not fit, because some types leave out empty
/// fields.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Write {
    /// Stores a turn. The first turn of a conversation also creates its call.
    AppendTurn(NewTurn),
    /// Creates or replaces drivers, all or none.
    PutDrivers(Vec<NewDriver>),
    /// Deletes a driver. The driver's calls and dispatches stay, without a driver. If there are many, one write changes
    /// only some of them ([`Written::Begun`]) and must be repeated.
    DeleteDriver(DriverId),
    /// Creates or replaces dispatches, all or none. Also sets the driver of calls that already exist.
    PutDispatches(Vec<NewDispatch>),
    /// Deletes a dispatch. The call keeps its driver.
    DeleteDispatch(ConversationId),
    /// Changes a call by hand.
    ChangeCall(ConversationId, CallChange),
    /// Erases a call and everything stored about it: turns, histories, ElevenLabs events and its dispatch. Events that
    /// arrive later are dropped. A long call only loses its first slice: see [`Written::Begun`].
    EraseCall(ConversationId),
    /// Erases a call if nothing of it has arrived since this time. Unlike after [`Write::EraseCall`], later events are
    /// stored.
    PruneCall(ConversationId, Timestamp),
    /// Erases the events with these ids that belong to no call.
    PruneEvents(Vec<i64>),
    /// Erases the dispatches of these conversations that never became a call.
    PruneDispatches(Vec<ConversationId>),
    /// Stores an ElevenLabs event, once, and marks its call as due for reconciliation.
    KeepEvent(Box<NewEvent>),
    /// Replaces the parsed form of the stored event with this id, and marks its call as due.
    ReplayEvent(i64, Box<NewEvent>),
    /// Stores what the present reader parses of a stored event that is listed to be parsed again, removes it from the
    /// list, and marks its call as due if anything changed. The body is not needed, and may be left out.
    RereadEvent(i64, Box<NewEvent>),
    /// Stores the part of a running call's history, sent by a tool, that is not stored yet.
    KeepHistory(Box<HistoryReport>),
    /// Stores a reconciled call, or one slice of it, as computed from the stored data.
    Reconcile(Box<Reconciliation>),
    /// Stores who called, as it was answered to ElevenLabs before the first word. A repeat changes nothing.
    StoreInitiation(NewInitiation),
    /// Notes whether there is a recording of each of these conversations.
    NoteRecordings(Vec<ConversationId>, bool),
    /// Adds entries to the access log.
    NoteAccesses(Vec<Access>),
    /// Erases entries of the access log from before this time, the oldest first, some hundred at most.
    PruneAccesses(Timestamp),
    /// Ends calls that are in progress and unchanged since before the first time, or before the second one if they are
    /// typed; some hundred at most.
    EndStaleCalls(Timestamp, Timestamp),
    /// Restores exported rows unchanged. A long call only gets its first slice: see [`Written::Begun`].
    Restore(Box<ArchiveRecord>),
    /// Restores the next slice of a long call. The number counts the turns that are already restored.
    ContinueRestore(#[serde(with = "archive::shared")] Arc<ArchivedCall>, usize),
    /// Notes turns that matched alerts, each alert once a call, and the last turn that was compared. Without a turn,
    /// alerts are not configured.
    NoteAlerts(Vec<AlertMatch>, Option<i64>),
    /// Makes these the endpoints of outgoing webhooks. A new one receives what is committed from now on; the deliveries
    /// to one that is left out are deleted. If there are many, one write deletes only some of them ([`Written::Begun`])
    /// and must be repeated.
    SetEndpoints(Vec<EndpointId>),
    /// Stores outcomes of deliveries to an endpoint.
    SettleDeliveries(Box<Settlement>),
    /// Makes failed deliveries to an endpoint due again: those of these notices, or all if there are none. Switches the
    /// endpoint on. What waits for a later try still does.
    RetryDeliveries(EndpointId, Vec<i64>),
    /// Writes without changing anything, to test whether the disk accepts writes.
    Probe,
}

impl Write {
    /// Returns whether the write removes data whose bytes must also disappear from the disk.
    pub fn erases(&self) -> bool {
        match self {
            Self::EraseCall(_)
            | Self::PruneCall(..)
            | Self::PruneEvents(_)
            | Self::PruneDispatches(_)
            | Self::PruneAccesses(_)
            | Self::DeleteDriver(_)
            | Self::DeleteDispatch(_) => true,
            Self::Reconcile(slice) => slice.replaces_words(),
            _ => false,
        }
    }

    /// Returns the approximate memory of the write, in bytes.
    pub fn weight(&self) -> usize {
        const OVERHEAD: usize = 256;
        let more = match self {
            Self::AppendTurn(turn) => turn.message.as_str().len(),
            Self::PutDrivers(drivers) => drivers.len() * OVERHEAD,
            Self::PutDispatches(dispatches) => dispatches.len() * OVERHEAD,
            Self::NoteAccesses(accesses) => accesses.len() * OVERHEAD,
            Self::KeepEvent(event) | Self::ReplayEvent(_, event) | Self::RereadEvent(_, event) => {
                event.body.len() + event.record.as_ref().map_or(0, |record| record.json.len())
            }
            Self::KeepHistory(report) => report.history.0.values().map(|e| OVERHEAD + e.message.as_str().len()).sum(),
            Self::PruneDispatches(ids) | Self::NoteRecordings(ids, _) => ids.len() * OVERHEAD,
            Self::NoteAlerts(matches, _) => matches.len() * OVERHEAD,
            Self::SettleDeliveries(settlement) => settlement.outcomes.len() * OVERHEAD,
            Self::Reconcile(slice) => (slice.additions.len() + slice.placements.len()) * OVERHEAD + slice.len_bytes(),
            _ => 0,
        };
        OVERHEAD + more
    }
}

/// The effect of a successful [`Write`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Written {
    /// Result of [`Write::AppendTurn`].
    Turn(StoredTurn),
    /// Result of [`Write::PutDrivers`].
    Drivers(Counts),
    /// Result of [`Write::PutDispatches`].
    Dispatches(Counts),
    /// Result of [`Write::ChangeCall`]: the changed call.
    Call(Box<Call>),
    /// Result of [`Write::KeepEvent`], [`Write::ReplayEvent`], [`Write::RereadEvent`] and [`Write::KeepHistory`].
    Receipt(Receipt),
    /// Result of [`Write::Reconcile`].
    Reconciled {
        /// Number of turns that the call has now.
        turn_count: i64,
    },
    /// Result of [`Write::EndStaleCalls`]: the calls that were ended. Empty if there are no more.
    Ended(Vec<ConversationId>),
    /// Result of [`Write::Restore`] and [`Write::ContinueRestore`]: false if an equal row was stored before.
    Restored(bool),
    /// The write did its first part; the rest must follow.
    ///
    /// After [`Write::EraseCall`] and [`Write::PruneCall`] the call is long, and [`super::Commands::continue_erasing`]
    /// erases the rest. After [`Write::DeleteDriver`] the driver still exists, with fewer calls: repeat the write.
    /// After [`Write::SetEndpoints`] the new endpoints are set, and deliveries to others are left: repeat the write.
    /// After [`Write::Restore`] and [`Write::ContinueRestore`] the call is long, and the next slice must follow. An
    /// unfinished call accepts no other writes ([`Rejection::Unfinished`]).
    Begun,
    /// Result of deletes, of writes about endpoints and alerts, and of the probe.
    Done,
}

/// Result of one [`Write`] in a batch.
pub type Outcome = Result<Written, Rejection>;
