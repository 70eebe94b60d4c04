//! Tests of logs and metrics.

mod logs;
mod metrics;
