//! Writes with the types of their results.

use super::{
    AlertMatch, ArchiveRecord, ArchivedCall, Commands, Counts, EndpointId, Receipt, Rejection, Result, Settlement,
    StoredTurn, Write, Written,
};
use crate::domain::reconcile::Reconciliation;
use crate::domain::{
    Access, Call, CallChange, ConversationId, DriverId, HistoryReport, NewDispatch, NewDriver, NewEvent, NewInitiation,
    NewTurn, Timestamp,
};
use std::sync::Arc;

/// A [`Write`] of one kind, with the type of its result.
pub trait Command: Into<Write> {
    /// The effect of the write.
    type Output;

    /// Returns the effect, or `None` if it is that of another kind of write, which no store returns.
    fn output(written: Written) -> Option<Self::Output>;
}

/// Completion of a change that may take several writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Completion<T = ()> {
    /// The change is complete.
    Done(T),
    /// The first part is done; see [`Written::Begun`].
    Begun,
}

macro_rules! commands {
    ($($name:ident($($field:ident: $of:ty),*) -> $output:ty { $($from:pat => $value:expr,)+ })+) => {$(
        #[doc = concat!("See [`Write::", stringify!($name), "`].")]
        #[derive(Debug, Clone)]
        pub struct $name($(pub $of),*);

        impl From<$name> for Write {
            fn from($name($($field),*): $name) -> Self {
                Self::$name($($field),*)
            }
        }

        impl Command for $name {
            type Output = $output;

            fn output(written: Written) -> Option<$output> {
                match written {
                    $($from => Some($value),)+
                    _ => None,
                }
            }
        }
    )+};
}

commands! {
    AppendTurn(turn: NewTurn) -> StoredTurn { Written::Turn(stored) => stored, }
    PutDrivers(drivers: Vec<NewDriver>) -> Counts { Written::Drivers(counts) => counts, }
    DeleteDriver(id: DriverId) -> Completion {
        Written::Done => Completion::Done(()),
        Written::Begun => Completion::Begun,
    }
    PutDispatches(dispatches: Vec<NewDispatch>) -> Counts { Written::Dispatches(counts) => counts, }
    DeleteDispatch(id: ConversationId) -> () { Written::Done => (), }
    ChangeCall(id: ConversationId, change: CallChange) -> Call { Written::Call(call) => *call, }
    EraseCall(id: ConversationId) -> Completion {
        Written::Done => Completion::Done(()),
        Written::Begun => Completion::Begun,
    }
    PruneCall(id: ConversationId, before: Timestamp) -> Completion {
        Written::Done => Completion::Done(()),
        Written::Begun => Completion::Begun,
    }
    PruneEvents(ids: Vec<i64>) -> () { Written::Done => (), }
    PruneDispatches(ids: Vec<ConversationId>) -> () { Written::Done => (), }
    KeepEvent(event: Box<NewEvent>) -> Receipt { Written::Receipt(receipt) => receipt, }
    ReplayEvent(id: i64, event: Box<NewEvent>) -> Receipt { Written::Receipt(receipt) => receipt, }
    RereadEvent(id: i64, event: Box<NewEvent>) -> Receipt { Written::Receipt(receipt) => receipt, }
    KeepHistory(report: Box<HistoryReport>) -> Receipt { Written::Receipt(receipt) => receipt, }
    StoreInitiation(initiation: NewInitiation) -> () { Written::Done => (), }
    Reconcile(reconciliation: Box<Reconciliation>) -> i64 { Written::Reconciled { turn_count } => turn_count, }
    NoteRecordings(ids: Vec<ConversationId>, has_audio: bool) -> () { Written::Done => (), }
    NoteAccesses(accesses: Vec<Access>) -> () { Written::Done => (), }
    PruneAccesses(before: Timestamp) -> () { Written::Done => (), }
    EndStaleCalls(before: Timestamp, text_before: Timestamp) -> Vec<ConversationId> { Written::Ended(ended) => ended, }
    NoteAlerts(matches: Vec<AlertMatch>, until: Option<i64>) -> () { Written::Done => (), }
    SetEndpoints(ids: Vec<EndpointId>) -> Completion {
        Written::Done => Completion::Done(()),
        Written::Begun => Completion::Begun,
    }
    SettleDeliveries(settlement: Box<Settlement>) -> () { Written::Done => (), }
    RetryDeliveries(endpoint: EndpointId, ids: Vec<i64>) -> () { Written::Done => (), }
    Restore(archived: Box<ArchiveRecord>) -> Completion<bool> {
        Written::Restored(new) => Completion::Done(new),
        Written::Begun => Completion::Begun,
    }
    ContinueRestore(call: Arc<ArchivedCall>, restored: usize) -> Completion<bool> {
        Written::Restored(new) => Completion::Done(new),
        Written::Begun => Completion::Begun,
    }
}

/// A trial write; see [`Write::Probe`].
#[derive(Debug, Clone)]
pub struct Probe;

impl From<Probe> for Write {
    fn from(Probe: Probe) -> Self {
        Self::Probe
    }
}

impl Command for Probe {
    type Output = ();

    fn output(written: Written) -> Option<()> {
        (written == Written::Done).then_some(())
    }
}

/// Returns the effect of a command.
///
/// # Panics
/// Panics if the store returned the effect of another kind of write, which is a bug of the store.
pub(crate) fn output_of<C: Command>(written: Written) -> C::Output {
    C::output(written).expect("a store returns the kind of effect that belongs to the write")
}

/// Executes commands of one kind as one transaction; see [`Commands::apply`].
///
/// # Errors
/// See [`Commands::apply`].
pub fn execute_all<C: Command>(
    store: &(impl Commands + ?Sized),
    now: Timestamp,
    commands: impl IntoIterator<Item = C>,
) -> Result<Vec<Result<C::Output, Rejection>>> {
    let batch: Vec<Write> = commands.into_iter().map(Into::into).collect();
    let outcomes = store.apply(now, &batch)?;
    Ok(outcomes.into_iter().map(|outcome| outcome.map(output_of::<C>)).collect())
}

/// Executes one command; see [`Commands::apply`].
///
/// # Errors
/// See [`Commands::apply`].
pub fn execute<C: Command>(
    store: &(impl Commands + ?Sized),
    now: Timestamp,
    command: C,
) -> Result<Result<C::Output, Rejection>> {
    let mut outcomes = execute_all(store, now, [command])?;
    Ok(outcomes.pop().expect("a store returns an outcome for each write"))
}
