//! The flags of `serve` for what the platform posts after a call.

use super::secrets::{Secrets, WebhookSecret};
use super::values::size;
use crate::api::webhooks::signed_body::PostCallSettings;
use crate::recordings::Recordings;
use anyhow::{Context as _, Result};
use clap::Args;
use std::path::PathBuf;
use std::time::Duration;

#[derive(Debug, Args)]
pub(in crate::cli) struct PostCallArgs {
    #[command(flatten)]
    secrets: Secrets<WebhookSecret>,
    /// How far a signature's time may lie from this machine's clock
    #[arg(
        long, env = "TRANSCRIBE_HOOK_SIGNATURE_TOLERANCE", value_name = "DURATION", default_value = "30m",
        value_parser = humantime::parse_duration,
    )]
    signature_tolerance: Duration,
    /// Greatest size of a post-call event's body
    #[arg(
        long, env = "TRANSCRIBE_HOOK_POST_CALL_MAX_BODY", value_name = "SIZE", default_value = "16MiB",
        value_parser = size,
    )]
    post_call_max_body: usize,
    /// The folder for recordings, which is made when there is none; without this they are dropped
    #[arg(long, env = "TRANSCRIBE_HOOK_AUDIO_DIR", value_name = "FOLDER")]
    audio_dir: Option<PathBuf>,
    /// Greatest size of a recording's body, which is a third longer than the recording
    #[arg(
        long, env = "TRANSCRIBE_HOOK_AUDIO_MAX_BODY", value_name = "SIZE", default_value = "256MiB",
        value_parser = size,
    )]
    audio_max_body: usize,
}

impl PostCallArgs {
    /// Whether a secret is configured, without which none is taken.
    pub(in crate::cli) fn are_events_taken(&self) -> bool {
        !self.secrets.is_empty()
    }

    /// Reads the secrets and opens the folder.
    pub(in crate::cli) fn settings(&self) -> Result<PostCallSettings> {
        let recordings = self.audio_dir.as_deref().map(|folder| {
            Recordings::open(folder).with_context(|| format!("cannot keep recordings in {}", folder.display()))
        });
        Ok(PostCallSettings {
            secrets: self.secrets.read()?,
            tolerance: self.signature_tolerance,
            max_body: self.post_call_max_body,
            max_audio_body: self.audio_max_body,
            recordings: recordings.transpose()?,
        })
    }
}
