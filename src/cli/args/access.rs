//! Flags of `serve` that control access.

use super::secrets::{ApiToken, IngestToken, SecretKind, Secrets};
use super::token_file;
use super::values::network;
use crate::api::auth::client::Proxies;
use crate::api::auth::{AccessSettings, check_token};
use crate::cli::usage_error::{OrUsage as _, usage};
use crate::secret::Secret;
use crate::server::cors::{Origin, Origins};
use crate::sys::paths::with_suffix;
use anyhow::{Context as _, Result};
use clap::Args;
use ipnet::IpNet;
use std::path::{Path, PathBuf};

#[derive(Debug, Args)]
pub(in crate::cli) struct AccessArgs {
    #[command(flatten)]
    ingest_tokens: Secrets<IngestToken>,
    #[command(flatten)]
    api_tokens: Secrets<ApiToken>,
    /// Require no token; anybody may read, erase and download everything
    #[arg(long, env = "TRANSCRIBE_HOOK_NO_TOKEN")]
    no_token: bool,
    /// Limit failed attempts (401) per minute and address
    ///
    /// Requests beyond the limit are answered 429. 0 is no limit.
    #[arg(long, env = "TRANSCRIBE_HOOK_REFUSALS_PER_MINUTE", value_name = "NUMBER", default_value = "60")]
    refusals_per_minute: u32,
    /// Trust X-Forwarded-For from this proxy address or network
    ///
    /// May be repeated.
    #[arg(
        long, env = "TRANSCRIBE_HOOK_TRUSTED_PROXY", value_name = "NETWORK", value_parser = network,
        value_delimiter = ' ',
    )]
    trusted_proxy: Vec<IpNet>,
    /// Let pages of this origin read with a token (CORS)
    ///
    /// May be repeated.
    #[arg(long, env = "TRANSCRIBE_HOOK_ALLOW_ORIGIN", value_name = "ORIGIN", value_delimiter = ' ')]
    allow_origin: Vec<Origin>,
}

impl AccessArgs {
    /// Reads the configured tokens.
    ///
    /// # Errors
    /// A token is invalid, or contradicts `--no-token`.
    pub(in crate::cli) fn settings(&self) -> Result<AccessSettings> {
        let settings = AccessSettings {
            ingest_tokens: tokens(&self.ingest_tokens)?,
            api_tokens: tokens(&self.api_tokens)?,
            no_token: self.no_token,
            signed_out: None,
            refusals_a_minute: self.refusals_per_minute,
        };
        if self.no_token && !settings.api_tokens.is_empty() {
            return Err(usage("--no-token and --api-token contradict each other; remove one of them"));
        }
        if self.no_token {
            tracing::warn!(
                "reading, erasing and downloading need no token (--no-token); anybody with network access can do it"
            );
        }
        Ok(settings)
    }

    /// Adds the files beside the database, which must be locked by this process: the sign-out file, and the token file
    /// unless a token is configured.
    ///
    /// Returns the token file's path and its first token if that file is used.
    ///
    /// # Errors
    /// The token file cannot be created, or cannot be trusted.
    pub(in crate::cli) fn add_files(
        &self,
        settings: &mut AccessSettings,
        database: &Path,
    ) -> Result<Option<(PathBuf, Secret)>> {
        settings.signed_out = Some(with_suffix(database, ".signed-out"));
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

fn tokens<K: SecretKind>(secrets: &Secrets<K>) -> Result<Vec<Secret>> {
    let tokens = secrets.read()?;
    tokens.iter().try_for_each(|token| check_token(token).with_context(|| format!("--{}", K::FLAG))).or_usage()?;
    Ok(tokens)
}
