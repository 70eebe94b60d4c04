//! Flags of `serve` for outgoing webhooks.

use super::secrets::{OutgoingSecret, Secrets};
use super::values::{base_url, notice_type, retry_pause};
use crate::cli::usage_error::{OrUsage as _, usage};
use crate::domain::NoticeType;
use crate::outgoing::{EndpointUrl, OutgoingSettings, SigningKey};
use anyhow::{Context as _, Result};
use clap::Args;
use std::time::Duration;

#[derive(Debug, Args)]
pub(in crate::cli) struct OutgoingArgs {
    /// Notify this URL of calls, by a signed webhook
    ///
    /// https://, or http:// on this machine. May be repeated; a slow or dead receiver delays no other one. It needs
    /// --webhook-secret.
    #[arg(
        long,
        env = "TRANSCRIBE_HOOK_WEBHOOK_URL",
        value_name = "URL",
        value_delimiter = ' ',
        hide_env_values = true
    )]
    // Validated later, because the error of a value parser shows the value, whose path may be a secret.
    webhook_url: Vec<String>,
    #[command(flatten)]
    secrets: Secrets<OutgoingSecret>,
    /// Send only notices of these types; default: all
    ///
    /// Separated by commas: call.started, call.ended, call.reconciled, call.updated, call.erased, recording.stored,
    /// alert.matched.
    #[arg(
        long, env = "TRANSCRIBE_HOOK_WEBHOOK_EVENTS", value_name = "TYPES", value_delimiter = ',',
        value_parser = notice_type,
    )]
    webhook_events: Vec<NoticeType>,
    /// Send titles, summaries and names of drivers too
    ///
    /// Without it, notices have only ids, states and numbers.
    #[arg(long, env = "TRANSCRIBE_HOOK_WEBHOOK_WORDS")]
    webhook_words: bool,
    /// Set the pause before the first retry of a notice
    ///
    /// There are ten tries. Later pauses grow with the first one; with 5s, the last try is after three days.
    #[arg(
        long, env = "TRANSCRIBE_HOOK_WEBHOOK_RETRY_PAUSE", value_name = "DURATION", default_value = "5s",
        value_parser = retry_pause,
    )]
    webhook_retry_pause: Duration,
    /// Use this URL of the service in notices
    ///
    /// Without it, notices have the path of a call alone.
    #[arg(long, env = "TRANSCRIBE_HOOK_PUBLIC_URL", value_name = "URL", value_parser = base_url)]
    public_url: Option<String>,
}

impl OutgoingArgs {
    pub(in crate::cli) fn settings(&self) -> Result<OutgoingSettings> {
        let keys = self.secrets.read_as(SigningKey::new)?;
        if keys.is_empty() && !self.webhook_url.is_empty() {
            return Err(usage("--webhook-url needs --webhook-secret or --webhook-secret-file, to sign notices"));
        }
        let url = |(n, text): (usize, &String)| {
            EndpointUrl::new(text).with_context(|| format!("--webhook-url, value {}", n + 1)).or_usage()
        };
        let all = NoticeType::ABOUT_CALLS.to_vec();
        Ok(OutgoingSettings {
            urls: self.webhook_url.iter().enumerate().map(url).collect::<Result<_>>()?,
            keys,
            types: if self.webhook_events.is_empty() { all } else { self.webhook_events.clone() },
            words: self.webhook_words,
            public_url: self.public_url.clone(),
            retry_pause: self.webhook_retry_pause,
        })
    }
}
