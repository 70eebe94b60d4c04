//! Tests of the HTTP API: what each operation accepts, returns and refuses.

mod access_log;
mod auth;
mod backup_download;
mod body_encodings;
mod call_filters;
mod calls;
mod drivers;
mod elevenlabs_compat;
mod errors;
mod fuzz;
mod initiation;
mod mcp;
mod mcp_messages;
mod rare_errors;
mod roles;
mod session;
mod setup;
mod stats;
mod stats_understood;
mod understood;
