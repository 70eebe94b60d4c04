//! Dispatches: records of outbound calls. They identify the driver of a call.

use super::body::{JsonBody, JsonOk};
use super::calls::schema::example_instant;
use super::date_time::DateTime;
use super::error::{ApiError, Errors, ListErrors, ReadErrors, RecordErrors};
use super::error_code::ErrorCode;
use super::pagination::{ListQuery, default_limit, reject_query_params};
use super::path_params::conversation_id;
use super::reader::{Answer, Depth, PageRead, Reader};
use super::tag::Tag;
use crate::domain::driver_form::parse_dispatch;
use crate::domain::validation::{FieldError, FieldReader};
use crate::domain::{self, ConversationId, DriverId, NewDispatch, PhoneNumber};
use crate::ingest::{WriteError, Writer};
use crate::store::command::{DeleteDispatch, PutDispatches};
use crate::store::{Counts, DispatchPageRequest, Reads, Rejection};
use poem::Request;
use poem_openapi::param::{Path, Query};
use poem_openapi::payload::Json;
use poem_openapi::types::Example;
use poem_openapi::{ApiResponse, Object, OpenApi};
use serde_json::Value;
use std::collections::HashMap;

/// Maximum number of dispatches in one bulk request.
const MAX_BULK: usize = 1000;

/// Number of errors in a bulk request after which no more are looked for.
const MAX_PROBLEMS: usize = 100;

pub(super) struct DispatchesApi {
    pub(super) reader: Reader,
    pub(super) writer: Writer,
}

/// The record of an outbound call.
#[derive(Debug, Object)]
#[oai(example)]
struct Dispatch {
    /// ElevenLabs' id of the conversation.
    conversation_id: String,
    /// The driver who is called; null if the driver was deleted.
    #[oai(nullable)]
    driver_id: Option<i64>,
    /// The phone number that was dialled, in E.164 form.
    #[oai(nullable)]
    phone_number: Option<String>,
    /// ElevenLabs' id of the batch of calls.
    #[oai(nullable)]
    batch_id: Option<String>,
    /// Time at which the call was placed.
    dispatched_at: DateTime,
}

impl From<domain::Dispatch> for Dispatch {
    fn from(dispatch: domain::Dispatch) -> Self {
        Self {
            conversation_id: dispatch.conversation_id.as_str().to_owned(),
            driver_id: dispatch.driver_id.map(DriverId::get),
            phone_number: dispatch.phone_number.as_ref().map(PhoneNumber::as_str).map(str::to_owned),
            batch_id: dispatch.batch_id,
            dispatched_at: DateTime(dispatch.dispatched_at),
        }
    }
}

impl Example for Dispatch {
    fn example() -> Self {
        Self {
            conversation_id: "conv_1901kaj4pr1penza6bbkscg6hgkc".to_owned(),
            driver_id: Some(1042),
            phone_number: Some("+15550100042".to_owned()),
            batch_id: Some("btcal_01k9example".to_owned()),
            dispatched_at: example_instant("2026-09-28T11:59:40Z"),
        }
    }
}

/// The data to store about an outbound call.
#[derive(Debug, Object)]
#[oai(example)]
struct DispatchPut {
    /// The driver who is called; must exist.
    driver_id: i64,
    /// The phone number that was dialled, in E.164 form.
    #[oai(nullable, validator(pattern = r"^\+[1-9][0-9]{1,14}$"))]
    phone_number: Option<String>,
    /// ElevenLabs' id of the batch of calls.
    #[oai(nullable, validator(min_length = 1, max_length = 256))]
    batch_id: Option<String>,
    /// Time at which the call was placed (ISO 8601). Default: the stored time, or now.
    #[oai(nullable)]
    dispatched_at: Option<DateTime>,
}

impl Example for DispatchPut {
    fn example() -> Self {
        Self {
            driver_id: 1042,
            phone_number: Some("+15550100042".to_owned()),
            batch_id: Some("btcal_01k9example".to_owned()),
            dispatched_at: Some(example_instant("2026-09-28T11:59:40Z")),
        }
    }
}

/// One dispatch of a bulk request.
#[derive(Debug, Object)]
#[oai(example)]
struct DispatchItem {
    /// ElevenLabs' id of the conversation.
    #[oai(validator(min_length = 1, max_length = 256))]
    conversation_id: String,
    /// The driver who is called; must exist.
    driver_id: i64,
    /// The phone number that was dialled, in E.164 form.
    #[oai(nullable, validator(pattern = r"^\+[1-9][0-9]{1,14}$"))]
    phone_number: Option<String>,
    /// ElevenLabs' id of the batch of calls.
    #[oai(nullable, validator(min_length = 1, max_length = 256))]
    batch_id: Option<String>,
    /// Time at which the call was placed (ISO 8601). Default: the stored time, or now.
    #[oai(nullable)]
    dispatched_at: Option<DateTime>,
}

impl Example for DispatchItem {
    fn example() -> Self {
        let DispatchPut { driver_id, phone_number, batch_id, dispatched_at } = DispatchPut::example();
        let conversation_id = "conv_1901kaj4pr1penza6bbkscg6hgkc".to_owned();
        Self { conversation_id, driver_id, phone_number, batch_id, dispatched_at }
    }
}

/// A bulk request. Either all of its dispatches are stored or none.
#[derive(Debug, Object)]
#[oai(example)]
struct DispatchBulk {
    /// The outbound calls.
    #[oai(validator(min_items = 1, max_items = 1000))]
    dispatches: Vec<DispatchItem>,
}

impl Example for DispatchBulk {
    fn example() -> Self {
        Self { dispatches: vec![DispatchItem::example()] }
    }
}

/// A page of dispatches.
#[derive(Debug, Object)]
#[oai(example)]
struct DispatchPage {
    /// Dispatches of this page, by conversation id.
    data: Vec<Dispatch>,
    /// The `cursor` of the next page; null on the last page.
    #[oai(nullable)]
    next_cursor: Option<String>,
    /// True if another page follows.
    has_more: bool,
    /// Number of all dispatches that match; only with `include_total=true`.
    #[oai(skip_serializing_if_is_none)]
    total: Option<u64>,
}

impl Example for DispatchPage {
    fn example() -> Self {
        Self { data: vec![Dispatch::example()], next_cursor: None, has_more: false, total: None }
    }
}

/// Result of a bulk request.
#[derive(Debug, Object)]
#[oai(example)]
struct BulkStored {
    /// Number of new dispatches.
    created: usize,
    /// Number of dispatches that were changed.
    updated: usize,
    /// Number of dispatches that were already stored with the same values.
    unchanged: usize,
}

impl From<Counts> for BulkStored {
    fn from(counts: Counts) -> Self {
        Self { created: counts.created, updated: counts.updated, unchanged: counts.unchanged }
    }
}

impl Example for BulkStored {
    fn example() -> Self {
        Self { created: 1, updated: 0, unchanged: 0 }
    }
}

#[derive(ApiResponse)]
enum DispatchStored {
    /// The dispatch existed and was replaced.
    #[oai(status = 200)]
    Replaced(Json<Dispatch>),
    /// The dispatch is new.
    #[oai(status = 201)]
    Created(Json<Dispatch>),
}

#[derive(ApiResponse)]
enum DispatchDeleted {
    /// The dispatch is deleted; the call keeps its driver.
    #[oai(status = 204)]
    Deleted,
}

#[OpenApi(prefix_path = "/api/v1", tag = "Tag::Dispatches")]
impl DispatchesApi {
    /// List dispatches
    ///
    /// Returns dispatches by conversation id, in pages. Several filters are combined with AND.
    #[oai(path = "/dispatches", method = "get", operation_id = "list_dispatches")]
    async fn list_dispatches(
        &self,
        request: &Request,
        /// Only dispatches to this driver.
        driver_id: Query<Option<i64>>,
        /// Only dispatches of this batch of calls.
        #[oai(validator(min_length = 1, max_length = 256))]
        batch_id: Query<Option<String>>,
        /// The `next_cursor` of the previous page.
        cursor: Query<Option<String>>,
        /// Maximum number of dispatches per page.
        #[oai(default = "default_limit", validator(minimum(value = "1"), maximum(value = "1000")))]
        limit: Query<u16>,
        /// Return the number of all dispatches that match.
        #[oai(default)]
        include_total: Query<bool>,
    ) -> Result<Answer<DispatchPage>, Errors<ListErrors>> {
        let list = ListQuery::strict(request, &["driver_id", "batch_id"], &[])?;
        let driver_id = driver_id.0.map(DriverId::new).transpose();
        let batch_id = batch_id.0.map(|text| NewDispatch::check_batch_id(&text)).transpose();
        let query = DispatchPageRequest {
            driver_id: driver_id.map_err(|rule| ApiError::field("driver_id", rule))?,
            batch_id: batch_id.map_err(|rule| ApiError::field("batch_id", rule))?,
            after: list.decode_cursor(cursor.0.as_deref(), |key| ConversationId::new(key).ok())?,
            limit: limit.0.into(),
            with_total: include_total.0,
        };
        // A filter may look at all dispatches.
        let depth = Depth::for_page(PageRead {
            is_first: query.after.is_none(),
            limit: limit.0,
            searches_or_counts: query.with_total || query.driver_id.is_some() || query.batch_id.is_some(),
        });
        let make = move |store: &dyn Reads| {
            let page = store.dispatches(&query)?;
            let cut_at = page.rows.last().filter(|_| page.has_more);
            let next_cursor = cut_at.map(|dispatch| list.encode_cursor(&dispatch.conversation_id));
            Ok(DispatchPage {
                data: page.rows.into_iter().map(Into::into).collect(),
                next_cursor,
                has_more: page.has_more,
                total: page.total,
            })
        };
        Ok(self.reader.answer(request, depth, make).await?)
    }

    /// Get a dispatch
    #[oai(path = "/dispatches/:conversation_id", method = "get", operation_id = "get_dispatch")]
    async fn get_dispatch(
        &self,
        request: &Request,
        /// ElevenLabs' id of the call.
        conversation_id: Path<String>,
    ) -> Result<JsonOk<Dispatch>, Errors<ReadErrors>> {
        reject_query_params(request)?;
        let id = self::conversation_id(&conversation_id.0)?;
        Ok(JsonOk(self.stored(id).await?.into()))
    }

    /// Create or replace a dispatch
    ///
    /// The dispatch may be stored before or after the call's first turn. An existing call gets the driver immediately.
    #[oai(path = "/dispatches/:conversation_id", method = "put", operation_id = "put_dispatch")]
    async fn put_dispatch(
        &self,
        request: &Request,
        /// ElevenLabs' id of the call.
        conversation_id: Path<String>,
        body: JsonBody<DispatchPut>,
    ) -> Result<DispatchStored, Errors<RecordErrors>> {
        reject_query_params(request)?;
        let id = ConversationId::from_sender(&conversation_id.0);
        let id = id.map_err(|rule| ApiError::field("conversation_id", rule))?;
        super::request_context::set_conversation(&id);
        let fields = FieldReader::from_json(&body.bytes).map_err(ApiError::body_rule)?;
        let dispatch =
            parse_dispatch(fields.strict(), Some(id.clone())).map_err(|problems| ApiError::fields(&problems))?;
        let counts = self.writer.execute(PutDispatches(vec![dispatch])).await?;
        let dispatch = Json(self.stored(id).await.map_err(ApiError::if_deleted_meanwhile)?.into());
        Ok(if counts.created > 0 { DispatchStored::Created(dispatch) } else { DispatchStored::Replaced(dispatch) })
    }

    /// Delete a dispatch
    ///
    /// The call keeps its driver.
    #[oai(path = "/dispatches/:conversation_id", method = "delete", operation_id = "delete_dispatch")]
    async fn delete_dispatch(
        &self,
        request: &Request,
        /// ElevenLabs' id of the call.
        conversation_id: Path<String>,
    ) -> Result<DispatchDeleted, Errors<ReadErrors>> {
        reject_query_params(request)?;
        let id = self::conversation_id(&conversation_id.0)?;
        let deleted = self.writer.execute(DeleteDispatch(id.clone())).await;
        deleted.map_err(|error| ApiError::from_write(error, || dispatch_not_found(&id)))?;
        Ok(DispatchDeleted::Deleted)
    }

    /// Store many dispatches
    ///
    /// Stores up to 1000 dispatches, all or none. Sending them again changes nothing.
    #[oai(path = "/dispatches", method = "post", operation_id = "put_dispatches")]
    async fn put_dispatches(
        &self,
        request: &Request,
        body: JsonBody<DispatchBulk>,
    ) -> Result<JsonOk<BulkStored>, Errors<RecordErrors>> {
        reject_query_params(request)?;
        let read = read_bulk(&body.bytes)?;
        match self.writer.execute(PutDispatches(read)).await {
            Ok(counts) => Ok(JsonOk(counts.into())),
            Err(WriteError::Rejected(Rejection::Elements(bad))) => {
                let problems: Vec<_> =
                    bad.iter().map(|element| prefix_index(element.index, element.problem())).collect();
                Err(ApiError::fields(&problems).into())
            }
            Err(error) => Err(error.into()),
        }
    }
}

impl DispatchesApi {
    async fn stored(&self, id: ConversationId) -> Result<domain::Dispatch, ApiError> {
        let wanted = id.clone();
        let dispatch = self.reader.read(move |store| store.dispatch(&wanted)).await?;
        dispatch.ok_or_else(|| dispatch_not_found(&id))
    }
}

fn dispatch_not_found(id: &ConversationId) -> ApiError {
    ApiError::NotFound(ErrorCode::DispatchNotFound, format!("dispatch {id} does not exist"))
}

const BULK_FIELD: &str = "dispatches";

/// Prefixes the field of an error with its path in the request.
fn prefix_index(index: usize, problem: FieldError) -> FieldError {
    FieldError { field: format!("{BULK_FIELD}[{index}].{}", problem.field), ..problem }
}

fn read_bulk(body: &[u8]) -> Result<Vec<NewDispatch>, ApiError> {
    let mut body = FieldReader::from_json(body).map_err(ApiError::body_rule)?.strict();
    let items = body.remove(BULK_FIELD);
    body.finish(Some(())).map_err(|problems| ApiError::fields(&problems))?;
    let items = match items {
        None => return Err(ApiError::field(BULK_FIELD, "is required")),
        Some(Value::Array(items)) if (1..=MAX_BULK).contains(&items.len()) => items,
        Some(Value::Array(_)) => {
            return Err(ApiError::field(BULK_FIELD, format_args!("must have 1 to {MAX_BULK} elements")));
        }
        Some(_) => return Err(ApiError::field(BULK_FIELD, "must be an array")),
    };
    let mut read: Vec<NewDispatch> = Vec::with_capacity(items.len());
    let mut problems = Vec::new();
    let mut seen = HashMap::new();
    for (index, item) in items.into_iter().enumerate() {
        if problems.len() >= MAX_PROBLEMS {
            break;
        }
        match FieldReader::from_value(item).map(|fields| parse_dispatch(fields.strict(), None)) {
            Ok(Ok(dispatch)) => {
                if let Some(earlier) = seen.insert(dispatch.conversation_id.clone(), index) {
                    let rule = format!("duplicate of {BULK_FIELD}[{earlier}]");
                    problems.push(prefix_index(index, FieldError { field: "conversation_id".to_owned(), rule }));
                }
                read.push(dispatch);
            }
            Ok(Err(found)) => problems.extend(found.into_iter().map(|problem| prefix_index(index, problem))),
            Err(rule) => problems.push(FieldError { field: format!("{BULK_FIELD}[{index}]"), rule: rule.to_string() }),
        }
    }
    if problems.is_empty() { Ok(read) } else { Err(ApiError::fields(&problems)) }
}
