//! A backup of the database as a download.

use super::error::{ApiError, Errors, ListErrors};
use super::error_code::ErrorCode;
use super::pagination::reject_query_params;
use super::streamed_body;
use super::tag::Tag;
use crate::domain::Timestamp;
use crate::store::{BackupSource, ErrorKind};
use crate::sys::atomic_file::PartialFile;
use crate::sys::low_priority::Background;
use crate::sys::paths::with_suffix;
use poem::http::header;
use poem::{Body, IntoResponse, Request, Response};
use poem_openapi::payload::{Binary, Payload as _};
use poem_openapi::registry::{MetaHeader, MetaMediaType, MetaResponse, MetaResponses, Registry};
use poem_openapi::types::Type as _;
use poem_openapi::{ApiResponse, OpenApi};
use std::io::{self, Seek as _};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::{Semaphore, oneshot};

pub(super) struct BackupApi {
    copier: BackupSource,
    permit: Arc<Semaphore>,
}

/// Maximum time that a request waits for an aborted download to end.
const PERMIT_TIMEOUT: Duration = Duration::from_secs(1);

/// Returns the path of the copy that a download is made from.
fn path_for(database: &Path) -> PathBuf {
    with_suffix(database, ".download")
}

impl BackupApi {
    pub(super) fn new(copier: BackupSource) -> Self {
        if let Some(database) = copier.database() {
            PartialFile::remove_leftover(&path_for(database));
        }
        Self { copier, permit: Arc::new(Semaphore::new(1)) }
    }
}

/// Aborts the copy when the request is dropped.
struct AbortOnDrop(Arc<AtomicBool>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

#[OpenApi(prefix_path = "/api/v1", tag = "Tag::Operation")]
impl BackupApi {
    /// Download a backup
    ///
    /// Returns one consistent and checked SQLite file, with the state of the database at the time of the request. Turns
    /// are stored meanwhile. The response begins once the copy is complete; the disk needs free space for it. Only one
    /// backup can run at a time; further requests are answered with 503.
    #[oai(path = "/backup", method = "get", operation_id = "download_backup")]
    async fn download_backup(&self, request: &Request) -> Result<Download, Errors<ListErrors>> {
        reject_query_params(request)?;
        let permit = tokio::time::timeout(PERMIT_TIMEOUT, self.permit.clone().acquire_owned()).await;
        let permit = permit.map_err(|_| another_is_running())?.map_err(|_| another_is_running())?;
        let copier = self.copier.clone();
        let name = download_name(&copier);
        let abort = AbortOnDrop(Arc::new(AtomicBool::new(false)));
        let aborted = abort.0.clone();
        let (ready, length) = oneshot::channel();
        let body = streamed_body::body("download", permit, move |outlet| {
            let mut file = match copy(&copier, aborted) {
                Ok((file, length)) => {
                    let _ = ready.send(Ok(length));
                    file
                }
                Err(error) => {
                    let _ = ready.send(Err(error));
                    return Ok(());
                }
            };
            // The copy is complete; sending it runs at idle priority.
            let mut throttle = Background::begin();
            file.rewind()?;
            loop {
                let sent = io::copy(&mut io::Read::take(&mut file, 256 * 1024), outlet)?;
                if sent == 0 {
                    return Ok(());
                }
                throttle.pause();
            }
        });
        let body = body.map_err(|error| ApiError::Internal(error.to_string()))?;
        let length = length.await.map_err(|_| ApiError::Internal("the backup thread panicked".to_owned()))??;
        drop(abort);
        Ok(Download { body, length, name })
    }
}

fn another_is_running() -> ApiError {
    ApiError::Unavailable(ErrorCode::Overloaded, "another backup is running; try again when it is done", None)
}

/// Copies the database into an unlinked file; returns the file and its size in bytes.
fn copy(copier: &BackupSource, aborted: Arc<AtomicBool>) -> Result<(std::fs::File, u64), ApiError> {
    let internal = |error: &dyn std::fmt::Display| ApiError::Internal(error.to_string());
    let database = copier.database().ok_or_else(|| internal(&"the database is not one file"))?;
    let partial = PartialFile::over(&path_for(database)).map_err(|error| internal(&error))?;
    let watch =
        move |_| if aborted.load(Ordering::Acquire) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) };
    let report = copier.try_copy(&partial, Box::new(watch)).map_err(|error| match error.kind() {
        ErrorKind::Busy => another_is_running(),
        ErrorKind::Full => ApiError::Unavailable(
            ErrorCode::StorageUnavailable,
            "not enough disk space for the backup",
            Some(error.to_string()),
        ),
        _ => internal(&error),
    })?;
    Ok((partial.nameless().map_err(|error| internal(&error))?, report.bytes))
}

/// Returns the file name, in the form that automatic backups use.
fn download_name(copier: &BackupSource) -> String {
    copier.database().map_or_else(String::new, |database| crate::jobs::backup::name(database, Timestamp::now()))
}

/// The response: a database file.
struct Download {
    body: Body,
    length: u64,
    name: String,
}

const CONTENT_TYPE: &str = "application/vnd.sqlite3";

impl IntoResponse for Download {
    fn into_response(self) -> Response {
        // Only characters that are valid in a quoted string of a header: the database may have any file name.
        let name: String = self.name.chars().filter(|c| matches!(c, ' '..='~') && !matches!(c, '"' | '\\')).collect();
        Response::builder()
            .content_type(CONTENT_TYPE)
            .header(header::CONTENT_LENGTH, self.length)
            .header(header::CONTENT_DISPOSITION, format!("attachment; filename=\"{name}\""))
            .header(header::CACHE_CONTROL, "no-store")
            .body(self.body)
    }
}

impl ApiResponse for Download {
    fn meta() -> MetaResponses {
        let header = |name: &str, description: &str| MetaHeader {
            name: name.to_owned(),
            description: Some(description.to_owned()),
            required: true,
            deprecated: false,
            schema: String::schema_ref(),
        };
        let file = MetaResponse {
            description: "The SQLite file.",
            status: Some(200),
            status_range: None,
            content: vec![MetaMediaType { content_type: CONTENT_TYPE, schema: Binary::<Vec<u8>>::schema_ref() }],
            headers: vec![header("Content-Disposition", "File name; it contains the time of the backup.")],
        };
        MetaResponses { responses: vec![file] }
    }

    fn register(_: &mut Registry) {}
}
