//! The flags of `serve` that say who may do what.

use super::secrets::{ApiToken, IngestToken, Kind, Secrets};
use super::token_file;
use super::values::network;
use crate::api::auth::client::Proxies;
use crate::api::auth::{AccessSettings, check_token};
use crate::secret::Secret;
use crate::server::cors::{Origin, Origins};
use anyhow::{Context as _, Result};
use clap::Args;
use ipnet::IpNet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

#[derive(Debug, Args)]
pub(in crate::cli) struct AccessArgs {
    #[command(flatten)]
    ingest_tokens: Secrets<IngestToken>,
    #[command(flatten)]
    api_tokens: Secrets<ApiToken>,
    /// Need no token: anybody who reaches the service may read, erase and download everything
    #[arg(long, env = "TRANSCRIBE_HOOK_NO_TOKEN")]
    no_token: bool,
    /// How many requests a minute of one address are refused with 401; more are answered 429, and 0 is no limit
    #[arg(long, env = "TRANSCRIBE_HOOK_REFUSALS_PER_MINUTE", value_name = "NUMBER", default_value = "60")]
    refusals_per_minute: u32,
    /// Address or network of a proxy whose X-Forwarded-For is believed; may be repeated
    #[arg(
        long, env = "TRANSCRIBE_HOOK_TRUSTED_PROXY", value_name = "NETWORK", value_parser = network,
        value_delimiter = ' ',
    )]
    trusted_proxy: Vec<IpNet>,
    /// Let pages of this other origin read with a token (CORS); may be repeated
    #[arg(long, env = "TRANSCRIBE_HOOK_ALLOW_ORIGIN", value_name = "ORIGIN", value_delimiter = ' ')]
    allow_origin: Vec<Origin>,
}

impl AccessArgs {
    /// Reads the configured tokens. `signed` says that ElevenLabs' events are taken.
    ///
    /// # Errors
    /// A token that is none, or one that `--no-token` contradicts.
    pub(in crate::cli) fn settings(&self, listen: SocketAddr, signed: bool) -> Result<AccessSettings> {
        let settings = AccessSettings {
            ingest_tokens: tokens(&self.ingest_tokens)?,
            api_tokens: tokens(&self.api_tokens)?,
            no_token: self.no_token,
            signed_out: None,
            refusals_a_minute: self.refusals_per_minute,
        };
        anyhow::ensure!(
            !self.no_token || settings.api_tokens.is_empty(),
            "--no-token and --api-token contradict each other: take one of them away"
        );
        if self.no_token {
            tracing::warn!("anybody who reaches the service may read, erase and download everything (--no-token)");
        }
        if settings.ingest_tokens.is_empty() && (signed || !listen.ip().to_canonical().is_loopback()) {
            tracing::warn!("anybody who reaches the service can store turns and histories: it has no --ingest-token");
        }
        Ok(settings)
    }

    /// Adds what stands beside the database, which this service alone has open: the token file, if no token is configured.
    /// Returns its path and its first token then.
    ///
    /// # Errors
    /// The token file cannot be made, or cannot be trusted.
    pub(in crate::cli) fn add_files(
        &self,
        settings: &mut AccessSettings,
        database: &Path,
    ) -> Result<Option<(PathBuf, Secret)>> {
        settings.signed_out = Some(token_file::beside(database, ".signed-out"));
        if self.no_token || !settings.api_tokens.is_empty() {
            return Ok(None);
        }
        let path = token_file::path(database);
        settings.api_tokens = token_file::read_or_create(&path)?;
        let first = settings.api_tokens.first().cloned();
        Ok(first.map(|token| (path, token)))
    }

    pub(in crate::cli) fn origins(&self) -> Origins {
        Origins::new(self.allow_origin.clone())
    }

    pub(in crate::cli) fn proxies(&self) -> Proxies {
        Proxies::new(self.trusted_proxy.clone())
    }
}

fn tokens<K: Kind>(secrets: &Secrets<K>) -> Result<Vec<Secret>> {
    let tokens = secrets.read()?;
    tokens.iter().try_for_each(|token| check_token(token).with_context(|| format!("--{}", K::FLAG)))?;
    Ok(tokens)
}
