//! The turns of a call, page by page.

use super::operations::no_call;
use super::schema::example_instant;
use crate::api::date_time::Instant;
use crate::api::error::{Read, Refused};
use crate::api::pagination::{ListQuery, default_limit};
use crate::api::reader::{Answer, Depth, Reader};
use crate::api::tag::Tag;
use crate::domain::{self, Timestamp};
use crate::store::{Store, TurnKey, TurnOrder, TurnQuery};
use poem::Request;
use poem_openapi::param::{Path, Query};
use poem_openapi::types::Example;
use poem_openapi::{Enum, Object, OpenApi};

pub(in crate::api) struct TranscriptionsApi {
    pub(in crate::api) reader: Reader,
}

/// By what turns are ordered.
#[derive(Debug, Clone, Copy, Enum)]
#[oai(rename_all = "snake_case")]
enum TurnOrdering {
    /// By arrival.
    Sequence,
    /// As they were said.
    Time,
}

/// Who spoke.
#[derive(Debug, Clone, Copy, Enum)]
#[oai(rename_all = "snake_case")]
pub(in crate::api) enum Speaker {
    /// The voice agent.
    Agent,
    /// The person on the phone.
    Driver,
}

impl From<domain::Speaker> for Speaker {
    fn from(speaker: domain::Speaker) -> Self {
        match speaker {
            domain::Speaker::Agent => Self::Agent,
            domain::Speaker::Driver => Self::Driver,
        }
    }
}

impl From<Speaker> for domain::Speaker {
    fn from(speaker: Speaker) -> Self {
        match speaker {
            Speaker::Agent => Self::Agent,
            Speaker::Driver => Self::Driver,
        }
    }
}

/// How a turn came here.
#[derive(Debug, Clone, Copy, Enum)]
#[oai(rename_all = "snake_case")]
enum Source {
    /// Turn by turn, during the call.
    Live,
    /// With the conversation's history, during the call.
    History,
    /// With the platform's record after the call.
    PostCall,
    /// From a file.
    Import,
}

impl From<domain::Source> for Source {
    fn from(source: domain::Source) -> Self {
        match source {
            domain::Source::Live => Self::Live,
            domain::Source::History => Self::History,
            domain::Source::PostCall => Self::PostCall,
            domain::Source::Import => Self::Import,
        }
    }
}

/// One dialogue turn.
#[derive(Debug, Object)]
#[oai(example)]
pub(in crate::api) struct Transcription {
    /// The `transcription_id` of the delivery's answer; unique over all calls.
    id: i64,
    /// The call that it belongs to.
    conversation_id: String,
    speaker_type: Speaker,
    /// What was said.
    message_text: String,
    /// When it was said, by the sender.
    timestamp: Instant,
    /// Its place in the call: 1, 2, 3 … in order of arrival, without gaps.
    sequence_number: i64,
    source: Source,
    /// When it was stored.
    created_at: Instant,
    /// The words by the platform's record, where they differ from those that were heard.
    #[oai(nullable)]
    final_text: Option<String>,
    /// Whether it was interrupted; null where no record says so.
    #[oai(nullable)]
    interrupted: Option<bool>,
    /// Its place in the conversation as it went, from 1; null without a record, and for a turn that another stands for.
    #[oai(nullable)]
    place: Option<i64>,
    /// The sequence number of the turn that stands for this one in the conversation as it went.
    #[oai(nullable)]
    superseded_by: Option<i64>,
    /// When it was said by ElevenLabs' record, which counts before `timestamp`; null without a record or a time in it.
    #[oai(nullable)]
    record_time: Option<Instant>,
    /// Whether ElevenLabs' record has it: false if it was only heard, null without a record and for a turn that another
    /// stands for.
    #[oai(nullable)]
    in_record: Option<bool>,
}

impl From<domain::Turn> for Transcription {
    fn from(turn: domain::Turn) -> Self {
        Self {
            id: turn.id,
            conversation_id: turn.conversation_id.as_str().to_owned(),
            speaker_type: turn.speaker.into(),
            message_text: turn.message.into_string(),
            timestamp: Instant(turn.timestamp),
            sequence_number: turn.sequence_number,
            source: turn.source.into(),
            created_at: Instant(turn.created_at),
            final_text: turn.final_text.map(domain::Message::into_string),
            interrupted: turn.interrupted,
            place: turn.place,
            superseded_by: turn.superseded_by,
            record_time: turn.record_time.map(Instant),
            in_record: turn.in_record,
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
            place: Some(3),
            superseded_by: None,
            record_time: Some(example_instant("2026-09-28T12:00:04Z")),
            in_record: Some(true),
        }
    }
}

/// A page of a call's turns.
#[derive(Debug, Object)]
#[oai(example)]
struct TranscriptionPage {
    /// The turns.
    data: Vec<Transcription>,
    /// What to give as `cursor` for the next page; null on the last one.
    #[oai(nullable)]
    next_cursor: Option<String>,
    /// Whether more follow.
    has_more: bool,
    /// How many turns match in all; only with `include_total=true`.
    #[oai(skip_serializing_if_is_none)]
    total: Option<u64>,
}

impl Example for TranscriptionPage {
    fn example() -> Self {
        Self { data: vec![Transcription::example()], next_cursor: None, has_more: false, total: None }
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
        /// The platform's name for the call.
        conversation_id: Path<String>,
        /// Only turns with a greater sequence number.
        #[oai(default, validator(minimum(value = "0")))]
        after_sequence: Query<i64>,
        /// `sequence`, by arrival, which is the default, or `time`: the conversation as it went, in the order of the
        /// platform's record where there is one, else by time; without turns that another one stands for.
        order: Query<Option<TurnOrdering>>,
        /// Where the page before this one ended: its `next_cursor`.
        cursor: Query<Option<String>>,
        /// Greatest number of turns in the page.
        #[oai(default = "default_limit", validator(minimum(value = "1"), maximum(value = "1000")))]
        limit: Query<u16>,
        /// Whether to count all turns that match.
        #[oai(default)]
        include_total: Query<bool>,
    ) -> Result<Answer<TranscriptionPage>, Refused<Read>> {
        let list = ListQuery::of(request, &["after_sequence", "order"])?;
        let query = TurnQuery {
            conversation_id: crate::api::path_params::conversation_id(&conversation_id.0)?,
            after_sequence: after_sequence.0,
            order: match order.0.unwrap_or(TurnOrdering::Sequence) {
                TurnOrdering::Sequence => TurnOrder::Sequence,
                TurnOrdering::Time => TurnOrder::Time,
            },
            after: list.key_in(cursor.0.as_deref(), |key| {
                let [place, time, number] = key.split(' ').collect::<Vec<_>>().try_into().ok()?;
                Some(TurnKey {
                    place: if place.is_empty() { None } else { Some(place.parse().ok()?) },
                    timestamp: Timestamp::parse(time).ok()?,
                    sequence_number: number.parse().ok()?,
                })
            })?,
            limit: limit.0.into(),
            with_total: include_total.0,
        };
        // Turns are counted by their call's row.
        let depth = Depth::of_page(query.after.is_none(), limit.0, false);
        let make = move |store: &dyn Store| {
            let page = store.turns(&query)?.ok_or_else(|| no_call(query.conversation_id.as_str()))?;
            let cut_at = page.rows.last().filter(|_| page.has_more);
            let next_cursor = cut_at.map(|turn| {
                let place = turn.place.map_or(String::new(), |place| place.to_string());
                list.cursor_behind(format_args!("{place} {} {}", turn.timestamp, turn.sequence_number))
            });
            Ok(TranscriptionPage {
                data: page.rows.into_iter().map(Into::into).collect(),
                next_cursor,
                has_more: page.has_more,
                total: page.total,
            })
        };
        Ok(self.reader.answer(request, depth, make).await?)
    }
}
