//! The flags of `serve` that say who may do what.

use super::secrets::{ApiToken, IngestToken, Kind, Secrets};
use crate::api::access::client::Proxies;
use crate::api::access::{AccessSettings, check_token};
use crate::secret::Secret;
use anyhow::{Context as _, Result};
use clap::Args;
use ipnet::IpNet;
use std::net::{IpAddr, SocketAddr};

#[derive(Debug, Args)]
pub(super) struct AccessArgs {
    #[command(flatten)]
    ingest_tokens: Secrets<IngestToken>,
    #[command(flatten)]
    api_tokens: Secrets<ApiToken>,
    /// Let everybody read and manage who reaches the service, as long as it has no API token
    #[arg(long, env = "TRANSCRIBE_HOOK_ALLOW_PUBLIC_READS")]
    allow_public_reads: bool,
    /// How many requests a minute of one address are refused with 401; more are answered 429, and 0 is no limit
    #[arg(long, env = "TRANSCRIBE_HOOK_REFUSALS_PER_MINUTE", value_name = "NUMBER", default_value = "60")]
    refusals_per_minute: u32,
    /// Address or network of a proxy whose X-Forwarded-For is believed; may be repeated
    #[arg(
        long, env = "TRANSCRIBE_HOOK_TRUSTED_PROXY", value_name = "NETWORK", value_parser = network,
        value_delimiter = ' ',
    )]
    trusted_proxy: Vec<IpNet>,
}

/// A network such as `10.0.0.0/8`, or one address.
fn network(text: &str) -> Result<IpNet, String> {
    let one = || text.parse::<IpAddr>().ok().map(IpNet::from);
    text.parse().ok().or_else(one).ok_or_else(|| "must be an address or a network such as 10.0.0.0/8".to_owned())
}

impl AccessArgs {
    /// Reads the tokens.
    ///
    /// # Errors
    /// A token that is none, or an address that others can reach, where they could read and erase calls.
    pub(super) fn settings(&self, listen: SocketAddr) -> Result<AccessSettings> {
        let settings = AccessSettings {
            ingest_tokens: tokens(&self.ingest_tokens)?,
            api_tokens: tokens(&self.api_tokens)?,
            allow_public_reads: self.allow_public_reads,
            refusals_a_minute: self.refusals_per_minute,
        };
        let reachable = !listen.ip().to_canonical().is_loopback();
        anyhow::ensure!(
            !reachable || !settings.api_tokens.is_empty() || settings.allow_public_reads,
            "{listen} can be reached from elsewhere, and whoever reaches it could read and erase calls: give --api-token, \
             or --allow-public-reads if that is meant"
        );
        if settings.allow_public_reads && settings.api_tokens.is_empty() {
            tracing::warn!("whoever reaches the service can read and erase calls (--allow-public-reads)");
        }
        if reachable && settings.ingest_tokens.is_empty() {
            tracing::warn!("whoever reaches the service can store turns, since it has no --ingest-token");
        }
        Ok(settings)
    }

    pub(super) fn proxies(&self) -> Proxies {
        Proxies::new(self.trusted_proxy.clone())
    }
}

fn tokens<K: Kind>(secrets: &Secrets<K>) -> Result<Vec<Secret>> {
    let tokens = secrets.read()?;
    tokens.iter().try_for_each(|token| check_token(token).with_context(|| format!("--{}", K::FLAG)))?;
    Ok(tokens)
}
