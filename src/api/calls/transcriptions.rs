//! The turns of a call, in pages.

use super::operations::call_not_found;
use super::schema::example_instant;
use super::speaker::Speaker;
use super::tool_calls::{ToolCallObject, tool_calls_of_page};
use super::understood::{SaidBy, from_domain, into_domain};
use crate::api::date_time::DateTime;
use crate::api::error::{Errors, ReadErrors};
use crate::api::pagination::{ListQuery, default_limit};
use crate::api::reader::{Answer, Depth, PageRead, Reader};
use crate::api::tag::Tag;
use crate::domain::{self, Timestamp};
use crate::store::{Reads, TurnKey, TurnOrder, TurnQuery};
use poem::Request;
use poem_openapi::param::{Path, Query};
use poem_openapi::types::{Any, Example};
use poem_openapi::{Enum, Object, OpenApi};
use serde_json::Value;

pub(in crate::api) struct TranscriptionsApi {
    pub(in crate::api) reader: Reader,
}

/// Sort order of turns.
#[derive(Debug, Clone, Copy, Enum)]
#[oai(rename_all = "snake_case")]
enum TurnOrdering {
    /// In the order of the conversation.
    Asc,
    /// In the reverse order of the conversation.
    Desc,
    /// In order of arrival.
    Sequence,
    /// Former name of `asc`.
    Time,
}

/// Kind of a turn.
#[derive(Debug, Clone, Copy, Enum)]
#[oai(rename_all = "snake_case")]
pub(in crate::api) enum TurnKind {
    /// Spoken words.
    Speech,
    /// Nobody spoke, which ElevenLabs notes as a turn.
    Silence,
    /// A short sign of listening, which did not interrupt the agent.
    Backchannel,
    /// Keys that were pressed.
    Keypad,
    /// Typed text.
    Text,
    /// Information for the agent that nobody said.
    Context,
}

/// Source of a turn.
#[derive(Debug, Clone, Copy, Enum)]
#[oai(rename_all = "snake_case")]
enum Source {
    /// The turn webhook, during the call.
    Live,
    /// The history webhook, during the call.
    History,
    /// ElevenLabs' record, after the call.
    PostCall,
    /// An imported file.
    Import,
}

/// One turn of a call.
#[derive(Debug, Object)]
#[oai(example)]
pub(in crate::api) struct Transcription {
    /// Id of the turn, unique over all calls; the `transcription_id` in the webhook's response.
    id: i64,
    /// ElevenLabs' id of the call.
    conversation_id: String,
    speaker_type: Speaker,
    /// Text of the turn, as it was received.
    message_text: String,
    /// Time of the turn, from its sender.
    timestamp: DateTime,
    /// Number of the turn within its call: 1, 2, 3 … in order of arrival, without gaps.
    sequence_number: i64,
    source: Source,
    /// Time at which the turn was stored.
    created_at: DateTime,
    /// Text of the turn in ElevenLabs' record, if it differs from the received text.
    #[oai(nullable)]
    final_text: Option<String>,
    /// True if the turn was interrupted; null if no record says so.
    #[oai(nullable)]
    interrupted: Option<bool>,
    /// Position in the transcript, from 1; null without a record, and for a superseded turn.
    #[oai(nullable)]
    position: Option<i64>,
    /// Sequence number of the turn that replaces this one in the transcript.
    #[oai(nullable)]
    superseded_by: Option<i64>,
    /// Time of the turn in ElevenLabs' record; it takes precedence over `timestamp`. Null if no record has a time.
    #[oai(nullable)]
    record_time: Option<DateTime>,
    /// True if ElevenLabs' record contains the turn, false if it does not; null without a record, and for a superseded
    /// turn.
    #[oai(nullable)]
    in_record: Option<bool>,
    kind: TurnKind,
    /// ElevenLabs' measurements of the agent's turn, in seconds by name; null if there are none.
    #[oai(nullable)]
    metrics: Option<Any<Value>>,
    said_by: SaidBy,
}

impl From<domain::Turn> for Transcription {
    fn from(turn: domain::Turn) -> Self {
        let said_by = turn.said_by().into();
        Self {
            id: turn.id,
            conversation_id: turn.conversation_id.as_str().to_owned(),
            speaker_type: turn.speaker.into(),
            message_text: turn.message.into_string(),
            timestamp: DateTime(turn.timestamp),
            sequence_number: turn.sequence_number,
            source: turn.source.into(),
            created_at: DateTime(turn.created_at),
            final_text: turn.final_text.map(domain::Message::into_string),
            interrupted: turn.interrupted,
            position: turn.place,
            superseded_by: turn.superseded_by,
            record_time: turn.record_time.map(DateTime),
            in_record: turn.in_record,
            kind: turn.kind.into(),
            metrics: turn.metrics.and_then(|text| serde_json::from_str(&text).ok()).map(Any),
            said_by,
        }
    }
}

impl Example for Transcription {
    fn example() -> Self {
        Self {
            id: 12,
            conversation_id: "conv_1901kaj4pr1penza6bbkscg6hgkc".to_owned(),
            speaker_type: Speaker::Driver,
            message_text: "Yeah, I'm parked at the Joliet terminal. The reefer reads forty five degrees.".to_owned(),
            timestamp: example_instant("2026-09-28T12:00:05.25Z"),
            sequence_number: 3,
            source: Source::Live,
            created_at: example_instant("2026-09-28T12:00:05.310882Z"),
            final_text: None,
            interrupted: Some(false),
            position: Some(3),
            superseded_by: None,
            record_time: Some(example_instant("2026-09-28T12:00:04Z")),
            in_record: Some(true),
            kind: TurnKind::Speech,
            metrics: None,
            said_by: SaidBy::Driver,
        }
    }
}

/// A page of a call's turns.
#[derive(Debug, Object)]
#[oai(example)]
struct TranscriptionPage {
    /// Turns of this page.
    data: Vec<Transcription>,
    /// The `cursor` of the next page; null on the last page.
    #[oai(nullable)]
    next_cursor: Option<String>,
    /// True if another page follows.
    has_more: bool,
    /// Number of all turns that match; only with `include_total=true`.
    #[oai(skip_serializing_if_is_none)]
    total: Option<u64>,
    /// Tool calls after this page's turns, and those before the first turn of the transcript; only with
    /// `include=tools`.
    #[oai(skip_serializing_if_is_none)]
    tool_calls: Option<Vec<ToolCallObject>>,
}

/// More to return with a call's turns.
#[derive(Debug, Clone, Copy, Enum)]
#[oai(rename_all = "snake_case")]
pub(super) enum TurnInclude {
    /// Tool calls between the turns.
    Tools,
}

impl Example for TranscriptionPage {
    fn example() -> Self {
        Self { data: vec![Transcription::example()], next_cursor: None, has_more: false, total: None, tool_calls: None }
    }
}

#[OpenApi(prefix_path = "/api/v1", tag = "Tag::Calls")]
impl TranscriptionsApi {
    /// List a call's turns
    #[oai(path = "/calls/:conversation_id/transcriptions", method = "get", operation_id = "list_transcriptions")]
    #[expect(clippy::too_many_arguments, reason = "the framework takes each query parameter as an argument")]
    async fn list_transcriptions(
        &self,
        request: &Request,
        /// ElevenLabs' id of the call.
        conversation_id: Path<String>,
        /// Only turns with a higher sequence number, by default in order of arrival. To follow a call, begin with 0 and
        /// then send the highest sequence number received.
        #[oai(validator(minimum(value = "0")))]
        after_sequence: Query<Option<i64>>,
        /// `asc` (default): the transcript, in the order of ElevenLabs' record, or by time without a record; superseded
        /// turns are left out. `desc`: the reverse. `sequence` (default with `after_sequence`): all turns in order of
        /// arrival. `time` is a former name of `asc`.
        order: Query<Option<TurnOrdering>>,
        /// The `next_cursor` of the previous page.
        cursor: Query<Option<String>>,
        /// Maximum number of turns per page.
        #[oai(default = "default_limit", validator(minimum(value = "1"), maximum(value = "1000")))]
        limit: Query<u16>,
        /// Return the number of all turns that match.
        #[oai(default)]
        include_total: Query<bool>,
        /// `tools`: also return the tool calls between this page's turns.
        include: Query<Option<TurnInclude>>,
    ) -> Result<Answer<TranscriptionPage>, Errors<ReadErrors>> {
        let list = ListQuery::strict(request, &["after_sequence", "order", "include"], &[])?;
        let query = TurnQuery {
            conversation_id: crate::api::path_params::conversation_id(&conversation_id.0)?,
            after_sequence: after_sequence.0.unwrap_or(0),
            order: match order.0 {
                // A client that continues after a sequence number reads by arrival; another order would skip turns.
                None if after_sequence.0.is_some() => TurnOrder::Sequence,
                None | Some(TurnOrdering::Asc | TurnOrdering::Time) => TurnOrder::Time,
                Some(TurnOrdering::Desc) => TurnOrder::TimeDescending,
                Some(TurnOrdering::Sequence) => TurnOrder::Sequence,
            },
            after: list.decode_cursor(cursor.0.as_deref(), |key| {
                let [position, time, number] = key.split(' ').collect::<Vec<_>>().try_into().ok()?;
                Some(TurnKey {
                    place: if position.is_empty() { None } else { Some(position.parse().ok()?) },
                    timestamp: Timestamp::parse(time).ok()?,
                    sequence_number: number.parse().ok()?,
                })
            })?,
            limit: limit.0.into(),
            with_total: include_total.0,
        };
        // A count of a call's turns is quick.
        let depth =
            Depth::for_page(PageRead { is_first: query.after.is_none(), limit: limit.0, searches_or_counts: false });
        let make = move |store: &dyn Reads| {
            let page = store.turns(&query)?.ok_or_else(|| call_not_found(query.conversation_id.as_str()))?;
            let cut_at = page.rows.last().filter(|_| page.has_more);
            let next_cursor = cut_at.map(|turn| {
                let position = turn.place.map_or(String::new(), |position| position.to_string());
                list.encode_cursor(format_args!("{position} {} {}", turn.timestamp, turn.sequence_number))
            });
            let tool_calls = match include.0 {
                None => None,
                Some(TurnInclude::Tools) => {
                    let is_only_page = query.after.is_none() && query.after_sequence == 0 && !page.has_more;
                    let calls = store.tool_calls(&query.conversation_id)?;
                    Some(tool_calls_of_page(calls, &page.rows, is_only_page))
                }
            };
            Ok(TranscriptionPage {
                data: page.rows.into_iter().map(Into::into).collect(),
                next_cursor,
                has_more: page.has_more,
                total: page.total,
                tool_calls,
            })
        };
        Ok(self.reader.answer(request, depth, make).await?)
    }
}

from_domain! {
    Source { Live, History, PostCall, Import }
    TurnKind { Speech, Silence, Backchannel, Keypad, Text, Context }
}

into_domain! {
    TurnKind { Speech, Silence, Backchannel, Keypad, Text, Context }
}
