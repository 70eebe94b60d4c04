//! What the service counts and measures of itself, for Prometheus.
//!
//! [`METRICS`] is to numbers what `tracing` is to log lines: any module records into it, and none needs to be handed it.
//! It knows nothing of the rest of the program, and does no I/O: what has to be asked for (sizes, open calls) is set by
//! the server when somebody scrapes (`server/metrics_endpoint.rs`).
//!
//! # To add one
//!
//! Add a line to `metrics!` below: its doc comment becomes the help text and a row of the README's table, its
//! name gets the prefix `transcribe_hook_`. Then record where the thing happens, once it has really happened (after the
//! commit, not before):
//!
//! ```
//! use transcribe_hook::metrics::METRICS;
//! METRICS.pruned_turns_total.inc_by(200);
//! METRICS.redactions_total.with_label_values(&["card"]).inc();
//! ```
//!
//! - Base units, and the unit in the name: `_seconds`, `_bytes`. A counter ends in `_total`, nothing else does.
//! - A label's values are a few words that are known beforehand, and are listed where the metric is made, so that each
//!   is 0 from the start. Never an identifier, a name, an address or words of a call.
//! - One that is recorded for every turn costs every turn: count in the batch, and add once.

mod builder;
pub mod dashboard;
mod process;

use builder::{Make as _, by, plain, spread};
pub use prometheus::local::LocalHistogram;
use prometheus::{Gauge, Histogram, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Registry};
use std::sync::LazyLock;

/// All of them. One process is one service, so there is one.
pub static METRICS: LazyLock<Metrics> = LazyLock::new(|| {
    let metrics = Metrics::new();
    metrics.build_info.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
    metrics
});

/// The media type of [`Metrics::text`].
pub const MEDIA_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Of durations: from half a millisecond, since a turn takes less than one, to the write queue's patience.
const SECONDS: &[f64] =
    &[0.0005, 0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// How late a turn comes: from a tenth of a second to hours, as after an outage.
const LAG: &[f64] = &[0.1, 0.25, 0.5, 1.0, 2.0, 3.0, 5.0, 10.0, 30.0, 60.0, 300.0, 3600.0, 21_600.0];

/// How many writes share a commit.
const BATCH: &[f64] = &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0];

/// What is answered to a webhook, in one word each.
const OUTCOMES: &[&str] =
    &["stored", "duplicate", "rejected", "unauthorized", "quarantined", "dropped", "overloaded", "failed", "abandoned"];

/// What could be made of an event, in one word each.
const EVENTS: &[&str] = &["applied", "remarked", "ignored", "unreadable"];

macro_rules! metrics {
    ($($(#[doc = $help:literal])+ $name:ident: $kind:ident = $make:expr;)+) => {
        /// The service's own numbers. Each is named as it is exposed, without the prefix.
        pub struct Metrics {
            registry: Registry,
            $($(#[doc = $help])+ pub $name: $kind,)+
        }

        impl Metrics {
            fn new() -> Self {
                let registry = builder::registry();
                $(let $name = $kind::make(&registry, stringify!($name), concat!($($help),+).trim(), $make);)+
                Self { registry, $($name,)+ }
            }
        }

        /// Name, kind, labels and meaning of each, in the order of the source.
        fn described() -> Vec<(&'static str, &'static str, Vec<&'static str>, &'static str)> {
            vec![$((stringify!($name), $kind::KIND, $make.labels(), concat!($($help),+).trim()),)+]
        }
    };
}

metrics! {
    /// Always 1; the label says which version runs.
    build_info: IntGaugeVec = by(&["version"], &[&[env!("CARGO_PKG_VERSION")]]);

    /// From a request's head to the head of its answer. A route is a template, never a path; 499 is a client that went away.
    http_request_duration_seconds: HistogramVec = spread(SECONDS, &["method", "route", "status"]);
    /// What the platform's deliveries were answered.
    webhook_requests_total: IntCounterVec = by(&["endpoint", "outcome"], &[&["transcription", "post-call", "history"], OUTCOMES]);

    /// Turns that were committed, repeats not counted.
    turns_stored_total: IntCounterVec = by(&["speaker"], &[&["agent", "driver"]]);
    /// From the time that a delivered turn says it was said at to its being stored.
    ingest_lag_seconds: Histogram = spread(LAG, &[]);
    /// Writes that wait for the writer.
    write_queue_depth: IntGauge = plain();
    /// Writes that shared one commit.
    write_batch_size: Histogram = spread(BATCH, &[]);
    /// A commit, from the word to its being on disk.
    commit_duration_seconds: Histogram = spread(SECONDS, &[]);
    /// Moving the log into the database file.
    checkpoint_duration_seconds: Histogram = spread(SECONDS, &[]);
    /// Times that the log could not be moved into the database file, on a full disk for example.
    checkpoint_failures_total: IntCounter = plain();
    /// At most how many turns wait to come into the index of the search, as of the last time that some did.
    search_unindexed_turns: IntGauge = plain();

    /// Calls whose turns and record are to be reconciled, as of the last time that some were looked for.
    reconciliations_due: IntGauge = plain();
    /// Reconciling a call, from reading it to its being stored.
    reconciliation_duration_seconds: Histogram = spread(SECONDS, &[]);
    /// Post-call events that were stored, by what could be made of them. A remarked one is applied, but not all of it could
    /// be read.
    events_total: IntCounterVec = by(&["outcome"], &[EVENTS]);
    /// What could not be read of events and histories, by kind: words, numbers that JSON cannot hold, damaged text, fields.
    remarks_total: IntCounterVec = by(&["kind"], &[&["words", "number", "text", "field"]]);
    /// Stored post-call events that cannot be read, counted up to 1,000. `replay` reads them again.
    events_unreadable: IntGauge = plain();

    /// Calls in progress, counted up to 100,000.
    calls_open: IntGauge = plain();
    /// Size of the database file.
    db_size_bytes: IntGauge = plain();
    /// Size of the log beside it.
    wal_size_bytes: IntGauge = plain();
    /// What the file system of the database has left for this process.
    disk_free_bytes: IntGauge = plain();

    /// Live viewers.
    sse_subscribers: IntGauge = plain();
    /// When a backup that the service makes by itself was last whole, in seconds since 1970; 0 when none is known.
    backup_last_success_timestamp_seconds: Gauge = plain();
    /// Backups of the service itself that failed.
    backup_failures_total: IntCounter = plain();
    /// Turns that were erased since they were older than the retention.
    pruned_turns_total: IntCounter = plain();
    /// 1 while the retention erases nothing, because the clock is far ahead of what arrived last.
    retention_held: IntGauge = plain();
    /// What was replaced before it was stored.
    redactions_total: IntCounterVec = by(&["kind"], &[&["card", "email", "phone", "ssn"]]);
    /// Request bodies that were refused because others, faster or of a proved sender, needed what they held.
    displaced_bodies_total: IntCounter = plain();
    /// Recordings that came with a valid signature.
    recordings_total: IntCounterVec = by(&["outcome"], &[&["kept", "dropped"]]);
}

impl Metrics {
    /// To be called when the process starts, so that the first turn does not pay for it.
    pub fn start(&self) {
        process::start();
    }

    /// Asks the system about the process.
    pub fn ask(&self) {
        process::ask();
    }

    /// All of them, in Prometheus's text format.
    pub fn text(&self) -> String {
        builder::text(&self.registry) + &process::text()
    }
}

/// The metrics as a Markdown table.
pub fn table() -> String {
    builder::table(&described())
}
