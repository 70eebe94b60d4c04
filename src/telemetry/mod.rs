//! Logs: one line per event on standard error, as text, as JSON, or as JSON for Google Cloud Logging.
//!
//! A message can be understood without its fields, and everything it names is also a field. Field names include their
//! unit. No event of any level contains words of a call.

mod cloud_logging;
pub mod deliveries;
pub mod findings;
mod json;
mod log_writer;
pub mod metrics;
mod start;

pub use log_writer::FlushGuard;
pub use start::{LogFormat, start};
