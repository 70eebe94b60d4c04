//! Tests with other people's tools on the database file and the OpenAPI document.

mod analysis;
mod clients;
mod every_tool;
mod figures;
mod litestream;
mod mcp_clients;
mod sample_calls;
