//! Read operations of the ElevenLabs API over this store, for ElevenLabs' official SDKs with another `base_url`.
//!
//! After ElevenLabs' record of a call has arrived, its conversation is returned as ElevenLabs sent it; before, it is
//! built from the stored turns. Paths and fields: <https://elevenlabs.io/docs/api-reference/conversations/list>. A
//! filter of ElevenLabs that this store does not support is an error, because ignoring it would return everything.

use super::conversation::{
    ConversationStatus, conversation_in, duration, fill_in, has_known_turns, partial_conversation, seconds,
};
use crate::api::calls::audio::{self, Recording};
use crate::api::calls::filter::{one_text, texts};
use crate::api::calls::operations::call_not_found;
use crate::api::calls::schema::{CallOutcome, Direction};
use crate::api::error::{ApiError, AudioErrors, Errors, ListErrors, ReadErrors};
use crate::api::pagination::ListQuery;
use crate::api::reader::{Answer, Depth, PageRead, Reader};
use crate::api::tag::Tag;
use crate::domain::{self, Timestamp};
use crate::recordings::Recordings;
use crate::store::{CallFilter, CallKey, CallPageRequest, Reads, SortOrder, TurnOrder, TurnQuery};
use poem::Request;
use poem_openapi::param::{Path, Query};
use poem_openapi::types::{Any, Example};
use poem_openapi::{Enum, Object, OpenApi};
use serde_json::Value;

pub(in crate::api) struct ElevenLabsApi {
    pub(in crate::api) reader: Reader,
    pub(in crate::api) recordings: Option<Recordings>,
}

/// Inclusion of summaries in the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[oai(rename_all = "snake_case")]
enum SummaryMode {
    /// Without summaries.
    Exclude,
    /// With summaries.
    Include,
}

/// A conversation in a list, in ElevenLabs' form.
#[derive(Debug, Object)]
#[oai(example)]
struct ConversationListed {
    /// ElevenLabs' id of the agent; empty if not known.
    agent_id: String,
    /// ElevenLabs' id of the call.
    conversation_id: String,
    /// Start of the call, in seconds since 1970.
    start_time_unix_secs: i64,
    /// Duration of the call, in seconds; 0 if not known.
    call_duration_secs: i64,
    /// Number of stored turns.
    message_count: i64,
    status: ConversationStatus,
    call_successful: CallOutcome,
    /// Summary; null with `summary_mode=exclude`.
    #[oai(nullable)]
    transcript_summary: Option<String>,
    /// Title.
    #[oai(nullable)]
    call_summary_title: Option<String>,
    /// Reason why the call ended.
    #[oai(nullable)]
    termination_reason: Option<String>,
    /// Main language.
    #[oai(nullable)]
    main_language: Option<String>,
    #[oai(nullable)]
    direction: Option<Direction>,
    /// Name of the agent.
    #[oai(nullable)]
    agent_name: Option<String>,
    /// ElevenLabs' id of the agent's branch.
    #[oai(nullable)]
    branch_id: Option<String>,
    /// ElevenLabs' id of the agent's version.
    #[oai(nullable)]
    version_id: Option<String>,
    /// Cost, in ElevenLabs credits.
    #[oai(nullable)]
    cost: Option<i64>,
    /// Cost, in US dollars.
    #[oai(nullable)]
    cost_fiat: Option<f64>,
    /// Source of the conversation, such as `twilio`.
    #[oai(nullable)]
    conversation_initiation_source: Option<String>,
    /// Names of the tools that were called, each once, in the order of their first calls.
    tool_names: Vec<String>,
    /// Ids of ElevenLabs' tags.
    tag_ids: Vec<String>,
}

impl From<domain::Call> for ConversationListed {
    fn from(call: domain::Call) -> Self {
        Self {
            start_time_unix_secs: seconds(call.call_start_time),
            call_duration_secs: duration(&call),
            message_count: call.turn_count,
            status: call.status.into(),
            call_successful: call.report.outcome.unwrap_or(domain::CallOutcome::Unknown).into(),
            conversation_id: call.conversation_id.as_str().to_owned(),
            agent_id: call.report.agent_id.unwrap_or_default(),
            transcript_summary: call.report.summary,
            call_summary_title: call.report.title,
            termination_reason: call.report.termination_reason,
            main_language: call.report.main_language,
            direction: call.report.direction.map(Into::into),
            agent_name: call.report.agent_name,
            branch_id: call.report.branch_id,
            version_id: call.report.version_id,
            cost: call.report.cost,
            cost_fiat: call.report.cost_usd.map(domain::Finite::get),
            conversation_initiation_source: call.report.initiation_source,
            tool_names: Vec::new(),
            tag_ids: call.report.tags,
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
            agent_name: Some("Reefer checks".to_owned()),
            branch_id: None,
            version_id: None,
            cost: Some(296),
            cost_fiat: Some(0.094),
            conversation_initiation_source: Some("twilio".to_owned()),
            tool_names: vec!["reefer_set_point".to_owned()],
            tag_ids: vec!["tag_reefer".to_owned()],
        }
    }
}

/// A page of conversations, in ElevenLabs' form.
#[derive(Debug, Object)]
#[oai(example)]
struct ConversationPage {
    /// Conversations, newest first by default.
    conversations: Vec<ConversationListed>,
    /// The `cursor` of the next page; null on the last page.
    #[oai(nullable)]
    next_cursor: Option<String>,
    /// True if another page follows.
    has_more: bool,
}

impl Example for ConversationPage {
    fn example() -> Self {
        Self { conversations: vec![ConversationListed::example()], next_cursor: None, has_more: false }
    }
}

/// Sort order of conversations, by start time.
#[derive(Debug, Clone, Copy, Enum)]
#[oai(rename_all = "snake_case")]
enum SortDirection {
    /// Oldest first.
    Asc,
    /// Newest first.
    Desc,
}

/// Format of a conversation.
#[derive(Debug, Clone, Copy, Enum)]
#[oai(rename_all = "snake_case")]
enum ConversationFormat {
    /// ElevenLabs' JSON.
    Json,
}

/// Default number of conversations per page, as in ElevenLabs' API.
const fn default_page_size() -> u16 {
    30
}

#[OpenApi(prefix_path = "/v1/convai", tag = "Tag::Convai")]
impl ElevenLabsApi {
    /// List conversations as ElevenLabs does
    ///
    /// Returns conversations, newest first by default. Filters of ElevenLabs that are not listed here are rejected.
    #[oai(path = "/conversations", method = "get", operation_id = "list_conversations")]
    #[expect(clippy::too_many_arguments, reason = "the framework takes each query parameter as an argument")]
    async fn list_conversations(
        &self,
        request: &Request,
        /// The `next_cursor` of the previous page.
        cursor: Query<Option<String>>,
        /// Maximum number of conversations per page.
        #[oai(default = "default_page_size", validator(minimum(value = "1"), maximum(value = "100")))]
        page_size: Query<u16>,
        /// Only calls with this ElevenLabs user id. Calls without a user id match if their driver has this number; the
        /// form `driver_1042` is accepted too.
        user_id: Query<Option<String>>,
        /// Only calls of this agent.
        agent_id: Query<Option<String>>,
        /// Only calls with this result of the analysis; calls without an analysis count as `unknown`.
        call_successful: Query<Option<CallOutcome>>,
        /// Minimum duration, in seconds.
        call_duration_min_secs: Query<Option<i64>>,
        /// Maximum duration, in seconds.
        call_duration_max_secs: Query<Option<i64>>,
        /// Only calls in one of these languages.
        main_languages: Query<Vec<String>>,
        /// Only calls where one of these tools was called.
        tool_names: Query<Vec<String>>,
        /// Only calls with one of these tags.
        tag_ids: Query<Vec<String>>,
        /// Only calls of this branch of an agent.
        branch_id: Query<Option<String>>,
        /// Only calls that ended for one of these reasons.
        termination_reasons: Query<Vec<String>>,
        /// Exclude calls with one of these statuses.
        exclude_statuses: Query<Vec<ConversationStatus>>,
        /// Inclusion of summaries; `include` by default.
        summary_mode: Query<Option<SummaryMode>>,
        /// Only calls that started at or after this time, in seconds since 1970.
        call_start_after_unix: Query<Option<i64>>,
        /// Only calls that started before this time, in seconds since 1970.
        call_start_before_unix: Query<Option<i64>>,
        /// Only calls with this text in the conversation id, the driver's name (in any case, with or without accents)
        /// or a message (where a word begins), or with this end of the telephone number. An asterisk before the text,
        /// as in `*load`, also finds it within words; that is slow.
        #[oai(validator(min_length = 1, max_length = 200))]
        search: Query<Option<String>>,
        /// Sort order by start time; `desc` (newest first) by default.
        sort_direction: Query<Option<SortDirection>>,
    ) -> Result<Answer<ConversationPage>, Errors<ListErrors>> {
        let list = ListQuery::with_lists(request, &FILTER_PARAMETERS, &REPEATABLE_PARAMETERS)?;
        let time = |field: &str, seconds: Option<i64>| {
            let micros = seconds.map(|seconds| seconds.checked_mul(1_000_000).and_then(Timestamp::from_unix_micros));
            match micros {
                Some(None) => Err(ApiError::field(field, "must be a time in the years 0000 to 9999")),
                micros => Ok(micros.flatten()),
            }
        };
        if search.0.as_ref().is_some_and(|text| text.contains('\0')) {
            return Err(ApiError::field("search", "must not contain U+0000").into());
        }
        let filter = CallFilter {
            user_id: one_text("user_id", user_id.0)?,
            agent_id: one_text("agent_id", agent_id.0)?,
            branch_id: one_text("branch_id", branch_id.0)?,
            outcome: call_successful.0.map(Into::into),
            min_seconds: call_duration_min_secs.0,
            max_seconds: call_duration_max_secs.0,
            languages: texts("main_languages", main_languages.0)?,
            tools: texts("tool_names", tool_names.0)?,
            tags: texts("tag_ids", tag_ids.0)?,
            termination_reasons: texts("termination_reasons", termination_reasons.0)?,
            excluded_statuses: exclude_statuses.0.into_iter().filter_map(ConversationStatus::to_call_status).collect(),
            // ElevenLabs lists them too.
            exclude_children: false,
            started_after: time("call_start_after_unix", call_start_after_unix.0)?,
            started_before: time("call_start_before_unix", call_start_before_unix.0)?,
            text: search.0,
            ..CallFilter::default()
        };
        // No index contains these columns.
        let is_slow = filter.text.is_some() || filter.branch_id.is_some() || !filter.termination_reasons.is_empty();
        let query = CallPageRequest {
            filter,
            order: match sort_direction.0.unwrap_or(SortDirection::Desc) {
                SortDirection::Asc => SortOrder::Ascending,
                SortDirection::Desc => SortOrder::Descending,
            },
            after: list.decode_cursor(cursor.0.as_deref(), |key| {
                let (start, id) = key.split_once(' ')?;
                Some(CallKey { start: Timestamp::parse(start).ok()?, id: id.parse().ok()? })
            })?,
            limit: page_size.0.into(),
            with_total: false,
        };
        let depth = Depth::for_page(PageRead {
            is_first: query.after.is_none(),
            limit: page_size.0,
            searches_or_counts: is_slow,
        });
        let make = move |store: &dyn Reads| {
            let page = store.calls(&query)?;
            let next_cursor = page.next.map(|key| list.encode_cursor(format_args!("{} {}", key.start, key.id)));
            let ids: Vec<_> = page.rows.iter().map(|call| call.conversation_id.clone()).collect();
            let mut tool_names = store.tool_names(&ids)?.into_iter();
            let listed = |call: domain::Call| {
                let mut listed = ConversationListed::from(call);
                listed.tool_names = tool_names.next().unwrap_or_default();
                listed.transcript_summary.take_if(|_| summary_mode.0 == Some(SummaryMode::Exclude));
                listed
            };
            Ok(ConversationPage {
                conversations: page.rows.into_iter().map(listed).collect(),
                has_more: next_cursor.is_some(),
                next_cursor,
            })
        };
        Ok(self.reader.answer(request, depth, make).await?)
    }

    /// Get a conversation as ElevenLabs returns it
    ///
    /// Returns ElevenLabs' record with all of its fields, or, without a record, the turns stored so far. `has_audio` is
    /// true if this service has a recording.
    #[oai(path = "/conversations/:conversation_id", method = "get", operation_id = "get_conversation")]
    async fn get_conversation(
        &self,
        request: &Request,
        /// ElevenLabs' id of the call.
        conversation_id: Path<String>,
        /// Format of the response; only `json` is supported.
        #[oai(name = "format")]
        _format: Query<Option<ConversationFormat>>,
    ) -> Result<Answer<Any<Value>>, Errors<ReadErrors>> {
        let id = crate::api::path_params::conversation_id(&conversation_id.0)?;
        let recording = self.recordings.as_ref().map(|recordings| recordings.path(&id));
        let make = move |store: &dyn Reads| {
            let has_audio = recording.is_some_and(|file| file.is_file());
            let call = store.call(&id)?.ok_or_else(|| call_not_found(id.as_str()))?;
            let event = call.report.record_event_id.map(|id| store.event(id)).transpose()?.flatten();
            let mut recorded = event.and_then(|event| conversation_in(&event.body));
            // Read before `fill_in`, which changes the turns.
            let is_known = recorded.as_ref().is_some_and(has_known_turns);
            if let Some(data) = &mut recorded {
                fill_in(data, &call, has_audio);
            }
            // A transcript in a form other than ElevenLabs' own is replaced by the stored turns.
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
                let rule = "has too many turns for one response; use /api/v1/calls/{conversation_id}/transcriptions";
                return Err(ApiError::field("conversation_id", rule));
            }
            let turns = turns.map_or(Vec::new(), |page| page.rows);
            let tools = store.tool_calls(&call.conversation_id)?;
            let mut conversation = partial_conversation(&call, &turns, &tools, has_audio);
            if let Some(mut data) = recorded {
                data["transcript"] = conversation["transcript"].take();
                conversation = data;
            }
            Ok(Any(conversation))
        };
        Ok(self.reader.answer(request, Depth::Deep, make).await?)
    }

    /// Get a conversation's recording
    ///
    /// MP3, whole or as a byte range, as with `GET /api/v1/calls/{conversation_id}/audio`.
    #[oai(path = "/conversations/:conversation_id/audio", method = "get", operation_id = "get_conversation_audio")]
    async fn get_conversation_audio(
        &self,
        request: &Request,
        /// ElevenLabs' id of the call.
        conversation_id: Path<String>,
    ) -> Result<Recording, Errors<AudioErrors>> {
        audio::recording(self.recordings.as_ref(), request, &conversation_id.0).await
    }
}

/// Parameters of the list that may be given once.
const FILTER_PARAMETERS: [&str; 11] = [
    "user_id",
    "agent_id",
    "branch_id",
    "call_successful",
    "call_duration_min_secs",
    "call_duration_max_secs",
    "summary_mode",
    "call_start_after_unix",
    "call_start_before_unix",
    "search",
    "sort_direction",
];

/// Parameters of the list that may be repeated.
const REPEATABLE_PARAMETERS: [&str; 5] =
    ["main_languages", "tool_names", "tag_ids", "termination_reasons", "exclude_statuses"];

/// Maximum number of turns in a conversation that is built from stored turns.
const MAX_TURNS: usize = 20_000;
