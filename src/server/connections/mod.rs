//! HTTP connections: their number, their timeouts and their shutdown.
//!
//! The framework's own server limits neither the number of connections nor the time for request heads, so this module
//! serves the framework's endpoints with hyper directly. One table ([`table`]) has the current phase of every open
//! connection. It costs each request two atomic stores and needs no timer.
//!
//! Connections that exceed their timeout are closed. At the connection limit, a new connection evicts the one that has
//! been idle (or unfinished) the longest, or else the oldest live stream, so idle clients cannot lock others out. A
//! quarter of the connections are reserved for live streams, so short requests cannot evict all streams. If all
//! connections are busy, a new one gets 503.
//!
//! A connection is closed after a response only if the request's body was not read completely. A short rest of a body
//! is read for this reason.
//!
//! Only HTTP/1.1 is supported, because the table assumes one request at a time per connection.

mod body;
mod connection;
mod limits;
mod listener;
mod table;
mod tracked_stream;

pub use limits::ConnectionLimits;
pub use listener::serve;
