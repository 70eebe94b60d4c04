//! The HTTP API: operations, request and response types, and the OpenAPI document.
//!
//! Conventions: plural nouns, `snake_case` JSON, times in RFC 3339 UTC. Fields of a resource have the names of their
//! columns. A single resource is returned bare, a list as `{"data", "next_cursor", "has_more"}`. Null means "not
//! known". All errors have one body, [`error::ErrorBody`].
//!
//! The types of this module define the JSON; types of [`crate::model`] are converted before they are sent. This layer
//! parses requests and builds responses; the layers below it fulfil the promises of the operations.

pub mod access;
mod audio;
mod backup;
pub mod budget;
mod call;
mod calls;
mod coding;
mod convai;
mod conversation;
mod dispatches;
mod document;
mod drivers;
pub mod error;
mod events;
mod export;
mod health;
mod history;
pub mod payload;
mod post_call;
mod query;
pub mod reading;
mod search;
pub mod signed;
mod stats;
mod stream;
mod time;
pub mod trace;
mod transcriptions;
mod webhooks;

use crate::model::ConversationId;
use crate::store::{self, Store};
use crate::tail::{Tail, Word};
use crate::writer::Writer;
use access::described::Described;
use access::{Access, AccessSettings};
use error::ApiError;
use poem_openapi::{LicenseObject, OpenApi, OpenApiService, Tags};
use reading::Reader;
use signed::Gate;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;

/// Tags that group the operations in the OpenAPI document.
#[derive(Tags)]
enum Tag {
    /// Webhooks that ElevenLabs and its agents call.
    Webhooks,
    /// Calls and their turns.
    Calls,
    /// People who are called.
    Drivers,
    /// Records of outbound calls; they identify the driver of a call.
    Dispatches,
    /// Read operations of the ElevenLabs API, for its official SDKs.
    Convai,
    /// Sign-in for browsers.
    Session,
    /// Health, readiness and backup, for operators.
    Operation,
}

/// Path of the turn webhook, the only operation that is called once per turn.
pub const TURNS: &str = "/webhooks/elevenlabs/transcription";

/// Maximum time that the response to an event or a history waits for the reconciliation of its call. The event is
/// already stored then.
const RECONCILED: Duration = Duration::from_secs(1);

/// Returns all operations over a store and its writer. `deep_reads` is the maximum number of concurrent deep reads.
pub fn service(
    store: Arc<dyn Store>,
    writer: Writer,
    gate: Gate,
    access: Access,
    tail: Tail,
    deep_reads: usize,
) -> OpenApiService<impl OpenApi, ()> {
    let backup = backup::BackupApi::new(store.copier());
    let export = export::ExportApi::new(store.clone());
    let reader = Reader::new(store, deep_reads);
    let recordings = gate.recordings();
    let operations = (
        webhooks::WebhooksApi { writer: writer.clone() },
        history::HistoryApi { writer: writer.clone() },
        calls::CallsApi { reader: reader.clone(), writer: writer.clone(), recordings: recordings.clone() },
        audio::AudioApi { recordings: recordings.clone() },
        convai::ConvaiApi { reader: reader.clone(), recordings: recordings.clone() },
        post_call::PostCallApi { gate, writer: writer.clone() },
        transcriptions::TranscriptionsApi { reader: reader.clone() },
        events::EventsApi { tail },
        stats::StatsApi { reader: reader.clone() },
        search::SearchApi { reader: reader.clone() },
        drivers::DriversApi {
            reader: reader.clone(),
            writer: writer.clone(),
            recordings,
            erasing: Arc::new(Semaphore::new(1)),
        },
        dispatches::DispatchesApi { reader: reader.clone(), writer: writer.clone() },
        access::session::SessionApi { access },
        health::HealthApi { reader, writer },
        backup,
        export,
    );
    OpenApiService::new(Described(operations), "transcribe-hook", env!("CARGO_PKG_VERSION"))
        .description(
            "Receives the dialogue turns of ElevenLabs voice-agent phone calls by webhook, stores them in one SQLite \
             file, and returns them. A turn is answered with 201 once it is on disk. A duplicate delivery gets the \
             same response and is stored once. Turns of a call are numbered 1, 2, 3 … without gaps.",
        )
        .license(LicenseObject::new("MIT OR Apache-2.0").url("https://spdx.org/licenses/"))
}

/// Returns the endpoint that serves [`TURNS`].
pub fn turns(writer: Writer) -> webhooks::TurnEndpoint {
    webhooks::TurnEndpoint { writer }
}

/// Encodes a committed change as an event of a live stream.
pub const EVENT: Word = events::word;

/// Returns the OpenAPI document of all operations. It does not depend on the store.
pub fn document() -> String {
    document_of(&over_nothing())
}

/// Returns the OpenAPI document of these operations.
pub fn document_of(service: &OpenApiService<impl OpenApi, ()>) -> String {
    document::complete(&service.spec())
}

/// Returns the operations over an empty store; they are described, never called.
fn over_nothing() -> OpenApiService<impl OpenApi, ()> {
    let access = Access::new(&AccessSettings::default());
    service(Arc::new(store::Absent), Writer::stopped(), Gate::closed(), access, Tail::closed(), 1)
}

/// Parses the conversation id of the path, and records it for the request's log line.
fn conversation_id(text: &str) -> Result<ConversationId, ApiError> {
    let id = ConversationId::new(text).map_err(|rule| ApiError::field("conversation_id", rule))?;
    trace::note(&id);
    Ok(id)
}
