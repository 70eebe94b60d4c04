//! Limits of connections.

use std::time::Duration;

/// Limits of connections.
#[derive(Debug, Clone)]
pub struct ConnectionLimits {
    /// Maximum number of open connections.
    pub number: usize,
    /// Timeout for the head of a request, from its first byte, or from the start of a new connection.
    pub head: Duration,
    /// Timeout for a body that is slower than [`crate::api::memory_budget::MIN_BODY_RATE`], and for a client that does
    /// not read its response.
    pub body: Duration,
    /// Timeout for the next request on a connection.
    pub idle: Duration,
}

impl Default for ConnectionLimits {
    fn default() -> Self {
        Self { number: 2048, head: Duration::from_secs(15), body: Duration::from_mins(1), idle: Duration::from_mins(2) }
    }
}
