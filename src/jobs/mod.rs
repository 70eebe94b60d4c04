//! Work that runs on a schedule or over many calls.

pub mod access_log;
pub mod alerts;
pub mod backfill;
pub mod backup;
pub mod doctor;
pub mod interval_thread;
pub mod recording_notes;
pub mod rereads;
pub mod retention;
pub mod stale_calls;
