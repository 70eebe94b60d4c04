//! Calls with their turns as a download, in forms that others read.

use super::schema::CallStatus;
use crate::api::date_time::Instant;
use crate::api::error::{ApiError, Read, Refused};
use crate::api::pagination::parameters;
use crate::api::streamed_body;
use crate::api::tag::Tag;
use crate::domain::{ConversationId, DriverId};
use crate::export::ExportError;
use crate::export::{self, Format};
use crate::store::{Archive, CallQuery, Order, RecordFilter, Selection, Store};
use crate::sys::low_priority::Background;
use poem::http::header;
use poem::{Body, IntoResponse, Request, Response};
use poem_openapi::param::Query;
use poem_openapi::payload::{Binary, Payload as _};
use poem_openapi::registry::{MetaHeader, MetaMediaType, MetaResponse, MetaResponses, Registry};
use poem_openapi::types::Type as _;
use poem_openapi::{ApiResponse, Enum, OpenApi};
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;

pub(in crate::api) struct ExportApi {
    store: Arc<dyn Store>,
    places: Arc<Semaphore>,
}

/// How many exports may run at once.
const MOST: usize = 2;

/// How long one waits for an export to end that is being ended.
const WAIT: Duration = Duration::from_secs(1);

/// What calls become.
#[derive(Debug, Clone, Copy, Enum)]
#[oai(rename_all = "snake_case")]
enum ExportFormat {
    /// All rows as JSON lines, which `import calls` reads back.
    Jsonl,
    /// A table with a row for each turn.
    Csv,
    /// Transcripts.
    Text,
    /// Transcripts in Markdown.
    Markdown,
    /// Subtitles of one call, `WebVTT`.
    Vtt,
    /// Subtitles of one call, `SubRip`.
    Srt,
}

impl From<ExportFormat> for Format {
    fn from(format: ExportFormat) -> Self {
        match format {
            ExportFormat::Jsonl => Self::JsonLines,
            ExportFormat::Csv => Self::Csv,
            ExportFormat::Text => Self::Text,
            ExportFormat::Markdown => Self::Markdown,
            ExportFormat::Vtt => Self::WebVtt,
            ExportFormat::Srt => Self::SubRip,
        }
    }
}

impl ExportApi {
    pub(in crate::api) fn new(store: Arc<dyn Store>) -> Self {
        Self { store, places: Arc::new(Semaphore::new(MOST)) }
    }
}

#[OpenApi(prefix_path = "/api/v1", tag = "Tag::Calls")]
impl ExportApi {
    /// Export calls
    ///
    /// Calls with all their turns, in the order in which they were made here, each as it is at one moment. The answer is made
    /// while it is sent, so that it may be of any length; one that ends early is cut off, not ended in order. Filters narrow
    /// the export together. Two can run at a time; more are answered 503.
    #[oai(path = "/export", method = "get", operation_id = "export_calls")]
    #[expect(clippy::too_many_arguments, reason = "the framework takes each query parameter as an argument")]
    async fn export_calls(
        &self,
        request: &Request,
        /// `jsonl`, which is the default, `csv`, `text`, `markdown`, `vtt` or `srt`; the last two are of one call.
        format: Query<Option<ExportFormat>>,
        /// Only this call; 404 if it is not there.
        conversation_id: Query<Option<String>>,
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
    ) -> Result<Export, Refused<Read>> {
        const KNOWN: [&str; 7] =
            ["format", "conversation_id", "status", "driver_id", "started_after", "started_before", "q"];
        parameters(request, &KNOWN)?;
        let format = Format::from(format.0.unwrap_or(ExportFormat::Jsonl));
        let conversation_id =
            conversation_id.0.map(|text| crate::api::path_params::conversation_id(&text)).transpose()?;
        if format.holds_one_call() && conversation_id.is_none() {
            let rule = format!("is required for {}, whose times begin with the call's start", format.name());
            return Err(ApiError::field("conversation_id", rule).into());
        }
        let driver_id =
            driver_id.0.map(DriverId::new).transpose().map_err(|rule| ApiError::field("driver_id", rule))?;
        if q.0.as_ref().is_some_and(|text| text.contains('\0')) {
            return Err(ApiError::field("q", "must not contain U+0000").into());
        }
        let name = file_name(conversation_id.as_ref(), format);
        let which = Selection {
            conversation_id,
            calls: CallQuery {
                status: status.0.map(Into::into),
                driver_id,
                user_id: None,
                agent_id: None,
                record: RecordFilter::default(),
                started_after: started_after.0.map(|time| time.0),
                started_before: started_before.0.map(|time| time.0),
                text: q.0,
                order: Order::Ascending,
                after: None,
                limit: 0,
                with_total: false,
            },
        };
        let taken = || ApiError::Unavailable("other exports are running; try again when they are done", None);
        let place = tokio::time::timeout(WAIT, self.places.clone().acquire_owned()).await;
        let place = place.map_err(|_| taken())?.map_err(|_| taken())?;
        let store = self.store.clone();
        let opened = tokio::task::spawn_blocking(move || {
            let archive = open(&*store)?;
            // While it can still be said.
            match &which.conversation_id {
                Some(id) if archive.call_ids(&which, 0, 1)?.is_empty() => Err(super::operations::no_call(id.as_str())),
                _ => Ok((archive, which)),
            }
        });
        let (archive, which) = opened.await.map_err(|error| ApiError::Internal(error.to_string()))??;
        let body = streamed_body::body("export", place, move |outlet| {
            let mut gently = Background::begin();
            match export::export(&*archive, &which, format, outlet, &mut |_| gently.pause()) {
                Ok(_) => Ok(()),
                Err(ExportError::Write(error)) => Err(error),
                Err(ExportError::Store(error)) => Err(io::Error::other(error)),
            }
        });
        Ok(Export { body: body.map_err(|error| ApiError::Internal(error.to_string()))?, format, name })
    }
}

fn open(store: &dyn Store) -> Result<Box<dyn Archive>, ApiError> {
    store.archive()?.ok_or_else(|| ApiError::Internal("there is nothing to be exported from".to_owned()))
}

fn file_name(id: Option<&ConversationId>, format: Format) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    let id = id.map(ConversationId::as_str).filter(|id| id.len() <= 100 && id.chars().all(plain));
    format!("{}.{}", id.unwrap_or("calls"), format.ending())
}

/// The calls.
struct Export {
    body: Body,
    format: Format,
    name: String,
}

impl IntoResponse for Export {
    fn into_response(self) -> Response {
        Response::builder()
            .content_type(self.format.media_type())
            .header(header::CONTENT_DISPOSITION, format!("attachment; filename=\"{}\"", self.name))
            .header(header::CACHE_CONTROL, "no-store")
            .body(self.body)
    }
}

impl ApiResponse for Export {
    fn meta() -> MetaResponses {
        let name = MetaHeader {
            name: "Content-Disposition".to_owned(),
            description: Some("A name for the file.".to_owned()),
            required: true,
            deprecated: false,
            schema: String::schema_ref(),
        };
        let content = Format::ALL
            .map(|format| MetaMediaType { content_type: format.media_type(), schema: Binary::<Vec<u8>>::schema_ref() });
        let calls = MetaResponse {
            description: "The calls.",
            status: Some(200),
            status_range: None,
            content: content.into(),
            headers: vec![name],
        };
        MetaResponses { responses: vec![calls] }
    }

    fn register(_: &mut Registry) {}
}
