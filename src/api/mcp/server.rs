//! The server: executes messages, whatever carries them.

use super::arguments::Arguments;
use super::jsonrpc::{Message, Request, Response, RpcError, parse, shown};
use super::operations::Operations;
use super::outline::ToolOutline;
use super::protocol::{CURRENT, Era, NEWEST_WITH_HANDSHAKE, ProtocolHeaders, SUPPORTED, era};
use super::schema::Document;
use super::shorten::{MAX_RESULT_BYTES, cut_texts, fit, retain_fields, size, without_nulls};
use super::tool::{
    AUDIO_FIELD, CALL_FIELDS, CALLS, DRIVERS, HIT_FIELDS, INSTRUCTIONS, NOTICE, SEARCH, STATS, TOOL_CALL_FIELDS,
    TURN_FIELDS, Tool,
};
use crate::api::error::ApiError;
use crate::api::error_code::ErrorCode;
use crate::api::path_params::conversation_id;
use crate::api::reader::Reader;
use crate::domain::AccessAction;
use crate::recordings::Recordings;
use crate::store::{CallFilter, CallPageRequest, SortOrder};
use crate::telemetry::metrics::METRICS;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Map, Value, json};
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::time::timeout;

/// Maximum size of a message, in bytes.
pub const MAX_MESSAGE_BYTES: usize = 64 * 1024;

/// Maximum number of tools that run at once. A page of long turns takes some memory until it is shortened.
const MAX_RUNNING_TOOLS: usize = 4;

/// Maximum time that a tool waits for others.
const WAIT_TIMEOUT: Duration = Duration::from_secs(5);

/// Time for which clients may keep the list of tools, in milliseconds. It changes only with the version.
const LIST_TTL_MS: u32 = 3_600_000;

/// Maximum number of drivers that are returned if several match.
const MAX_CANDIDATES: usize = 20;

/// Maximum number of tool calls that are returned with a call.
const MAX_TOOL_CALLS: usize = 50;

/// Maximum size of the tool calls that are returned with a call, in bytes of JSON.
const MAX_TOOL_CALLS_BYTES: usize = MAX_RESULT_BYTES / 4;

/// A read-only MCP server over a store.
pub struct McpServer {
    operations: Operations,
    /// Reader of the notes of recordings, if their folder is not known.
    notes: Option<Reader>,
    tools: Vec<ToolOutline>,
    running: Semaphore,
}

/// A response to a message.
#[derive(Debug)]
pub struct Reply {
    /// The JSON of the response.
    pub body: Vec<u8>,
    /// Status of the response over HTTP.
    pub status: u16,
    /// Action of a tool on calls, for the access log.
    pub accessed: Option<AccessAction>,
}

impl McpServer {
    /// Creates a server over a file, which has a note of each recording; `document` is the OpenAPI document of the API.
    pub fn of_file(reader: &Reader, document: &str) -> Self {
        Self { notes: Some(reader.clone()), ..Self::of_service(reader, None, document) }
    }

    /// Creates the server of a service with these recordings; `document` is the OpenAPI document of the API.
    pub fn of_service(reader: &Reader, recordings: Option<Recordings>, document: &str) -> Self {
        let document = serde_json::from_str(document).expect("the generated document is JSON");
        Self {
            operations: Operations::new(reader, recordings),
            notes: None,
            tools: ToolOutline::all(&Document(&document)),
            running: Semaphore::new(MAX_RUNNING_TOOLS),
        }
    }

    /// Executes a message that came over standard input. Returns the response, if the message gets one.
    pub async fn handle(&self, message: &[u8]) -> Option<Reply> {
        self.execute(message, None).await
    }

    /// Returns the response to a message that is longer than [`MAX_MESSAGE_BYTES`].
    pub fn refuse_long_message() -> Reply {
        reply(None, Err(RpcError::TooLong(MAX_MESSAGE_BYTES)), Era::Handshake)
    }

    /// Executes a message. Returns the response, if the message gets one.
    pub(super) async fn execute(&self, message: &[u8], headers: Option<ProtocolHeaders<'_>>) -> Option<Reply> {
        let request = match parse(message) {
            Ok(Message::Request(request)) => request,
            Ok(Message::OneWay) => return None,
            Err((id, error)) => return Some(reply(id, Err(error), Era::Handshake)),
        };
        let id = Some(request.id.clone());
        Some(match era(&request, headers) {
            // A version or header that is refused is so in any form.
            Err(error) => reply(id, Err(error), Era::Stateless),
            Ok(era) => {
                let accessed = accessed(&request);
                let outcome = self.answer(request, era).await;
                let is_done = outcome.as_ref().is_ok_and(|result| result["isError"] == false);
                Reply { accessed: accessed.filter(|_| is_done), ..reply(id, outcome, era) }
            }
        })
    }

    async fn answer(&self, request: Request, era: Era) -> Result<Value, RpcError> {
        let Request { method, params, .. } = request;
        let mut result = match (method.as_str(), era) {
            ("initialize", Era::Handshake) => return initialize(&params),
            ("ping", Era::Handshake) => return Ok(json!({})),
            ("server/discover", Era::Stateless) => json!({
                "supportedVersions": SUPPORTED,
                "capabilities": capabilities(),
                "instructions": INSTRUCTIONS,
            }),
            ("tools/list", _) => self.list_tools(&params)?,
            ("tools/call", _) => self.call_tool(params).await?,
            _ => return Err(RpcError::UnknownMethod(shown(&method))),
        };
        if era == Era::Stateless {
            result["resultType"] = "complete".into();
            result["_meta"] = json!({ "io.modelcontextprotocol/serverInfo": server_info() });
            if method != "tools/call" {
                result["ttlMs"] = LIST_TTL_MS.into();
                result["cacheScope"] = "public".into();
            }
        }
        Ok(result)
    }

    fn list_tools(&self, params: &Map<String, Value>) -> Result<Value, RpcError> {
        if params.get("cursor").is_some_and(|cursor| !cursor.is_null()) {
            return Err(RpcError::Params("cursor: the list has one page".to_owned()));
        }
        Ok(json!({ "tools": self.tools.iter().map(|outline| &outline.definition).collect::<Vec<_>>() }))
    }

    async fn call_tool(&self, mut params: Map<String, Value>) -> Result<Value, RpcError> {
        let Some(Value::String(name)) = params.remove("name") else {
            return Err(RpcError::Params("name must be a string".to_owned()));
        };
        let arguments = match params.remove("arguments") {
            None | Some(Value::Null) => Map::new(),
            Some(Value::Object(arguments)) => arguments,
            Some(_) => return Err(RpcError::Params("arguments must be an object".to_owned())),
        };
        let Some(tool) = Tool::from_name(&name) else {
            let known = Tool::ALL.map(Tool::name).join(", ");
            return Err(RpcError::Params(format!("unknown tool {}; the tools are {known}", shown(&name))));
        };
        let done = self.run(tool, arguments).await;
        let outcome = if done.is_ok() { "ok" } else { "error" };
        METRICS.mcp_tool_calls_total.with_label_values(&[tool.name(), outcome]).inc();
        Ok(match done {
            Ok(result) => {
                let text = json!({ "type": "text", "text": result.to_string() });
                json!({ "content": [text], "structuredContent": result, "isError": false })
            }
            Err(error) => {
                if let Some(cause) = error.cause() {
                    tracing::warn!(tool = tool.name(), error = cause, "MCP tool failed");
                }
                json!({ "content": [{ "type": "text", "text": message(&error) }], "isError": true })
            }
        })
    }

    async fn run(&self, tool: Tool, arguments: Map<String, Value>) -> Result<Value, ApiError> {
        let outline = self.tools.iter().find(|outline| outline.tool == tool).expect("all tools are described");
        let arguments = Arguments::check(&arguments, outline.input())?;
        let busy = || ApiError::Unavailable(ErrorCode::Overloaded, "too many tools run; try again shortly", None);
        let _running = timeout(WAIT_TIMEOUT, self.running.acquire()).await.map_err(|_| busy())?.map_err(|_| busy())?;
        let (result, was_cut) = match tool {
            Tool::SearchTurns => self.page(tool, SEARCH, arguments, HIT_FIELDS, Map::new()).await?,
            Tool::ListCalls => self.page(tool, CALLS, arguments, CALL_FIELDS, Map::new()).await?,
            Tool::GetCall => self.call(arguments).await?,
            Tool::DriverHistory => self.driver_history(arguments).await?,
            Tool::Stats => (self.operations.get(STATS, &arguments, without_nulls).await?, false),
        };
        Ok(finish(result, was_cut))
    }

    /// Returns a page of rows with `more` fields. It has as many rows as fit.
    async fn page(
        &self,
        tool: Tool,
        path: &str,
        mut arguments: Arguments,
        fields: &'static [&'static str],
        more: Map<String, Value>,
    ) -> Result<(Value, bool), ApiError> {
        let default = tool.rows().map_or(1, |rows| rows.default);
        let mut limit = arguments.take("limit").and_then(|limit| limit.parse().ok()).unwrap_or(default);
        let mut more = Value::Object(more);
        let mut was_cut = fit(&mut more, MAX_RESULT_BYTES / 2);
        let room = MAX_RESULT_BYTES - size(&more) - OTHER_BYTES;
        loop {
            arguments.push("limit", limit.to_string());
            let page = self.operations.get(path, &arguments, move |page| RowPage::new(page, fields, room)).await?;
            if page.fitting >= page.rows.len() || limit == 1 {
                was_cut |= page.was_cut;
                if let Value::Object(more) = &mut more {
                    more.insert(tool.list().to_owned(), page.rows.into());
                    more.extend(page.others);
                }
                return Ok((more, was_cut));
            }
            // Rows that are left out belong to the next page, whose cursor only the operation can make.
            limit = u16::try_from(page.fitting).unwrap_or(u16::MAX).clamp(1, limit - 1);
            arguments.take("limit");
        }
    }

    /// Returns a page of a call's turns; the first page also has the call and its first tool calls.
    async fn call(&self, mut arguments: Arguments) -> Result<(Value, bool), ApiError> {
        let id = arguments.take("conversation_id").unwrap_or_default();
        let call = format!("{CALLS}/{}", utf8_percent_encode(&id, NON_ALPHANUMERIC));
        let (mut more, mut was_cut) = (Map::new(), false);
        if !arguments.has("cursor") {
            let mut facts = self.operations.get(&call, &Arguments::default(), without_nulls).await?;
            if let Some(reader) = &self.notes {
                facts[AUDIO_FIELD] = has_noted_audio(reader, &id).await?.into();
            }
            more.insert("call".to_owned(), facts);
            let mut query = Arguments::default();
            query.push("limit", MAX_TOOL_CALLS.to_string());
            let path = format!("{call}/tool_calls");
            let (tools, has_more, was_tool_cut) = self.operations.get(&path, &query, tool_calls).await?;
            more.insert("tool_calls".to_owned(), tools);
            if has_more {
                more.insert("more_tool_calls".to_owned(), true.into());
            }
            was_cut = was_tool_cut;
        }
        let path = format!("{call}/transcriptions");
        let (result, was_page_cut) = self.page(Tool::GetCall, &path, arguments, TURN_FIELDS, more).await?;
        Ok((result, was_cut | was_page_cut))
    }

    async fn driver_history(&self, mut arguments: Arguments) -> Result<(Value, bool), ApiError> {
        if let Some(name) = arguments.take("q") {
            if arguments.has("driver_id") {
                return Err(ApiError::field("q", "must be absent if there is a driver_id"));
            }
            let mut query = Arguments::default();
            query.push("q", name);
            query.push("limit", MAX_CANDIDATES.to_string());
            let mut found = self.operations.get(DRIVERS, &query, without_nulls).await?;
            let (drivers, has_more) = (found["data"].take(), found["has_more"] == true);
            match drivers.as_array().map_or(&[][..], Vec::as_slice) {
                [] => return Err(ApiError::NotFound(ErrorCode::DriverNotFound, "no driver matches q".to_owned())),
                [driver] if !has_more => arguments.push("driver_id", driver["id"].to_string()),
                _ => return Ok((json!({ "candidates": drivers, "has_more": has_more }), false)),
            }
        }
        let Some(id) = arguments.get("driver_id") else {
            return Err(ApiError::field("driver_id", "is required, unless there is q"));
        };
        let mut more = Map::new();
        if !arguments.has("cursor") {
            let path = format!("{DRIVERS}/{id}");
            more.insert("driver".to_owned(), self.operations.get(&path, &Arguments::default(), without_nulls).await?);
            let mut query = Arguments::default();
            for name in ["driver_id", "status", "started_after", "started_before"] {
                if let Some(value) = arguments.get(name) {
                    query.push(name, value.to_owned());
                }
            }
            let mut stats = self.operations.get(STATS, &query, without_nulls).await?;
            more.insert("totals".to_owned(), stats["all"].take());
        }
        self.page(Tool::DriverHistory, CALLS, arguments, CALL_FIELDS, more).await
    }
}

/// A page of an operation, with rows as a result has them.
struct RowPage {
    rows: Vec<Value>,
    /// Number of rows that fit into the result.
    fitting: usize,
    /// True if texts of the rows were cut.
    was_cut: bool,
    /// The fields beside the rows.
    others: Map<String, Value>,
}

impl RowPage {
    /// Creates the page from the operation's response. The rows have these fields only, and `room` bytes.
    fn new(page: Value, fields: &[&str], room: usize) -> Self {
        let Value::Object(mut others) = without_nulls(page) else { unreachable!("a page is an object") };
        let Some(Value::Array(mut rows)) = others.shift_remove("data") else { unreachable!("a page has rows") };
        let was_cut = rows.iter_mut().fold(false, |was_cut, row| {
            retain_fields(row, fields);
            cut_texts(row) | was_cut
        });
        let mut left = room;
        let fits = |row: &&Value| {
            let after = left.checked_sub(size(row) + 1);
            left = after.unwrap_or(0);
            after.is_some()
        };
        Self { fitting: rows.iter().take_while(fits).count(), rows, was_cut, others }
    }
}

/// Returns whether a call has a recording by the note in the file.
async fn has_noted_audio(reader: &Reader, id: &str) -> Result<bool, ApiError> {
    let conversation_id = Some(conversation_id(id)?);
    let filter = CallFilter { conversation_id, has_audio: Some(true), ..CallFilter::default() };
    let request = CallPageRequest { filter, order: SortOrder::Descending, after: None, limit: 1, with_total: false };
    reader.read(move |store| Ok(!store.calls(&request)?.rows.is_empty())).await
}

/// Returns the tool calls of a page, whether there are more, and whether any was cut.
fn tool_calls(page: Value) -> (Value, bool, bool) {
    let mut page = without_nulls(page);
    let (mut tools, has_more) = (page["data"].take(), page["has_more"] == true);
    for tool in tools.as_array_mut().into_iter().flatten() {
        retain_fields(tool, TOOL_CALL_FIELDS);
    }
    let was_cut = fit(&mut tools, MAX_TOOL_CALLS_BYTES);
    (tools, has_more, was_cut)
}

/// Size of what surrounds the rows of a result, in bytes: the notice, a cursor and the names.
const OTHER_BYTES: usize = 1000;

/// Marks a result as untrusted, and as shortened if it is.
fn finish(mut result: Value, mut was_cut: bool) -> Value {
    let notice = json!({ "notice": NOTICE, "shortened": true });
    let surrounding = size(&notice);
    was_cut |= fit(&mut result, MAX_RESULT_BYTES - surrounding);
    let mut finished = Map::new();
    finished.insert("notice".to_owned(), NOTICE.into());
    if was_cut {
        finished.insert("shortened".to_owned(), true.into());
    }
    if let Value::Object(fields) = result {
        finished.extend(fields);
    }
    finished.into()
}

/// Returns what the tool of a request does with calls.
fn accessed(request: &Request) -> Option<AccessAction> {
    let params = &request.params;
    let tool = Tool::from_name(params.get("name")?.as_str()?).filter(|_| request.method == "tools/call")?;
    let has = |name: &str| params.get("arguments").is_some_and(|arguments| !arguments[name].is_null());
    // An alert is a search for what was said.
    let searches = has("q") || has("alert") || has("has_alert");
    match tool {
        Tool::SearchTurns => Some(AccessAction::Search),
        Tool::ListCalls => Some(if searches { AccessAction::Search } else { AccessAction::List }),
        Tool::GetCall | Tool::DriverHistory => Some(AccessAction::Read),
        // Collected values may be words of a call.
        Tool::Stats if has_results(params.get("arguments")?) => Some(AccessAction::Read),
        Tool::Stats => searches.then_some(AccessAction::Search),
    }
}

/// Returns whether the arguments of the statistics ask for results.
fn has_results(arguments: &Value) -> bool {
    arguments["include"].as_array().is_some_and(|parts| parts.iter().any(|part| part == "results"))
}

fn reply(id: Option<Value>, outcome: Result<Value, RpcError>, era: Era) -> Reply {
    let status = match (&outcome, era) {
        (Err(RpcError::UnknownMethod(_)), Era::Stateless) => 404,
        // Clients of the older revisions expect these errors in a successful response.
        (Ok(_), _) | (Err(RpcError::UnknownMethod(_) | RpcError::Params(_)), Era::Handshake) => 200,
        (Err(RpcError::TooLong(_)), _) => 413,
        (Err(_), _) => 400,
    };
    let body = serde_json::to_vec(&Response::new(id, outcome)).expect("JSON is written");
    Reply { body, status, accessed: None }
}

fn capabilities() -> Value {
    json!({ "tools": {} })
}

fn server_info() -> Value {
    json!({ "name": "transcribe-hook", "title": "transcribe-hook", "version": env!("CARGO_PKG_VERSION") })
}

/// Answers the beginning of a connection in an older revision.
fn initialize(params: &Map<String, Value>) -> Result<Value, RpcError> {
    let Some(Value::String(requested)) = params.get("protocolVersion") else {
        return Err(RpcError::Params("protocolVersion must be a string".to_owned()));
    };
    // A client that does not know this one ends the connection.
    let known = SUPPORTED.iter().find(|version| **version == requested.as_str() && **version != CURRENT);
    Ok(json!({
        "protocolVersion": known.unwrap_or(&NEWEST_WITH_HANDSHAKE),
        "capabilities": capabilities(),
        "serverInfo": server_info(),
        "instructions": INSTRUCTIONS,
    }))
}

/// Returns the message of an error, for a model.
fn message(error: &ApiError) -> String {
    let body = error.body("");
    match body.details {
        Some(details) => format!("{}: {details}", body.message),
        None => body.message,
    }
}
