//! Timeouts of webhooks.

use std::time::Duration;

/// Maximum time that the response to an event or a history waits for the reconciliation of its call. The event is
/// already stored then.
pub(super) const RECONCILED_HEADER: Duration = Duration::from_secs(1);
