//! Backfill of calls from ElevenLabs' API.

mod run;
mod schedule;
mod target;

pub use run::{
    BackfillError, BackfillMode, BackfillReport, BackfillTarget, BatchCallReport, Progress, batch, conversations,
};
pub use schedule::{UnfinishedCalls, start};
pub use target::{EmptyTarget, StoreTarget};
