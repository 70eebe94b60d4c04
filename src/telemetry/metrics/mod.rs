//! Metrics of the service, for Prometheus.
//!
//! [`METRICS`] is a global, like the `tracing` subscriber, because passing a handle through every layer would add
//! nothing. This module depends on no other part of the program and does no I/O. The server refreshes gauges that must
//! be queried (sizes, open calls) during a scrape (`server/metrics_endpoint.rs`).

mod builder;
mod definitions;
mod process;

pub use definitions::{MEDIA_TYPE, METRICS, Metrics, table};
pub use prometheus::local::LocalHistogram;
