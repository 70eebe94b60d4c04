//! The `serve` command. Its flags are the configuration of the service.

use super::args::access::AccessArgs;
use super::args::alerts::AlertArgs;
use super::args::backup_schedule::BackupScheduleArgs;
use super::args::connections::ConnectionArgs;
use super::args::database::NewDatabaseArgs;
use super::args::elevenlabs::ElevenLabsArgs;
use super::args::event_options::EventArgs;
use super::args::listen::listen_address;
use super::args::live::LiveArgs;
use super::args::metrics::MetricsArgs;
use super::args::outgoing::OutgoingArgs;
use super::args::post_call::PostCallArgs;
use super::args::redaction::RedactionArgs;
use super::args::retention::RetentionArgs;
use super::args::tls::TlsArgs;
use super::args::values::{interval, size};
use super::start_report::{Part, StartReport};
use super::usage_error::OrUsage as _;
use crate::api::auth::AccessSettings;
use crate::api::auth::client::Scheme;
use crate::elevenlabs::initiation::InitiationVariables;
use crate::ingest::WriterLimits;
use crate::ingest::event::EventParser;
use crate::jobs::stale_calls::StaleAfter;
use crate::server::{self, Settings};
use crate::store::Maintenance as _;
use crate::store::sqlite::{Options, SqliteStore};
use anyhow::{Context as _, Result};
use clap::Args;
use std::io::Read as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

#[derive(Debug, Args)]
pub(super) struct ServeArgs {
    /// Listen on this address; port 0 picks a free port
    #[arg(
        long, env = "TRANSCRIBE_HOOK_LISTEN", value_name = "ADDRESS:PORT", default_value = "127.0.0.1:8080",
        value_parser = listen_address,
    )]
    listen: SocketAddr,
    #[command(flatten)]
    access: AccessArgs,
    #[command(flatten)]
    limits: ConnectionArgs,
    #[command(flatten)]
    tls: TlsArgs,
    #[command(flatten)]
    database: NewDatabaseArgs,
    /// Refuse writes with 503 beyond this many waiting
    #[arg(
        long, env = "TRANSCRIBE_HOOK_QUEUE_CAPACITY", value_name = "NUMBER", default_value = "4096",
        value_parser = clap::value_parser!(u32).range(1..=1_000_000),
    )]
    queue_capacity: u32,
    /// Fail writes that wait longer than this
    ///
    /// Limits the wait in the queue, and the wait for another process that holds the database's lock.
    #[arg(
        long, env = "TRANSCRIBE_HOOK_WRITE_TIMEOUT", value_name = "DURATION", default_value = "10s",
        value_parser = humantime::parse_duration,
    )]
    write_timeout: Duration,
    /// Limit concurrent searches, statistics and long pages
    #[arg(
        long, env = "TRANSCRIBE_HOOK_READERS", value_name = "NUMBER", default_value = "4",
        value_parser = clap::value_parser!(u32).range(1..=64),
    )]
    readers: u32,
    /// Limit the size of a request body
    #[arg(
        long, env = "TRANSCRIBE_HOOK_MAX_BODY", value_name = "SIZE", default_value = "512KiB",
        value_parser = size,
    )]
    max_body: usize,
    /// End calls without activity for this long; 0 never does
    #[arg(
        long, env = "TRANSCRIBE_HOOK_STALE_AFTER", value_name = "DURATION", default_value = "2h",
        value_parser = humantime::parse_duration,
    )]
    stale_after: Duration,
    /// End typed conversations without activity for this long; 0 never does
    #[arg(
        long, env = "TRANSCRIBE_HOOK_STALE_TEXT_AFTER", value_name = "DURATION", default_value = "3d",
        value_parser = humantime::parse_duration,
    )]
    stale_text_after: Duration,
    #[command(flatten)]
    redact: RedactionArgs,
    #[command(flatten)]
    events: EventArgs,
    #[command(flatten)]
    retention: RetentionArgs,
    #[command(flatten)]
    streams: LiveArgs,
    #[command(flatten)]
    metrics: MetricsArgs,
    #[command(flatten)]
    post_call: PostCallArgs,
    #[command(flatten)]
    elevenlabs: ElevenLabsArgs,
    /// Answer who is calling with the dynamic variables in this file
    ///
    /// A JSON object with a value for each name. Without it, the driver's number and name are sent.
    #[arg(long, env = "TRANSCRIBE_HOOK_INITIATION_VARIABLES", value_name = "FILE")]
    initiation_variables: Option<PathBuf>,
    /// Poll the ElevenLabs API at this interval for missing calls
    ///
    /// Fetches calls that never ended here because their post-call events were not received.
    #[arg(
        long, env = "TRANSCRIBE_HOOK_BACKFILL_EVERY", value_name = "DURATION", value_parser = interval,
    )]
    backfill_every: Option<Duration>,
    #[command(flatten)]
    outgoing: OutgoingArgs,
    #[command(flatten)]
    alerts: AlertArgs,
    #[command(flatten)]
    backups: BackupScheduleArgs,
}

/// Maximum number of threads for short blocking work: quick reads, parsing of events, files.
const BLOCKING_THREADS: usize = 64;

/// Number of read connections besides those of the deep reads: quick reads, live streams, retention, metrics, erasures.
const OTHER_READERS: u32 = 12;

pub(super) fn run(args: &ServeArgs) -> Result<()> {
    let access = args.access.settings()?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .max_blocking_threads(BLOCKING_THREADS)
        .build()
        .context("cannot start the runtime")?;
    let served = runtime.block_on(serve(args, access));
    // Reads that still run on their own threads are not awaited, because no client is left to receive the response.
    runtime.shutdown_background();
    served
}

/// Maximum size of a file of dynamic variables, in bytes.
const MAX_VARIABLES_BYTES: u64 = 1 << 20;

/// Reads a file of dynamic variables. A file that would let calls fail is refused.
fn read_variables(path: &Path) -> Result<InitiationVariables> {
    let mut file = Vec::new();
    let refused = || format!("--initiation-variables {}", path.display());
    std::fs::File::open(path)
        .and_then(|opened| opened.take(MAX_VARIABLES_BYTES).read_to_end(&mut file))
        .with_context(refused)
        .or_usage()?;
    InitiationVariables::parse(&file).with_context(refused).or_usage()
}

async fn serve(args: &ServeArgs, mut access: AccessSettings) -> Result<()> {
    let options = Options {
        path: args.database.database.clone(),
        busy_timeout: args.write_timeout,
        readers: args.readers + OTHER_READERS,
    };
    let tls = args.tls.open()?;
    let post_call = args.post_call.settings(args.events.options())?;
    let outgoing = args.outgoing.settings()?;
    let alerts = args.alerts.alerts()?;
    let retention = args.retention.retention(args.stale_after)?;
    let initiation_variables = args.initiation_variables.as_deref().map(read_variables).transpose()?;
    let backfill = match args.backfill_every {
        Some(every) => {
            let client = args.elevenlabs.client()?;
            let client = client.context("--backfill-every needs --elevenlabs-api-key or --elevenlabs-api-key-file");
            Some((client.or_usage()?, every))
        }
        None => None,
    };
    let elevenlabs_check = args.elevenlabs.client()?;
    let listener = TcpListener::bind(args.listen).await.with_context(|| format!("cannot listen on {}", args.listen))?;
    let metrics = args.metrics.metrics_listener().await?;
    let store = Arc::new(if args.backups.litestream() {
        SqliteStore::open_for_litestream(&options)?
    } else {
        SqliteStore::open(&options)?
    });
    let backups = args.backups.plan();
    if let Some(database) = store.copier().database() {
        backups.prepare(database).context("cannot make backups as --backup-dir or --snapshot-every says").or_usage()?;
    }
    let own_token = args.access.add_files(&mut access, &args.database.database)?;
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for signals")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for signals")?;
    let stop = async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    };
    let address = listener.local_addr().context("cannot read the listener's address")?;
    let missing = [
        (Part::SigningSecret, post_call.secrets.is_empty()),
        (Part::IngestToken, access.ingest_secrets().is_empty()),
        (Part::Backups, backups.backups.is_none() && !args.backups.litestream()),
        (Part::Recordings, post_call.recordings.is_none()),
    ];
    let report = StartReport {
        address,
        scheme: if tls.is_some() { Scheme::Https } else { Scheme::Http },
        domain: args.tls.domain(),
        database: &args.database.database,
        own_token,
        has_initiation_variables: initiation_variables.is_some(),
        missing: missing.into_iter().filter(|(_, is_missing)| *is_missing).map(|(part, _)| part).collect(),
    };
    report.log()?;
    let settings = Settings {
        writing: WriterLimits { queue_capacity: args.queue_capacity as usize, patience: args.write_timeout },
        max_body: args.max_body,
        deep_reads: args.readers as usize,
        stale_after: StaleAfter {
            voice: Some(args.stale_after).filter(|after| !after.is_zero()),
            text: Some(args.stale_text_after).filter(|after| !after.is_zero()),
        },
        tls,
        connections: args.limits.connections(),
        access,
        proxies: args.access.proxies(),
        origins: args.access.origins(),
        post_call,
        parser: EventParser { redactor: args.redact.redactor(), options: args.events.options() },
        retention,
        access_log_keep: args.retention.access_log_keep,
        streams: args.streams.limits(),
        outgoing,
        alerts,
        backfill,
        elevenlabs_check,
        backups,
        initiation_variables: initiation_variables.unwrap_or_default(),
        metrics,
    };
    server::serve(listener, store, settings, stop).await?;
    let database = args.database.database.display();
    if args.backups.litestream() {
        tracing::info!(%database, "stopped");
    } else {
        tracing::info!(%database, "stopped; the WAL is merged into the database file");
    }
    Ok(())
}
