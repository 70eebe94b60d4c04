//! The HTTP interface: operations, what they take and answer, and the document that describes them.
//!
//! Conventions: plural nouns, `snake_case` JSON, times in RFC 3339 UTC. A resource's fields are named as its columns. A
//! single resource is answered bare, a list as `{"data", "next_cursor", "has_more"}`. Null stands for "not known".
//! Every error has one body, [`error::ErrorBody`].
//!
//! Types here are the wire's own; those of [`crate::model`] never leave it unconverted. What the operations promise is
//! kept by the layers below: this one reads requests and words answers.

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

/// The groups of operations.
#[derive(Tags)]
enum Tag {
    /// What the voice agent's platform calls.
    Webhooks,
    /// Calls and their turns.
    Calls,
    /// The people who are called.
    Drivers,
    /// The outbound call records by which a call finds its driver.
    Dispatches,
    /// The platform's own read operations, for its official SDKs.
    Convai,
    /// Signing in, for browsers.
    Session,
    /// For those who run the service.
    Operation,
}

/// The path of the one operation that is called for every turn.
pub const TURNS: &str = "/webhooks/elevenlabs/transcription";

/// Maximum time that the answer to an event or a history waits for its call to be reconciled. It is stored before.
const RECONCILED: Duration = Duration::from_secs(1);

/// All operations over a store and its writer, with so many deep reads at once.
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
            "Receives the dialogue turns of ElevenLabs voice-agent phone calls by webhook, keeps them in one SQLite \
             file, and gives them back. A turn is answered 201 once it is on disk; the same turn again is answered the \
             same and stored once; within a call turns are numbered 1, 2, 3 … without gaps.",
        )
        .license(LicenseObject::new("MIT OR Apache-2.0").url("https://spdx.org/licenses/"))
}

/// What serves [`TURNS`].
pub fn turns(writer: Writer) -> webhooks::TurnEndpoint {
    webhooks::TurnEndpoint { writer }
}

/// How live streams word what is committed.
pub const EVENT: Word = events::word;

/// The operations' OpenAPI document, which is the same whatever store they run over.
pub fn document() -> String {
    document_of(&over_nothing())
}

/// The OpenAPI document of these operations.
pub fn document_of(service: &OpenApiService<impl OpenApi, ()>) -> String {
    document::complete(&service.spec())
}

/// The operations over nothing, to be described and not called.
fn over_nothing() -> OpenApiService<impl OpenApi, ()> {
    let access = Access::new(&AccessSettings::default());
    service(Arc::new(store::Absent), Writer::stopped(), Gate::closed(), access, Tail::closed(), 1)
}

/// The path's conversation, noted for the request's log line.
fn conversation_id(text: &str) -> Result<ConversationId, ApiError> {
    let id = ConversationId::new(text).map_err(|rule| ApiError::field("conversation_id", rule))?;
    trace::note(&id);
    Ok(id)
}
