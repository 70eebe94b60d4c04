//! The flag that says how long calls are kept.

use super::values::age;
use anyhow::{Result, ensure};
use clap::Args;
use std::time::Duration;

/// What `serve` keeps, and how long.
#[derive(Debug, Args)]
pub(in crate::cli) struct RetentionArgs {
    /// Erase calls so long after their last sign of life, with all that is kept about them; without this they are kept
    #[arg(long, env = "TRANSCRIBE_HOOK_RETENTION", value_name = "DURATION", value_parser = age)]
    retention: Option<Duration>,
}

impl RetentionArgs {
    /// How long calls are kept, if not for good.
    ///
    /// # Errors
    /// They would be erased before they are taken to be over.
    pub(in crate::cli) fn retention(&self, stale_after: Duration) -> Result<Option<Duration>> {
        if let Some(retention) = self.retention {
            ensure!(retention >= stale_after, "--retention must not be shorter than --stale-after");
        }
        Ok(self.retention)
    }
}
