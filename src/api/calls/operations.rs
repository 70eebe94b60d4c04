//! Calls: reading them, changing one by hand, erasing one.

use super::schema::{Call, CallStatus, example_instant};
use crate::api::body::{Done, JsonBody};
use crate::api::date_time::Instant;
use crate::api::error::{ApiError, Change, List, Read, Refused};
use crate::api::pagination::{ListQuery, default_limit, no_parameters};
use crate::api::path_params::conversation_id;
use crate::api::reader::{Answer, Depth, Reader};
use crate::api::tag::Tag;
use crate::domain::validation::Fields;
use crate::domain::{self, CallChange, CallEnd, ConversationId, DriverId, Timestamp};
use crate::ingest::{WriteError, Writer};
use crate::jobs::retention::chunks;
use crate::recordings::Recordings;
use crate::store::{CallKey, CallQuery, Order, RecordFilter, Rejection, Store, Write, Written};
use poem::Request;
use poem_openapi::param::{Path, Query};
use poem_openapi::types::Example;
use poem_openapi::{ApiResponse, Enum, Object, OpenApi};

pub(in crate::api) struct CallsApi {
    pub(in crate::api) recordings: Option<Recordings>,
    pub(in crate::api) reader: Reader,
    pub(in crate::api) writer: Writer,
}

/// Which call comes first.
#[derive(Debug, Clone, Copy, Enum)]
#[oai(rename_all = "snake_case")]
enum CallOrder {
    /// The one that started last.
    Desc,
    /// The one that started first.
    Asc,
}

/// A page of calls.
#[derive(Debug, Object)]
#[oai(example)]
struct CallPage {
    /// The calls.
    data: Vec<Call>,
    /// What to give as `cursor` for the next page; null on the last one.
    #[oai(nullable)]
    next_cursor: Option<String>,
    /// Whether more follow.
    has_more: bool,
    /// How many calls match in all; only with `include_total=true`.
    #[oai(skip_serializing_if_is_none)]
    total: Option<u64>,
}

impl Example for CallPage {
    fn example() -> Self {
        Self { data: vec![Call::example()], next_cursor: None, has_more: false, total: None }
    }
}

/// What to change of a call; what is left out stays as it is.
#[derive(Debug, Object)]
#[oai(example)]
struct CallPatch {
    status: Option<CallStatus>,
    /// The new end, not before the start; null takes the end away.
    #[oai(nullable)]
    call_end_time: Option<Instant>,
}

impl Example for CallPatch {
    fn example() -> Self {
        Self { status: Some(CallStatus::Completed), call_end_time: Some(example_instant("2026-09-28T12:02:41Z")) }
    }
}

#[derive(ApiResponse)]
enum Erased {
    /// The call and all that was kept about it are gone.
    #[oai(status = 204)]
    Erased,
}

#[OpenApi(prefix_path = "/api/v1", tag = "Tag::Calls")]
impl CallsApi {
    /// List calls
    ///
    /// Ordered by their start, the newest first unless asked otherwise, page by page. Filters narrow the list together.
    #[oai(path = "/calls", method = "get", operation_id = "list_calls")]
    #[expect(clippy::too_many_arguments, reason = "the framework takes each query parameter as an argument")]
    async fn list_calls(
        &self,
        request: &Request,
        /// Only calls of this status.
        status: Query<Option<CallStatus>>,
        /// Only calls of this driver.
        driver_id: Query<Option<i64>>,
        /// Only calls that started at this time or later.
        started_after: Query<Option<Instant>>,
        /// Only calls that started before this time.
        started_before: Query<Option<Instant>>,
        /// Only calls whose conversation id, driver's name or any message contains this text.
        #[oai(validator(min_length = 1, max_length = 200))]
        q: Query<Option<String>>,
        /// `desc`, the newest first, which is the default, or `asc`.
        order: Query<Option<CallOrder>>,
        /// Where the page before this one ended: its `next_cursor`.
        cursor: Query<Option<String>>,
        /// Greatest number of calls in the page.
        #[oai(default = "default_limit", validator(minimum(value = "1"), maximum(value = "1000")))]
        limit: Query<u16>,
        /// Whether to count all calls that match, which takes time when they are many.
        #[oai(default)]
        include_total: Query<bool>,
    ) -> Result<Answer<CallPage>, Refused<List>> {
        let list = ListQuery::of(request, &["status", "driver_id", "started_after", "started_before", "q", "order"])?;
        let driver_id =
            driver_id.0.map(DriverId::new).transpose().map_err(|rule| ApiError::field("driver_id", rule))?;
        if q.0.as_ref().is_some_and(|text| text.contains('\0')) {
            return Err(ApiError::field("q", "must not contain U+0000").into());
        }
        let query = CallQuery {
            status: status.0.map(Into::into),
            driver_id,
            user_id: None,
            agent_id: None,
            record: RecordFilter::default(),
            started_after: started_after.0.map(|time| time.0),
            started_before: started_before.0.map(|time| time.0),
            text: q.0,
            order: match order.0.unwrap_or(CallOrder::Desc) {
                CallOrder::Desc => Order::Descending,
                CallOrder::Asc => Order::Ascending,
            },
            after: list.key_in(cursor.0.as_deref(), |key| {
                let (start, id) = key.split_once(' ')?;
                Some(CallKey { start: Timestamp::parse(start).ok()?, id: id.parse().ok()? })
            })?,
            limit: limit.0.into(),
            with_total: include_total.0,
        };
        let searches = query.text.is_some() || query.with_total;
        let depth = Depth::of_page(query.after.is_none(), limit.0, searches);
        let make = move |store: &dyn Store| {
            let page = store.calls(&query)?;
            let cut_at = page.rows.last().filter(|_| page.has_more);
            let next_cursor =
                cut_at.map(|call| list.cursor_behind(format_args!("{} {}", call.call_start_time, call.id)));
            Ok(CallPage {
                data: page.rows.into_iter().map(Call::in_a_list).collect(),
                next_cursor,
                has_more: page.has_more,
                total: page.total,
            })
        };
        Ok(self.reader.answer(request, depth, make).await?)
    }

    /// Get a call
    #[oai(path = "/calls/:conversation_id", method = "get", operation_id = "get_call")]
    async fn get_call(
        &self,
        request: &Request,
        /// The platform's name for the call.
        conversation_id: Path<String>,
    ) -> Result<Answer<Call>, Refused<Read>> {
        no_parameters(request)?;
        let id = self::conversation_id(&conversation_id.0)?;
        let recording = self.recordings.as_ref().map(|recordings| recordings.path(&id));
        let make = move |store: &dyn Store| {
            let has_audio = recording.is_some_and(|file| file.is_file());
            let call = store.call(&id)?.ok_or_else(|| no_call(id.as_str()))?;
            Ok(Call::with_audio(call, has_audio))
        };
        Ok(self.reader.answer(request, Depth::Quick, make).await?)
    }

    /// Change a call
    ///
    /// Sets its status or its end by hand, for a call that the platform never reported as over.
    #[oai(path = "/calls/:conversation_id", method = "patch", operation_id = "change_call")]
    async fn change_call(
        &self,
        request: &Request,
        /// The platform's name for the call.
        conversation_id: Path<String>,
        body: JsonBody<CallPatch>,
    ) -> Result<Done<Call>, Refused<Change>> {
        no_parameters(request)?;
        let id = self::conversation_id(&conversation_id.0)?;
        let change = read_change(&body.bytes)?;
        let recording = self.recordings.as_ref().map(|recordings| recordings.path(&id));
        match self
            .writer
            .write(Write::ChangeCall(id, change))
            .await
            .map_err(|error| unchanged(error, &conversation_id.0))?
        {
            Written::Call(call) => {
                let has_audio = match recording {
                    Some(file) => tokio::fs::try_exists(file).await.unwrap_or(false),
                    None => false,
                };
                Ok(Done(Call::with_audio(*call, has_audio)))
            }
            _ => unreachable!("a change of a call is answered with the call"),
        }
    }

    /// Erase a call
    ///
    /// All that is kept about it is erased for good: turns, the platform's events, dispatch, recording. Within seconds
    /// nothing of it is left in the file's bytes. A call of many thousand turns takes some seconds, in which turns for it are
    /// answered 503. A turn that comes later makes the call anew; what the platform reports of
    /// the call later is not kept.
    #[oai(path = "/calls/:conversation_id", method = "delete", operation_id = "erase_call")]
    async fn erase_call(
        &self,
        request: &Request,
        /// The platform's name for the call.
        conversation_id: Path<String>,
    ) -> Result<Erased, Refused<Read>> {
        no_parameters(request)?;
        let id = self::conversation_id(&conversation_id.0)?;
        // First, so that what is left behind by a failure can be erased by trying again.
        erase_recording(self.recordings.clone(), id.clone()).await?;
        let naming = self.erase_events_naming(&id).await?;
        match self.writer.write(Write::EraseCall(id)).await {
            Err(WriteError::Rejected(Rejection::NotFound)) if naming => Ok(Erased::Erased),
            erased => erased.map(|_| Erased::Erased).map_err(|error| unchanged(error, &conversation_id.0).into()),
        }
    }
}

impl CallsApi {
    /// Erases the events that could not be read and name the call, and returns whether there were any.
    async fn erase_events_naming(&self, id: &ConversationId) -> Result<bool, ApiError> {
        let (mut after, mut any) = (0, false);
        loop {
            let calls = [id.clone()].into();
            let (found, next) = self.reader.read(move |store| store.events_naming(&calls, after)).await?;
            let events: Vec<_> = found.iter().map(|naming| naming.event).collect();
            any |= !events.is_empty();
            for chunk in chunks(&events) {
                self.writer.write(Write::PruneEvents(chunk.iter().map(|event| event.id).collect())).await?;
            }
            let Some(next) = next else { return Ok(any) };
            after = next;
        }
    }
}

pub(in crate::api) async fn erase_recording(
    recordings: Option<Recordings>,
    id: ConversationId,
) -> Result<(), ApiError> {
    let Some(recordings) = recordings else { return Ok(()) };
    match tokio::task::spawn_blocking(move || recordings.remove(&id)).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(ApiError::Internal(format!("the call's recording cannot be removed: {error}"))),
        Err(error) => Err(ApiError::Internal(error.to_string())),
    }
}

pub(in crate::api) fn no_call(conversation_id: &str) -> ApiError {
    ApiError::NotFound(format!("there is no call {conversation_id}"))
}

fn unchanged(error: WriteError, conversation_id: &str) -> ApiError {
    ApiError::of_write(error, || no_call(conversation_id))
}

fn read_change(body: &[u8]) -> Result<CallChange, ApiError> {
    let mut fields = Fields::from_json(body).map_err(|rule| ApiError::field("body", rule))?;
    let end_given = fields.has("call_end_time");
    let end = fields.text("call_end_time");
    let end = fields.checked("call_end_time", end, |text| Timestamp::parse(&text));
    // Taking the status away is no change that a call could have.
    let status = fields.take("status").map(|status| status.as_str().unwrap_or_default().to_owned());
    let status = fields.checked("status", status, |text| {
        domain::CallStatus::from_stored(&text)
            .ok_or_else(|| domain::Invalid("must be one of in_progress, completed, failed".into()))
    });
    let call_end_time = end_given.then(|| end.map_or(CallEnd::Unknown, CallEnd::At));
    let change = CallChange { status, call_end_time };
    fields.finish(Some(change)).map_err(|problems| ApiError::fields(&problems))
}
