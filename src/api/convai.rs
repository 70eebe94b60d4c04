//! The platform's own read operations, answered from this store, so that its official SDKs read it by their `base_url`.
//!
//! Once the platform has reported a call, its conversation is given back as the platform sent it; before that, by what is
//! known so far. Names and forms are the platform's: <https://elevenlabs.io/docs/api-reference/conversations/list>.
//! A filter of ElevenLabs' that this store cannot answer is refused, since ignoring it would answer with everything.

use super::Tag;
use super::audio::{self, Recording};
use super::call::{CallOutcome, Direction};
use super::calls::no_call;
use super::conversation::{ConversationStatus, conversation_in, duration, fill_in, has_known_turns, seconds, so_far};
use super::error::{ApiError, Audio, List, Read, Refused};
use super::query::ListQuery;
use super::reading::{Answer, Depth, Reader};
use crate::model::{self, Timestamp};
use crate::recording::Recordings;
use crate::store::{CallKey, CallQuery, Order, RecordFilter, Store, TurnOrder, TurnQuery};
use poem::Request;
use poem_openapi::param::{Path, Query};
use poem_openapi::types::{Any, Example};
use poem_openapi::{Enum, Object, OpenApi};
use serde_json::Value;

pub(super) struct ConvaiApi {
    pub(super) reader: Reader,
    pub(super) recordings: Option<Recordings>,
}

/// Whether the list carries summaries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[oai(rename_all = "snake_case")]
enum SummaryMode {
    /// It does not.
    Exclude,
    /// It does.
    Include,
}

/// A conversation in the platform's list.
#[derive(Debug, Object)]
#[oai(example)]
struct ConversationListed {
    /// The agent that spoke; empty while that is not known.
    agent_id: String,
    /// The platform's name for the call.
    conversation_id: String,
    /// When it began, in seconds since 1970.
    start_time_unix_secs: i64,
    /// How long it took, in seconds; 0 while that is not known.
    call_duration_secs: i64,
    /// How many turns are stored.
    message_count: i64,
    status: ConversationStatus,
    call_successful: CallOutcome,
    /// The summary; null with `summary_mode=exclude`.
    #[oai(nullable)]
    transcript_summary: Option<String>,
    /// The title.
    #[oai(nullable)]
    call_summary_title: Option<String>,
    /// Why it ended.
    #[oai(nullable)]
    termination_reason: Option<String>,
    /// The language.
    #[oai(nullable)]
    main_language: Option<String>,
    #[oai(nullable)]
    direction: Option<Direction>,
}

impl From<model::Call> for ConversationListed {
    fn from(call: model::Call) -> Self {
        Self {
            start_time_unix_secs: seconds(call.call_start_time),
            call_duration_secs: duration(&call),
            message_count: call.turn_count,
            status: call.status.into(),
            call_successful: call.report.outcome.unwrap_or(model::CallOutcome::Unknown).into(),
            conversation_id: call.conversation_id.as_str().to_owned(),
            agent_id: call.report.agent_id.unwrap_or_default(),
            transcript_summary: call.report.summary,
            call_summary_title: call.report.title,
            termination_reason: call.report.termination_reason,
            main_language: call.report.main_language,
            direction: call.report.direction.map(Into::into),
        }
    }
}

impl Example for ConversationListed {
    fn example() -> Self {
        Self {
            agent_id: "agent_5501k9czkv3qepy815bm59nt04qk".to_owned(),
            conversation_id: "conv_1901kaj4pr1penza6bbkscg6hgkc".to_owned(),
            start_time_unix_secs: 1_790_596_800,
            call_duration_secs: 47,
            message_count: 4,
            status: ConversationStatus::Done,
            call_successful: CallOutcome::Success,
            transcript_summary: None,
            call_summary_title: Some("Reefer temperature check".to_owned()),
            termination_reason: Some("Call ended by remote party".to_owned()),
            main_language: Some("en".to_owned()),
            direction: Some(Direction::Outbound),
        }
    }
}

/// A page of the platform's list.
#[derive(Debug, Object)]
#[oai(example)]
struct ConversationPage {
    /// The conversations, the newest first.
    conversations: Vec<ConversationListed>,
    /// What to give as `cursor` for the next page; null on the last one.
    #[oai(nullable)]
    next_cursor: Option<String>,
    /// Whether more follow.
    has_more: bool,
}

impl Example for ConversationPage {
    fn example() -> Self {
        Self { conversations: vec![ConversationListed::example()], next_cursor: None, has_more: false }
    }
}

/// Which end of the list comes first.
#[derive(Debug, Clone, Copy, Enum)]
#[oai(rename_all = "snake_case")]
enum SortDirection {
    /// The oldest.
    Asc,
    /// The newest.
    Desc,
}

/// The form of a conversation.
#[derive(Debug, Clone, Copy, Enum)]
#[oai(rename_all = "snake_case")]
enum ConversationFormat {
    /// The platform's own JSON.
    Json,
}

/// Conversations in a page when the client asks for no number, as on the platform.
const fn default_page_size() -> u16 {
    30
}

#[OpenApi(prefix_path = "/v1/convai", tag = "Tag::Convai")]
impl ConvaiApi {
    /// List conversations as the platform does
    ///
    /// The newest first. Filters of ElevenLabs' that are not named here are refused.
    #[oai(path = "/conversations", method = "get", operation_id = "list_conversations")]
    #[expect(clippy::too_many_arguments, reason = "the framework takes each query parameter as an argument")]
    async fn list_conversations(
        &self,
        request: &Request,
        /// Where the page before this one ended: its `next_cursor`.
        cursor: Query<Option<String>>,
        /// Greatest number of conversations in the page.
        #[oai(default = "default_page_size", validator(minimum(value = "1"), maximum(value = "100")))]
        page_size: Query<u16>,
        /// Only calls of this user of the platform. Of calls whose user the platform has not named, those of the driver of
        /// this number, also as in `driver_1042`.
        user_id: Query<Option<String>>,
        /// Only calls of this agent.
        agent_id: Query<Option<String>>,
        /// Only calls of this result of the analysis; one without an analysis counts as unknown.
        call_successful: Query<Option<CallOutcome>>,
        /// Only calls of at least so many seconds.
        call_duration_min_secs: Query<Option<i64>>,
        /// Only calls of at most so many seconds.
        call_duration_max_secs: Query<Option<i64>>,
        /// Only calls in one of these languages.
        main_languages: Query<Vec<String>>,
        /// Only calls of none of these statuses.
        exclude_statuses: Query<Vec<ConversationStatus>>,
        /// Whether the list carries summaries, which it does unless asked otherwise.
        summary_mode: Query<Option<SummaryMode>>,
        /// Only calls that started at this time or later, in seconds since 1970.
        call_start_after_unix: Query<Option<i64>>,
        /// Only calls that started before this time, in seconds since 1970.
        call_start_before_unix: Query<Option<i64>>,
        /// Only calls whose conversation id, driver's name or any message contains this text.
        #[oai(validator(min_length = 1, max_length = 200))]
        search: Query<Option<String>>,
        /// Which end of the list comes first; the newest without it.
        sort_direction: Query<Option<SortDirection>>,
    ) -> Result<Answer<ConversationPage>, Refused<List>> {
        let list = ListQuery::with_lists(request, &FILTERS, &LISTS)?;
        let time = |field: &str, seconds: Option<i64>| {
            let micros = seconds.map(|seconds| seconds.checked_mul(1_000_000).and_then(Timestamp::from_unix_micros));
            match micros {
                Some(None) => Err(ApiError::field(field, "must be a time between the years 0000 and 9999")),
                micros => Ok(micros.flatten()),
            }
        };
        for (name, text) in [("search", &search.0), ("user_id", &user_id.0), ("agent_id", &agent_id.0)] {
            if text.as_ref().is_some_and(|text| text.contains('\0')) {
                return Err(ApiError::field(name, "must not contain U+0000").into());
            }
        }
        let query = CallQuery {
            status: None,
            driver_id: None,
            user_id: user_id.0,
            agent_id: agent_id.0,
            record: RecordFilter {
                outcome: call_successful.0.map(Into::into),
                min_seconds: call_duration_min_secs.0,
                max_seconds: call_duration_max_secs.0,
                languages: main_languages.0,
                excluded_statuses: exclude_statuses.0.into_iter().filter_map(ConversationStatus::of_calls).collect(),
            },
            started_after: time("call_start_after_unix", call_start_after_unix.0)?,
            started_before: time("call_start_before_unix", call_start_before_unix.0)?,
            text: search.0,
            order: match sort_direction.0.unwrap_or(SortDirection::Desc) {
                SortDirection::Asc => Order::Ascending,
                SortDirection::Desc => Order::Descending,
            },
            after: list.key_in(cursor.0.as_deref(), |key| {
                let (start, id) = key.split_once(' ')?;
                Some(CallKey { start: Timestamp::parse(start).ok()?, id: id.parse().ok()? })
            })?,
            limit: page_size.0.into(),
            with_total: false,
        };
        let is_filtered = query.text.is_some() || query.agent_id.is_some() || query.record != RecordFilter::default();
        let depth = Depth::of_page(query.after.is_none(), page_size.0, is_filtered);
        let make = move |store: &dyn Store| {
            let page = store.calls(&query)?;
            let cut_at = page.rows.last().filter(|_| page.has_more);
            let next_cursor =
                cut_at.map(|call| list.cursor_behind(format_args!("{} {}", call.call_start_time, call.id)));
            let listed = |call: model::Call| {
                let mut listed = ConversationListed::from(call);
                listed.transcript_summary.take_if(|_| summary_mode.0 == Some(SummaryMode::Exclude));
                listed
            };
            Ok(ConversationPage {
                conversations: page.rows.into_iter().map(listed).collect(),
                next_cursor,
                has_more: page.has_more,
            })
        };
        Ok(self.reader.answer(request, depth, make).await?)
    }

    /// Get a conversation as the platform gives it
    ///
    /// After the platform's report with all that it sent, before it with what is known so far. `has_audio` says whether a
    /// recording is kept here.
    #[oai(path = "/conversations/:conversation_id", method = "get", operation_id = "get_conversation")]
    async fn get_conversation(
        &self,
        request: &Request,
        /// The platform's name for the call.
        conversation_id: Path<String>,
        /// The form of the answer; there is only one here.
        #[oai(name = "format")]
        _format: Query<Option<ConversationFormat>>,
    ) -> Result<Answer<Any<Value>>, Refused<Read>> {
        let id = super::conversation_id(&conversation_id.0)?;
        let recording = self.recordings.as_ref().map(|recordings| recordings.path(&id));
        let make = move |store: &dyn Store| {
            let has_audio = recording.is_some_and(|file| file.is_file());
            let call = store.call(&id)?.ok_or_else(|| no_call(id.as_str()))?;
            let event = call.report.record_event_id.map(|id| store.event(id)).transpose()?.flatten();
            let mut recorded = event.and_then(|event| conversation_in(&event.body));
            // A transcript in another form than ElevenLabs' own is given as it was understood.
            let is_known = recorded.as_ref().is_some_and(has_known_turns);
            if let Some(data) = &mut recorded {
                fill_in(data, &call, has_audio);
            }
            if let Some(data) = recorded.take_if(|_| is_known) {
                return Ok(Any(data));
            }
            let turns = store.turns(&TurnQuery {
                conversation_id: id,
                after_sequence: 0,
                order: TurnOrder::Time,
                after: None,
                limit: MAX_TURNS,
                with_total: false,
            })?;
            if turns.as_ref().is_some_and(|page| page.has_more) {
                let rule =
                    "has too many turns for one answer; read them page by page, at /api/v1/calls/…/transcriptions";
                return Err(ApiError::field("conversation_id", rule));
            }
            let mut known = so_far(&call, &turns.map_or(Vec::new(), |page| page.rows), has_audio);
            if let Some(mut data) = recorded {
                data["transcript"] = known["transcript"].take();
                known = data;
            }
            Ok(Any(known))
        };
        Ok(self.reader.answer(request, Depth::Deep, make).await?)
    }

    /// Get a conversation's recording
    ///
    /// MP3, whole or in part, as `GET /api/v1/calls/{conversation_id}/audio` gives it.
    #[oai(path = "/conversations/:conversation_id/audio", method = "get", operation_id = "get_conversation_audio")]
    async fn get_conversation_audio(
        &self,
        request: &Request,
        /// The platform's name for the call.
        conversation_id: Path<String>,
    ) -> Result<Recording, Refused<Audio>> {
        audio::recording(self.recordings.as_ref(), request, &conversation_id.0).await
    }
}

/// The parameters of the list that say which conversations, and in which order.
const FILTERS: [&str; 10] = [
    "user_id",
    "agent_id",
    "call_successful",
    "call_duration_min_secs",
    "call_duration_max_secs",
    "summary_mode",
    "call_start_after_unix",
    "call_start_before_unix",
    "search",
    "sort_direction",
];

/// Those that may be given more than once.
const LISTS: [&str; 2] = ["main_languages", "exclude_statuses"];

/// Greatest number of turns of a conversation that is given as far as it is known.
const MAX_TURNS: usize = 100_000;
