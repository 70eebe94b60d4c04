//! The tool calls of a call.

use super::operations::call_not_found;
use super::schema::example_instant;
use super::understood::ToolPurpose;
use crate::api::date_time::DateTime;
use crate::api::error::{Errors, ReadErrors};
use crate::api::pagination::{ListQuery, default_limit};
use crate::api::reader::{Answer, Depth, Reader};
use crate::api::tag::Tag;
use crate::domain::{PlacedToolCall, Turn};
use crate::store::{Page, Reads, max_json_length};
use poem::Request;
use poem_openapi::param::{Path, Query};
use poem_openapi::types::Example;
use poem_openapi::{Object, OpenApi};
use std::collections::BTreeSet;

pub(in crate::api) struct ToolCallsApi {
    pub(in crate::api) reader: Reader,
}

/// A call of a tool, or a triggered guardrail, from ElevenLabs' record.
#[derive(Debug, Object)]
#[oai(rename = "ToolCall", example)]
pub(in crate::api) struct ToolCallObject {
    /// Number within the call: 1, 2, 3 …
    position: i64,
    /// `position` of the turn before it in the transcript; 0 if it is before all turns.
    after_place: i64,
    /// ElevenLabs' id of the request. May be repeated or empty.
    #[oai(nullable)]
    request_id: Option<String>,
    /// Name of the tool or guardrail.
    name: String,
    /// Type of the tool, in ElevenLabs' words, such as `webhook`.
    #[oai(rename = "type", nullable)]
    tool_type: Option<String>,
    purpose: ToolPurpose,
    /// Arguments, mostly JSON; null if not known or not stored.
    #[oai(nullable)]
    arguments: Option<String>,
    /// Result, mostly JSON; null without a result or if not stored.
    #[oai(nullable)]
    result: Option<String>,
    /// True if the tool failed; null without a result.
    #[oai(nullable)]
    is_error: Option<bool>,
    /// Duration of the tool's request, in milliseconds.
    #[oai(nullable)]
    latency_ms: Option<i64>,
    /// Time of the call; null if not known.
    #[oai(nullable)]
    at: Option<DateTime>,
}

impl From<PlacedToolCall> for ToolCallObject {
    fn from(placed: PlacedToolCall) -> Self {
        let PlacedToolCall { position, after_place, call } = placed;
        Self {
            position,
            after_place,
            request_id: call.request_id,
            name: call.name,
            tool_type: call.tool_type,
            purpose: call.purpose.into(),
            arguments: call.arguments,
            result: call.result,
            is_error: call.is_error,
            latency_ms: call.latency_ms,
            at: call.at.map(DateTime),
        }
    }
}

impl Example for ToolCallObject {
    fn example() -> Self {
        Self {
            position: 1,
            after_place: 3,
            request_id: Some("call_2f6a8c1e".to_owned()),
            name: "reefer_set_point".to_owned(),
            tool_type: Some("webhook".to_owned()),
            purpose: ToolPurpose::Tool,
            arguments: Some(r#"{"load_id": "L-2291"}"#.to_owned()),
            result: Some(r#"{"set_point_f": 34}"#.to_owned()),
            is_error: Some(false),
            latency_ms: Some(412),
            at: Some(example_instant("2026-09-28T12:00:09Z")),
        }
    }
}

/// A page of a call's tool calls.
#[derive(Debug, Object)]
#[oai(example)]
struct ToolCallPage {
    /// Tool calls of this page.
    data: Vec<ToolCallObject>,
    /// The `cursor` of the next page; null on the last page.
    #[oai(nullable)]
    next_cursor: Option<String>,
    /// True if another page follows.
    has_more: bool,
    /// Number of all tool calls of the call; only with `include_total=true`.
    #[oai(skip_serializing_if_is_none)]
    total: Option<u64>,
}

impl Example for ToolCallPage {
    fn example() -> Self {
        Self { data: vec![ToolCallObject::example()], next_cursor: None, has_more: false, total: None }
    }
}

#[OpenApi(prefix_path = "/api/v1", tag = "Tag::Calls")]
impl ToolCallsApi {
    /// List a call's tool calls
    ///
    /// Returns the calls of the agent's tools and triggered guardrails, in the order of ElevenLabs' record. Empty
    /// without a record. With `--tool-details names`, arguments and results are not stored.
    #[oai(path = "/calls/:conversation_id/tool_calls", method = "get", operation_id = "list_tool_calls")]
    async fn list_tool_calls(
        &self,
        request: &Request,
        /// ElevenLabs' id of the call.
        conversation_id: Path<String>,
        /// The `next_cursor` of the previous page.
        cursor: Query<Option<String>>,
        /// Maximum number of tool calls per page.
        #[oai(default = "default_limit", validator(minimum(value = "1"), maximum(value = "1000")))]
        limit: Query<u16>,
        /// Return the number of all tool calls of the call.
        #[oai(default)]
        include_total: Query<bool>,
    ) -> Result<Answer<ToolCallPage>, Errors<ReadErrors>> {
        let list = ListQuery::strict(request, &[], &[])?;
        let id = crate::api::path_params::conversation_id(&conversation_id.0)?;
        let after = list.decode_cursor(cursor.0.as_deref(), |key| key.parse::<i64>().ok())?;
        let make = move |store: &dyn Reads| {
            store.call(&id)?.ok_or_else(|| call_not_found(id.as_str()))?;
            let calls = store.tool_calls(&id)?;
            let total = include_total.0.then_some(calls.len() as u64);
            let rest = calls.into_iter().filter(|call| after.is_none_or(|after| call.position > after));
            let page = match Page::from_overfetch(rest.map(Ok::<_, std::convert::Infallible>), limit.0.into(), text_of)
            {
                Ok(page) => page,
                Err(never) => match never {},
            };
            let cut_at = page.rows.last().filter(|_| page.has_more);
            Ok(ToolCallPage {
                next_cursor: cut_at.map(|call| list.encode_cursor(call.position)),
                data: page.rows.into_iter().map(Into::into).collect(),
                has_more: page.has_more,
                total,
            })
        };
        // Arguments and results may be long.
        Ok(self.reader.answer(request, Depth::Deep, make).await?)
    }
}

/// Returns the size of a tool call's texts, in bytes of JSON.
fn text_of(placed: &PlacedToolCall) -> usize {
    let call = &placed.call;
    let texts = [&call.arguments, &call.result, &call.request_id, &call.tool_type].into_iter().flatten();
    texts.chain([&call.name]).map(|text| max_json_length(text)).sum()
}

/// Returns the tool calls that follow the turns of a page, or that precede the first turn of the transcript.
pub(super) fn tool_calls_of_page(
    calls: Vec<PlacedToolCall>,
    turns: &[Turn],
    is_only_page: bool,
) -> Vec<ToolCallObject> {
    let places: BTreeSet<i64> = turns.iter().filter_map(|turn| turn.place).collect();
    let here = |call: &PlacedToolCall| is_only_page || places.contains(&call.after_place.max(1));
    calls.into_iter().filter(here).map(Into::into).collect()
}
