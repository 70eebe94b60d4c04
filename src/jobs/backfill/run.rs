//! Fetches calls from the ElevenLabs API that no webhook delivered, and the recipients of batch calls.
//!
//! A conversation is fetched only if it has ended at ElevenLabs and is missing or unfinished in the store. It is then
//! stored like a post-call event, in a transaction of its own. So a run after an interrupted one continues, and an
//! extra run changes nothing.

use crate::domain::{ConversationId, NewDispatch};
use crate::elevenlabs::client::{Client, ClientError, ConversationSummary};
use crate::elevenlabs::{fetched_event, parse_batch};
use crate::ingest::WriteError;
use crate::store;
use std::fmt;

/// The store that a backfill writes to.
pub trait BackfillTarget {
    /// Returns whether ElevenLabs' record of a call is stored, so nothing is missing.
    ///
    /// # Errors
    /// Reading failed.
    fn is_complete(&self, id: &ConversationId) -> Result<bool, KeeperError>;

    /// Stores a post-call event with this body.
    ///
    /// # Errors
    /// Storing failed.
    fn store(&self, body: Vec<u8>) -> Result<(), KeeperError>;

    /// Creates or replaces dispatches. Leaves out those that are invalid.
    ///
    /// # Errors
    /// Storing failed.
    fn find_dispatch(&self, dispatches: Vec<NewDispatch>) -> Result<Dispatched, KeeperError>;
}

/// Result of storing dispatches.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Dispatched {
    /// Number of stored dispatches.
    pub stored: usize,
    /// Errors of those that are invalid.
    pub refused: Vec<String>,
}

/// A failure of the store that a backfill writes to.
#[derive(Debug)]
pub enum KeeperError {
    /// A dry run without a database has nothing to write to.
    NoDatabase,
    /// The service is stopping.
    Stopping,
    /// The store could not be read.
    Read(store::Error),
    /// A write was not executed.
    Write(WriteError),
}

impl fmt::Display for KeeperError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoDatabase => f.write_str("no database"),
            Self::Stopping => f.write_str("the service is stopping"),
            Self::Read(error) => error.fmt(f),
            Self::Write(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for KeeperError {}

impl From<store::Error> for KeeperError {
    fn from(error: store::Error) -> Self {
        Self::Read(error)
    }
}

impl From<WriteError> for KeeperError {
    fn from(error: WriteError) -> Self {
        Self::Write(error)
    }
}

/// The reason why a run was cancelled. Fetched calls remain stored, and the next run continues.
#[derive(Debug)]
pub enum BackfillError {
    /// A request to ElevenLabs failed.
    Api(ClientError),
    /// Reading or writing the database failed.
    Store(KeeperError),
}

impl fmt::Display for BackfillError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Api(error) => error.fmt(f),
            Self::Store(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for BackfillError {}

impl From<KeeperError> for BackfillError {
    fn from(error: KeeperError) -> Self {
        Self::Store(error)
    }
}

impl From<ClientError> for BackfillError {
    fn from(error: ClientError) -> Self {
        Self::Api(error)
    }
}

/// Counts of a run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BackfillReport {
    /// Listed conversations.
    pub listed: usize,
    /// Listed conversations that are complete in the store.
    pub complete: usize,
    /// Listed conversations that have not ended at ElevenLabs.
    pub running: usize,
    /// Conversations that were fetched and stored; in a dry run, those that would be.
    pub fetched: usize,
    /// Errors of conversations that could not be fetched or parsed.
    pub failed: Vec<String>,
    /// Failed conversations that ElevenLabs does not know.
    pub unknown: Vec<ConversationId>,
}

/// The progress of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// Number of listed conversations.
    Listed(usize),
    /// Number of fetched conversations.
    Fetched {
        /// Fetched so far.
        done: usize,
        /// All that will be fetched.
        of: usize,
    },
}

/// Extent of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BackfillMode {
    /// Fetches and stores.
    Store,
    /// Only counts what would be stored.
    DryRun,
}

/// Fetches missing and unfinished calls that started at `since` or later, in seconds since 1970.
///
/// # Errors
/// See [`BackfillError`].
pub fn conversations(
    client: &Client,
    keeper: &(impl BackfillTarget + ?Sized),
    since: Option<i64>,
    mode: BackfillMode,
    mut progress: impl FnMut(Progress),
) -> Result<BackfillReport, BackfillError> {
    let mut report = BackfillReport::default();
    let mut wanted = Vec::new();
    let mut cursor = None;
    loop {
        let page = client.list(since, cursor.as_deref())?;
        for listed in page.conversations {
            report.listed += 1;
            match ConversationId::new(&listed.conversation_id) {
                Err(rule) => report.failed.push(format!("conversation_id: {rule}")),
                Ok(_) if !listed.is_final() => report.running += 1,
                Ok(id) if keeper.is_complete(&id)? => report.complete += 1,
                Ok(id) => wanted.push((id, listed)),
            }
        }
        progress(Progress::Listed(report.listed));
        cursor = page.next_cursor;
        if cursor.is_none() {
            break;
        }
    }
    if mode == BackfillMode::DryRun {
        report.fetched = wanted.len();
        return Ok(report);
    }
    let of = wanted.len();
    let mut fetching = FetchOptions { client, keeper, consecutive_failures: 0 };
    // The list starts with the newest, so reversing it fetches the oldest first.
    for (done, (id, listed)) in wanted.into_iter().rev().enumerate() {
        progress(Progress::Fetched { done, of });
        fetching.fetch(&id, Some(&listed), &mut report)?;
    }
    progress(Progress::Fetched { done: of, of });
    Ok(report)
}

/// Fetches these calls, if they have ended at ElevenLabs.
///
/// # Errors
/// See [`BackfillError`].
pub(super) fn fetch_calls(
    client: &Client,
    keeper: &(impl BackfillTarget + ?Sized),
    ids: &[ConversationId],
) -> Result<BackfillReport, BackfillError> {
    let mut report = BackfillReport { listed: ids.len(), ..BackfillReport::default() };
    let mut fetching = FetchOptions { client, keeper, consecutive_failures: 0 };
    for id in ids {
        fetching.fetch(id, None, &mut report)?;
    }
    Ok(report)
}

/// Maximum number of consecutive failures of ElevenLabs, after which a run is cancelled.
const MAX_CONSECUTIVE_FAILURES: usize = 3;

/// State of fetching conversations one by one.
struct FetchOptions<'a, K: ?Sized> {
    client: &'a Client,
    keeper: &'a K,
    consecutive_failures: usize,
}

impl<K: BackfillTarget + ?Sized> FetchOptions<'_, K> {
    fn fetch(
        &mut self,
        id: &ConversationId,
        listed: Option<&ConversationSummary>,
        report: &mut BackfillReport,
    ) -> Result<(), BackfillError> {
        let data = match self.client.conversation(id.as_str()) {
            Ok(data) => data,
            Err(error @ (ClientError::Unauthorized(_) | ClientError::RateLimited(_))) => return Err(error.into()),
            Err(error) => {
                report.failed.push(format!("{id}: {error}"));
                match error {
                    ClientError::NotFound => report.unknown.push(id.clone()),
                    ClientError::Unreachable(_)
                    | ClientError::NotConnected { .. }
                    | ClientError::Status(429 | 500..) => self.consecutive_failures += 1,
                    _ => {}
                }
                return if self.consecutive_failures == MAX_CONSECUTIVE_FAILURES { Err(error.into()) } else { Ok(()) };
            }
        };
        self.consecutive_failures = 0;
        // The list can be ahead of the conversation, whose transcript may still be missing.
        let promised = listed.and_then(|listed| listed.message_count).is_some_and(|count| count > 0);
        let empty = data["transcript"].as_array().is_none_or(Vec::is_empty);
        if !matches!(data["status"].as_str(), Some("done" | "failed")) || (promised && empty) {
            report.running += 1;
            return Ok(());
        }
        if data["conversation_id"].as_str() != Some(id.as_str()) {
            report.failed.push(format!("{id}: ElevenLabs returned another conversation"));
            return Ok(());
        }
        self.keeper.store(fetched_event(&data).into_bytes())?;
        report.fetched += 1;
        Ok(())
    }
}

/// Counts of a batch's recipients.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BatchCallReport {
    /// All recipients.
    pub recipients: usize,
    /// Recipients who were not called yet, and so have no conversation.
    pub not_called: usize,
    /// Stored dispatches; in a dry run, those that would be stored.
    pub dispatched: usize,
    /// Errors of recipients that could not be stored.
    pub failed: Vec<String>,
}

/// Stores the recipients of a batch as dispatches.
///
/// # Errors
/// See [`BackfillError`].
pub fn batch(
    client: &Client,
    keeper: &(impl BackfillTarget + ?Sized),
    id: &str,
    mode: BackfillMode,
) -> Result<BatchCallReport, BackfillError> {
    let read = parse_batch(id, &client.batch(id)?);
    let mut report = BatchCallReport {
        recipients: read.recipients,
        not_called: read.not_called,
        dispatched: read.dispatches.len(),
        failed: read.remarks,
    };
    if mode == BackfillMode::Store && !read.dispatches.is_empty() {
        let Dispatched { stored, refused } = keeper.find_dispatch(read.dispatches)?;
        report.dispatched = stored;
        report.failed.extend(refused);
    }
    Ok(report)
}
