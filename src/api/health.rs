//! Health and readiness checks.

use super::body::JsonOk;
use super::error::{ApiError, Errors, ReadinessErrors};
use super::error_code::ErrorCode;
use super::reader::Reader;
use super::tag::Tag;
use crate::ingest::{WriteError, Writer};
use crate::store::DriverPageRequest;
use poem_openapi::types::Example;
use poem_openapi::{Object, OpenApi};

pub(super) struct HealthApi {
    pub(super) reader: Reader,
    pub(super) writer: Writer,
}

/// The response of a successful check.
#[derive(Debug, Object)]
#[oai(example)]
struct Health {
    /// Always `ok`.
    status: String,
    /// Version of the running service.
    version: String,
}

impl Example for Health {
    fn example() -> Self {
        Self { status: "ok".to_owned(), version: "0.1.0".to_owned() }
    }
}

fn ok() -> JsonOk<Health> {
    JsonOk(Health { status: "ok".to_owned(), version: env!("CARGO_PKG_VERSION").to_owned() })
}

#[expect(clippy::unused_async, reason = "the framework wants every operation to be async")]
#[OpenApi(tag = "Tag::Operation")]
impl HealthApi {
    /// Check that the process is alive
    #[oai(path = "/healthz", method = "get", operation_id = "healthz")]
    async fn healthz(&self) -> JsonOk<Health> {
        ok()
    }

    /// Check that the service is ready
    ///
    /// Succeeds if the database is migrated, readable and writable: either a turn was committed within the last five
    /// seconds, or a test insert is rolled back and a harmless write is synced to disk.
    #[oai(path = "/readyz", method = "get", operation_id = "readyz")]
    async fn readyz(&self) -> Result<JsonOk<Health>, Errors<ReadinessErrors>> {
        let not_ready = |cause| ApiError::Unavailable(ErrorCode::NotReady, "the service is not ready", cause);
        self.writer.probe().await.map_err(|error| {
            not_ready(match error {
                WriteError::Failed(error) => Some(error.to_string()),
                WriteError::Overloaded => Some("too many writes are queued".to_owned()),
                WriteError::Stopping => Some("the service is stopping".to_owned()),
                WriteError::Rejected(_) => None,
            })
        })?;
        self.reader
            .read(|store| store.drivers(&DriverPageRequest { limit: 1, ..DriverPageRequest::default() }))
            .await
            .map_err(|error| not_ready(error.cause().map(str::to_owned)))?;
        Ok(ok())
    }
}
