//! The service with parts left out, which shows what those parts cost. Runs as a child process of the benchmark.

use crate::target::Without;
use anyhow::{Context as _, Result};
use poem::http::StatusCode;
use poem::{Endpoint, Request, Response, Route};
use std::collections::{BTreeSet, HashSet};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use transcribe_hook::api::auth::AccessSettings;
use transcribe_hook::api::auth::client::Proxies;
use transcribe_hook::api::webhooks::signed_body::PostCallSettings;
use transcribe_hook::domain::{
    Call, CallStats, Caller, ConversationId, Dispatch, Driver, DriverId, PhoneNumber, StoredEvent, Timestamp, Turn,
};
use transcribe_hook::elevenlabs::initiation::InitiationVariables;
use transcribe_hook::elevenlabs::turn;
use transcribe_hook::ingest::WriterLimits;
use transcribe_hook::server::connections::{self, ConnectionLimits};
use transcribe_hook::server::cors::Origins;
use transcribe_hook::server::{self, RequestLayer, Settings};
use transcribe_hook::store::{
    self, CallFilter, CallPageRequest, ChangeBatch, ChangedCalls, Commands, Counts, DatabaseSizes, ErasedSlice,
    ExpiredCall, ExpiredCallQuery, ExpiredEvent, Feed, FeedPosition, HitPage, Maintenance, NamingEvent, NewCall,
    Outcome, Page, Reads, Scope, SearchQuery, Store, StoredTurn, TurnQuery, Unfinished, Write, Written,
};
use transcribe_hook::{api, live, outgoing, telemetry};

/// Serves until SIGTERM, with the service's own defaults.
pub(crate) fn run(without: Without, database: &Path) -> Result<()> {
    let _flush = telemetry::start(telemetry::LogFormat::Json, "info,poem=warn".parse().expect("a valid filter"))?;
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .max_blocking_threads(8)
        .build()?
        .block_on(serve(without, database))
}

async fn serve(without: Without, database: &Path) -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await.context("cannot listen")?;
    let address = listener.local_addr()?;
    let mut terminate = signal(SignalKind::terminate())?;
    let stop = async move {
        terminate.recv().await;
    };
    tracing::info!(%address, "listening");
    match without {
        Without::Store | Without::Index => {
            let writing = WriterLimits { queue_capacity: 4096, patience: Duration::from_secs(10) };
            let settings = Settings {
                writing,
                max_body: MAX_BODY,
                deep_reads: 4,
                tls: None,
                connections: ConnectionLimits::default(),
                stale_after: transcribe_hook::jobs::stale_calls::StaleAfter::default(),
                access: AccessSettings { no_token: true, ..AccessSettings::default() },
                proxies: Proxies::default(),
                origins: Origins::default(),
                post_call: PostCallSettings::disabled(),
                parser: transcribe_hook::ingest::event::EventParser::default(),
                retention: None,
                streams: live::StreamLimits { streams: 0, heartbeat: Duration::from_secs(15) },
                access_log_keep: Duration::ZERO,
                alerts: Vec::new(),
                outgoing: outgoing::OutgoingSettings::default(),
                backfill: None,
                elevenlabs_check: None,
                backups: transcribe_hook::jobs::backup::BackupSchedule::default(),
                initiation_variables: InitiationVariables::default(),
                metrics: None,
            };
            let store: Arc<dyn Store> = match without {
                Without::Index => Arc::new(crate::search::NoIndex(crate::fill::open(database)?)),
                _ => Arc::new(NullStore::default()),
            };
            server::serve(listener, store, settings, stop).await?;
        }
        Without::Queue => {
            let route = Route::new().at("/webhooks/elevenlabs/transcription", AtOnce::default());
            let app = RequestLayer::new_routed(route, &api::openapi_document());
            connections::serve(listener, app, None, ConnectionLimits::default(), stop, Duration::from_secs(5)).await?;
        }
    }
    Ok(())
}

const MAX_BODY: usize = 512 * 1024;

/// A handler that parses a delivery and responds as the service does, without storing it.
#[derive(Default)]
struct AtOnce {
    turns: AtomicI64,
}

#[derive(serde::Serialize)]
struct TurnStored {
    status: &'static str,
    message: &'static str,
    transcription_id: i64,
    sequence_number: i64,
}

impl Endpoint for AtOnce {
    type Output = Response;

    async fn call(&self, mut request: Request) -> poem::Result<Response> {
        let body = request.take_body().into_bytes_limit(MAX_BODY).await?;
        if let Err(unreadable) = turn::parse_turn(&body, None) {
            return Err(poem::Error::from_string(format!("{unreadable:?}"), StatusCode::BAD_REQUEST));
        }
        let number = self.turns.fetch_add(1, Ordering::Relaxed) + 1;
        let stored = TurnStored {
            status: "success",
            message: "transcription stored",
            transcription_id: number,
            sequence_number: number,
        };
        let body = serde_json::to_vec(&stored).expect("plain fields");
        Ok(Response::builder().status(StatusCode::CREATED).content_type("application/json; charset=utf-8").body(body))
    }
}

/// A store that numbers turns and discards them.
#[derive(Default)]
struct NullStore {
    turns: AtomicI64,
}

impl Commands for NullStore {
    fn apply(&self, _: Timestamp, batch: &[Write]) -> store::Result<Vec<Outcome>> {
        let outcome = |write: &Write| match write {
            Write::AppendTurn(_) => {
                let number = self.turns.fetch_add(1, Ordering::Relaxed) + 1;
                // As often as calls begin, since the service logs a line about it.
                let new_call =
                    (number % i64::from(crate::workload::TURNS_PER_CALL) == 1).then_some(NewCall { driver_id: None });
                Written::Turn(StoredTurn {
                    transcription_id: number,
                    sequence_number: number,
                    replayed: false,
                    due: false,
                    new_call,
                })
            }
            Write::PutDrivers(_) => Written::Drivers(Counts::default()),
            Write::PutDispatches(_) => Written::Dispatches(Counts::default()),
            _ => Written::Done,
        };
        Ok(batch.iter().map(|write| Ok(outcome(write))).collect())
    }

    fn continue_erasing(&self, _: Timestamp, _: Unfinished<'_>) -> store::Result<Option<ErasedSlice>> {
        Ok(None)
    }
}

impl Reads for NullStore {
    fn search(&self, _: &SearchQuery) -> store::Result<HitPage> {
        Ok(HitPage { hits: Vec::new(), next: None, total: None, unsearched: 0 })
    }

    fn call(&self, _: &ConversationId) -> store::Result<Option<Call>> {
        Ok(None)
    }

    fn calls(&self, _: &CallPageRequest) -> store::Result<store::CallPage> {
        Ok(store::CallPage { rows: Vec::new(), next: None, total: None })
    }

    fn ranked_calls(&self, _: &store::RankedCallRequest) -> store::Result<Page<store::RankedCall>> {
        Ok(Page { rows: Vec::new(), has_more: false, total: None })
    }

    fn turns(&self, _: &TurnQuery) -> store::Result<Option<Page<Turn>>> {
        Ok(None)
    }

    fn driver(&self, _: DriverId) -> store::Result<Option<Driver>> {
        Ok(None)
    }

    fn caller(&self, _: &PhoneNumber) -> store::Result<Option<Caller>> {
        Ok(None)
    }

    fn drivers_by_ids(&self, _: &BTreeSet<DriverId>) -> store::Result<Vec<Driver>> {
        Ok(Vec::new())
    }

    fn drivers(&self, _: &store::DriverPageRequest) -> store::Result<Page<Driver>> {
        Ok(Page { rows: Vec::new(), has_more: false, total: None })
    }

    fn event(&self, _: i64) -> store::Result<Option<StoredEvent>> {
        Ok(None)
    }

    fn event_ids(&self, _: store::EventSelection, _: i64, _: usize) -> store::Result<Vec<i64>> {
        Ok(Vec::new())
    }

    fn unread_events(&self) -> store::Result<store::UnreadEvents> {
        Ok(store::UnreadEvents::default())
    }

    fn dispatch(&self, _: &ConversationId) -> store::Result<Option<Dispatch>> {
        Ok(None)
    }

    fn dispatches(&self, _: &store::DispatchPageRequest) -> store::Result<Page<Dispatch>> {
        Ok(Page { rows: Vec::new(), has_more: false, total: None })
    }

    fn figures(&self, _: &CallFilter, _: &mut dyn FnMut(&CallStats<'_>)) -> store::Result<()> {
        Ok(())
    }

    fn is_erased(&self, _: &ConversationId) -> store::Result<bool> {
        Ok(false)
    }

    fn old_calls(&self, _: &ExpiredCallQuery) -> store::Result<Vec<ExpiredCall>> {
        Ok(Vec::new())
    }

    fn old_events(&self, _: Timestamp, _: i64, _: usize) -> store::Result<store::ScanPage<ExpiredEvent>> {
        Ok(store::ScanPage { rows: Vec::new(), next: None })
    }

    fn events_naming(&self, _: &HashSet<ConversationId>, _: i64) -> store::Result<store::ScanPage<NamingEvent>> {
        Ok(store::ScanPage { rows: Vec::new(), next: None })
    }

    fn newest_arrival(&self) -> store::Result<Option<Timestamp>> {
        Ok(None)
    }

    fn old_dispatches(&self, _: Timestamp, _: Option<&ConversationId>, _: usize) -> store::Result<Vec<ConversationId>> {
        Ok(Vec::new())
    }

    fn dispatches_of(&self, _: DriverId, _: Option<&PhoneNumber>, _: usize) -> store::Result<Vec<ConversationId>> {
        Ok(Vec::new())
    }

    fn open_calls(&self, _: u32) -> store::Result<u64> {
        Ok(0)
    }
}

impl Feed for NullStore {
    fn head(&self) -> store::Result<FeedPosition> {
        Ok(FeedPosition::default())
    }

    fn since(&self, _: &Scope, after: FeedPosition, _: FeedPosition) -> store::Result<ChangeBatch> {
        Ok(ChangeBatch { changes: Vec::new(), end: after, has_more: false, over: false })
    }

    fn touched(&self, _: FeedPosition, until: FeedPosition) -> store::Result<ChangedCalls> {
        Ok(ChangedCalls { end: until, ..ChangedCalls::default() })
    }
}

impl Maintenance for NullStore {
    fn rest(&self) -> store::Result<bool> {
        Ok(true)
    }

    fn catch_up(&self) -> store::Result<store::Backlog> {
        Ok(store::Backlog::default())
    }

    fn purge(&self, _: Duration) -> store::Result<store::Forgotten> {
        Ok(store::Forgotten::All)
    }

    fn sizes(&self) -> std::io::Result<DatabaseSizes> {
        Ok(DatabaseSizes { database: 0, wal: 0, free: 0 })
    }
}
