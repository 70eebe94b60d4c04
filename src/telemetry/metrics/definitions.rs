//! All metrics, with their help texts and labels.
//!
//! # Adding a metric
//!
//! Add a line to `metrics!` below. Its doc comment becomes the help text, and its name gets the prefix
//! `transcribe_hook_`. `RENEW=1 cargo test --test it renews` writes its row in `openapi/metrics.md`. Record the value
//! after the event has happened: after a commit, not before.
//! ```
//! use transcribe_hook::telemetry::metrics::METRICS;
//! METRICS.pruned_turns_total.inc_by(200);
//! METRICS.redactions_total.with_label_values(&["card"]).inc();
//! ```
//!
//! - Use base units, and name the unit: `_seconds`, `_bytes`. Only counters end in `_total`.
//! - Label values are few and known in advance. List them in the definition, so each starts at 0. Never use an
//!   identifier, a name, an address or words of a call.
//! - A metric of every turn costs time for every turn: count in the batch, and add once.

use super::builder::MetricSet;
use super::process;
use prometheus::{Gauge, Histogram, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec};
use std::sync::LazyLock;

/// All metrics. A process is one service, so they are global.
pub static METRICS: LazyLock<Metrics> = LazyLock::new(|| {
    let metrics = Metrics::new();
    metrics.build_info.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
    metrics
});

/// Media type of [`Metrics::text`].
pub const MEDIA_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Buckets of durations: from half a millisecond, because storing a turn takes less than a millisecond, to the write
/// timeout.
const DURATION_BUCKETS: &[f64] =
    &[0.0005, 0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// Buckets of the ingest lag: from a tenth of a second to hours, as after an outage.
const LAG_BUCKETS: &[f64] = &[0.1, 0.25, 0.5, 1.0, 2.0, 3.0, 5.0, 10.0, 30.0, 60.0, 300.0, 3600.0, 21_600.0];

/// Buckets of the number of writes per commit.
const BATCH_BUCKETS: &[f64] = &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0];

/// Outcomes of webhook requests.
const WEBHOOK_OUTCOMES: &[&str] = &[
    "stored",
    "duplicate",
    "rejected",
    "unauthorized",
    "quarantined",
    "dropped",
    "overloaded",
    "failed",
    "abandoned",
    "answered",
];

/// Outcomes of events.
const EVENT_OUTCOMES: &[&str] = &["applied", "remarked", "ignored", "unreadable"];

macro_rules! metrics {
    ($($(#[doc = $help:literal])+ $name:ident: $type:ident = $kind:ident($($argument:expr),* $(,)?);)+) => {
        /// All metrics of the service, named as exposed, but without the prefix.
        pub struct Metrics {
            set: MetricSet,
            $($(#[doc = $help])+ pub $name: $type,)+
        }

        impl Metrics {
            fn new() -> Self {
                let mut set = MetricSet::new();
                $(let $name = set.$kind(stringify!($name), concat!($($help),+).trim() $(, $argument)*);)+
                Self { set, $($name,)+ }
            }
        }
    };
}

metrics! {
    /// Always 1; the label is the running version.
    build_info: IntGaugeVec = gauge_by(&[("version", &[env!("CARGO_PKG_VERSION")])]);

    /// Time from a request's header to its response's header, in seconds. A route is a template, never a path; 499 is a
    /// client that disconnected.
    http_request_duration_seconds: HistogramVec = histogram_by(DURATION_BUCKETS, &["method", "route", "status"]);
    /// Webhook requests of ElevenLabs by outcome.
    webhook_requests_total: IntCounterVec = counter_by(&[
        ("endpoint", &["transcription", "post-call", "history", "initiation"]),
        ("outcome", WEBHOOK_OUTCOMES),
    ]);

    /// Tools that MCP clients called, by outcome.
    mcp_tool_calls_total: IntCounterVec = counter_by(&[
        ("tool", &["search_turns", "list_calls", "get_call", "driver_history", "stats"]),
        ("outcome", &["ok", "error"]),
    ]);
    /// Answers to ElevenLabs' question who is calling, by outcome. A late or failed look-up, an unreadable request, and
    /// one while no ingest token is set get the default of each variable.
    initiations_total: IntCounterVec = counter_by(&[
        ("outcome", &["known", "unknown", "no_token", "unreadable", "late", "failed"]),
    ]);
    /// Links of inbound calls with their driver that could not be stored, as on overload.
    initiation_links_lost_total: IntCounter = counter();

    /// Findings of the hourly check of ElevenLabs' settings, with an API key, by severity.
    elevenlabs_findings: IntGaugeVec = gauge_by(&[("severity", &["warning", "problem"])]);

    /// Committed turns, without duplicates.
    turns_stored_total: IntCounterVec = counter_by(&[("speaker", &["agent", "driver"])]);
    /// Delay from a turn's own timestamp until it is stored, in seconds.
    ingest_lag_seconds: Histogram = histogram(LAG_BUCKETS);
    /// Writes waiting for the writer.
    write_queue_depth: IntGauge = gauge();
    /// Writes per commit.
    write_batch_size: Histogram = histogram(BATCH_BUCKETS);
    /// Duration of a commit, including fsync, in seconds.
    commit_duration_seconds: Histogram = histogram(DURATION_BUCKETS);
    /// Duration of a WAL checkpoint, in seconds.
    checkpoint_duration_seconds: Histogram = histogram(DURATION_BUCKETS);
    /// Failed WAL checkpoints, as on a full disk.
    checkpoint_failures_total: IntCounter = counter();
    /// Upper bound of the turns that are not in the search index yet, as of the last indexing.
    search_unindexed_turns: IntGauge = gauge();

    /// Calls that wait for reconciliation, as of the last check.
    reconciliations_due: IntGauge = gauge();
    /// Duration of reconciling a call, from reading to storing, in seconds.
    reconciliation_duration_seconds: Histogram = histogram(DURATION_BUCKETS);
    /// Records of calls that were reconciled, by who answered and the channel. A second record of a call counts again.
    records_reconciled_total: IntCounterVec = counter_by(&[
        ("answered_by", &["human", "voicemail", "fax", "busy", "no_answer", "failed", "unknown"]),
        ("channel", &["phone", "web", "sms", "whatsapp", "text", "unknown"]),
    ]);
    /// Stored post-call events by outcome. A remarked event was applied, but parts of it could not be read.
    events_total: IntCounterVec = counter_by(&[("outcome", EVENT_OUTCOMES)]);
    /// Unreadable parts of events and histories by kind: words, numbers that JSON cannot represent, damaged text,
    /// fields.
    remarks_total: IntCounterVec = counter_by(&[("kind", &["words", "number", "text", "field"])]);
    /// Stored post-call events that cannot be read, counted up to 1,000; `replay` reprocesses them.
    events_unreadable: IntGauge = gauge();
    /// Stored events from before an upgrade that are still to be parsed again in the background.
    events_rereading: IntGauge = gauge();

    /// Matches of alerts, each alert once a call.
    alerts_matched_total: IntCounter = counter();
    /// Deliveries of outgoing webhooks by outcome. A failed one was given up after its last try.
    outgoing_deliveries_total: IntCounterVec = counter_by(&[("outcome", &["delivered", "retried", "failed"])]);
    /// Age of the oldest notice that an endpoint has not received, of the endpoint that is furthest behind, in seconds.
    outgoing_lag_seconds: IntGauge = gauge();
    /// Endpoints of outgoing webhooks that are switched off because they answered 410.
    outgoing_endpoints_off: IntGauge = gauge();

    /// Calls in progress, counted up to 100,000.
    calls_open: IntGauge = gauge();
    /// Size of the database file, in bytes.
    db_size_bytes: IntGauge = gauge();
    /// Size of the WAL file, in bytes.
    wal_size_bytes: IntGauge = gauge();
    /// Free space on the database's file system that this process may use, in bytes.
    disk_free_bytes: IntGauge = gauge();

    /// Open live streams.
    sse_subscribers: IntGauge = gauge();
    /// Time of the last successful automatic backup, in seconds since 1970; 0 if unknown.
    backup_last_success_timestamp_seconds: Gauge = float_gauge();
    /// Failed automatic backups.
    backup_failures_total: IntCounter = counter();
    /// Turns erased because their retention time has expired.
    pruned_turns_total: IntCounter = counter();
    /// Entries of the access log by outcome. Entries are dropped while more wait than the queue holds, and if they
    /// cannot be stored before the service stops.
    access_log_entries_total: IntCounterVec = counter_by(&[("outcome", &["stored", "dropped"])]);
    /// 1 while retention erases nothing because the clock is far ahead of the last arrival.
    retention_held: IntGauge = gauge();
    /// Redacted values by kind.
    redactions_total: IntCounterVec = counter_by(&[("kind", &["card", "email", "phone", "ssn"])]);
    /// Request bodies that were refused to free memory for faster or authenticated ones.
    displaced_bodies_total: IntCounter = counter();
    /// Recordings with a valid signature by outcome.
    recordings_total: IntCounterVec = counter_by(&[("outcome", &["kept", "dropped"])]);
}

impl Metrics {
    /// Records the start of the process. Also initializes the metrics, so the first turn does not have to.
    pub fn init(&self) {
        process::init();
    }

    /// Refreshes the metrics of the process.
    pub fn refresh(&self) {
        process::refresh();
    }

    /// Returns all metrics in Prometheus' text format.
    pub fn text(&self) -> String {
        self.set.text() + &process::text()
    }
}

/// Returns the metrics as a Markdown table.
pub fn table() -> String {
    METRICS.set.table()
}
