//! Tests of server-sent events.

mod live_reconnect;
mod streams;
