//! The HTTP API: operations, request and response types, the OpenAPI document, and the MCP server, whose tools call the
//! operations.
//!
//! Conventions: plural nouns, `snake_case` JSON, times in RFC 3339 UTC. Fields of a resource have the names of their
//! columns. A single resource is returned bare, a list as `{"data", "next_cursor", "has_more"}`. Null means "not
//! known". All errors have one body, [`error::ErrorBody`].
//!
//! The types of this module define the JSON; types of [`crate::domain`] are converted before they are sent. This layer
//! parses requests and builds responses; the layers below it fulfil the promises of the operations.

mod access_log;
pub mod auth;
mod backup;
pub mod body;
mod calls;
mod content_encoding;
mod date_time;
mod dispatches;
mod drivers;
mod elevenlabs_compat;
pub mod error;
pub mod error_code;
mod health;
pub mod mcp;
pub mod memory_budget;
mod openapi;
mod outgoing_webhooks;
mod pagination;
mod path_params;
mod paths;
pub mod reader;
mod refusal_log;
pub mod request_context;
mod service;
mod setup;
mod streamed_body;
mod tag;
pub mod webhooks;

pub use calls::encode_event;
pub use paths::{HISTORY_WEBHOOK_PATH, INITIATION_WEBHOOK_PATH, MCP_PATH, POST_CALL_WEBHOOK_PATH, TURN_WEBHOOK_PATH};
pub use service::{Outlets, document_of, openapi_document, service, turn_webhook};
pub use setup::SetupFacts;
