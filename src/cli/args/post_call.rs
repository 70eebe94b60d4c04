//! Flags of `serve` for the post-call webhook of ElevenLabs.

use super::secrets::{Secrets, WebhookSecret};
use super::values::{duration, size};
use crate::api::webhooks::signed_body::PostCallSettings;
use crate::cli::usage_error::OrUsage as _;
use crate::elevenlabs::EventOptions;
use crate::recordings::Recordings;
use anyhow::{Context as _, Result};
use clap::Args;
use std::path::PathBuf;
use std::time::Duration;

#[derive(Debug, Args)]
pub(in crate::cli) struct PostCallArgs {
    #[command(flatten)]
    secrets: Secrets<WebhookSecret>,
    /// Limit the difference between a signature's time and the clock
    #[arg(
        long, env = "TRANSCRIBE_HOOK_SIGNATURE_TOLERANCE", value_name = "DURATION", default_value = "30m",
        value_parser = duration,
    )]
    signature_tolerance: Duration,
    /// Limit the size of a post-call event
    #[arg(
        long, env = "TRANSCRIBE_HOOK_POST_CALL_MAX_BODY", value_name = "SIZE", default_value = "16MiB",
        value_parser = size,
    )]
    post_call_max_body: usize,
    /// Store recordings in this folder; without it they are dropped
    ///
    /// The folder is created if missing.
    #[arg(long, env = "TRANSCRIBE_HOOK_AUDIO_DIR", value_name = "FOLDER")]
    audio_dir: Option<PathBuf>,
    /// Limit the body of a recording, which is base64
    ///
    /// The body is a third longer than the recording.
    #[arg(
        long, env = "TRANSCRIBE_HOOK_AUDIO_MAX_BODY", value_name = "SIZE", default_value = "256MiB",
        value_parser = size,
    )]
    audio_max_body: usize,
}

impl PostCallArgs {
    /// Reads the secrets and opens the recordings folder.
    pub(in crate::cli) fn settings(&self, options: EventOptions) -> Result<PostCallSettings> {
        let recordings = self.audio_dir.as_deref().map(|folder| {
            let opened = Recordings::open(folder);
            let opened = opened.map(|recordings| recordings.keeping_unredacted(options.keep_unredacted));
            opened.with_context(|| format!("--audio-dir {}", folder.display())).or_usage()
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
