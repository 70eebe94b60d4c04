//! `serve`: its flags are the service's configuration.

use super::args::access::AccessArgs;
use super::args::backup_schedule::CopyArgs;
use super::args::connections::LimitArgs;
use super::args::database::DatabaseArgs;
use super::args::elevenlabs::PlatformArgs;
use super::args::live::StreamArgs;
use super::args::metrics::MetricsArgs;
use super::args::post_call::PostCallArgs;
use super::args::redaction::RedactArgs;
use super::args::retention::RetentionArgs;
use super::args::tls::TlsArgs;
use super::args::values::{interval, size};
use super::output::print_line;
use super::token;
use crate::api::auth::AccessSettings;
use crate::ingest::Limits;
use crate::server::{self, Settings};
use crate::store::sqlite::{Options, SqliteStore};
use anyhow::{Context as _, Result};
use clap::Args;
use std::io::{self, IsTerminal as _};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

#[derive(Debug, Args)]
pub(super) struct ServeArgs {
    /// Address and port to listen on; port 0 takes any free one
    #[arg(long, env = "TRANSCRIBE_HOOK_LISTEN", value_name = "ADDRESS:PORT", default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
    #[command(flatten)]
    access: AccessArgs,
    #[command(flatten)]
    limits: LimitArgs,
    #[command(flatten)]
    tls: TlsArgs,
    #[command(flatten)]
    database: DatabaseArgs,
    /// How many writes may wait; more are answered 503
    #[arg(
        long, env = "TRANSCRIBE_HOOK_QUEUE_CAPACITY", value_name = "NUMBER", default_value = "4096",
        value_parser = clap::value_parser!(u32).range(1..=1_000_000),
    )]
    queue_capacity: u32,
    /// How long a write may wait in the queue, and how long for another process that holds the database's lock
    #[arg(
        long, env = "TRANSCRIBE_HOOK_WRITE_TIMEOUT", value_name = "DURATION", default_value = "10s",
        value_parser = humantime::parse_duration,
    )]
    write_timeout: Duration,
    /// How many searches, statistics and long pages may be read at once
    #[arg(
        long, env = "TRANSCRIBE_HOOK_READERS", value_name = "NUMBER", default_value = "4",
        value_parser = clap::value_parser!(u32).range(1..=64),
    )]
    readers: u32,
    /// Greatest size of a request's body
    #[arg(
        long, env = "TRANSCRIBE_HOOK_MAX_BODY", value_name = "SIZE", default_value = "512KiB",
        value_parser = size,
    )]
    max_body: usize,
    /// End calls of which nothing came for so long; 0 never ends any
    #[arg(
        long, env = "TRANSCRIBE_HOOK_STALE_AFTER", value_name = "DURATION", default_value = "2h",
        value_parser = humantime::parse_duration,
    )]
    stale_after: Duration,
    #[command(flatten)]
    redact: RedactArgs,
    #[command(flatten)]
    retention: RetentionArgs,
    #[command(flatten)]
    streams: StreamArgs,
    #[command(flatten)]
    metrics: MetricsArgs,
    #[command(flatten)]
    post_call: PostCallArgs,
    #[command(flatten)]
    platform: PlatformArgs,
    /// Fetch the ends of calls that did not come from the platform's API at this interval
    #[arg(
        long, env = "TRANSCRIBE_HOOK_BACKFILL_EVERY", value_name = "DURATION", value_parser = interval,
    )]
    backfill_every: Option<Duration>,
    #[command(flatten)]
    copies: CopyArgs,
}

/// Maximum number of threads for short work that may wait for a disk: quick reads, events that are read, files.
const BLOCKING_THREADS: usize = 64;

/// Reading connections beside those of the deep reads: the quick reads, the live streams, retention, metrics, erasures.
const OTHER_READERS: u32 = 12;

pub(super) fn run(args: &ServeArgs) -> Result<()> {
    let access = args.access.settings(args.listen, args.post_call.are_events_taken())?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .max_blocking_threads(BLOCKING_THREADS)
        .build()
        .context("cannot start the runtime")?;
    let served = runtime.block_on(serve(args, access));
    // What a read still does on its own thread is not waited for: nobody is left to be answered.
    runtime.shutdown_background();
    served
}

async fn serve(args: &ServeArgs, mut access: AccessSettings) -> Result<()> {
    let listener = TcpListener::bind(args.listen).await.with_context(|| format!("cannot listen on {}", args.listen))?;
    let metrics = args.metrics.listener().await?;
    let options = Options {
        path: args.database.database.clone(),
        busy_timeout: args.write_timeout,
        readers: args.readers + OTHER_READERS,
    };
    let tls = args.tls.open()?;
    let post_call = args.post_call.settings()?;
    let retention = args.retention.retention(args.stale_after)?;
    let backfill = match args.backfill_every {
        Some(every) => {
            let client = args.platform.client()?;
            Some((client.context("--backfill-every needs --elevenlabs-api-key or --elevenlabs-api-key-file")?, every))
        }
        None => None,
    };
    let store = Arc::new(if args.copies.litestream() {
        SqliteStore::open_for_litestream(&options)?
    } else {
        SqliteStore::open(&options)?
    });
    let own_token = args.access.add_files(&mut access, &args.database.database)?;
    let mut terminate = signal(SignalKind::terminate()).context("cannot watch for signals")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot watch for signals")?;
    let stop = async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    };
    let address = listener.local_addr().context("cannot tell the address")?;
    let scheme = if tls.is_some() { "https" } else { "http" };
    tracing::info!(
        %address,
        database = %args.database.database.display(),
        version = env!("CARGO_PKG_VERSION"),
        "listening on {scheme}://{address}, API at {scheme}://{address}/docs"
    );
    if let Some((file, token)) = own_token {
        let url = token::url(address, tls.is_some(), args.tls.domain());
        if io::stdout().is_terminal() {
            print_line(format_args!("open {}", token::link(&url, token.reveal())))?;
        } else {
            // Others may read the log.
            let database = args.database.database.display();
            tracing::info!(
                token_file = %file.display(),
                "an API token is needed; `transcribe-hook token --database {database} --link --url {url}` prints the \
                 address to open"
            );
        }
    }
    let settings = Settings {
        writing: Limits { queue_capacity: args.queue_capacity as usize, patience: args.write_timeout },
        max_body: args.max_body,
        deep_reads: args.readers as usize,
        stale_after: Some(args.stale_after).filter(|after| !after.is_zero()),
        tls,
        connections: args.limits.connections(),
        access,
        proxies: args.access.proxies(),
        origins: args.access.origins(),
        post_call,
        redactor: args.redact.redactor(),
        retention,
        streams: args.streams.limits(),
        backfill,
        copies: args.copies.plan(),
        metrics,
    };
    server::serve(listener, store, settings, stop).await?;
    let database = args.database.database.display();
    if args.copies.litestream() {
        tracing::info!(%database, "stopped");
    } else {
        tracing::info!(%database, "stopped; everything is in the one file");
    }
    Ok(())
}
