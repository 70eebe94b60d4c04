//! Access control: tokens, roles, sessions, and the requirement of each path.

mod access;
mod api_role;
mod api_token;
pub mod client;
mod identity;
pub(super) mod openapi;
mod rate_limit;
mod roles;
pub(super) mod session;
pub(super) mod sign_in;
mod signed_out;

pub use access::{AccessControl, AccessSettings, is_public, normalize_webhook_path};
pub(super) use api_role::ApiRole;
pub use api_token::{ApiToken, check_holders, check_token};
pub(super) use identity::{may_read_words, noted_identity};
pub use roles::RoleGuard;
pub(super) use roles::required_role;
