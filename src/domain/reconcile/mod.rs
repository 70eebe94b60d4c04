//! Reconciliation of the turns of a call with its records.

mod driver_match;
mod likeness;
mod matching;
mod plan;
mod settlement;
mod words;

pub use super::Reconciled as Counts;
pub use driver_match::{Candidate, Identity, identify, identify_closed};
pub use plan::{Known, Origin, Plan, Standing, Stored, plan};
pub use settlement::{Added, Base, FactsWrite, Material, Reconciliation, Settlement, Whole, settle};
pub use words::fold;
