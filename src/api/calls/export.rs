//! Export of calls with their turns as a download, in several formats.

use super::filter::{self, CallFilterParams};
use super::transcriptions::{TurnInclude, TurnKind};
use crate::api::error::{ApiError, Errors, ReadErrors};
use crate::api::error_code::ErrorCode;
use crate::api::pagination::parse_query_params;
use crate::api::streamed_body;
use crate::api::tag::Tag;
use crate::domain::ConversationId;
use crate::export::ExportError;
use crate::export::{self, ExportForm, ExportFormat};
use crate::store::{Archive, CallFilter, Store};
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
    permits: Arc<Semaphore>,
}

/// Maximum number of concurrent exports.
const MAX_CONCURRENT_EXPORTS: usize = 2;

/// Maximum time that a request waits for a running export to end.
const PERMIT_TIMEOUT: Duration = Duration::from_secs(1);

/// Format of an export.
#[derive(Debug, Clone, Copy, Enum)]
#[oai(rename = "ExportFormat", rename_all = "snake_case")]
enum FormatParameter {
    /// JSON lines with all rows; `import calls` reads them.
    Jsonl,
    /// A table with one row per turn.
    Csv,
    /// A table with one row per call, also for calls without turns.
    #[oai(rename = "calls-csv")]
    CallsCsv,
    /// Plain text transcripts.
    Text,
    /// Markdown transcripts.
    Markdown,
    /// `WebVTT` subtitles of one call.
    Vtt,
    /// `SubRip` subtitles of one call.
    Srt,
}

impl From<FormatParameter> for ExportFormat {
    fn from(format: FormatParameter) -> Self {
        match format {
            FormatParameter::Jsonl => Self::JsonLines,
            FormatParameter::Csv => Self::Csv,
            FormatParameter::CallsCsv => Self::CallsCsv,
            FormatParameter::Text => Self::Text,
            FormatParameter::Markdown => Self::Markdown,
            FormatParameter::Vtt => Self::WebVtt,
            FormatParameter::Srt => Self::SubRip,
        }
    }
}

impl ExportApi {
    pub(in crate::api) fn new(store: Arc<dyn Store>) -> Self {
        Self { store, permits: Arc::new(Semaphore::new(MAX_CONCURRENT_EXPORTS)) }
    }
}

#[OpenApi(prefix_path = "/api/v1", tag = "Tag::Calls")]
impl ExportApi {
    /// Export calls
    ///
    /// Returns calls with all of their turns, in the order of creation. Each call is consistent in itself. The response
    /// is streamed and may have any length; if the export fails, the connection is cut off instead of ended normally.
    /// Several filters are combined with AND. At most two exports run at a time; further requests are answered with
    /// 503.
    #[oai(path = "/export", method = "get", operation_id = "export_calls")]
    #[expect(clippy::too_many_arguments, reason = "the framework takes each query parameter as an argument")]
    async fn export_calls(
        &self,
        request: &Request,
        /// `jsonl` (default), `csv`, `calls-csv`, `text`, `markdown`, `vtt` or `srt`; the last two require a
        /// conversation id.
        format: Query<Option<FormatParameter>>,
        /// Only this call; 404 if it does not exist.
        conversation_id: Query<Option<String>>,
        calls: CallFilterParams,
        /// Only calls with this text in the conversation id, the driver's name (in any case, with or without accents)
        /// or a message (where a word begins), or with this end of the telephone number. An asterisk before the text,
        /// as in `*load`, also finds it within words.
        #[oai(validator(min_length = 1, max_length = 200))]
        q: Query<Option<String>>,
        /// Only turns of one of these kinds; not for `jsonl` and `calls-csv`.
        kind: Query<Vec<TurnKind>>,
        /// `tools`: include tool calls between the turns. `jsonl` always has them, `calls-csv` has none.
        include: Query<Option<TurnInclude>>,
    ) -> Result<Export, Errors<ReadErrors>> {
        let names = CallFilterParams::names_with(&["format", "conversation_id", "q", "kind", "include"]);
        parse_query_params(request, &names, &CallFilterParams::repeatable_with(&["kind"]))?;
        let format = ExportFormat::from(format.0.unwrap_or(FormatParameter::Jsonl));
        // An export may be the only copy, so it leaves out nothing by default.
        let filter = CallFilter {
            conversation_id: filter::conversation_id(conversation_id.0.as_deref())?,
            text: filter::text(q.0)?,
            ..calls.parse(true)?
        };
        if format.holds_one_call() && filter.conversation_id.is_none() {
            let rule = format!("is required for {}, because its times are relative to a call's start", format.name());
            return Err(ApiError::field("conversation_id", rule).into());
        }
        let form =
            ExportForm { format, kinds: kind.0.into_iter().map(Into::into).collect(), with_tools: include.0.is_some() };
        check_parts(&form)?;
        let name = file_name(filter.conversation_id.as_ref(), format);
        let busy = || {
            ApiError::Unavailable(
                ErrorCode::Overloaded,
                "other exports are running; try again when they are done",
                None,
            )
        };
        let permit = tokio::time::timeout(PERMIT_TIMEOUT, self.permits.clone().acquire_owned()).await;
        let permit = permit.map_err(|_| busy())?.map_err(|_| busy())?;
        let store = self.store.clone();
        let opened = tokio::task::spawn_blocking(move || {
            let archive = open(&*store)?;
            // Checked now, because the status cannot change once the body has begun.
            match &filter.conversation_id {
                Some(id) if archive.call_ids(&filter, 0, 1)?.is_empty() => {
                    Err(super::operations::call_not_found(id.as_str()))
                }
                _ => Ok((archive, filter)),
            }
        });
        let (archive, filter) = opened.await.map_err(|error| ApiError::Internal(error.to_string()))??;
        let body = streamed_body::body("export", permit, move |outlet| {
            let mut throttle = Background::begin();
            match export::export(&*archive, &filter, &form, outlet, &mut |_| throttle.pause()) {
                Ok(_) => Ok(()),
                Err(ExportError::Write(error)) => Err(error),
                Err(ExportError::Store(error)) => Err(io::Error::other(error)),
            }
        });
        Ok(Export { body: body.map_err(|error| ApiError::Internal(error.to_string()))?, format, name })
    }
}

fn open(store: &dyn Store) -> Result<Box<dyn Archive>, ApiError> {
    store.archive()?.ok_or_else(|| ApiError::Internal("the store has no archive to export".to_owned()))
}

/// Checks that the format can leave out or include what was asked for.
fn check_parts(form: &ExportForm) -> Result<(), ApiError> {
    let name = form.format.name();
    if !form.kinds.is_empty() && !form.format.has_kinds() {
        return Err(ApiError::field("kind", format!("cannot be combined with format={name}")));
    }
    if form.with_tools && !form.format.has_tools() {
        return Err(ApiError::field("include", format!("cannot be combined with format={name}")));
    }
    Ok(())
}

fn file_name(id: Option<&ConversationId>, format: ExportFormat) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    let id = id.map(ConversationId::as_str).filter(|id| id.len() <= 100 && id.chars().all(plain));
    format!("{}.{}", id.unwrap_or("calls"), format.extension())
}

/// The response: exported calls.
struct Export {
    body: Body,
    format: ExportFormat,
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
            description: Some("File name.".to_owned()),
            required: true,
            deprecated: false,
            schema: String::schema_ref(),
        };
        let mut types = ExportFormat::ALL.map(ExportFormat::media_type).to_vec();
        types.dedup();
        let content = types
            .into_iter()
            .map(|content_type| MetaMediaType { content_type, schema: Binary::<Vec<u8>>::schema_ref() });
        let calls = MetaResponse {
            description: "Exported calls.",
            status: Some(200),
            status_range: None,
            content: content.collect(),
            headers: vec![name],
        };
        MetaResponses { responses: vec![calls] }
    }

    fn register(_: &mut Registry) {}
}
