//! The flags of `serve` that bound what connections may take.

use super::values::patience;
use crate::server::connections::ConnectionLimits;
use clap::Args;
use std::time::Duration;

#[derive(Debug, Args)]
pub(in crate::cli) struct LimitArgs {
    /// How many connections may be open; a new one beyond them takes the place of an idle one
    #[arg(
        long, env = "TRANSCRIBE_HOOK_MAX_CONNECTIONS", value_name = "NUMBER", default_value = "2048",
        value_parser = clap::value_parser!(u32).range(1..=100_000),
    )]
    max_connections: u32,
    /// How long the head of a request may take to come
    #[arg(
        long, env = "TRANSCRIBE_HOOK_HEADER_TIMEOUT", value_name = "DURATION", default_value = "15s",
        value_parser = patience,
    )]
    header_timeout: Duration,
    /// How long a body may take that comes at less than 16 KiB a second, and an answer wait for its reader
    #[arg(
        long, env = "TRANSCRIBE_HOOK_BODY_TIMEOUT", value_name = "DURATION", default_value = "1m",
        value_parser = patience,
    )]
    body_timeout: Duration,
    /// How long a connection may wait for its next request
    #[arg(
        long, env = "TRANSCRIBE_HOOK_IDLE_TIMEOUT", value_name = "DURATION", default_value = "2m",
        value_parser = patience,
    )]
    idle_timeout: Duration,
}

impl LimitArgs {
    pub(in crate::cli) fn connections(&self) -> ConnectionLimits {
        ConnectionLimits {
            number: self.max_connections as usize,
            head: self.header_timeout,
            body: self.body_timeout,
            idle: self.idle_timeout,
        }
    }
}
