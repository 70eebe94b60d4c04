//! Flags of `serve` for live streams.

use super::values::heartbeat;
use crate::live::StreamLimits;
use clap::Args;
use std::time::Duration;

#[derive(Debug, Args)]
pub(in crate::cli) struct LiveArgs {
    /// Limit open live streams; more are answered 503
    ///
    /// Each live stream holds one connection.
    #[arg(
        long, env = "TRANSCRIBE_HOOK_MAX_STREAMS", value_name = "NUMBER", default_value = "1024",
        value_parser = clap::value_parser!(u32).range(0..=100_000),
    )]
    max_streams: u32,
    /// Send a heartbeat on idle live streams at this interval
    #[arg(
        long, env = "TRANSCRIBE_HOOK_STREAM_HEARTBEAT", value_name = "DURATION", default_value = "15s",
        value_parser = heartbeat,
    )]
    stream_heartbeat: Duration,
}

impl LiveArgs {
    pub(in crate::cli) fn limits(&self) -> StreamLimits {
        StreamLimits { streams: self.max_streams as usize, heartbeat: self.stream_heartbeat }
    }
}
