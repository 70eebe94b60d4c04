//! A read-only server of the Model Context Protocol (MCP), over HTTP and over standard input and output.
//!
//! The protocol is JSON-RPC with few methods (<https://modelcontextprotocol.io/specification/2026-07-28>), so it is
//! implemented here: the official crate is larger than the rest of the API. No state is kept between messages, which
//! the current revision requires and older ones permit.
//!
//! A tool calls the operations of the API in this process, which validate, page and limit as they do for any client.
//! Arguments and results are described by the OpenAPI document, so a new filter is also a new argument.
//!
//! Words of calls come from strangers on the phone. Every tool, every result and the server's instructions say that
//! they are untrusted content.

mod arguments;
mod endpoint;
mod jsonrpc;
mod operations;
mod outline;
mod protocol;
mod schema;
mod server;
mod shorten;
mod tool;

pub use endpoint::McpEndpoint;
pub use server::{MAX_MESSAGE_BYTES, McpServer, Reply};
