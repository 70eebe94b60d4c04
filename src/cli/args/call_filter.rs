//! Flags that select calls.

use super::values::{conversation_id, driver_id, status, time};
use crate::domain::{CallStatus, ConversationId, DriverId, Timestamp};
use crate::store::CallFilter;
use clap::Args;

/// The flags that select calls.
#[derive(Debug, Args)]
pub(in crate::cli) struct CallFilterArgs {
    /// Select only this call
    #[arg(long, env = "TRANSCRIBE_HOOK_CONVERSATION_ID", value_name = "ID", value_parser = conversation_id)]
    pub(in crate::cli) conversation_id: Option<ConversationId>,
    /// Select only calls of this status: `in_progress`, completed or failed
    #[arg(long, env = "TRANSCRIBE_HOOK_STATUS", value_name = "STATUS", value_parser = status)]
    status: Option<CallStatus>,
    /// Select only calls with this driver
    #[arg(long, env = "TRANSCRIBE_HOOK_DRIVER_ID", value_name = "NUMBER", value_parser = driver_id)]
    driver_id: Option<DriverId>,
    /// Select only calls with a known driver, or only those without
    #[arg(long, env = "TRANSCRIBE_HOOK_HAS_DRIVER", value_name = "BOOL")]
    has_driver: Option<bool>,
    /// Select only calls that started at this time or later
    #[arg(long, env = "TRANSCRIBE_HOOK_STARTED_AFTER", value_name = "TIME", value_parser = time)]
    started_after: Option<Timestamp>,
    /// Select only calls that started before this time
    #[arg(long, env = "TRANSCRIBE_HOOK_STARTED_BEFORE", value_name = "TIME", value_parser = time)]
    started_before: Option<Timestamp>,
}

impl CallFilterArgs {
    /// Returns the filter.
    pub(in crate::cli) fn filter(&self) -> CallFilter {
        CallFilter {
            conversation_id: self.conversation_id.clone(),
            status: self.status,
            driver_id: self.driver_id,
            has_driver: self.has_driver,
            started_after: self.started_after,
            started_before: self.started_before,
            ..CallFilter::default()
        }
    }
}
