//! The flags of the log.

use crate::telemetry;
use clap::Args;
use tracing_subscriber::filter::{LevelFilter, Targets};

/// How to log.
#[derive(Debug, Args)]
pub(in crate::cli) struct LogArgs {
    /// How log lines look; cloud is Google Cloud Logging's form of JSON
    #[arg(long, global = true, env = "TRANSCRIBE_HOOK_LOG_FORMAT", value_name = "FORMAT", default_value = "text")]
    pub(in crate::cli) log_format: telemetry::Format,
    /// What is logged: off, error, warn, info, debug or trace, also by part, as in info,http=warn
    #[arg(
        long,
        global = true,
        env = "TRANSCRIBE_HOOK_LOG_LEVEL",
        value_name = "LEVEL",
        default_value = "info,poem=warn",
        value_parser = levels
    )]
    pub(in crate::cli) log_level: Targets,
}

/// A level, or levels by part. A word that is no level would otherwise stand for a part of that name.
fn levels(text: &str) -> Result<Targets, String> {
    for part in text.split(',').filter(|part| !part.contains('=')) {
        part.parse::<LevelFilter>().map_err(|_| format!("{part:?} is no level"))?;
    }
    text.parse().map_err(|error| format!("{error}"))
}
