//! Limits of connections.

use std::time::Duration;

/// What connections may take.
#[derive(Debug, Clone)]
pub struct ConnectionLimits {
    /// Greatest number of them.
    pub number: usize,
    /// How long the head of a request may take to come, from its first byte or, on a new connection, from the beginning.
    pub head: Duration,
    /// How long a body may take that comes slower than [`crate::api::memory_budget::LEAST_RATE`], and how long an answer may wait for its reader.
    pub body: Duration,
    /// How long a connection may wait for its next request.
    pub idle: Duration,
}

impl Default for ConnectionLimits {
    fn default() -> Self {
        Self { number: 2048, head: Duration::from_secs(15), body: Duration::from_mins(1), idle: Duration::from_mins(2) }
    }
}
