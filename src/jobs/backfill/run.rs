//! Fetches from the platform's API what its webhooks did not bring: calls that are missing or unfinished here, and the
//! recipients of its batches of calls.
//!
//! A conversation is asked for only if the platform is done with it and the service is not, and is then kept as if it had
//! come as a post-call event, each in its own transaction. So a run that was interrupted is taken up by the next one,
//! which finds what is already complete, and a run too many changes nothing.

use crate::domain::{ConversationId, NewDispatch};
use crate::elevenlabs::client::{Client, ClientError, Listed};
use crate::elevenlabs::read_batch;
use serde_json::{Value, json};
use std::fmt;

/// Where calls are kept, as far as this needs it.
pub trait Keeper {
    /// Whether the platform's record of a call is here, so that nothing more is to be known of it.
    ///
    /// # Errors
    /// What hinders reading, for a person.
    fn is_complete(&self, id: &ConversationId) -> Result<bool, String>;

    /// Keeps a post-call event by its body.
    ///
    /// # Errors
    /// What hinders storing, for a person.
    fn keep(&self, body: Vec<u8>) -> Result<(), String>;

    /// Creates or replaces dispatches, and returns how many, and each one that cannot be with the reason.
    ///
    /// # Errors
    /// What hinders storing, for a person.
    fn dispatch(&self, dispatches: Vec<NewDispatch>) -> Result<(usize, Vec<String>), String>;
}

/// Why a run ended before its end. What it had kept stays; running it again goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BackfillError {
    /// The platform does not answer.
    Platform(ClientError),
    /// The database does not take or give it; the text is for a person.
    Store(String),
}

impl fmt::Display for BackfillError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Platform(error) => error.fmt(f),
            Self::Store(error) => f.write_str(error),
        }
    }
}

impl std::error::Error for BackfillError {}

impl From<ClientError> for BackfillError {
    fn from(error: ClientError) -> Self {
        Self::Platform(error)
    }
}

/// What a run found and did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// Conversations that were looked at.
    pub listed: usize,
    /// Of those, how many were complete here.
    pub complete: usize,
    /// How many the platform is not done with.
    pub running: usize,
    /// How many were fetched and kept, or would be.
    pub fetched: usize,
    /// Each that could not be fetched or read, and why.
    pub failed: Vec<String>,
    /// Of those, the ones that the platform does not know.
    pub unknown: Vec<ConversationId>,
}

/// How far a run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// So many conversations have been listed.
    Listed(usize),
    /// Of so many that are to be fetched, so many are done.
    Fetched {
        /// Done.
        done: usize,
        /// In all.
        of: usize,
    },
}

/// Fetches what is missing or unfinished of the calls that started at `since` or later, in seconds since 1970. A dry run
/// only counts them.
///
/// # Errors
/// See [`BackfillError`].
pub fn conversations(
    client: &Client,
    keeper: &(impl Keeper + ?Sized),
    since: Option<i64>,
    dry_run: bool,
    mut progress: impl FnMut(Progress),
) -> Result<Report, BackfillError> {
    let mut report = Report::default();
    let mut wanted = Vec::new();
    let mut cursor = None;
    loop {
        let page = client.list(since, cursor.as_deref())?;
        for listed in page.conversations {
            report.listed += 1;
            match ConversationId::new(&listed.conversation_id) {
                Err(rule) => report.failed.push(format!("a conversation's id {rule}")),
                Ok(_) if !listed.is_final() => report.running += 1,
                Ok(id) if keeper.is_complete(&id).map_err(BackfillError::Store)? => report.complete += 1,
                Ok(id) => wanted.push((id, listed)),
            }
        }
        progress(Progress::Listed(report.listed));
        cursor = page.next_cursor;
        if cursor.is_none() {
            break;
        }
    }
    if dry_run {
        report.fetched = wanted.len();
        return Ok(report);
    }
    let of = wanted.len();
    let mut fetching = Fetching { client, keeper, trouble: 0 };
    // The oldest first, as the list has the newest first.
    for (done, (id, listed)) in wanted.into_iter().rev().enumerate() {
        progress(Progress::Fetched { done, of });
        fetching.fetch(&id, Some(&listed), &mut report)?;
    }
    progress(Progress::Fetched { done: of, of });
    Ok(report)
}

/// Fetches these calls, as far as the platform is done with them.
///
/// # Errors
/// See [`BackfillError`].
pub(super) fn these(
    client: &Client,
    keeper: &(impl Keeper + ?Sized),
    ids: &[ConversationId],
) -> Result<Report, BackfillError> {
    let mut report = Report { listed: ids.len(), ..Report::default() };
    let mut fetching = Fetching { client, keeper, trouble: 0 };
    for id in ids {
        fetching.fetch(id, None, &mut report)?;
    }
    Ok(report)
}

/// How many conversations in a row the platform may fail to give before it is taken to be down.
const MAX_TROUBLE: usize = 3;

/// Conversations that are fetched one by one.
struct Fetching<'a, K: ?Sized> {
    client: &'a Client,
    keeper: &'a K,
    trouble: usize,
}

impl<K: Keeper + ?Sized> Fetching<'_, K> {
    fn fetch(
        &mut self,
        id: &ConversationId,
        listed: Option<&Listed>,
        report: &mut Report,
    ) -> Result<(), BackfillError> {
        let data = match self.client.conversation(id.as_str()) {
            Ok(data) => data,
            Err(error @ (ClientError::KeyRefused(_) | ClientError::AsksToWait(_))) => return Err(error.into()),
            Err(error) => {
                report.failed.push(format!("{id}: {error}"));
                match error {
                    ClientError::NotFound => report.unknown.push(id.clone()),
                    ClientError::Unreachable(_) | ClientError::Status(429 | 500..) => self.trouble += 1,
                    _ => {}
                }
                return if self.trouble == MAX_TROUBLE { Err(error.into()) } else { Ok(()) };
            }
        };
        self.trouble = 0;
        // The list can be ahead of the conversation: that it is done, but not yet what was said.
        let promised = listed.and_then(|listed| listed.message_count).is_some_and(|count| count > 0);
        let empty = data["transcript"].as_array().is_none_or(Vec::is_empty);
        if !matches!(data["status"].as_str(), Some("done" | "failed")) || (promised && empty) {
            report.running += 1;
            return Ok(());
        }
        if data["conversation_id"].as_str() != Some(id.as_str()) {
            report.failed.push(format!("{id}: the platform answered with another conversation"));
            return Ok(());
        }
        self.keeper.keep(event(&data)).map_err(BackfillError::Store)?;
        report.fetched += 1;
        Ok(())
    }
}

/// The event that the platform would have posted with this, at the end of the call: the same whenever it is fetched, so
/// that it is kept once.
fn event(data: &Value) -> Vec<u8> {
    let seconds = |field: &str| data["metadata"][field].as_i64().unwrap_or_default();
    let end = seconds("start_time_unix_secs").saturating_add(seconds("call_duration_secs"));
    json!({"type": "post_call_transcription", "event_timestamp": end, "origin": "backfill", "data": data})
        .to_string()
        .into_bytes()
}

/// What became of a batch's recipients.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BatchReport {
    /// Recipients in all.
    pub recipients: usize,
    /// Those who were not called yet, so that no conversation is known.
    pub not_called: usize,
    /// Dispatches that were stored, or would be.
    pub dispatched: usize,
    /// Each that could not be, and why.
    pub failed: Vec<String>,
}

/// Stores the recipients of a batch as dispatches. A dry run only counts them.
///
/// # Errors
/// See [`BackfillError`].
pub fn batch(
    client: &Client,
    keeper: &(impl Keeper + ?Sized),
    id: &str,
    dry_run: bool,
) -> Result<BatchReport, BackfillError> {
    let read = read_batch(id, &client.batch(id)?);
    let mut report = BatchReport {
        recipients: read.recipients,
        not_called: read.not_called,
        dispatched: read.dispatches.len(),
        failed: read.remarks,
    };
    if !dry_run && !read.dispatches.is_empty() {
        let (stored, refused) = keeper.dispatch(read.dispatches).map_err(BackfillError::Store)?;
        report.dispatched = stored;
        report.failed.extend(refused);
    }
    Ok(report)
}
