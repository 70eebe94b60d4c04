//! Flag of `serve` for a second address that serves metrics.

use super::listen::listen_address;
use anyhow::{Context as _, Result};
use clap::Args;
use std::net::SocketAddr;
use tokio::net::TcpListener;

#[derive(Debug, Args)]
pub(in crate::cli) struct MetricsArgs {
    /// Serve /metrics also on this address, without a token
    #[arg(long, env = "TRANSCRIBE_HOOK_METRICS_LISTEN", value_name = "ADDRESS:PORT", value_parser = listen_address)]
    metrics_listen: Option<SocketAddr>,
}

impl MetricsArgs {
    /// Binds the address, if one is configured.
    pub(in crate::cli) async fn metrics_listener(&self) -> Result<Option<TcpListener>> {
        let Some(address) = self.metrics_listen else { return Ok(None) };
        let cannot = || format!("cannot listen on {address} for metrics");
        let listener = TcpListener::bind(address).await.with_context(cannot)?;
        let metrics_address = listener.local_addr().with_context(cannot)?;
        tracing::info!(%metrics_address, "metrics at http://{metrics_address}/metrics");
        Ok(Some(listener))
    }
}
