//! Stores of a backfill: a database, in or beside a running service, or none.

use super::run::{BackfillTarget, Dispatched, KeeperError};
use super::schedule::UnfinishedCalls;
use crate::domain::{Call, CallStatus, ConversationId, NewDispatch, Timestamp};
use crate::ingest::WriteError;
use crate::ingest::event::{self, EventParser};
use crate::ingest::executor::Executor;
use crate::store::command::{KeepEvent, PutDispatches};
use crate::store::{CallFilter, CallPageRequest, Counts, Rejection, SortOrder, Store};
use bytes::Bytes;
use std::sync::{Arc, Weak};

/// Maximum age of a call whose end is still fetched, in seconds.
const LOOKBACK_SECONDS: i64 = 48 * 3600;

/// An empty store for a dry run without a database.
#[derive(Debug, Clone, Copy)]
pub struct EmptyTarget;

impl BackfillTarget for EmptyTarget {
    fn is_complete(&self, _: &ConversationId) -> Result<bool, KeeperError> {
        Ok(false)
    }

    fn store(&self, _: Vec<u8>) -> Result<(), KeeperError> {
        Err(KeeperError::NoDatabase)
    }

    fn find_dispatch(&self, _: Vec<NewDispatch>) -> Result<Dispatched, KeeperError> {
        Err(KeeperError::NoDatabase)
    }
}

/// A backfill's access to a store.
pub struct StoreTarget {
    /// Upgraded only for a single read, so a long fetch does not prevent that the store is closed.
    store: Weak<dyn Store>,
    parser: EventParser,
    executor: Box<dyn Executor>,
}

impl StoreTarget {
    /// Creates an access that reads from the store, and writes by the executor what the parser reads.
    pub fn new(store: &Arc<dyn Store>, parser: EventParser, executor: Box<dyn Executor>) -> Self {
        Self { store: Arc::downgrade(store), parser, executor }
    }

    fn store(&self) -> Result<Arc<dyn Store>, KeeperError> {
        self.store.upgrade().ok_or(KeeperError::Stopping)
    }
}

/// Returns whether ElevenLabs' record of a call is stored: with its words, or with the reason why there are none.
fn is_complete(call: &Call) -> bool {
    let report = &call.report;
    report.record_event_id.is_some() && (report.reconciled.is_some() || call.status == CallStatus::Failed)
}

impl BackfillTarget for StoreTarget {
    fn is_complete(&self, id: &ConversationId) -> Result<bool, KeeperError> {
        let store = self.store()?;
        let call = store.call(id)?;
        Ok(call.as_ref().is_some_and(is_complete) || store.is_erased(id)?)
    }

    fn store(&self, body: Vec<u8>) -> Result<(), KeeperError> {
        let event = self.parser.parse(Bytes::from(body));
        let (outcome, remarks, error) = (event.outcome, event.remarks.clone(), event.error.clone());
        let conversation_id = event.conversation_id.clone();
        match self.executor.execute(KeepEvent(Box::new(event))) {
            Ok(kept) if !kept.replayed => {
                event::count_event(outcome, &remarks);
                if let Some(remarks) = error {
                    let conversation_id = conversation_id.as_ref().map(ConversationId::as_str);
                    let event_id = kept.event_id;
                    tracing::warn!(conversation_id, event_id, remarks, "stored event with unreadable parts");
                }
                Ok(())
            }
            Ok(_) | Err(WriteError::Rejected(Rejection::Erased)) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn find_dispatch(&self, mut dispatches: Vec<NewDispatch>) -> Result<Dispatched, KeeperError> {
        let mut refused = Vec::new();
        while !dispatches.is_empty() {
            match self.executor.execute(PutDispatches(dispatches.clone())) {
                Ok(Counts { created, updated, unchanged }) => {
                    return Ok(Dispatched { stored: created + updated + unchanged, refused });
                }
                Err(WriteError::Rejected(Rejection::Elements(bad))) if !bad.is_empty() => {
                    for element in bad.iter().rev() {
                        let dispatch = dispatches.remove(element.index);
                        refused.push(format!("{}: {}", dispatch.conversation_id, element.problem()));
                    }
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(Dispatched { stored: 0, refused })
    }
}

impl UnfinishedCalls for StoreTarget {
    fn unfinished(&self) -> Result<Vec<ConversationId>, KeeperError> {
        let started_after = Timestamp::now().plus_seconds(-LOOKBACK_SECONDS);
        let filter = CallFilter { started_after, ..CallFilter::default() };
        let mut request =
            CallPageRequest { filter, order: SortOrder::Ascending, after: None, limit: 500, with_total: false };
        let mut unfinished = Vec::new();
        loop {
            let page = self.store()?.calls(&request)?;
            request.after = page.next;
            unfinished.extend(page.rows.into_iter().filter(|call| !is_complete(call)).map(|call| call.conversation_id));
            if page.next.is_none() || unfinished.len() > MAX_CALLS_PER_ROUND {
                return Ok(unfinished);
            }
        }
    }
}

/// Maximum number of calls per round. Later rounds fetch the others.
const MAX_CALLS_PER_ROUND: usize = 2000;
