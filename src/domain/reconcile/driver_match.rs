//! Selection of a call's driver from all claims.

use crate::domain::{DriverId, DriverSource};

/// A claim of one source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Candidate {
    /// The source of the claim.
    pub source: DriverSource,
    /// The claimed driver.
    pub driver_id: DriverId,
    /// True if the driver exists.
    pub known: bool,
}

/// The selected driver and the conflicting claims.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Identity {
    /// The driver, and the source that named the driver.
    pub driver: Option<(DriverId, DriverSource)>,
    /// Claims of other drivers, such as `user_id: 2077, phone_number: 7`.
    pub conflict: Option<String>,
}

/// Selects the existing driver that the surest source names. Claims of other drivers become the conflict.
pub fn identify(candidates: &[Candidate]) -> Identity {
    identify_closed(candidates, &[])
}

/// Selects the driver by the claims of a signed record and the dispatch. Unsigned claims decide nothing, even if the
/// others name nobody. Unsigned claims of other drivers become part of the conflict, such as `user_id: 2077 (history)`.
pub fn identify_closed(candidates: &[Candidate], unsigned: &[Candidate]) -> Identity {
    let driver = candidates
        .iter()
        .filter(|c| c.known)
        .min_by_key(|c| c.source)
        .map(|candidate| (candidate.driver_id, candidate.source));
    let id = driver.map(|(id, _)| id);
    let mut others: Vec<_> =
        candidates.iter().filter(|candidate| id.is_some_and(|id| candidate.driver_id != id)).collect();
    others.sort_by_key(|candidate| candidate.source);
    let mut claimed: Vec<_> = unsigned.iter().filter(|candidate| Some(candidate.driver_id) != id).collect();
    claimed.sort_by_key(|candidate| candidate.source);
    let others = others.iter().map(|c| format!("{}: {}", c.source.as_str(), c.driver_id));
    let claimed = claimed.iter().map(|c| format!("{}: {} (history)", c.source.as_str(), c.driver_id));
    let conflict = others.chain(claimed).collect::<Vec<_>>().join(", ");
    Identity { driver, conflict: (!conflict.is_empty()).then_some(conflict) }
}
