//! The flags of the log.

use super::values::ValueError;
use crate::telemetry::LogFormat;
use clap::{Args, ValueEnum};
use tracing_subscriber::filter::{LevelFilter, Targets};

/// Flags of logging.
#[derive(Debug, Args)]
pub(in crate::cli) struct LogArgs {
    /// Set the format of log lines
    ///
    /// `cloud` is the JSON format of Google Cloud Logging.
    #[arg(long, global = true, env = "TRANSCRIBE_HOOK_LOG_FORMAT", value_name = "FORMAT", default_value = "text")]
    pub(in crate::cli) log_format: LogFormatArg,
    /// Set the log level, also by module, as in info,http=warn
    ///
    /// Levels are off, error, warn, info, debug and trace.
    #[arg(
        long,
        global = true,
        env = "TRANSCRIBE_HOOK_LOG_LEVEL",
        value_name = "LEVEL",
        default_value = "info,poem=warn",
        value_parser = parse_log_filter
    )]
    pub(in crate::cli) log_level: Targets,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(in crate::cli) enum LogFormatArg {
    /// Text for people
    Text,
    /// One JSON object per line
    Json,
    /// JSON with the special fields of Google Cloud Logging
    Cloud,
}

impl From<LogFormatArg> for LogFormat {
    fn from(format: LogFormatArg) -> Self {
        match format {
            LogFormatArg::Text => Self::Text,
            LogFormatArg::Json => Self::Json,
            LogFormatArg::Cloud => Self::Cloud,
        }
    }
}

/// Parses a log level, or levels by module.
///
/// A word that is no level is an error, because it would otherwise be taken as the name of a module.
fn parse_log_filter(text: &str) -> Result<Targets, ValueError> {
    for part in text.split(',').filter(|part| !part.contains('=')) {
        part.parse::<LevelFilter>().map_err(|_| ValueError::LogLevel(part.to_owned()))?;
    }
    Ok(text.parse()?)
}
