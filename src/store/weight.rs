//! Estimated memory of a write.

use super::Write;

impl Write {
    /// Returns the approximate memory of the write, in bytes.
    pub fn weight(&self) -> usize {
        const OVERHEAD: usize = 256;
        let more = match self {
            Self::AppendTurn(turn) => turn.message.as_str().len(),
            Self::PutDrivers(drivers) => drivers.len() * OVERHEAD,
            Self::PutDispatches(dispatches) => dispatches.len() * OVERHEAD,
            Self::KeepEvent(event) | Self::ReplayEvent(_, event) => event.body.len(),
            Self::KeepHistory(report) => report.history.0.values().map(|e| OVERHEAD + e.message.as_str().len()).sum(),
            Self::PruneDispatches(ids) => ids.len() * OVERHEAD,
            Self::Reconcile(slice) => (slice.additions.len() + slice.standings.len()) * OVERHEAD + slice.len_bytes(),
            _ => 0,
        };
        OVERHEAD + more
    }
}
