//! Backfill of calls from ElevenLabs' API.

mod run;
mod schedule;
mod target;

pub use run::{BackfillError, BatchReport, Keeper, Progress, Report, batch, conversations};
pub use schedule::{Unfinished, start};
pub use target::{Nothing, StoreKeeper};
