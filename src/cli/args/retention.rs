//! The flag that says how long calls are kept.

use super::values::age;
use crate::cli::usage_error::usage;
use anyhow::Result;
use clap::Args;
use std::time::Duration;

/// The flag of `serve` that sets the retention time.
#[derive(Debug, Args)]
pub(in crate::cli) struct RetentionArgs {
    /// Erase calls this long after their last activity; default: never
    ///
    /// Erases everything that is stored about these calls.
    #[arg(long, env = "TRANSCRIBE_HOOK_RETENTION", value_name = "DURATION", value_parser = age)]
    retention: Option<Duration>,
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
