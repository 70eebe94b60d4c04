//! The work whose instructions are counted: what the service does between HTTP and the disk.

use crate::workload::{self, Script, TURNS_PER_CALL};
use anyhow::{Result, ensure};
use clap::ValueEnum;
use std::path::Path;
use std::time::Duration;
use transcribe_hook::domain::{ConversationId, Timestamp};
use transcribe_hook::store::sqlite::{Options, SqliteStore};
use transcribe_hook::store::{
    CallFilter, CallPageRequest, Commands as _, Reads as _, SortOrder, TurnOrder, TurnQuery, Write, Written,
};

/// Turns per transaction, about as many as 64 clients send at once.
const BATCH_TURNS: usize = 32;

/// Rows of a page, of calls as of turns.
const PAGE: usize = 50;

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Work {
    /// One turn from a delivery's body to the commit, in batches
    Turn,
    /// The first page of a call's turns
    PageOfTurns,
    /// A page of calls, newest first
    ListOfCalls,
}

impl Work {
    pub(crate) fn name(self) -> String {
        self.to_possible_value().expect("no value is hidden").get_name().to_owned()
    }

    /// Returns the number of repetitions in the shorter of the two processes.
    pub(crate) fn times(self) -> usize {
        match self {
            Self::Turn => 200 * BATCH_TURNS,
            Self::PageOfTurns | Self::ListOfCalls => 500,
        }
    }

    /// Does the work so many times, over a new database in `folder`.
    pub(crate) fn run(self, times: usize, folder: &Path) -> Result<()> {
        let path = folder.join("calls.db");
        let store = SqliteStore::open(&Options { path, busy_timeout: Duration::from_secs(10), readers: 1 })
            .map_err(|error| anyhow::anyhow!("{error}"))?;
        // Before reads: some calls whole, some under way.
        let turns = if matches!(self, Self::Turn) { times } else { 6 * BATCH_TURNS * usize::try_from(TURNS_PER_CALL)? };
        let calls = append(&store, turns)?;
        for n in 0..times {
            let rows = match self {
                Self::Turn => break,
                Self::PageOfTurns => page_of_turns(&store, &calls[n % calls.len()])?,
                Self::ListOfCalls => list_of_calls(&store)?,
            };
            ensure!(rows > 0, "a page is empty");
        }
        Ok(())
    }
}

/// Appends turns as deliveries do, and returns complete conversations.
fn append(store: &SqliteStore, turns: usize) -> Result<Vec<ConversationId>> {
    let mut script = Script::new(workload::TURN_WEBHOOK_PATH, BATCH_TURNS, Some(TURNS_PER_CALL), 0);
    let mut whole = Vec::new();
    let now = Timestamp::now();
    for _ in 0..turns / BATCH_TURNS {
        let batch: Vec<_> = (0..BATCH_TURNS).map(|call| Write::AppendTurn(script.next_turn(call))).collect();
        let outcomes = store.apply(now, &batch)?;
        for (write, outcome) in batch.into_iter().zip(outcomes) {
            let outcome = outcome.map_err(|rejection| anyhow::anyhow!("the store refused a turn: {rejection:?}"))?;
            if let (Write::AppendTurn(turn), Written::Turn(stored)) = (write, outcome) {
                if stored.sequence_number == i64::from(TURNS_PER_CALL) {
                    whole.push(turn.conversation_id);
                }
            }
        }
    }
    Ok(whole)
}

fn page_of_turns(store: &SqliteStore, conversation_id: &ConversationId) -> Result<usize> {
    let query = TurnQuery {
        conversation_id: conversation_id.clone(),
        after_sequence: 0,
        order: TurnOrder::Sequence,
        after: None,
        limit: PAGE,
        with_total: false,
    };
    Ok(store.turns(&query)?.map_or(0, |page| page.rows.len()))
}

fn list_of_calls(store: &SqliteStore) -> Result<usize> {
    let request = CallPageRequest {
        filter: CallFilter::default(),
        order: SortOrder::Descending,
        after: None,
        limit: PAGE,
        with_total: false,
    };
    Ok(store.calls(&request)?.rows.len())
}
