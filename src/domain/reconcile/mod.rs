//! Reconciliation of the turns of a call with its records.

mod created;
mod driver_match;
mod likeness;
mod matching;
mod plan;
mod settlement;
mod utterance;
mod words;

pub use super::ReconcileCounts as Counts;
pub use driver_match::{Candidate, DriverMatch, match_driver, match_driver_of_closed_call};
pub use plan::{Plan, Records, TurnPlacement, plan};
pub use settlement::{Base, CreatedTurn, FactsWrite, Material, Reconciliation, Settlement, WholeCall, settle};
pub use utterance::{Origin, TurnRow};
pub use words::normalize;
