//! Which driver a call was with, by all that says so.

use crate::domain::{DriverId, DriverSource};

/// What one source says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Candidate {
    /// Which source.
    pub source: DriverSource,
    /// Which driver.
    pub driver_id: DriverId,
    /// Whether there is such a driver.
    pub known: bool,
}

/// What comes of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Identity {
    /// The driver, and what said so.
    pub driver: Option<(DriverId, DriverSource)>,
    /// What says otherwise, such as `user_id: 2077, phone_number: 7`.
    pub conflict: Option<String>,
}

/// The driver is the one that is known and named by the surest source; what names another one is the conflict.
pub fn identify(candidates: &[Candidate]) -> Identity {
    identify_closed(candidates, &[])
}

/// The driver by what a signed record and the dispatch say. Unsigned claims decide nothing, also where those name nobody; one
/// that names another driver is shown in the conflict, such as `user_id: 2077 (history)`.
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
