//! Access: tokens, sessions, and what each path is for.

mod access;
pub mod client;
pub(super) mod openapi;
mod rate_limit;
pub(super) mod session;
pub(super) mod sign_in;
mod signed_out;

pub use access::{Access, AccessSettings, check_token, is_public, webhook_path};
