//! Live streams, as server-sent events: <https://html.spec.whatwg.org/multipage/server-sent-events.html>.

use super::operations::no_call;
use super::schema::Call;
use super::transcriptions::Transcription;
use crate::api::error::{ApiError, List, Read, Refused};
use crate::api::pagination::parameters;
use crate::api::path_params::conversation_id;
use crate::api::tag::Tag;
use crate::live::{Refusal, Subscription, Tail};
use crate::store::{Change, Position};
use futures_util::stream::unfold;
use poem::http::{HeaderValue, header};
use poem::{Body, IntoResponse, Request, Response};
use poem_openapi::param::{Header, Path, Query};
use poem_openapi::registry::{MetaMediaType, MetaResponse, MetaResponses, MetaSchema, MetaSchemaRef, Registry};
use poem_openapi::types::ToJSON as _;
use poem_openapi::{ApiResponse, OpenApi};
use std::io::{self, Write as _};

pub(in crate::api) struct EventsApi {
    pub(in crate::api) tail: Tail,
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
        // nginx would otherwise keep events back until some kilobytes have gathered.
        headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
        response
    }
}

impl ApiResponse for EventStream {
    fn meta() -> MetaResponses {
        // OpenAPI 3.0 knows no streams: the schema is that of one event.
        let text = || MetaSchemaRef::Inline(Box::new(MetaSchema::new("string")));
        let mut schema = MetaSchema::new("object");
        schema.description = Some("One of the server-sent events; `data` is the JSON of a turn or a call.");
        schema.required = vec!["id", "event", "data"];
        schema.properties = schema.required.iter().map(|name| (*name, text())).collect();
        let content = MetaMediaType { content_type: CONTENT_TYPE, schema: MetaSchemaRef::Inline(Box::new(schema)) };
        MetaResponses {
            responses: vec![MetaResponse {
                description: "The events, as they happen.",
                status: Some(200),
                status_range: None,
                content: vec![content],
                headers: Vec::new(),
            }],
        }
    }

    fn register(_: &mut Registry) {}
}

/// Words a change as an event.
pub(in crate::api) fn word(out: &mut Vec<u8>, position: Position, change: Change) {
    let (event, data) = match change {
        Change::Turn(turn) => ("transcription", Transcription::from(turn).to_json_string()),
        Change::Started(call) => ("call_started", Call::from(*call).to_json_string()),
        Change::Updated(call) => ("call_updated", Call::from(*call).to_json_string()),
        Change::Ended(call) => ("call_ended", Call::from(*call).to_json_string()),
        Change::Erased(id) => ("call_erased", format!("{{\"id\":{id}}}")),
    };
    // JSON has no line breaks of its own, so that one line of data is all of it.
    write!(out, "id: {position}\nevent: {event}\ndata: {data}\n\n").expect("memory takes everything");
}

/// The place that a client wants to go on from. A browser that connects again sends the header, which then is newer than
/// what stands in the address.
fn since(header: Option<String>, query: Option<String>) -> Result<Option<Position>, ApiError> {
    let (name, text) = match (header.filter(|text| !text.is_empty()), query) {
        (Some(text), _) => ("Last-Event-ID", text),
        (None, Some(text)) => ("last_event_id", text),
        (None, None) => return Ok(None),
    };
    let place = text.parse().map_err(|()| ApiError::field(name, "must be the id of an event that was sent before"))?;
    Ok(Some(place))
}

fn refused(refusal: Refusal, conversation_id: &str) -> ApiError {
    match refusal {
        Refusal::TooMany => ApiError::Unavailable("there are too many live streams; try again later", None),
        Refusal::Stopping => ApiError::Unavailable("the service is stopping; try again shortly", None),
        Refusal::NoSuchCall => no_call(conversation_id),
        Refusal::Failed(error) => error.into(),
    }
}

/// Streams go on unless asked otherwise.
const fn yes() -> bool {
    true
}

#[OpenApi(prefix_path = "/api/v1", tag = "Tag::Calls")]
impl EventsApi {
    /// Watch all calls
    ///
    /// Server-sent events: first each call in progress as `call_started`, then whatever is committed, in that order:
    /// `transcription` with the turn's JSON, `call_started`, `call_updated` and `call_ended` with the call's,
    /// `call_erased` with its `id`. After a break, the id of the last event leads to what came since.
    #[oai(path = "/events", method = "get", operation_id = "watch_calls")]
    async fn watch_calls(
        &self,
        request: &Request,
        /// The id of the last event that was received; a browser sends it when it connects again.
        #[oai(name = "Last-Event-ID")]
        last_event_id_header: Header<Option<String>>,
        /// The same, for clients that cannot set the header, which goes before it.
        last_event_id: Query<Option<String>>,
        /// Whether to go on when everything that there is was sent.
        #[oai(default = "yes")]
        follow: Query<bool>,
    ) -> Result<EventStream, Refused<List>> {
        parameters(request, &["last_event_id", "follow"])?;
        let since = since(last_event_id_header.0, last_event_id.0)?;
        let stream = self.tail.of_everything(since, follow.0).await.map_err(|refusal| refused(refusal, ""))?;
        Ok(EventStream(stream))
    }

    /// Watch a call
    ///
    /// Server-sent events: first its turns in order and then the call, as `call_started` while it is in progress and
    /// as `call_ended` once it is over; then whatever is committed of it, as in the stream of all calls. Once it is
    /// erased, the stream ends.
    #[oai(path = "/calls/:conversation_id/events", method = "get", operation_id = "watch_call")]
    async fn watch_call(
        &self,
        request: &Request,
        /// The platform's name for the call.
        conversation_id: Path<String>,
        /// The id of the last event that was received; a browser sends it when it connects again.
        #[oai(name = "Last-Event-ID")]
        last_event_id_header: Header<Option<String>>,
        /// The same, for clients that cannot set the header, which goes before it.
        last_event_id: Query<Option<String>>,
        /// Whether to go on when everything that there is was sent.
        #[oai(default = "yes")]
        follow: Query<bool>,
    ) -> Result<EventStream, Refused<Read>> {
        parameters(request, &["last_event_id", "follow"])?;
        let id = self::conversation_id(&conversation_id.0)?;
        let since = since(last_event_id_header.0, last_event_id.0)?;
        let stream = self.tail.of_call(id, since, follow.0).await;
        Ok(EventStream(stream.map_err(|refusal| refused(refusal, &conversation_id.0))?))
    }
}
