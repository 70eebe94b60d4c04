//! Calls: list, read, change and erase.

use super::filter::{self, CallFilterParams};
use super::schema::{Call, CallStatus, example_instant};
use crate::api::auth::may_read_words;
use crate::api::body::{JsonBody, JsonOk};
use crate::api::date_time::DateTime;
use crate::api::error::{ApiError, ChangeErrors, Errors, ListErrors, ReadErrors};
use crate::api::error_code::ErrorCode;
use crate::api::pagination::{ListQuery, default_limit, reject_query_params};
use crate::api::path_params::conversation_id;
use crate::api::reader::{Answer, Depth, PageRead, Reader};
use crate::api::tag::Tag;
use crate::domain::validation::FieldReader;
use crate::domain::{self, CallChange, CallEnd, ConversationId, Timestamp};
use crate::ingest::{WriteError, Writer};
use crate::jobs::retention::chunks;
use crate::recordings::Recordings;
use crate::store::command::{ChangeCall, EraseCall, PruneEvents};
use crate::store::{
    self, CallFilter, CallKey, CallPageRequest, CallRank, RankKey, RankedCallRequest, Reads, Rejection, ScanPage,
    SortOrder,
};
use poem::Request;
use poem_openapi::param::{Path, Query};
use poem_openapi::types::Example;
use poem_openapi::{ApiResponse, Enum, Object, OpenApi};

pub(in crate::api) struct CallsApi {
    pub(in crate::api) recordings: Option<Recordings>,
    pub(in crate::api) reader: Reader,
    pub(in crate::api) writer: Writer,
}

/// Sort order of calls.
#[derive(Debug, Clone, Copy, Enum)]
#[oai(rename_all = "snake_case")]
enum CallOrder {
    /// Newest first.
    Desc,
    /// Oldest first.
    Asc,
    /// Longest first; only calls that are over.
    Longest,
    /// Most turns first; only calls that are over.
    MostTurns,
    /// Highest cost in credits first; only calls that are over and whose cost is known.
    Costliest,
}

impl CallOrder {
    /// Returns the rank, if the order is not by start.
    fn rank(self) -> Option<CallRank> {
        match self {
            Self::Desc | Self::Asc => None,
            Self::Longest => Some(CallRank::Longest),
            Self::MostTurns => Some(CallRank::MostTurns),
            Self::Costliest => Some(CallRank::Costliest),
        }
    }
}

/// A page of calls.
#[derive(Debug, Object)]
#[oai(example)]
struct CallPage {
    /// Calls of this page.
    data: Vec<Call>,
    /// The `cursor` of the next page; null on the last page.
    #[oai(nullable)]
    next_cursor: Option<String>,
    /// True if another page follows.
    has_more: bool,
    /// Number of all calls that match; only with `include_total=true`.
    #[oai(skip_serializing_if_is_none)]
    total: Option<u64>,
}

impl Example for CallPage {
    fn example() -> Self {
        Self { data: vec![Call::example()], next_cursor: None, has_more: false, total: None }
    }
}

/// A change of a call. Fields that are absent stay unchanged.
#[derive(Debug, Object)]
#[oai(example)]
struct CallPatch {
    status: Option<CallStatus>,
    /// New end of the call, not before its start; null deletes the end.
    #[oai(nullable)]
    call_end_time: Option<DateTime>,
}

impl Example for CallPatch {
    fn example() -> Self {
        Self { status: Some(CallStatus::Completed), call_end_time: Some(example_instant("2026-09-28T12:02:41Z")) }
    }
}

/// More fields of the calls of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[oai(rename_all = "snake_case")]
enum CallInclude {
    /// The field `transferred`.
    Transfers,
}

/// Parameters of a page of a list.
struct PageOptions<'a> {
    cursor: Option<&'a str>,
    limit: u16,
    with_total: bool,
    transfers: bool,
}

impl CallsApi {
    /// Returns a page of calls by rank.
    async fn list_ranked(
        &self,
        request: &Request,
        list: ListQuery,
        filter: CallFilter,
        rank: CallRank,
        page: PageOptions<'_>,
    ) -> Result<Answer<CallPage>, Errors<ListErrors>> {
        let after = list.decode_cursor(page.cursor, |key| {
            let (value, id) = key.split_once(' ')?;
            Some(RankKey { value: value.parse().ok()?, id: id.parse().ok()? })
        })?;
        let depth = Depth::for_page(PageRead {
            is_first: after.is_none(),
            limit: page.limit,
            searches_or_counts: filter.is_selective() || page.with_total,
        });
        let transfers = page.transfers;
        let query = RankedCallRequest { filter, rank, after, limit: page.limit.into(), with_total: page.with_total };
        let listed = listed_for(request, transfers);
        let make = move |store: &dyn Reads| {
            let page = store.ranked_calls(&query)?;
            let cut_at = page.rows.last().filter(|_| page.has_more);
            let next_cursor = cut_at.map(|last| list.encode_cursor(format_args!("{} {}", last.key.value, last.key.id)));
            Ok(CallPage {
                data: listed(page.rows.into_iter().map(|ranked| ranked.call).collect(), store)?,
                next_cursor,
                has_more: page.has_more,
                total: page.total,
            })
        };
        Ok(self.reader.answer(request, depth, make).await?)
    }
}

#[derive(ApiResponse)]
enum Erased {
    /// The call and everything stored about it are deleted.
    #[oai(status = 204)]
    Erased,
}

#[OpenApi(prefix_path = "/api/v1", tag = "Tag::Calls")]
impl CallsApi {
    /// List calls
    ///
    /// Returns calls in pages, by start time, newest first, unless another `order` is requested. Several filters are
    /// combined with AND. A filter that is repeated accepts each of its values.
    ///
    /// A page may have fewer calls than `limit`, even none, although more follow. Continue as long as `has_more` is
    /// true.
    ///
    /// The role `list` gets calls without words: `last_message`, `termination_reason`, `title`, `summary` and
    /// `sentiment` are null, and `alerts` is empty. It may not filter by `q`,
    /// `alert` and `has_alert`.
    #[oai(path = "/calls", method = "get", operation_id = "list_calls")]
    #[expect(clippy::too_many_arguments, reason = "the framework takes each query parameter as an argument")]
    async fn list_calls(
        &self,
        request: &Request,
        calls: CallFilterParams,
        /// Only calls with this text in the conversation id, the driver's name (in any case, with or without accents)
        /// or a message (where a word begins), or with this end of the telephone number. An asterisk before the text,
        /// as in `*load`, also finds it within words; that is slow.
        #[oai(validator(min_length = 1, max_length = 200))]
        q: Query<Option<String>>,
        /// `desc` (default): newest first. `asc`: oldest first. `longest`, `most_turns` and `costliest` return calls
        /// that are over; with a filter that few calls match, they read all that match. In `longest`, conversations by
        /// text message follow all others, because hours may pass between two messages.
        order: Query<Option<CallOrder>>,
        /// The `next_cursor` of the previous page.
        cursor: Query<Option<String>>,
        /// Maximum number of calls per page.
        #[oai(default = "default_limit", validator(minimum(value = "1"), maximum(value = "1000")))]
        limit: Query<u16>,
        /// Return the number of all calls that match. This is slow for large results.
        #[oai(default)]
        include_total: Query<bool>,
        /// `transfers`: also return whether a tool transferred each call.
        include: Query<Vec<CallInclude>>,
    ) -> Result<Answer<CallPage>, Errors<ListErrors>> {
        let names = CallFilterParams::names_with(&["q", "order", "include"]);
        let list = ListQuery::strict(request, &names, &CallFilterParams::repeatable_with(&["include"]))?;
        let transfers = include.0.contains(&CallInclude::Transfers);
        let filter = CallFilter { text: filter::text(q.0)?, ..calls.parse(false)? };
        let order = order.0.unwrap_or(CallOrder::Desc);
        if let Some(rank) = order.rank() {
            let page =
                PageOptions { cursor: cursor.0.as_deref(), limit: limit.0, with_total: include_total.0, transfers };
            return self.list_ranked(request, list, filter, rank, page).await;
        }
        let query = CallPageRequest {
            filter,
            order: match order {
                CallOrder::Asc => SortOrder::Ascending,
                _ => SortOrder::Descending,
            },
            after: list.decode_cursor(cursor.0.as_deref(), |key| {
                let (start, id) = key.split_once(' ')?;
                Some(CallKey { start: Timestamp::parse(start).ok()?, id: id.parse().ok()? })
            })?,
            limit: limit.0.into(),
            with_total: include_total.0,
        };
        let searches = query.filter.text.is_some() || query.with_total;
        let depth =
            Depth::for_page(PageRead { is_first: query.after.is_none(), limit: limit.0, searches_or_counts: searches });
        let listed = listed_for(request, transfers);
        let make = move |store: &dyn Reads| {
            let page = store.calls(&query)?;
            let next_cursor = page.next.map(|key| list.encode_cursor(format_args!("{} {}", key.start, key.id)));
            Ok(CallPage {
                data: listed(page.rows, store)?,
                has_more: next_cursor.is_some(),
                next_cursor,
                total: page.total,
            })
        };
        Ok(self.reader.answer(request, depth, make).await?)
    }

    /// Get a call
    ///
    /// The role `list` gets the call without words, as in the list of calls, without `analysis` and without the titles
    /// of `child_conversations`.
    #[oai(path = "/calls/:conversation_id", method = "get", operation_id = "get_call")]
    async fn get_call(
        &self,
        request: &Request,
        /// ElevenLabs' id of the call.
        conversation_id: Path<String>,
    ) -> Result<Answer<Call>, Errors<ReadErrors>> {
        reject_query_params(request)?;
        let id = self::conversation_id(&conversation_id.0)?;
        let recording = self.recordings.as_ref().map(|recordings| recordings.path(&id));
        let has_words = may_read_words(request);
        let make = move |store: &dyn Reads| {
            let has_audio = recording.is_some_and(|file| file.is_file());
            let call = store.call(&id)?.ok_or_else(|| call_not_found(id.as_str()))?;
            let call = Call::single(call, has_audio, store)?;
            Ok(if has_words { call } else { call.without_words() })
        };
        Ok(self.reader.answer(request, Depth::Quick, make).await?)
    }

    /// Change a call
    ///
    /// Sets the status or the end by hand, for a call whose end ElevenLabs never reported.
    #[oai(path = "/calls/:conversation_id", method = "patch", operation_id = "change_call")]
    async fn change_call(
        &self,
        request: &Request,
        /// ElevenLabs' id of the call.
        conversation_id: Path<String>,
        body: JsonBody<CallPatch>,
    ) -> Result<JsonOk<Call>, Errors<ChangeErrors>> {
        reject_query_params(request)?;
        let id = self::conversation_id(&conversation_id.0)?;
        let change = parse_patch(&body.bytes)?;
        let recording = self.recordings.as_ref().map(|recordings| recordings.path(&id));
        let call = self.writer.execute(ChangeCall(id.clone(), change)).await;
        let call = call.map_err(|error| write_error(error, &conversation_id.0))?;
        let make = move |store: &dyn Reads| {
            let has_audio = recording.is_some_and(|file| file.is_file());
            Call::single(call, has_audio, store)
        };
        Ok(JsonOk(self.reader.read(make).await?))
    }

    /// Erase a call
    ///
    /// Deletes everything stored about the call permanently: turns, ElevenLabs' events, dispatch and recording. Within
    /// seconds its bytes are also gone from the database file. A call with many thousand turns takes some seconds;
    /// meanwhile, new turns for it are answered with 503. A turn that arrives later creates the call again. Post-call
    /// events that arrive later are dropped.
    #[oai(path = "/calls/:conversation_id", method = "delete", operation_id = "erase_call")]
    async fn erase_call(
        &self,
        request: &Request,
        /// ElevenLabs' id of the call.
        conversation_id: Path<String>,
    ) -> Result<Erased, Errors<ReadErrors>> {
        reject_query_params(request)?;
        let id = self::conversation_id(&conversation_id.0)?;
        // First, because a retry then still finds the call if the rest fails.
        if let Some(recordings) = self.recordings.clone() {
            let undeleted = |error| ApiError::Internal(format!("the recording cannot be deleted: {error}"));
            recordings.remove_async(id.clone()).await.map_err(undeleted)?;
        }
        let naming = self.erase_events_naming(&id).await?;
        match self.writer.execute(EraseCall(id)).await {
            Err(WriteError::Rejected(Rejection::NotFound)) if naming => Ok(Erased::Erased),
            erased => erased.map(|_| Erased::Erased).map_err(|error| write_error(error, &conversation_id.0).into()),
        }
    }
}

impl CallsApi {
    /// Erases the events that name the call and could not be parsed. Returns true if there were any.
    async fn erase_events_naming(&self, id: &ConversationId) -> Result<bool, ApiError> {
        let (mut after, mut any) = (0, false);
        loop {
            let calls = [id.clone()].into();
            let ScanPage { rows, next } = self.reader.read(move |store| store.events_naming(&calls, after)).await?;
            let events: Vec<_> = rows.iter().map(|naming| naming.event).collect();
            any |= !events.is_empty();
            for chunk in chunks(&events) {
                self.writer.execute(PruneEvents(chunk.iter().map(|event| event.id).collect())).await?;
            }
            let Some(next) = next else { return Ok(any) };
            after = next;
        }
    }
}

/// Returns the conversion of calls to elements of a list, without words for a role that may not read them. `transfers`
/// also sets `transferred`.
fn listed_for(
    request: &Request,
    transfers: bool,
) -> impl Fn(Vec<domain::Call>, &dyn Reads) -> store::Result<Vec<Call>> + Send + use<> {
    let has_words = may_read_words(request);
    move |calls, store| {
        let calls = Call::summaries(calls, transfers, store)?;
        Ok(if has_words { calls } else { calls.into_iter().map(Call::without_words).collect() })
    }
}

pub(in crate::api) fn call_not_found(conversation_id: &str) -> ApiError {
    ApiError::NotFound(ErrorCode::CallNotFound, format!("call {conversation_id} does not exist"))
}

fn write_error(error: WriteError, conversation_id: &str) -> ApiError {
    ApiError::from_write(error, || call_not_found(conversation_id))
}

fn parse_patch(body: &[u8]) -> Result<CallChange, ApiError> {
    let mut fields = FieldReader::from_json(body).map_err(ApiError::body_rule)?.strict();
    let end_given = fields.has("call_end_time");
    let end = fields.text("call_end_time");
    let end = fields.validate("call_end_time", end, |text| Timestamp::parse(&text));
    // A null status is invalid: every call has a status.
    let status = fields.remove("status").map(|status| status.as_str().unwrap_or_default().to_owned());
    let status = fields.validate("status", status, |text| {
        domain::CallStatus::from_stored(&text)
            .ok_or_else(|| domain::Invalid("must be one of in_progress, completed, failed".into()))
    });
    let call_end_time = end_given.then(|| end.map_or(CallEnd::Unknown, CallEnd::At));
    let change = CallChange { status, call_end_time };
    fields.finish(Some(change)).map_err(|problems| ApiError::fields(&problems))
}
