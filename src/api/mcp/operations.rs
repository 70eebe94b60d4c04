//! The reading operations of the API, called in this process.

use super::arguments::Arguments;
use crate::api::calls::operations::CallsApi;
use crate::api::calls::search::SearchApi;
use crate::api::calls::stats::StatsApi;
use crate::api::calls::tool_calls::ToolCallsApi;
use crate::api::calls::transcriptions::TranscriptionsApi;
use crate::api::drivers::DriversApi;
use crate::api::error::ApiError;
use crate::api::reader::Reader;
use crate::domain::{Credential, Identity, Role};
use crate::ingest::Writer;
use crate::jobs::access_log::AccessLog;
use crate::jobs::retention::DriverErasure;
use crate::recordings::Recordings;
use crate::store::NullStore;
use poem::endpoint::BoxEndpoint;
use poem::{Endpoint as _, IntoEndpoint as _, Request};
use poem_openapi::OpenApiService;
use poem_openapi::error::ParseParamError;
use serde_json::Value;
use std::sync::Arc;

/// The reading operations of the API.
pub(super) struct Operations(BoxEndpoint<'static>);

impl Operations {
    /// Creates the operations over a reader and recordings. They cannot write: their writer is stopped, and only GET is
    /// called.
    pub(super) fn new(reader: &Reader, recordings: Option<Recordings>) -> Self {
        let (reader, writer) = (|| reader.clone(), Writer::stopped());
        let erasure = DriverErasure::new(Arc::new(NullStore), None, writer.clone(), AccessLog::disabled());
        let operations = (
            CallsApi { reader: reader(), writer: writer.clone(), recordings },
            TranscriptionsApi { reader: reader() },
            ToolCallsApi { reader: reader() },
            SearchApi { reader: reader() },
            StatsApi { reader: reader() },
            DriversApi { reader: reader(), writer, erasure },
        );
        Self(OpenApiService::new(operations, "", "").into_endpoint())
    }

    /// Returns the JSON that a GET request with these query parameters gets, shaped by `shape`. That takes a while for
    /// long pages, so it has a thread of its own.
    pub(super) async fn get<T: Send + 'static>(
        &self,
        path: &str,
        query: &Arguments,
        shape: impl FnOnce(Value) -> T + Send + 'static,
    ) -> Result<T, ApiError> {
        let internal = |error: String| ApiError::Internal(error);
        let query = serde_urlencoded::to_string(query.pairs()).map_err(|error| internal(error.to_string()))?;
        let uri = format!("{path}?{query}").parse().map_err(|_| ApiError::field("arguments", "are too long"))?;
        let mut request = Request::builder().uri(uri).finish();
        // Who may use the server may read what was said.
        request.set_data(Identity { name: None, role: Role::Read, credential: Credential::None });
        let answer = self.0.call(request).await.map_err(|error| api_error(&error))?;
        let body = answer.into_body().into_bytes().await.map_err(|error| internal(error.to_string()))?;
        let shaped = tokio::task::spawn_blocking(move || serde_json::from_slice(&body).map(shape)).await;
        shaped.map_err(|_| ApiError::stopping())?.map_err(|error| internal(error.to_string()))
    }
}

/// Converts the framework's errors.
fn api_error(error: &poem::Error) -> ApiError {
    if let Some(error) = error.downcast_ref::<ApiError>() {
        error.clone()
    } else if let Some(error) = error.downcast_ref::<ParseParamError>() {
        ApiError::field(error.name, &error.reason)
    } else {
        ApiError::Internal(error.to_string())
    }
}
