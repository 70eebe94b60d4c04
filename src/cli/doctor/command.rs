//! The `doctor` command: checks whether ElevenLabs' events reach the service, and prints the findings. `--fix` mends
//! ElevenLabs' settings.

use super::machine;
use super::public::PublicService;
use crate::cli::args::access::api_tokens;
use crate::cli::args::database::DatabaseArgs;
use crate::cli::args::elevenlabs::ElevenLabsArgs;
use crate::cli::args::secrets::{ApiTokenSecret, ByDoctor, IngestToken, Secrets, WebhookSecret};
use crate::cli::args::token_file;
use crate::cli::args::values::base_url;
use crate::cli::output::{count as count_of, print_line};
use crate::cli::usage_error::usage;
use crate::domain::Timestamp;
use crate::elevenlabs::client::{Client, RetryPolicy};
use crate::elevenlabs::workspace::{self, PostCallSettings, Workspace};
use crate::jobs::doctor::diagnosis::{Wanted, diagnose, diagnose_clock};
use crate::jobs::doctor::repair::{self, Repair};
use crate::jobs::doctor::watch::unreachable;
use crate::secret::Secret;
use crate::telemetry::findings::{Finding, Severity};
use anyhow::{Context as _, Result, bail, ensure};
use clap::Args;
use serde_json::json;
use std::path::PathBuf;
use std::time::Duration;

#[derive(Debug, Args)]
pub(in crate::cli) struct DoctorArgs {
    #[command(flatten)]
    elevenlabs: ElevenLabsArgs,
    /// Check the service at this public URL, as ElevenLabs reaches it
    ///
    /// A signed test delivery is sent there, which is not stored, and one of 2 MB.
    #[arg(long, env = "TRANSCRIBE_HOOK_PUBLIC_URL", value_name = "URL", value_parser = base_url)]
    public_url: Option<String>,
    #[command(flatten)]
    secrets: Secrets<WebhookSecret, ByDoctor>,
    #[command(flatten)]
    ingest_tokens: Secrets<IngestToken, ByDoctor>,
    #[command(flatten)]
    api_tokens: Secrets<ApiTokenSecret, ByDoctor>,
    #[command(flatten)]
    database: DatabaseArgs,
    /// Expect the event audio, as recordings are stored in this folder
    #[arg(long, env = "TRANSCRIBE_HOOK_AUDIO_DIR", value_name = "FOLDER")]
    audio_dir: Option<PathBuf>,
    /// Show how ElevenLabs' settings can be mended; with --yes, mend them
    ///
    /// Creates the webhook, if there is none, and adds its secret to the file of --elevenlabs-secret-file; switches
    /// retries on; chooses the events and their format.
    #[arg(long, env = "TRANSCRIBE_HOOK_FIX")]
    fix: bool,
    /// Make the changes that --fix shows
    #[arg(long, env = "TRANSCRIBE_HOOK_YES", requires = "fix")]
    yes: bool,
    /// Print the findings as JSON
    #[arg(long, env = "TRANSCRIBE_HOOK_JSON")]
    json: bool,
}

/// Retries of the API's requests: few, because a person waits.
const PATIENCE: RetryPolicy = RetryPolicy {
    retries: 1,
    pause: Duration::from_millis(500),
    timeout: Duration::from_secs(20),
    fails_unconnected: true,
};

/// Name of a webhook that is created.
const WEBHOOK_NAME: &str = "transcribe-hook";

pub(in crate::cli) fn run(args: &DoctorArgs) -> Result<()> {
    let (mut findings, planned, done) = match args.elevenlabs.client_with(PATIENCE)? {
        Some(client) => elevenlabs(args, &client)?,
        None if args.fix => {
            return Err(usage("--fix needs an API key; pass --elevenlabs-api-key or --elevenlabs-api-key-file"));
        }
        None => {
            let remedy = "pass --elevenlabs-api-key-file with a key that may read workspace webhooks and agents";
            let text = "ElevenLabs' settings and the clock are not checked without an API key";
            (vec![Finding::skipped("api", text, remedy)], Vec::new(), Vec::new())
        }
    };
    // Read after the repair, which may have added one.
    let secrets = args.secrets.read_existing()?;
    findings.extend(machine::findings(&args.database.database, &args.secrets, secrets.is_empty()));
    if args.ingest_tokens.is_empty() {
        findings.push(Finding::skipped(
            "ingest_token",
            "this command was given no ingest token, so it cannot tell whether `serve` has one",
            "pass --ingest-token-file, as `serve` has it; without it anybody who reaches the service may store turns",
        ));
    }
    match &args.public_url {
        None => findings.push(Finding::skipped(
            "public",
            "the public address is not checked without --public-url",
            "pass --public-url with the URL that ElevenLabs calls",
        )),
        Some(url) => {
            let service = PublicService::new(url, api_token(args, url)?);
            findings.extend(service.findings(secrets.first()));
        }
    }
    report(args, &findings, &planned, &done)
}

/// Returns the findings about ElevenLabs' settings, the repairs that are left, and those that were made.
fn elevenlabs(args: &DoctorArgs, client: &Client) -> Result<(Vec<Finding>, Vec<Repair>, Vec<Repair>)> {
    let wanted = Wanted {
        public_url: args.public_url.as_deref(),
        audio: args.audio_dir.is_some(),
        now: Timestamp::now().unix_micros().div_euclid(1_000_000),
    };
    let workspace = match Workspace::read(client) {
        Ok(workspace) => workspace,
        Err(error) => return Ok((vec![unreachable(&error)], Vec::new(), Vec::new())),
    };
    let planned = if args.fix { repair::plan(&workspace, wanted) } else { Vec::new() };
    let creates = planned.iter().any(|repair| matches!(repair, Repair::Create { .. }));
    if creates && args.secrets.files().is_empty() {
        return Err(usage(
            "--fix would create a webhook; pass --elevenlabs-secret-file, where its secret is to be stored",
        ));
    }
    let (workspace, planned, done) = if args.yes && !planned.is_empty() {
        apply(args, client, &planned)?;
        let mended = Workspace::read(client).context("cannot read the settings after their change")?;
        (mended, Vec::new(), planned)
    } else {
        (workspace, planned, Vec::new())
    };
    let mut findings = diagnose(&workspace, wanted);
    findings.push(diagnose_clock(client.clock_lead_seconds()));
    Ok((findings, planned, done))
}

fn apply(args: &DoctorArgs, client: &Client, repairs: &[Repair]) -> Result<()> {
    let mut created = None;
    for repair in repairs {
        match repair {
            Repair::Create { url } => {
                let file = args.secrets.files().first().context("checked before")?;
                // The secret is shown once, so the file is tested before.
                machine::add_secret(file, None).with_context(|| format!("cannot write {}", file.display()))?;
                let webhook =
                    workspace::create_webhook(client, WEBHOOK_NAME, url).with_context(|| format!("cannot {repair}"))?;
                machine::add_secret(file, Some(&webhook.secret)).with_context(|| {
                    format!(
                        "cannot write {}; delete the webhook {} at ElevenLabs and retry",
                        file.display(),
                        webhook.id
                    )
                })?;
                workspace::enable_webhook(client, &webhook.id, WEBHOOK_NAME)
                    .with_context(|| format!("cannot switch retries of the webhook {} on", webhook.id))?;
                created = Some(webhook.id);
            }
            Repair::Enable { id, name } => {
                workspace::enable_webhook(client, id, name).with_context(|| format!("cannot {repair}"))?;
            }
            Repair::Set(settings) => {
                let webhook_id = settings.webhook_id.clone().or_else(|| created.clone());
                ensure!(webhook_id.is_some(), "there is no webhook to choose");
                let settings = PostCallSettings { webhook_id, ..settings.clone() };
                workspace::set_post_call(client, &settings).with_context(|| format!("cannot {repair}"))?;
            }
        }
    }
    Ok(())
}

/// Returns the API token: a configured one, or the one beside the database for a service on this machine.
fn api_token(args: &DoctorArgs, url: &str) -> Result<Option<Secret>> {
    if !args.api_tokens.is_empty() {
        let tokens = api_tokens(&args.api_tokens)?;
        return Ok(token_file::manager(&tokens).or(tokens.first()).map(|token| token.secret.clone()));
    }
    // The token of the token file is only sent where no other host can read it: plain HTTP is for this machine only.
    if !url.starts_with("http://") {
        return Ok(None);
    }
    let tokens = token_file::read(&token_file::path(&args.database.database))?.unwrap_or_default();
    Ok(token_file::manager(&tokens).map(|token| token.secret.clone()))
}

fn report(args: &DoctorArgs, findings: &[Finding], planned: &[Repair], done: &[Repair]) -> Result<()> {
    let count = |severity| findings.iter().filter(|finding| finding.severity == severity).count();
    let (problems, warnings, skipped) = (count(Severity::Problem), count(Severity::Warning), count(Severity::Skipped));
    if args.json {
        let listed: Vec<_> = findings
            .iter()
            .map(|finding| {
                json!({
                    "check": finding.check, "severity": finding.severity.as_str(), "text": finding.text,
                    "remedy": finding.remedy, "agent_id": finding.agent_id,
                })
            })
            .collect();
        let repairs = |repairs: &[Repair]| repairs.iter().map(ToString::to_string).collect::<Vec<_>>();
        let report = json!({
            "ok": problems == 0, "findings": listed, "would_fix": repairs(planned), "fixed": repairs(done),
        });
        print_line(report)?;
    } else {
        for Finding { check, severity, text, remedy, .. } in findings {
            print_line(format_args!("{:8} {check}: {text}", severity.as_str()))?;
            if let Some(remedy) = remedy {
                print_line(format_args!("{:8} {remedy}", ""))?;
            }
        }
        for repair in done {
            print_line(format_args!("fixed    {repair}"))?;
        }
        for repair in planned {
            print_line(format_args!("would    {repair} (add --yes)"))?;
        }
        print_line(format_args!(
            "{}, {}, {} skipped",
            count_of(problems, "problem"),
            count_of(warnings, "warning"),
            count_of(skipped, "check")
        ))?;
    }
    if problems == 0 { Ok(()) } else { bail!("{} found", count_of(problems, "problem")) }
}
