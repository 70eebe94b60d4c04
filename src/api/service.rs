//! The operations together, and their OpenAPI document.

use super::auth::openapi::Described;
use super::auth::{self, AccessControl, AccessSettings};
use super::outgoing_webhooks::OutgoingWebhooksApi;
use super::reader::Reader;
use super::setup::{SetupApi, SetupFacts};
use super::webhooks::signed_body::PostCallReceiver;
use super::{access_log, backup, calls, dispatches, drivers, elevenlabs_compat, health, openapi, webhooks};
use crate::elevenlabs::initiation::InitiationVariables;
use crate::ingest::Writer;
use crate::ingest::post_call::PostCallService;
use crate::jobs::access_log::AccessLog;
use crate::jobs::retention::DriverErasure;
use crate::live::LiveHub;
use crate::outgoing::{OutgoingSettings, Webhooks};
use crate::store::{self, Store};
use poem_openapi::{LicenseObject, OpenApi, OpenApiService};
use std::sync::Arc;

/// The ways of notifying others.
#[derive(Clone)]
pub struct Outlets {
    /// Live streams.
    pub live: LiveHub,
    /// Outgoing webhooks.
    pub webhooks: Webhooks,
}

/// Returns all operations over a store, its reader and its writer.
#[expect(clippy::too_many_arguments, reason = "each is what a group of operations needs")]
pub fn service(
    store: Arc<dyn Store>,
    reader: Reader,
    writer: Writer,
    gate: PostCallReceiver,
    access: AccessControl,
    outlets: Outlets,
    facts: SetupFacts,
    variables: Arc<InitiationVariables>,
) -> OpenApiService<impl OpenApi, ()> {
    let backup = backup::BackupApi::new(store.copier());
    let export = calls::export::ExportApi::new(store.clone());
    let setup = SetupApi::new(facts, &access, &gate);
    let recordings = gate.recordings();
    let initiation = webhooks::initiation::InitiationApi::new(store.clone(), writer.clone(), variables, access.clone());
    let erasure = DriverErasure::new(store, recordings.clone(), writer.clone(), access.log());
    let log = access.log();
    let operations = (
        webhooks::turn::WebhooksApi { writer: writer.clone() },
        (webhooks::history::HistoryApi { writer: writer.clone() }, initiation),
        calls::operations::CallsApi { reader: reader.clone(), writer: writer.clone(), recordings: recordings.clone() },
        calls::audio::AudioApi { recordings: recordings.clone() },
        elevenlabs_compat::operations::ElevenLabsApi { reader: reader.clone(), recordings: recordings.clone() },
        webhooks::post_call::PostCallApi { gate, service: PostCallService::new(writer.clone(), recordings.clone()) },
        // The framework takes at most 16 groups side by side.
        (
            calls::transcriptions::TranscriptionsApi { reader: reader.clone() },
            calls::tool_calls::ToolCallsApi { reader: reader.clone() },
        ),
        calls::events::EventsApi { hub: outlets.live },
        calls::stats::StatsApi { reader: reader.clone() },
        calls::search::SearchApi { reader: reader.clone() },
        drivers::DriversApi { reader: reader.clone(), writer: writer.clone(), erasure },
        dispatches::DispatchesApi { reader: reader.clone(), writer: writer.clone() },
        auth::sign_in::SessionApi { access },
        (
            OutgoingWebhooksApi::new(reader.clone(), writer.clone(), outlets.webhooks),
            health::HealthApi { reader: reader.clone(), writer },
            setup,
            access_log::AccessLogApi { reader },
        ),
        backup,
        export,
    );
    OpenApiService::new(Described(operations, log), "transcribe-hook", env!("CARGO_PKG_VERSION"))
        .description(
            "Receives the dialogue turns of ElevenLabs voice-agent phone calls by webhook, stores them in one SQLite \
             file, and returns them. A turn is answered with 201 once it is on disk. A duplicate delivery gets the \
             same response and is stored once. Turns of a call are numbered 1, 2, 3 … without gaps.",
        )
        .license(LicenseObject::new("MIT OR Apache-2.0").url("https://spdx.org/licenses/"))
}

/// Returns the endpoint that serves [`super::TURN_WEBHOOK_PATH`].
pub fn turn_webhook(writer: Writer) -> webhooks::turn::TurnEndpoint {
    webhooks::turn::TurnEndpoint { writer }
}

/// Returns the OpenAPI document of all operations. It does not depend on the store.
pub fn openapi_document() -> String {
    document_of(&describe_only())
}

/// Returns the OpenAPI document of these operations.
pub fn document_of(service: &OpenApiService<impl OpenApi, ()>) -> String {
    openapi::complete(&service.spec())
}

/// Returns the operations over an empty store; they are described, never called.
fn describe_only() -> OpenApiService<impl OpenApi, ()> {
    let access = AccessControl::new(&AccessSettings::default(), AccessLog::disabled());
    service(
        Arc::new(store::NullStore),
        Reader::new(Arc::new(store::NullStore), 1),
        Writer::stopped(),
        PostCallReceiver::disabled(),
        access,
        Outlets { live: LiveHub::disabled(), webhooks: Webhooks::new(OutgoingSettings::default()) },
        SetupFacts::default(),
        Arc::default(),
    )
}
