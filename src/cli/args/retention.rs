//! The flags that say how long calls and the access log are kept.

use super::values::{age, duration};
use crate::cli::usage_error::usage;
use anyhow::Result;
use clap::Args;
use std::time::Duration;

/// The flags of `serve` that set the retention times.
#[derive(Debug, Args)]
pub(in crate::cli) struct RetentionArgs {
    /// Erase calls this long after their last activity; default: never
    ///
    /// Erases everything that is stored about these calls. The last activity is the end of the call, or a turn that
    /// arrived later.
    #[arg(long, env = "TRANSCRIBE_HOOK_RETENTION", value_name = "DURATION", value_parser = age)]
    retention: Option<Duration>,
    /// Keep entries of the access log for this long; 0 logs nothing
    ///
    /// The log says who read, heard, searched, exported or erased which call. With --no-token nothing is logged.
    #[arg(
        long, env = "TRANSCRIBE_HOOK_ACCESS_LOG_KEEP", value_name = "DURATION", default_value = "90d",
        value_parser = duration,
    )]
    pub(in crate::cli) access_log_keep: Duration,
}

impl RetentionArgs {
    /// Returns the retention time, if one is configured.
    ///
    /// # Errors
    /// Calls would be erased before they are considered over.
    pub(in crate::cli) fn retention(&self, stale_after: Duration) -> Result<Option<Duration>> {
        if self.retention.is_some_and(|retention| retention < stale_after) {
            return Err(usage("--retention must not be shorter than --stale-after"));
        }
        Ok(self.retention)
    }
}
