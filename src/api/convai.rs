//! The platform's own read operations, answered from this store, so that its official SDKs read it by their `base_url`.
//!
//! Once the platform has reported a call, its conversation is given back as the platform sent it; before that, by what is
//! known so far. Names and forms are the platform's: <https://elevenlabs.io/docs/api-reference/conversations/list>.
//! Unlike everywhere else, parameters that are not known are let be: an SDK adds them at will.

use super::Tag;
use super::calls::no_call;
use super::error::{ApiError, List, Read, Refused};
use super::query::ListQuery;
use super::reading::{Answer, Depth, Reader};
use crate::model::{self, CallOutcome, CallStatus, Speaker, Timestamp, Turn};
use crate::recording::Recordings;
use crate::store::{CallKey, CallQuery, Order, Store, TurnOrder, TurnQuery};
use poem::{Body, Request};
use poem_openapi::param::{Path, Query};
use poem_openapi::payload::Binary;
use poem_openapi::types::{Any, Example};
use poem_openapi::{ApiResponse, Enum, Object, OpenApi};
use serde_json::{Value, json};

pub(super) struct ConvaiApi {
    pub(super) reader: Reader,
    pub(super) recordings: Option<Recordings>,
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
    /// `in-progress`, `done` or `failed`.
    status: String,
    /// `success`, `failure` or `unknown`.
    call_successful: String,
    /// The summary.
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
    /// `inbound` or `outbound`.
    #[oai(nullable)]
    direction: Option<String>,
}

impl From<model::Call> for ConversationListed {
    fn from(call: model::Call) -> Self {
        Self {
            start_time_unix_secs: seconds(call.call_start_time),
            call_duration_secs: duration(&call),
            message_count: call.turn_count,
            status: status(&call).to_owned(),
            call_successful: call.report.outcome.unwrap_or(CallOutcome::Unknown).as_str().to_owned(),
            conversation_id: call.conversation_id.as_str().to_owned(),
            agent_id: call.report.agent_id.unwrap_or_default(),
            transcript_summary: call.report.summary,
            call_summary_title: call.report.title,
            termination_reason: call.report.termination_reason,
            main_language: call.report.main_language,
            direction: call.report.direction.map(|direction| direction.as_str().to_owned()),
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
            status: "done".to_owned(),
            call_successful: "success".to_owned(),
            transcript_summary: None,
            call_summary_title: Some("Reefer temperature check".to_owned()),
            termination_reason: Some("Call ended by remote party".to_owned()),
            main_language: Some("en".to_owned()),
            direction: Some("outbound".to_owned()),
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

#[derive(ApiResponse)]
enum Recording {
    /// The recording.
    #[oai(status = 200, content_type = "audio/mpeg")]
    Found(Binary<Body>),
}

/// Conversations in a page when the client asks for no number, as on the platform.
const fn default_page_size() -> u16 {
    30
}

#[OpenApi(prefix_path = "/v1/convai", tag = "Tag::Convai")]
impl ConvaiApi {
    /// List conversations as the platform does
    ///
    /// The newest first. Other parameters of the platform's are let be.
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
        let list = ListQuery::of_platform(request, &FILTERS)?;
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
        let depth =
            Depth::of_page(query.after.is_none(), page_size.0, query.text.is_some() || query.agent_id.is_some());
        let make = move |store: &dyn Store| {
            let page = store.calls(&query)?;
            let cut_at = page.rows.last().filter(|_| page.has_more);
            let next_cursor =
                cut_at.map(|call| list.cursor_behind(format_args!("{} {}", call.call_start_time, call.id)));
            Ok(ConversationPage {
                conversations: page.rows.into_iter().map(Into::into).collect(),
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
            if let Some(event) = call.report.record_event_id.map(|id| store.event(id)).transpose()?.flatten() {
                if let Some(mut data) = conversation_in(&event.body) {
                    data["has_audio"] = has_audio.into();
                    return Ok(Any(data));
                }
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
            Ok(Any(so_far(&call, &turns.map_or(Vec::new(), |page| page.rows), has_audio)))
        };
        Ok(self.reader.answer(request, Depth::Deep, make).await?)
    }

    /// Get a conversation's recording
    #[oai(path = "/conversations/:conversation_id/audio", method = "get", operation_id = "get_conversation_audio")]
    async fn get_conversation_audio(
        &self,
        /// The platform's name for the call.
        conversation_id: Path<String>,
    ) -> Result<Recording, Refused<Read>> {
        let id = super::conversation_id(&conversation_id.0)?;
        let none = || ApiError::NotFound(format!("there is no recording of the call {}", conversation_id.0));
        let path = self.recordings.as_ref().ok_or_else(none)?.path(&id);
        let file = tokio::fs::File::open(path).await.map_err(|_| none())?;
        Ok(Recording::Found(Binary(Body::from_async_read(file))))
    }
}

/// The parameters of the list that say which conversations, and in which order.
const FILTERS: [&str; 6] =
    ["user_id", "agent_id", "call_start_after_unix", "call_start_before_unix", "search", "sort_direction"];

/// Greatest number of turns of a conversation that is given as far as it is known.
const MAX_TURNS: usize = 100_000;

/// The conversation in an event that holds one as the platform gives it.
fn conversation_in(body: &[u8]) -> Option<Value> {
    let mut event: Value = serde_json::from_slice(body).ok()?;
    let whole = event.get("type")?.as_str()? == "post_call_transcription";
    whole.then(|| event.get_mut("data").map(Value::take))?.filter(Value::is_object)
}

/// The same of what is known here.
fn so_far(call: &model::Call, turns: &[Turn], has_audio: bool) -> Value {
    let start = call.call_start_time.unix_micros();
    let transcript: Vec<_> = turns
        .iter()
        .map(|turn| {
            let role = match turn.speaker {
                Speaker::Agent => "agent",
                Speaker::Driver => "user",
            };
            json!({
                "role": role,
                "message": turn.final_text.as_ref().unwrap_or(&turn.message).as_str(),
                "time_in_call_secs": (turn.timestamp.unix_micros() - start).max(0) / 1_000_000,
                "interrupted": turn.interrupted.unwrap_or(false),
            })
        })
        .collect();
    json!({
        "agent_id": call.report.agent_id.as_deref().unwrap_or_default(),
        "conversation_id": call.conversation_id.as_str(),
        "status": status(call),
        "user_id": call.report.user_id.clone().or_else(|| call.driver_id.map(|id| id.to_string())),
        "transcript": transcript,
        "metadata": {
            "start_time_unix_secs": seconds(call.call_start_time),
            "call_duration_secs": duration(call),
            "termination_reason": call.report.termination_reason,
        },
        "analysis": null,
        "has_audio": has_audio,
        "has_user_audio": false,
        "has_response_audio": false,
        "has_auxiliary_audio": false,
    })
}

fn status(call: &model::Call) -> &'static str {
    match call.status {
        CallStatus::InProgress => "in-progress",
        CallStatus::Completed => "done",
        CallStatus::Failed => "failed",
    }
}

fn seconds(time: Timestamp) -> i64 {
    time.unix_micros().div_euclid(1_000_000)
}

fn duration(call: &model::Call) -> i64 {
    let end = call.call_end_time.or(call.last_turn_time).unwrap_or(call.call_start_time);
    call.report.duration_seconds.unwrap_or((seconds(end) - seconds(call.call_start_time)).max(0))
}
