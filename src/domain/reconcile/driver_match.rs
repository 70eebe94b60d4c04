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
pub struct DriverMatch {
    /// The driver, and the source that named the driver.
    pub driver: Option<(DriverId, DriverSource)>,
    /// Claims of other drivers, such as `user_id: 2077, phone_number: 7`.
    pub conflict: Option<String>,
}

/// Selects the existing driver that the surest source names. Claims of other drivers become the conflict.
pub fn match_driver(candidates: &[Candidate]) -> DriverMatch {
    match_driver_of_closed_call(candidates, &[])
}

/// Selects the driver by the claims of a signed record and the dispatch. Unsigned claims decide nothing, even if the
/// others name nobody. Unsigned claims of other drivers become part of the conflict, such as `user_id: 2077 (history)`.
pub fn match_driver_of_closed_call(candidates: &[Candidate], unsigned: &[Candidate]) -> DriverMatch {
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
    DriverMatch { driver, conflict: (!conflict.is_empty()).then_some(conflict) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claim(source: DriverSource, id: i64, known: bool) -> Candidate {
        Candidate { source, driver_id: DriverId::new(id).unwrap(), known }
    }

    #[test]
    fn the_surest_source_of_a_known_driver_decides_and_others_are_told() {
        use DriverSource::{DynamicVariable, PhoneNumber, UserId};
        type Wanted<'a> = (Option<(i64, DriverSource)>, Option<&'a str>);
        assert!(DynamicVariable < UserId && UserId < PhoneNumber, "the surest source is first");
        let cases: [(&str, &[Candidate], Wanted<'_>); 7] = [
            ("nobody", &[], (None, None)),
            ("one", &[claim(UserId, 7, true)], (Some((7, UserId)), None)),
            ("unknown", &[claim(UserId, 7, false)], (None, None)),
            (
                "the surest",
                &[claim(PhoneNumber, 9, true), claim(UserId, 7, true)],
                (Some((7, UserId)), Some("phone_number: 9")),
            ),
            (
                "the surest that is known",
                &[claim(DynamicVariable, 1, false), claim(UserId, 7, true)],
                (Some((7, UserId)), Some("dynamic_variable: 1")),
            ),
            (
                "all agree",
                &[claim(DynamicVariable, 7, true), claim(UserId, 7, true), claim(PhoneNumber, 7, true)],
                (Some((7, DynamicVariable)), None),
            ),
            (
                "conflicts are in the order of their sources",
                &[claim(PhoneNumber, 3, true), claim(UserId, 2, false), claim(DynamicVariable, 1, true)],
                (Some((1, DynamicVariable)), Some("user_id: 2, phone_number: 3")),
            ),
        ];
        for (case, candidates, (driver, conflict)) in cases {
            let identity = match_driver(candidates);
            assert_eq!(identity.driver.map(|(id, source)| (id.get(), source)), driver, "{case}");
            assert_eq!(identity.conflict.as_deref(), conflict, "{case}");
        }
    }

    #[test]
    fn what_nobody_signed_decides_nothing_once_there_is_a_signed_record() {
        let unsigned = [claim(DriverSource::UserId, 2077, true)];
        let identity = match_driver_of_closed_call(&[], &unsigned);
        assert_eq!((identity.driver, identity.conflict.as_deref()), (None, Some("user_id: 2077 (history)")));
        let identity = match_driver_of_closed_call(&[claim(DriverSource::PhoneNumber, 2077, true)], &unsigned);
        assert_eq!((identity.driver.map(|(id, _)| id.get()), identity.conflict), (Some(2077), None));
    }
}
