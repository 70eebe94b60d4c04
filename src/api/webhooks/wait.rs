//! How long webhooks wait.

use std::time::Duration;

/// Maximum time that the answer to an event or a history waits for its call to be reconciled. It is stored before.
pub(super) const RECONCILED: Duration = Duration::from_secs(1);
