//! The setup of the service: its webhooks with their last deliveries, and the parts that are not set up.

use super::auth::AccessControl;
use super::body::JsonOk;
use super::date_time::DateTime;
use super::error::{Errors, ListErrors};
use super::pagination::reject_query_params;
use super::tag::Tag;
use super::webhooks::signed_body::PostCallReceiver;
use crate::domain::Timestamp;
use crate::telemetry::deliveries::{DELIVERIES, Webhook};
use crate::telemetry::findings::{CheckFindings, ELEVENLABS_CHECK, Finding, Severity};
use crate::telemetry::metrics::METRICS;
use poem::Request;
use poem_openapi::types::Example;
use poem_openapi::{Enum, Object, OpenApi};
use std::path::PathBuf;
use std::time::Duration;

/// Parts of the service that are set up, apart from those that the handlers know.
#[derive(Debug, Clone, Default)]
pub struct SetupFacts {
    /// Absolute path of the database; `None` if the store is not one file.
    pub database: Option<PathBuf>,
    /// systemd unit that runs the service.
    pub systemd_unit: Option<String>,
    /// Interval of automatic backups.
    pub backup_every: Option<Duration>,
    /// Age at which ended calls are erased.
    pub retention: Option<Duration>,
    /// Age at which entries of the access log are erased; zero logs nothing.
    pub access_log_keep: Duration,
    /// True if missing ends of calls are fetched from ElevenLabs.
    pub backfill: bool,
}

#[expect(clippy::struct_excessive_bools, reason = "each says whether an independent part is set up")]
pub(super) struct SetupApi {
    facts: SetupFacts,
    started: Timestamp,
    has_ingest_token: bool,
    has_api_token: bool,
    has_signing_secret: bool,
    has_recordings: bool,
    has_access_log: bool,
}

impl SetupApi {
    pub(super) fn new(facts: SetupFacts, access: &AccessControl, gate: &PostCallReceiver) -> Self {
        Self {
            facts,
            started: Timestamp::now(),
            has_ingest_token: access.requires_ingest_token(),
            has_api_token: access.requires_api_token(),
            has_signing_secret: gate.has_secret(),
            has_recordings: gate.recordings().is_some(),
            has_access_log: access.log().is_enabled(),
        }
    }
}

/// Proof that a delivery to a webhook must carry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[oai(rename_all = "snake_case")]
enum Authentication {
    /// Nothing: anybody who reaches the service may deliver.
    None,
    /// A token of `--ingest-token`.
    IngestToken,
    /// ElevenLabs' signature.
    Signature,
}

/// A refused delivery.
#[derive(Debug, Object)]
#[oai(example)]
struct RefusedDelivery {
    /// Time of the response.
    at: DateTime,
    /// Status of the response.
    status: u16,
    /// Reason, as in `details` of the response.
    reason: String,
}

impl Example for RefusedDelivery {
    fn example() -> Self {
        Self {
            at: DateTime(Timestamp::parse("2026-09-28T12:03:00Z").expect("a valid time")),
            status: 401,
            reason: "the signature does not match".to_owned(),
        }
    }
}

/// A webhook and its last deliveries since the service started.
#[derive(Debug, Object)]
#[oai(rename = "WebhookSetup", example)]
struct WebhookObject {
    /// Path below the address of the service.
    path: String,
    /// Proof that a delivery must carry.
    authentication: Authentication,
    /// False if every delivery is refused, because no signing secret is set.
    enabled: bool,
    /// Number of accepted deliveries.
    accepted: u64,
    /// Time of the last accepted delivery; null without one.
    #[oai(nullable)]
    last_accepted_at: Option<DateTime>,
    /// Number of refused deliveries.
    refused: u64,
    /// The last refused delivery; null without one.
    #[oai(nullable)]
    last_refused: Option<RefusedDelivery>,
}

impl Example for WebhookObject {
    fn example() -> Self {
        Self {
            path: "/webhooks/elevenlabs/post-call".to_owned(),
            authentication: Authentication::Signature,
            enabled: true,
            accepted: 12,
            last_accepted_at: Some(DateTime(Timestamp::parse("2026-09-28T12:02:45Z").expect("a valid time"))),
            refused: 1,
            last_refused: Some(RefusedDelivery::example()),
        }
    }
}

/// A part of the service that needs a setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[oai(rename_all = "snake_case")]
enum SetupPart {
    /// Without a signing secret, all events of ElevenLabs are refused.
    SigningSecret,
    /// Without an ingest token, anybody who reaches the service may store turns.
    IngestToken,
    /// Without an API token, anybody who reaches the service may read and change data.
    ApiToken,
    /// Without automatic backups, a lost disk loses all calls.
    Backups,
    /// Without a folder for recordings, they are dropped.
    Recordings,
}

impl SetupPart {
    /// Returns the flag of `serve` that sets the part up, with an example of its value.
    const fn flag(self) -> &'static str {
        match self {
            Self::SigningSecret => "--elevenlabs-secret-file /etc/transcribe-hook/signing-secret",
            Self::IngestToken => "--ingest-token-file /etc/transcribe-hook/ingest-token",
            Self::ApiToken => "--api-token-file /etc/transcribe-hook/api-token",
            Self::Backups => "--backup-every 1d --backup-dir /var/backups/transcribe-hook",
            Self::Recordings => "--audio-dir /var/lib/transcribe-hook/recordings",
        }
    }
}

/// A part that is not set up.
#[derive(Debug, Object)]
#[oai(example)]
struct MissingPart {
    /// The part.
    part: SetupPart,
    /// Flag of `serve` that sets it up, with an example of its value.
    flag: String,
}

impl From<SetupPart> for MissingPart {
    fn from(part: SetupPart) -> Self {
        Self { part, flag: part.flag().to_owned() }
    }
}

impl Example for MissingPart {
    fn example() -> Self {
        SetupPart::Backups.into()
    }
}

/// Severity of a finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[oai(rename_all = "snake_case", rename = "FindingSeverity")]
enum SeverityName {
    /// Nothing is wrong.
    Ok,
    /// Not checked, because something that the check needs was not given.
    Skipped,
    /// Something may get lost, or is not as it should be.
    Warning,
    /// Something does not work.
    Problem,
}

impl From<Severity> for SeverityName {
    fn from(severity: Severity) -> Self {
        match severity {
            Severity::Ok => Self::Ok,
            Severity::Skipped => Self::Skipped,
            Severity::Warning => Self::Warning,
            Severity::Problem => Self::Problem,
        }
    }
}

/// A finding about ElevenLabs' settings.
#[derive(Debug, Object)]
#[oai(rename = "SetupFinding", example)]
struct FindingObject {
    /// Name of the check.
    check: String,
    /// Severity.
    severity: SeverityName,
    /// The fact.
    text: String,
    /// Remedy; null if nothing is wrong.
    #[oai(nullable)]
    remedy: Option<String>,
    /// ElevenLabs' id of the agent that it is about; null for the workspace.
    #[oai(nullable)]
    agent_id: Option<String>,
}

impl Example for FindingObject {
    fn example() -> Self {
        Finding::problem("webhook_disabled", "the webhook \"calls\" is switched off", "switch it on").into()
    }
}

impl From<Finding> for FindingObject {
    fn from(finding: Finding) -> Self {
        let Finding { check, severity, text, remedy, agent_id } = finding;
        Self { check: check.to_owned(), severity: severity.into(), text, remedy, agent_id }
    }
}

/// The last check of ElevenLabs' settings.
#[derive(Debug, Object)]
#[oai(rename = "ElevenLabsCheck", example)]
struct CheckObject {
    /// Time of the check.
    checked_at: DateTime,
    /// Findings, as `doctor` prints them.
    findings: Vec<FindingObject>,
}

impl Example for CheckObject {
    fn example() -> Self {
        Self {
            checked_at: DateTime(Timestamp::parse("2026-09-28T12:00:00Z").expect("a valid time")),
            findings: vec![FindingObject::example()],
        }
    }
}

/// The setup of the service. It contains no secrets.
#[derive(Debug, Object)]
#[oai(example)]
#[expect(clippy::struct_excessive_bools, reason = "each says whether an independent part is set up")]
struct Setup {
    /// Version of the service.
    version: String,
    /// Start of the service. Deliveries are counted from then on.
    started_at: DateTime,
    /// Absolute path of the database.
    #[oai(nullable)]
    database: Option<String>,
    /// systemd unit that runs the service; null if no unit of the system runs it.
    #[oai(nullable)]
    systemd_unit: Option<String>,
    /// The webhooks.
    webhooks: Vec<WebhookObject>,
    /// True if reading requires a token.
    api_token: bool,
    /// True if storing turns and histories requires a token.
    ingest_token: bool,
    /// True if a signing secret of ElevenLabs is set.
    signing_secret: bool,
    /// True if recordings are stored.
    recordings: bool,
    /// Interval of automatic backups, in seconds; null without them.
    #[oai(nullable)]
    backup_every_seconds: Option<u64>,
    /// Time of the last automatic backup; null if there is none.
    #[oai(nullable)]
    last_backup_at: Option<DateTime>,
    /// Time after their last activity at which calls are erased, in seconds; null if they are kept.
    #[oai(nullable)]
    retention_seconds: Option<u64>,
    /// Age at which entries of the access log are erased, in seconds; null if nothing is logged.
    #[oai(nullable)]
    access_log_keep_seconds: Option<u64>,
    /// True if missing ends of calls are fetched from ElevenLabs.
    backfill: bool,
    /// The last check of ElevenLabs' settings; null without an API key of ElevenLabs.
    #[oai(nullable)]
    elevenlabs_check: Option<CheckObject>,
    /// Parts that are not set up.
    missing: Vec<MissingPart>,
}

impl Example for Setup {
    fn example() -> Self {
        Self {
            version: "0.1.0".to_owned(),
            started_at: DateTime(Timestamp::parse("2026-09-28T06:00:00Z").expect("a valid time")),
            database: Some("/var/lib/transcribe-hook/transcribe-hook.db".to_owned()),
            systemd_unit: Some("transcribe-hook.service".to_owned()),
            webhooks: vec![WebhookObject::example()],
            api_token: true,
            ingest_token: true,
            signing_secret: true,
            recordings: true,
            backup_every_seconds: None,
            last_backup_at: None,
            retention_seconds: None,
            access_log_keep_seconds: Some(7_776_000),
            backfill: false,
            elevenlabs_check: Some(CheckObject::example()),
            missing: vec![MissingPart::example()],
        }
    }
}

impl SetupApi {
    fn webhook(&self, webhook: Webhook) -> WebhookObject {
        let log = DELIVERIES.of(webhook);
        let (accepted, last_accepted) = log.accepted();
        let (refused, last_refused) = log.refused();
        let authentication = match webhook {
            Webhook::PostCall => Authentication::Signature,
            Webhook::Transcription | Webhook::History | Webhook::Initiation if self.has_ingest_token => {
                Authentication::IngestToken
            }
            Webhook::Transcription | Webhook::History | Webhook::Initiation => Authentication::None,
        };
        WebhookObject {
            path: format!("/webhooks/elevenlabs/{}", webhook.segment()),
            authentication,
            enabled: authentication != Authentication::Signature || self.has_signing_secret,
            accepted,
            last_accepted_at: last_accepted.and_then(instant),
            refused,
            last_refused: last_refused.and_then(|refusal| {
                Some(RefusedDelivery {
                    at: instant(refusal.at_micros)?,
                    status: refusal.status,
                    reason: refusal.reason,
                })
            }),
        }
    }

    fn missing(&self) -> Vec<MissingPart> {
        let parts = [
            (SetupPart::SigningSecret, self.has_signing_secret),
            (SetupPart::IngestToken, self.has_ingest_token),
            (SetupPart::ApiToken, self.has_api_token),
            (SetupPart::Backups, self.facts.backup_every.is_some()),
            (SetupPart::Recordings, self.has_recordings),
        ];
        parts.into_iter().filter(|(_, is_set)| !is_set).map(|(part, _)| part.into()).collect()
    }
}

#[expect(clippy::unused_async, reason = "the framework wants every operation to be async")]
#[OpenApi(prefix_path = "/api/v1", tag = "Tag::Operation")]
impl SetupApi {
    /// Show the setup
    ///
    /// Returns each webhook with its last accepted and last refused delivery since the service started, the parts of
    /// the service that are not set up, and what commands on its machine need: the database and the systemd unit.
    /// Contains no secrets.
    #[oai(path = "/setup", method = "get", operation_id = "get_setup")]
    async fn get_setup(&self, request: &Request) -> Result<JsonOk<Setup>, Errors<ListErrors>> {
        reject_query_params(request)?;
        // The metric is a number of seconds, 0 if unknown.
        #[expect(clippy::cast_possible_truncation, reason = "whole seconds since 1970")]
        let last_backup = METRICS.backup_last_success_timestamp_seconds.get() as i64;
        Ok(JsonOk(Setup {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            started_at: DateTime(self.started),
            database: self.facts.database.as_ref().map(|path| path.to_string_lossy().into_owned()),
            systemd_unit: self.facts.systemd_unit.clone(),
            webhooks: Webhook::ALL.into_iter().map(|webhook| self.webhook(webhook)).collect(),
            api_token: self.has_api_token,
            ingest_token: self.has_ingest_token,
            signing_secret: self.has_signing_secret,
            recordings: self.has_recordings,
            backup_every_seconds: self.facts.backup_every.map(|every| every.as_secs()),
            last_backup_at: (last_backup > 0).then_some(last_backup * 1_000_000).and_then(instant),
            retention_seconds: self.facts.retention.map(|age| age.as_secs()),
            access_log_keep_seconds: self.has_access_log.then_some(self.facts.access_log_keep.as_secs()),
            backfill: self.facts.backfill,
            elevenlabs_check: elevenlabs_check(),
            missing: self.missing(),
        }))
    }
}

fn elevenlabs_check() -> Option<CheckObject> {
    let CheckFindings { at_micros, findings } = ELEVENLABS_CHECK.lock().clone()?;
    Some(CheckObject {
        checked_at: instant(at_micros)?,
        findings: findings.into_iter().map(FindingObject::from).collect(),
    })
}

fn instant(micros: i64) -> Option<DateTime> {
    Timestamp::from_unix_micros(micros).map(DateTime)
}
