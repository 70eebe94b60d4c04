//! Flags of `serve` that limit connections.

use super::values::patience;
use crate::server::connections::ConnectionLimits;
use clap::Args;
use std::time::Duration;

#[derive(Debug, Args)]
pub(in crate::cli) struct ConnectionArgs {
    /// Limit open connections; a new one evicts an idle one
    #[arg(
        long, env = "TRANSCRIBE_HOOK_MAX_CONNECTIONS", value_name = "NUMBER", default_value = "2048",
        value_parser = clap::value_parser!(u32).range(1..=100_000),
    )]
    max_connections: u32,
    /// Close connections whose request header takes longer than this
    #[arg(
        long, env = "TRANSCRIBE_HOOK_HEADER_TIMEOUT", value_name = "DURATION", default_value = "15s",
        value_parser = patience,
    )]
    header_timeout: Duration,
    /// Close connections whose body or reader is slower than this
    ///
    /// Applies to request bodies slower than 16 KiB/s, and to clients that do not read the response.
    #[arg(
        long, env = "TRANSCRIBE_HOOK_BODY_TIMEOUT", value_name = "DURATION", default_value = "1m",
        value_parser = patience,
    )]
    body_timeout: Duration,
    /// Close connections that are idle for this long
    #[arg(
        long, env = "TRANSCRIBE_HOOK_IDLE_TIMEOUT", value_name = "DURATION", default_value = "2m",
        value_parser = patience,
    )]
    idle_timeout: Duration,
}

impl ConnectionArgs {
    pub(in crate::cli) fn connections(&self) -> ConnectionLimits {
        ConnectionLimits {
            number: self.max_connections as usize,
            head: self.header_timeout,
            body: self.body_timeout,
            idle: self.idle_timeout,
        }
    }
}
