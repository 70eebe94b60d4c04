//! Settings of the service.

use super::connections::ConnectionLimits;
use super::cors::Origins;
use super::tls::Tls;
use crate::api::auth::AccessSettings;
use crate::api::auth::client::Proxies;
use crate::api::webhooks::signed_body::PostCallSettings;
use crate::elevenlabs::client::Client;
use crate::elevenlabs::initiation::InitiationVariables;
use crate::ingest::WriterLimits;
use crate::ingest::event::EventParser;
use crate::jobs::backup::BackupSchedule;
use crate::jobs::stale_calls::StaleAfter;
use crate::live::StreamLimits;
use crate::outgoing::OutgoingSettings;
use crate::store::Alert;
use std::time::Duration;
use tokio::net::TcpListener;

/// Settings of the service.
#[derive(Debug)]
pub struct Settings {
    /// Limits of the write queue.
    pub writing: WriterLimits,
    /// Maximum size of a request body, in bytes.
    pub max_body: usize,
    /// Maximum number of concurrent deep reads.
    pub deep_reads: usize,
    /// HTTPS settings; without them, plain HTTP is served.
    pub tls: Option<Tls>,
    /// Limits of connections.
    pub connections: ConnectionLimits,
    /// Time without activity after which a call in progress is ended.
    pub stale_after: StaleAfter,
    /// Access control: tokens and the rate limit.
    pub access: AccessSettings,
    /// Proxies that are trusted to report a client's address.
    pub proxies: Proxies,
    /// Origins of other pages that may read.
    pub origins: Origins,
    /// Settings of the post-call webhook.
    pub post_call: PostCallSettings,
    /// Redaction of text before it is stored, and options of parsing events.
    pub parser: EventParser,
    /// Time after their last activity at which calls are erased; `None` keeps them forever.
    pub retention: Option<Duration>,
    /// Age at which entries of the access log are erased; zero logs nothing.
    pub access_log_keep: Duration,
    /// Limits of live streams.
    pub streams: StreamLimits,
    /// Searches that are compared with each new turn.
    pub alerts: Vec<Alert>,
    /// Outgoing webhooks.
    pub outgoing: OutgoingSettings,
    /// Client and interval for fetching missing ends of calls from ElevenLabs.
    pub backfill: Option<(Client, Duration)>,
    /// Client for the hourly check of ElevenLabs' settings.
    pub elevenlabs_check: Option<Client>,
    /// Schedule of automatic backups.
    pub backups: BackupSchedule,
    /// Dynamic variables of inbound calls.
    pub initiation_variables: InitiationVariables,
    /// Listener that serves `/metrics` without authentication, in addition to the main port.
    pub metrics: Option<TcpListener>,
}
