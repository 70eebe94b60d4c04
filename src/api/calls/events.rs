//! Live streams, as server-sent events: <https://html.spec.whatwg.org/multipage/server-sent-events.html>.

use super::filter::CallFilterParams;
use super::operations::call_not_found;
use super::schema::Call;
use super::transcriptions::Transcription;
use crate::api::error::{ApiError, Errors, ListErrors, ReadErrors};
use crate::api::error_code::ErrorCode;
use crate::api::pagination::parse_query_params;
use crate::api::path_params::conversation_id;
use crate::api::tag::Tag;
use crate::live::{LiveHub, SubscribeError, Subscription};
use crate::store::{Change, FeedPosition};
use futures_util::stream::unfold;
use poem::http::{HeaderValue, header};
use poem::{Body, IntoResponse, Request, Response};
use poem_openapi::param::{Header, Path, Query};
use poem_openapi::registry::{MetaMediaType, MetaResponse, MetaResponses, MetaSchema, MetaSchemaRef, Registry};
use poem_openapi::types::ToJSON as _;
use poem_openapi::{ApiResponse, OpenApi};
use std::io::{self, Write as _};

pub(in crate::api) struct EventsApi {
    pub(in crate::api) hub: LiveHub,
}

const CONTENT_TYPE: &str = "text/event-stream";

/// A stream of events.
struct EventStream(Subscription);

impl IntoResponse for EventStream {
    fn into_response(self) -> Response {
        let pieces = unfold(self.0, |mut stream| async { stream.next().await.map(|piece| (piece, stream)) });
        let pieces = futures_util::StreamExt::map(pieces, Ok::<_, io::Error>);
        let mut response = Response::builder().content_type(CONTENT_TYPE).body(Body::from_bytes_stream(pieces));
        let headers = response.headers_mut();
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        // Disables response buffering in nginx, which would delay events.
        headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
        response
    }
}

impl ApiResponse for EventStream {
    fn meta() -> MetaResponses {
        // OpenAPI 3.0 cannot describe a stream; the schema is that of one event.
        let text = || MetaSchemaRef::Inline(Box::new(MetaSchema::new("string")));
        let mut schema = MetaSchema::new("object");
        schema.description = Some("One server-sent event; `data` is the JSON of a turn or a call.");
        schema.required = vec!["id", "event", "data"];
        schema.properties = schema.required.iter().map(|name| (*name, text())).collect();
        let content = MetaMediaType { content_type: CONTENT_TYPE, schema: MetaSchemaRef::Inline(Box::new(schema)) };
        MetaResponses {
            responses: vec![MetaResponse {
                description: "Events, in the order of their commits.",
                status: Some(200),
                status_range: None,
                content: vec![content],
                headers: Vec::new(),
            }],
        }
    }

    fn register(_: &mut Registry) {}
}

/// Encodes a change as a server-sent event.
pub fn encode_event(out: &mut Vec<u8>, position: FeedPosition, change: Change) {
    let (event, data) = match change {
        Change::Turn(turn) => ("transcription", Transcription::from(turn).to_json_string()),
        Change::Started(call) => ("call_started", Call::from(*call).to_json_string()),
        Change::Updated(call) => ("call_updated", Call::from(*call).to_json_string()),
        Change::Ended(call) => ("call_ended", Call::from(*call).to_json_string()),
        Change::Alerted(call) => ("call_alert", Call::from(*call).to_json_string()),
        Change::Erased(id) => ("call_erased", format!("{{\"id\":{id}}}")),
    };
    // JSON text contains no line breaks, so one `data` line is enough.
    write!(out, "id: {position}\nevent: {event}\ndata: {data}\n\n").expect("writing to memory cannot fail");
}

/// Returns the position to resume after. The header takes precedence, because a browser that reconnects sends a newer
/// position in it than the URL contains.
fn since(header: Option<String>, query: Option<String>) -> Result<Option<FeedPosition>, ApiError> {
    let (name, text) = match (header.filter(|text| !text.is_empty()), query) {
        (Some(text), _) => ("Last-Event-ID", text),
        (None, Some(text)) => ("last_event_id", text),
        (None, None) => return Ok(None),
    };
    let position = text.parse().map_err(|()| ApiError::field(name, "must be the id of an event of this stream"))?;
    Ok(Some(position))
}

fn subscribe_error(refusal: SubscribeError, conversation_id: &str) -> ApiError {
    match refusal {
        SubscribeError::TooMany => {
            ApiError::Unavailable(ErrorCode::Overloaded, "too many live streams; try again later", None)
        }
        SubscribeError::Stopping => ApiError::stopping(),
        SubscribeError::NoSuchCall => call_not_found(conversation_id),
        SubscribeError::Failed(error) => error.into(),
    }
}

/// Default of `follow`.
const fn yes() -> bool {
    true
}

#[OpenApi(prefix_path = "/api/v1", tag = "Tag::Calls")]
impl EventsApi {
    /// Stream all calls
    ///
    /// Server-sent events. The stream begins with `call_started` for each call in progress; then it sends every change
    /// in the order of commits: `transcription` with the turn's JSON, `call_started`, `call_updated`, `call_ended` and
    /// `call_alert` with the call's JSON, `call_erased` with its `id`. The call is that of lists with
    /// `include=transfers`, plus `analysis`; `alerts` names what matched. After a disconnect, the id of the last event
    /// resumes the stream. With filters, only changes of calls that match at the time of sending are sent;
    /// `call_erased` is sent for every call.
    #[oai(path = "/events", method = "get", operation_id = "watch_calls")]
    async fn watch_calls(
        &self,
        request: &Request,
        calls: CallFilterParams,
        /// Id of the last received event; browsers send it when they reconnect.
        #[oai(name = "Last-Event-ID")]
        last_event_id_header: Header<Option<String>>,
        /// Id of the last received event, for clients that cannot set the header. The header takes precedence.
        last_event_id: Query<Option<String>>,
        /// Keep the stream open after the stored events; `false` ends it there.
        #[oai(default = "yes")]
        follow: Query<bool>,
    ) -> Result<EventStream, Errors<ListErrors>> {
        let names = CallFilterParams::names_with(&["last_event_id", "follow"]);
        parse_query_params(request, &names, &CallFilterParams::REPEATABLE)?;
        let since = since(last_event_id_header.0, last_event_id.0)?;
        let stream = self.hub.subscribe_matching(calls.parse(false)?, since, follow.0).await;
        Ok(EventStream(stream.map_err(|refusal| subscribe_error(refusal, ""))?))
    }

    /// Stream a call
    ///
    /// Server-sent events. The stream begins with the call's turns in order and then the call itself, as `call_started`
    /// if it is in progress and as `call_ended` if it is over. Then it sends every change of the call, as in the stream
    /// of all calls. It ends when the call is erased.
    #[oai(path = "/calls/:conversation_id/events", method = "get", operation_id = "watch_call")]
    async fn watch_call(
        &self,
        request: &Request,
        /// ElevenLabs' id of the call.
        conversation_id: Path<String>,
        /// Id of the last received event; browsers send it when they reconnect.
        #[oai(name = "Last-Event-ID")]
        last_event_id_header: Header<Option<String>>,
        /// Id of the last received event, for clients that cannot set the header. The header takes precedence.
        last_event_id: Query<Option<String>>,
        /// Keep the stream open after the stored events; `false` ends it there.
        #[oai(default = "yes")]
        follow: Query<bool>,
    ) -> Result<EventStream, Errors<ReadErrors>> {
        parse_query_params(request, &["last_event_id", "follow"], &[])?;
        let id = self::conversation_id(&conversation_id.0)?;
        let since = since(last_event_id_header.0, last_event_id.0)?;
        let stream = self.hub.subscribe_call(id, since, follow.0).await;
        Ok(EventStream(stream.map_err(|refusal| subscribe_error(refusal, &conversation_id.0))?))
    }
}
