//! Flags of `serve` that control access.

use super::secrets::{ApiTokenSecret, IngestToken, ReadBy, Secrets};
use super::token_file;
use super::values::{ValueError, network};
use crate::api::auth::client::{Proxies, UserHeader};
use crate::api::auth::{AccessSettings, ApiToken, check_holders, check_token};
use crate::cli::usage_error::{OrUsage as _, usage};
use crate::domain::Role;
use crate::secret::Secret;
use crate::server::cors::{Origin, Origins};
use crate::sys::paths::with_suffix;
use anyhow::{Context as _, Result};
use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser as _};
use ipnet::IpNet;
use std::path::{Path, PathBuf};

#[derive(Debug, Args)]
pub(in crate::cli) struct AccessArgs {
    #[command(flatten)]
    ingest_tokens: Secrets<IngestToken>,
    #[command(flatten)]
    api_tokens: Secrets<ApiTokenSecret>,
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
    /// Believe this header of a trusted proxy to name a signed-in user
    ///
    /// For proxies that sign users in, such as oauth2-proxy and Authelia. The proxy must set or remove the header in
    /// each request, and nobody but the proxy may use its address. Needs --trusted-proxy.
    #[arg(long, env = "TRANSCRIBE_HOOK_USER_HEADER", value_name = "NAME")]
    user_header: Option<UserHeader>,
    /// Give the users of --user-header this role
    #[arg(
        long, env = "TRANSCRIBE_HOOK_USER_ROLE", value_name = "ROLE", default_value = "read",
        value_parser = PossibleValuesParser::new(["list", "read", "manage"])
            .try_map(|name| Role::from_stored(&name).ok_or(ValueError::Rule("must be list, read or manage"))),
    )]
    user_role: Role,
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
        let ingest_token = |token: &Secret| check_token(token).map(|()| token.clone());
        let settings = AccessSettings {
            ingest_tokens: self.ingest_tokens.read_as(ingest_token)?,
            api_tokens: api_tokens(&self.api_tokens)?,
            user_header: self.user_header.clone(),
            user_role: Some(self.user_role),
            no_token: self.no_token,
            signed_out: None,
            refusals_a_minute: self.refusals_per_minute,
        };
        if self.user_header.is_some() && self.trusted_proxy.is_empty() {
            return Err(usage("--user-header needs --trusted-proxy, because only a trusted proxy is believed"));
        }
        if self.user_header.is_some() && self.no_token {
            return Err(usage("--no-token and --user-header contradict each other; remove one of them"));
        }
        if self.no_token && !settings.api_tokens.is_empty() {
            let names = self.api_tokens.names();
            return Err(usage(format_args!("--no-token and {names} contradict each other; remove one of them")));
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
    /// Returns the token file's path and a token for managing if that file is used.
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
        let manager = token_file::manager(&settings.api_tokens).map(|token| token.secret.clone());
        Ok(manager.map(|token| (path, token)))
    }

    pub(in crate::cli) fn origins(&self) -> Origins {
        Origins::new(self.allow_origin.clone())
    }

    pub(in crate::cli) fn proxies(&self) -> Proxies {
        Proxies::new(self.trusted_proxy.clone())
    }
}

/// Reads the tokens of the API, with names and roles.
///
/// # Errors
/// A token is invalid, or has two holders.
pub(in crate::cli) fn api_tokens<U: ReadBy>(secrets: &Secrets<ApiTokenSecret, U>) -> Result<Vec<ApiToken>> {
    let tokens = secrets.read_as(ApiToken::parse)?;
    check_holders(&tokens).with_context(|| secrets.names()).or_usage()?;
    Ok(tokens)
}
