//! Whether the process lives, and whether it can do its work.

use super::body::Done;
use super::error::{ApiError, Readiness, Refused};
use super::reader::Reader;
use super::tag::Tag;
use crate::ingest::{WriteError, Writer};
use poem_openapi::types::Example;
use poem_openapi::{Object, OpenApi};

pub(super) struct HealthApi {
    pub(super) reader: Reader,
    pub(super) writer: Writer,
}

/// Good news.
#[derive(Debug, Object)]
#[oai(example)]
struct Health {
    /// `ok`.
    status: String,
    /// The running version.
    version: String,
}

impl Example for Health {
    fn example() -> Self {
        Self { status: "ok".to_owned(), version: "0.1.0".to_owned() }
    }
}

fn ok() -> Done<Health> {
    Done(Health { status: "ok".to_owned(), version: env!("CARGO_PKG_VERSION").to_owned() })
}

#[expect(clippy::unused_async, reason = "the framework wants every operation to be async")]
#[OpenApi(tag = "Tag::Operation")]
impl HealthApi {
    /// Does the process live?
    #[oai(path = "/healthz", method = "get", operation_id = "healthz")]
    async fn healthz(&self) -> Done<Health> {
        ok()
    }

    /// Can it do its work?
    ///
    /// The database is migrated and can be read, and takes turns: either one was committed within the last five seconds, or
    /// one is tried and taken back, and a write of no consequence is synced.
    #[oai(path = "/readyz", method = "get", operation_id = "readyz")]
    async fn readyz(&self) -> Result<Done<Health>, Refused<Readiness>> {
        let not_ready = |cause| ApiError::Unavailable("the service is not ready", cause);
        self.writer.probe().await.map_err(|error| {
            not_ready(match error {
                WriteError::Failed(error) => Some(error.to_string()),
                WriteError::Overloaded => Some("too much is waiting to be stored".to_owned()),
                WriteError::Stopping => Some("the service is stopping".to_owned()),
                WriteError::Rejected(_) => None,
            })
        })?;
        self.reader
            .read(|store| store.drivers(None, 1, false))
            .await
            .map_err(|error| not_ready(error.cause().map(str::to_owned)))?;
        Ok(ok())
    }
}
