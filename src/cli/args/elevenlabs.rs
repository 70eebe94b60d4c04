//! The flags of ElevenLabs' API.

use super::secrets::{ApiKey, Secrets};
use super::values::base_url;
use crate::cli::usage_error::OrUsage as _;
use crate::elevenlabs::client::{self, Client, RetryPolicy};
use anyhow::{Context as _, Result};
use clap::Args;

/// Flags of access to the ElevenLabs API.
#[derive(Debug, Args)]
pub(in crate::cli) struct ElevenLabsArgs {
    #[command(flatten)]
    key: Secrets<ApiKey>,
    /// Use the ElevenLabs API at this URL
    ///
    /// Each region has its own.
    #[arg(
        long, env = "TRANSCRIBE_HOOK_ELEVENLABS_BASE_URL", value_name = "URL", default_value = client::BASE_URL,
        value_parser = base_url,
    )]
    elevenlabs_base_url: String,
}

impl ElevenLabsArgs {
    /// Returns a client, if a key is configured.
    pub(in crate::cli) fn client(&self) -> Result<Option<Client>> {
        self.client_with(RetryPolicy::default())
    }

    /// Returns a client with this retry policy, if a key is configured.
    pub(in crate::cli) fn client_with(&self, patience: RetryPolicy) -> Result<Option<Client>> {
        let Some(key) = self.key.read_one()? else { return Ok(None) };
        let client = Client::new(&self.elevenlabs_base_url, key, patience);
        Ok(Some(client.context("--elevenlabs-base-url").or_usage()?))
    }
}
